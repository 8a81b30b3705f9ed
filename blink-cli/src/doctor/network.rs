//! Checks of the network: signaling node, bootstrap nodes, STUN and TURN servers, NAT.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use blink_api::{
    AudioCodec, Configuration, ErrorKind, IceServer, Result, SessionConfig, SessionEvent, Transport, rtp_queue,
};
use blink_engine::Blink;
use serde_json::Value;

use super::{Check, Status};
use crate::{files, inviting};

/// Time for a node or server to answer.
const ANSWER: Duration = Duration::from_secs(10);

/// The signaling node's ports, and whether its bootstrap nodes answer. `state` is that of the
/// process that listens already, if there is one.
pub(super) async fn signaling(configuration: &Configuration, state: Option<&Value>) -> Vec<Check> {
    let mut checks = Vec::new();
    let blink = match Blink::start(configuration).await {
        Ok(blink) => blink,
        Err(error) => {
            let check = Check::new("ports", Status::Problem, error.to_string());
            return vec![check.advising("choose other addresses to listen on, or end the program that uses them")];
        }
    };
    let addresses = match state {
        Some(state) => Ok(state["addresses"].as_array().map_or(0, Vec::len)),
        None => blink.addresses().await.map(|addresses| addresses.len()),
    };
    checks.push(match addresses {
        Ok(0) => Check::new("ports", Status::Warning, "the node listens on no address")
            .advising("no one connects to this node: set `listen` of the signaling backend"),
        Ok(count) if state.is_some() => {
            Check::new("ports", Status::Ok, format!("the running blink listens on {count} addresses"))
        }
        Ok(count) => Check::new("ports", Status::Ok, format!("the node can listen on {count} addresses")),
        Err(error) => Check::new("ports", Status::Problem, error.to_string()),
    });
    let nodes = inviting::bootstrap(configuration);
    if nodes.is_empty() {
        checks.push(
            Check::new("nodes", Status::Warning, "no bootstrap node is configured")
                .advising("only the local network and addresses in invites lead to others: add a node with `blink node add`, or set `bootstrap`"),
        );
    }
    for node in nodes {
        let connected = tokio::time::timeout(ANSWER, blink.connect(&node)).await;
        checks.push(match connected {
            Ok(Ok(())) => Check::new("nodes", Status::Ok, format!("{node} answers")),
            Ok(Err(error)) => unreachable_node(&node, &error.to_string()),
            Err(_) => unreachable_node(&node, "no answer"),
        });
    }
    blink.shutdown().await;
    checks
}

fn unreachable_node(node: &str, why: &str) -> Check {
    Check::new("nodes", Status::Problem, format!("{node}: {why}"))
        .advising("check the address, and whether the node runs and its port is open")
}

/// The STUN and TURN servers, each with its password, and the kind of NAT that they see.
pub(super) async fn servers(configuration: &Configuration) -> Vec<Check> {
    let servers = &configuration.settings().ice.servers;
    if servers.is_empty() {
        return vec![
            Check::new("servers", Status::Warning, "no STUN or TURN server is configured").advising(
                "calls through routers may fail: add a node with `blink node add`, or a server to ice.servers",
            ),
        ];
    }
    let mut checks = Vec::new();
    let mut seen = Vec::new();
    for server in servers {
        match gather(configuration, server).await {
            Ok(gathered) => {
                checks.extend(judge(server, &gathered));
                seen.push(gathered);
            }
            Err(error) => checks.push(Check::new("servers", Status::Problem, format!("{}: {error}", server.url))),
        }
    }
    checks.push(nat(&seen));
    checks
}

/// Candidates of one server.
#[derive(Debug, Default)]
struct Gathered {
    /// Addresses of the interfaces.
    hosts: BTreeSet<String>,
    /// Public address by which the server sees this machine.
    reflexive: Option<String>,
    /// Whether it relays.
    relayed: bool,
    /// Its error.
    failure: Option<String>,
    rejected: bool,
}

impl Gathered {
    /// Takes a candidate (RFC 8839 §5.1): `candidate:1 1 udp 1 ADDRESS PORT typ TYPE …`.
    fn add(&mut self, attribute: &str) {
        let words: Vec<_> = attribute.split_whitespace().collect();
        let (Some(address), Some(kind)) = (words.get(4), words.get(7)) else { return };
        match *kind {
            "host" => {
                self.hosts.insert((*address).to_owned());
            }
            "srflx" => self.reflexive = Some((*address).to_owned()),
            "relay" => self.relayed = true,
            _ => {}
        }
    }
}

