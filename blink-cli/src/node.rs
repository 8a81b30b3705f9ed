//! The command `blink node`: bootstrap node, DHT, relay, STUN and TURN for a group of people.

mod known;
mod options;

use std::fmt::Write as _;
use std::time::SystemTime;

use blink_api::{ErrorKind, IceServer};
use blink_node::{Node, TurnCredentials};
use serde::Serialize;

pub(crate) use self::options::{ABOUT, NodeArguments};
use self::options::{CredentialsArguments, NodeCommand};
use crate::args::Global;
use crate::failure::Failure;
use crate::interrupt::Interrupt;
use crate::invite::Invite;
use crate::output::Output;

/// First line with `--json`.
#[derive(Serialize)]
struct Ready<'a> {
    event: &'static str,
    peer: &'a str,
    addresses: &'a [String],
    ice_servers: &'a [IceServer],
    expires: Option<u64>,
    metrics: Option<String>,
    invite: &'a str,
}

/// Result of `blink node credentials` with `--json`.
#[derive(Serialize)]
struct Issued<'a> {
    username: &'a str,
    credential: &'a str,
    expires: u64,
}

/// Runs the node until it is interrupted, or a subcommand.
pub(crate) async fn run(
    arguments: &NodeArguments,
    global: &Global,
    output: &Output,
    interrupt: &Interrupt,
) -> Result<(), Failure> {
    match &arguments.command {
        Some(NodeCommand::Credentials(asked)) => return credentials(asked, output),
        Some(command) => return known::run(command, global, output).await,
        None => {}
    }
    let node = Node::start(arguments.config()?).await.map_err(|error| start_failure(&error))?;
    let issued = node.turn_secret().map(|secret| secret.issue(&arguments.user, arguments.valid, SystemTime::now()));
    show(&node, issued.transpose()?.as_ref(), output).await?;
    tokio::select! {
        () = interrupt.wait() => {}
        () = node.stopped() => return Err(Failure::call("the node stopped by itself")),
    }
    node.shutdown().await;
    output.event("stopped");
    Ok(())
}

fn credentials(asked: &CredentialsArguments, output: &Output) -> Result<(), Failure> {
    let secret = blink_node::turn_secret(&asked.state)?;
    let issued = secret.issue(&asked.user, asked.valid, SystemTime::now())?;
    let TurnCredentials { username, password, expires } = &issued;
    output.json_result(&Issued { username, credential: password, expires: *expires });
    output.result(&format!("# Valid until {}", date(*expires)));
    output.result(&format!("username = \"{username}\""));
    output.result(&format!("credential = \"{password}\""));
    Ok(())
}

async fn show(node: &Node, issued: Option<&TurnCredentials>, output: &Output) -> Result<(), Failure> {
    let addresses = node.addresses().await?;
    let server = |url: &String| {
        issued.map(|issued| IceServer {
            url: url.clone(),
            username: issued.username.clone(),
            credential: issued.password.clone(),
        })
    };
    let servers: Vec<_> = node.ice_urls().iter().filter_map(server).collect();
    let expires = issued.map(|issued| issued.expires);
    let invite = Invite { nodes: addresses.clone(), servers: servers.clone(), expires, ..Invite::default() };
    let invite = invite.bounded().to_string();
    output.json_result(&Ready {
        event: "ready",
        peer: &node.peer(),
        addresses: &addresses,
        ice_servers: &servers,
        expires,
        metrics: node.metrics_address().map(|address| format!("http://{address}/metrics")),
        invite: &invite,
    });
    output.result("# Copy into the blink.toml of each member of the group:");
    lines(&addresses, &servers).iter().for_each(|line| output.result(line));
    output.result("");
    if let Some(expires) = expires {
        output.result(&format!(
            "# The credential is valid until {}; `blink node credentials` issues another.",
            date(expires)
        ));
    }
    output.result("# Or send each of them this invite, for `blink node add`:");
    output.result(&invite);
    if let Some(address) = node.metrics_address() {
        output.result(&format!("# Metrics: http://{address}/metrics"));
    }
    Ok(())
}

/// Lines of a configuration file.
fn lines(addresses: &[String], servers: &[IceServer]) -> Vec<String> {
    // Addresses, URLs and credentials contain no character that TOML escapes.
    let quoted: Vec<_> = addresses.iter().map(|address| format!("    \"{address}\",")).collect();
    let mut lines = vec!["[signalings.libp2p]".to_owned(), "bootstrap = [".to_owned()];
    lines.extend(quoted);
    lines.push("]".to_owned());
    for IceServer { url, username, credential } in servers {
        lines.push(String::new());
        lines.push("[[ice.servers]]".to_owned());
        lines.push(format!("url = \"{url}\""));
        lines.push(format!("username = \"{username}\""));
        lines.push(format!("credential = \"{credential}\""));
    }
    lines
}

/// Date and time of a Unix time, in UTC.
fn date(seconds: u64) -> String {
    let time = std::time::UNIX_EPOCH.checked_add(std::time::Duration::from_secs(seconds));
    let mut text = String::new();
    // Years after 9999 have no form.
    match time.map(|time| write!(text, "{}", humantime::format_rfc3339_seconds(time))) {
        Some(Ok(())) => text,
        _ => format!("{seconds} s after 1970"),
    }
}

fn start_failure(error: &blink_api::Error) -> Failure {
    let hint = match error.kind() {
        ErrorKind::Busy if error.context().iter().any(|(key, value)| *key == "address" && value.starts_with('/')) => {
            "; choose others with --listen, or stop the program that has it"
        }
        ErrorKind::Busy => "; choose another with --turn or --metrics, or stop the program that has it",
        ErrorKind::Invalid if error.message().contains("public address") => {
            "; see --external, --allow-private and --no-turn"
        }
        _ => "",
    };
    let failure = Failure::from(error.clone());
    if hint.is_empty() { failure } else { Failure::input(format!("{}{hint}", failure.reason())) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lines_are_a_configuration() {
        let server = IceServer {
            url: "turn:192.0.2.1:3478".to_owned(),
            username: "1800000000:group".to_owned(),
            credential: "wjwSXO2ch1B6VaLTLMy2Avn5O9o=".to_owned(),
        };
        let peer = "12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN";
        let addresses = [format!("/ip4/192.0.2.1/tcp/4001/p2p/{peer}")];
        let text = lines(&addresses, std::slice::from_ref(&server)).join("\n");
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("blink.toml");
        std::fs::write(&file, &text).unwrap();
        let registry = blink_api::Registry::discovered().unwrap();
        let read = blink_api::ConfigurationFile::read(&file).unwrap();
        let configuration = crate::backends::configuration(&registry).file_read(Ok(read)).build().unwrap();
        assert_eq!(configuration.settings().ice.servers, [server]);
        let bootstrap = configuration.effective().into_iter().find(|value| value.key == "signalings.libp2p.bootstrap");
        assert_eq!(bootstrap.unwrap().value, serde_json::json!(addresses));
    }

    #[test]
    fn dates_are_of_any_second() {
        assert_eq!(date(1_800_000_000), "2027-01-15T08:00:00Z");
        for seconds in [0, 300_000_000_000_000, u64::MAX] {
            assert!(!date(seconds).is_empty());
        }
    }
}
