//! `blink node add`, `list` and `remove`: the nodes that this user uses.

use std::path::Path;
use std::time::SystemTime;

use blink_api::Registry;
use serde_json::{Value, json};

use super::date;
use super::options::NodeCommand;
use crate::args::Global;
use crate::failure::Failure;
use crate::invite::Invite;
use crate::known_nodes::{KnownNode, KnownNodes};
use crate::output::Output;
use crate::{configuration, control, profile};

/// Runs a subcommand about the nodes that this user uses.
pub(super) async fn run(command: &NodeCommand, global: &Global, output: &Output) -> Result<(), Failure> {
    let registry = Registry::discovered()?;
    let builder = || configuration::personal(&registry, global);
    let personal = builder().build()?;
    let data_dir = profile::required(&personal)?;
    let now = SystemTime::now();
    match command {
        NodeCommand::Add { invite } => {
            let invite = Invite::parse(invite, now).map_err(|error| Failure::input(error.to_string()))?;
            let added = KnownNodes::update(data_dir, |nodes| {
                let added = nodes.add(invite)?;
                // An address that no backend takes would fail every later command.
                nodes.apply(builder(), &personal, now)?.build()?;
                Ok(added)
            })?;
            tell("added", &added, output);
            let configured = configured(&personal);
            if !configured.is_empty() {
                output.event(&format!("not used where the configuration names others: {}", configured.join(", ")));
            }
            tell_running(data_dir, output).await;
        }
        NodeCommand::Remove { peer } => {
            tell("removed", &KnownNodes::update(data_dir, |nodes| nodes.remove(peer))?, output);
            tell_running(data_dir, output).await;
        }
        _ => list(&KnownNodes::load(data_dir)?, now, output),
    }
    Ok(())
}

/// Keys that the configuration sets, so that nodes do not apply to them.
fn configured(personal: &blink_api::Configuration) -> Vec<String> {
    let signaling = personal.settings().signaling.as_deref().unwrap_or_default();
    let keys = [format!("signalings.{signaling}.bootstrap"), "ice.servers".to_owned()];
    let set = personal.effective().into_iter().filter(|value| value.source != "default");
    set.map(|value| value.key).filter(|key| keys.contains(key)).collect()
}

async fn tell_running(data_dir: &Path, output: &Output) {
    if control::connect(Some(data_dir)).await.is_some() {
        output.event("the blink that runs already uses it after a restart");
    }
}

fn list(nodes: &KnownNodes, now: SystemTime, output: &Output) {
    output.json_result(&json!({ "event": "nodes", "nodes": nodes.iter().map(json).collect::<Vec<_>>() }));
    for node in nodes.iter() {
        output.result(&format!("{}  {}", node.peer, credentials(node, now)));
        node.addresses.iter().for_each(|address| output.result(&format!("  {address}")));
        node.servers.iter().for_each(|server| output.result(&format!("  {}", server.url)));
    }
    if nodes.iter().next().is_none() {
        output.event("no nodes: ask the operator of one for its invite, and add it with blink node add blink:…");
    }
}

fn credentials(node: &KnownNode, now: SystemTime) -> String {
    match node.expires {
        Some(expires) if node.is_expired(now) => {
            format!("its credential expired at {}: ask for a new invite", date(expires))
        }
        Some(expires) => format!("its credential is valid until {}", date(expires)),
        None => "its credential does not expire".to_owned(),
    }
}

/// A node as JSON, without the passwords of its servers.
fn json(node: &KnownNode) -> Value {
    let servers: Vec<_> = node.servers.iter().map(|server| &server.url).collect();
    json!({ "peer": node.peer, "addresses": node.addresses, "servers": servers, "expires": node.expires })
}

fn tell(what: &str, node: &KnownNode, output: &Output) {
    output.json_result(&json!({ "event": "node", "change": what, "node": json(node) }));
    output.result(&format!("{what} the node {}", node.peer));
}