/// Gathers candidates with one server only.
async fn gather(configuration: &Configuration, server: &IceServer) -> Result<Gathered> {
    let context = files::context(configuration);
    let transport = configuration.create::<dyn Transport>(&context).await?;
    let codecs = configuration.chosen_all::<dyn AudioCodec>()?;
    let mut audio = Vec::new();
    for codec in codecs {
        audio.push(codec.create(configuration, &context).await?.rtp());
    }
    let mut ice = configuration.settings().ice.clone();
    ice.servers = vec![server.clone()];
    let config = SessionConfig::new(context.clock.clone(), rtp_queue(1).0).with_ice(ice).with_audio(audio);
    let (session, mut events) = transport.open(config).await?;
    // An offer has a media section or a channel.
    session.open_channel("doctor").await?;
    let sdp = session.create_offer(false).await?;
    let mut gathered = Gathered::default();
    // Candidates that are known at once are in the offer.
    sdp.lines().filter_map(|line| line.strip_prefix("a=candidate:")).for_each(|candidate| gathered.add(candidate));
    let all = async {
        while let Some(event) = events.recv().await {
            match event {
                SessionEvent::LocalCandidate(candidate) => gathered.add(&candidate.attribute),
                SessionEvent::ServerFailed { error, .. } => {
                    gathered.rejected = error.kind() == ErrorKind::Security;
                    gathered.failure = Some(error.to_string());
                }
                SessionEvent::CandidatesDone => break,
                _ => {}
            }
        }
    };
    if tokio::time::timeout(ANSWER, all).await.is_err() && gathered.failure.is_none() {
        gathered.failure = Some("no answer".to_owned());
    }
    session.close().await;
    Ok(gathered)
}

fn judge(server: &IceServer, gathered: &Gathered) -> Vec<Check> {
    let url = &server.url;
    let expected = if server.relays() { gathered.relayed } else { gathered.reflexive.is_some() || is_public(gathered) };
    if expected {
        let what = if server.relays() { "relays" } else { "answers" };
        return vec![Check::new("servers", Status::Ok, format!("{url} {what}"))];
    }
    let why = gathered.failure.as_deref().unwrap_or("it gave no address");
    let check = Check::new("servers", Status::Problem, format!("{url}: {why}"));
    vec![if gathered.rejected {
        check.advising("the user name or password is wrong or has expired: ask for new ones")
    } else {
        check.advising("check the address, and whether a firewall blocks UDP")
    }]
}

/// Whether the server sees an address of this machine itself: backends drop such a duplicate.
fn is_public(gathered: &Gathered) -> bool {
    gathered.failure.is_none() && !gathered.hosts.is_empty()
}

fn nat(seen: &[Gathered]) -> Check {
    let check = |status, found: &str| Check::new("nat", status, found);
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for address in seen.iter().filter_map(|gathered| gathered.reflexive.as_deref()) {
        *counts.entry(address).or_default() += 1;
    }
    let hosts: BTreeSet<_> = seen.iter().flat_map(|gathered| &gathered.hosts).collect();
    let relays = seen.iter().any(|gathered| gathered.relayed);
    match counts.len() {
        0 if seen.iter().any(is_public) => check(Status::Ok, "none: the servers see an address of this machine"),
        0 => check(Status::Warning, "unknown: no server answered"),
        1 if counts.keys().any(|address| hosts.contains(&(*address).to_owned())) => {
            check(Status::Ok, "none: this machine has a public address")
        }
        1 => check(Status::Ok, "behind a router with one public address"),
        _ if relays => {
            check(Status::Ok, "behind several public addresses: hard to reach directly, a TURN server relays")
        }
        _ => check(Status::Warning, "behind several public addresses: hard to reach directly")
            .advising("add a TURN server to ice.servers, which relays where a direct path fails"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gathered(attributes: &[&str]) -> Gathered {
        let mut gathered = Gathered::default();
        attributes.iter().for_each(|attribute| gathered.add(attribute));
        gathered
    }

    const HOST: &str = "candidate:1 1 udp 2130706431 192.168.1.2 5000 typ host";
    const PUBLIC: &str = "candidate:2 1 udp 1694498815 203.0.113.7 6000 typ srflx raddr 192.168.1.2 rport 5000";
    const OTHER: &str = "candidate:2 1 udp 1694498815 203.0.113.8 6000 typ srflx raddr 192.168.1.2 rport 5000";
    const RELAY: &str = "candidate:3 1 udp 16777215 198.51.100.1 7000 typ relay raddr 203.0.113.7 rport 6000";

    #[test]
    fn the_nat_is_told_by_what_servers_see() {
        assert!(nat(&[gathered(&[HOST, PUBLIC])]).found.contains("one public address"));
        assert_eq!(nat(&[gathered(&[HOST, PUBLIC]), gathered(&[HOST, OTHER])]).status, Status::Warning);
        assert_eq!(nat(&[gathered(&[HOST, PUBLIC, RELAY]), gathered(&[HOST, OTHER])]).status, Status::Ok);
        assert!(nat(&[gathered(&[HOST])]).found.starts_with("none"));
        assert!(nat(&[]).found.starts_with("unknown"));
    }

    #[test]
    fn a_server_that_does_not_do_its_work_is_a_problem() {
        let turn = IceServer { url: "turn:a".to_owned(), username: "u".to_owned(), credential: "p".to_owned() };
        assert_eq!(judge(&turn, &gathered(&[HOST, PUBLIC, RELAY]))[0].status, Status::Ok);
        assert_eq!(judge(&turn, &gathered(&[HOST, PUBLIC]))[0].status, Status::Problem);
        let rejected = Gathered { rejected: true, failure: Some("401".to_owned()), ..Gathered::default() };
        assert!(judge(&turn, &rejected)[0].advice.as_deref().unwrap().contains("password"));
        let stun = IceServer { url: "stun:a".to_owned(), ..IceServer::default() };
        let silent = Gathered { failure: Some("no answer".to_owned()), ..gathered(&[HOST]) };
        assert_eq!(judge(&stun, &silent)[0].status, Status::Problem);
    }
}
