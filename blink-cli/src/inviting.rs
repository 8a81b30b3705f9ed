//! `blink invite`: prints an invite and its QR code.

use std::time::{Duration, SystemTime};

use blink_api::{Configuration, Did, IceServer};
use clap::Args;
use serde_json::{Value, json};

use crate::args::{DeviceOptions, Global};
use crate::commands::Command;
use crate::failure::Failure;
use crate::interrupt::Interrupt;
use crate::invite::Invite;
use crate::output::Output;
use crate::record::RecordArguments;
use crate::{configuration, control, engine, profile, qr};

/// Longest lifetime of an invite: ten years.
const LONGEST: Duration = Duration::from_secs(10 * 365 * 24 * 60 * 60);
/// Addresses in an invite: more make it long and are seldom of use.
const ADDRESSES: usize = 4;

pub(crate) const ABOUT: &str = "\
Prints an invite: a line of text that holds your DID, the addresses of your node, and those of the public nodes that you use. A person who \
has it can call you with `blink call blink:…` while `blink listen` or `blink ui` runs, or keep it with `blink contacts add NAME blink:…`.

On a terminal a QR code follows. An invite is no secret, but all who have it learn your DID and addresses.";

#[derive(Debug, Args)]
pub(crate) struct InviteArguments {
    /// Time after which the invite is refused, such as `12h` or `7d`; without it, never
    #[arg(long, value_name = "TIME", value_parser = lifetime)]
    expires: Option<Duration>,
    /// Include the passwords of TURN servers, so that the other side can relay by them, too. STUN
    /// servers are included in any case
    #[arg(long)]
    servers: bool,
    /// Print no QR code
    #[arg(long)]
    no_qr: bool,
}

/// Parses the lifetime of an invite or of credentials.
pub(crate) fn lifetime(text: &str) -> Result<Duration, String> {
    let expected = "expected a time such as 30min, 12h or 7d, at most 10 years";
    let lifetime = humantime::parse_duration(text).map_err(|error| format!("{error}; {expected}"))?;
    if lifetime.is_zero() || lifetime > LONGEST { Err(expected.to_owned()) } else { Ok(lifetime) }
}

/// Runs `blink invite`.
pub(crate) async fn run(
    arguments: &InviteArguments,
    global: &Global,
    output: &Output,
    interrupt: &Interrupt,
) -> Result<(), Failure> {
    let nothing = (None, None);
    let record = RecordArguments::default();
    let configuration = configuration::for_call(global, &DeviceOptions::default(), nothing, (&record, None))?;
    let data_dir = profile::required(&configuration)?;
    let mut invite = match control::ask(Some(data_dir), Command::State {}).await? {
        Some(state) => {
            let addresses = state["addresses"].as_array().into_iter().flatten().filter_map(Value::as_str);
            let did = state["did"].as_str().unwrap_or_default().parse()?;
            with_addresses(did, addresses.map(str::to_owned).collect(), &configuration)
        }
        None => {
            let blink = engine::start(&configuration, interrupt).await?;
            let addresses = blink.addresses().await;
            blink.shutdown().await;
            with_addresses(blink.did(), addresses?, &configuration)
        }
    };
    if arguments.servers {
        invite.servers.clone_from(&configuration.settings().ice.servers);
    }
    show(invite.bounded().expiring(SystemTime::now(), arguments.expires), arguments.no_qr, output);
    Ok(())
}

/// Invite to a person at these addresses, the best first, without passwords and expiry.
pub(crate) fn with_addresses(did: Did, mut addresses: Vec<String>, configuration: &Configuration) -> Invite {
    let servers = stun(&configuration.settings().ice.servers);
    if addresses.iter().any(|address| !is_local(address)) {
        addresses.retain(|address| !is_local(address));
    }
    addresses.truncate(ADDRESSES);
    Invite { did: Some(did), addresses, nodes: bootstrap(configuration), servers, ..Invite::default() }.bounded()
}

/// The servers as STUN servers, which need no password: a TURN server is one, too. By its public
/// address, which a STUN server tells, a person behind a router reaches the relay of the other
/// side.
fn stun(servers: &[IceServer]) -> Vec<IceServer> {
    let mut stun: Vec<IceServer> = Vec::new();
    for uri in servers.iter().filter_map(|server| server.uri().ok()) {
        let host = if uri.host.contains(':') { format!("[{}]", uri.host) } else { uri.host };
        let server = IceServer { url: format!("stun:{host}:{}", uri.port), ..IceServer::default() };
        if !stun.contains(&server) {
            stun.push(server);
        }
    }
    stun
}

/// Whether only this machine reaches an address.
fn is_local(address: &str) -> bool {
    ["/ip4/127.", "/ip6/::1/"].iter().any(|local| address.starts_with(local))
}

/// Configured nodes of the chosen signaling backend.
pub(crate) fn bootstrap(configuration: &Configuration) -> Vec<String> {
    let Some(signaling) = configuration.settings().signaling.as_deref() else { return Vec::new() };
    let key = format!("signalings.{signaling}.bootstrap");
    let value = configuration.effective().into_iter().find(|value| value.key == key).map(|value| value.value);
    let nodes = value.as_ref().and_then(Value::as_array).into_iter().flatten();
    nodes.filter_map(Value::as_str).map(str::to_owned).collect()
}

fn show(invite: Invite, no_qr: bool, output: &Output) {
    let text = invite.to_string();
    output.json_result(&json!({
        "event": "invite", "invite": text, "did": invite.did, "addresses": invite.addresses, "nodes": invite.nodes,
        "servers": invite.servers.len(), "expires": invite.expires,
    }));
    output.result(&text);
    if no_qr || !output.is_terminal() {
        return;
    }
    match qr::code(&text.to_uppercase()) {
        Some(lines) => lines.iter().for_each(|line| output.event(line)),
        None => output.event("the invite is too long for a QR code on 80 columns"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_server_is_a_stun_server_without_a_password() {
        let server = |url: &str| IceServer {
            url: url.to_owned(),
            username: "1:group".to_owned(),
            credential: "secret".to_owned(),
        };
        let servers = ["turn:192.0.2.1", "stun:192.0.2.1:3478", "turn:[2001:db8::1]:99"].map(server);
        let texts: Vec<_> = stun(&servers).iter().map(|server| server.url.clone()).collect();
        assert_eq!(texts, ["stun:192.0.2.1:3478", "stun:[2001:db8::1]:99"]);
        assert!(stun(&servers).iter().all(|server| server.credential.is_empty() && server.username.is_empty()));
    }

    #[test]
    fn lifetimes_are_bounded_and_errors_show_the_form() {
        assert_eq!(lifetime("7d").unwrap(), Duration::from_secs(7 * 24 * 60 * 60));
        for text in ["", "0s", "7", "soon", "11years", "-1d"] {
            assert!(lifetime(text).unwrap_err().contains("such as 30min, 12h or 7d"), "{text}");
        }
    }
}
