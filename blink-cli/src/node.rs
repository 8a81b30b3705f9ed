//! The command `blink node`: bootstrap node, DHT and relay for a group of people.

use std::path::PathBuf;

use blink_api::ErrorKind;
use blink_node::{Host, Node, NodeConfig};
use clap::Args;
use serde::Serialize;

use crate::failure::Failure;
use crate::files::path;
use crate::interrupt::Interrupt;
use crate::output::Output;

pub(crate) const ABOUT: &str = "\
Runs a public node for a group of people: they find each other in its distributed hash table, and reach each other through its relay.

Run it on a machine with a public address, or on a local network with `--allow-private`. The node takes part in no call, and reads none.";

#[derive(Debug, Args)]
pub(crate) struct NodeArguments {
    /// Directory of the node's key, created if missing. Its address stays the same as long as the
    /// directory is kept
    #[arg(long, value_name = "DIR", value_parser = path())]
    state: PathBuf,
    /// Multiaddress to listen on, instead of TCP and QUIC port 4001 and WebSocket port 4002; may be
    /// repeated
    #[arg(long, value_name = "MULTIADDR")]
    listen: Vec<String>,
    /// Address or name under which others reach this machine, if its interfaces do not have it; may
    /// be repeated
    #[arg(long, value_name = "IP|NAME", value_parser = host)]
    external: Vec<Host>,
    /// Multiaddress of another node of the same group, with /p2p/…; may be repeated
    #[arg(long, value_name = "MULTIADDR")]
    bootstrap: Vec<String>,
    /// Serve private networks too: advertise and relay to private, loopback and link-local
    /// addresses
    #[arg(long)]
    allow_private: bool,
    /// Limit of connections, 16 to 65536
    #[arg(long, value_name = "N", default_value_t = 4096)]
    max_connections: usize,
}

impl NodeArguments {
    fn config(&self) -> NodeConfig {
        let defaults = NodeConfig::new(self.state.clone());
        NodeConfig {
            listen: if self.listen.is_empty() { defaults.listen } else { self.listen.clone() },
            external: self.external.clone(),
            bootstrap: self.bootstrap.clone(),
            allow_private: self.allow_private,
            max_connections: self.max_connections,
            ..NodeConfig::new(self.state.clone())
        }
    }
}

fn host(text: &str) -> Result<Host, String> {
    text.parse().map_err(|error: blink_api::Error| error.message().to_owned())
}

/// First line with `--json`.
#[derive(Serialize)]
struct Ready<'a> {
    event: &'static str,
    peer: &'a str,
    addresses: &'a [String],
}

/// Runs the node until it is interrupted.
pub(crate) async fn run(arguments: &NodeArguments, output: &Output, interrupt: &Interrupt) -> Result<(), Failure> {
    let node = Node::start(arguments.config()).await.map_err(start_failure)?;
    let addresses = node.addresses().await?;
    show(&node.peer(), &addresses, output);
    interrupt.wait().await;
    node.shutdown().await;
    output.event("stopped");
    Ok(())
}

fn show(peer: &str, addresses: &[String], output: &Output) {
    output.json_result(&Ready { event: "ready", peer, addresses });
    output.result(&format!("# Node {peer}"));
    if addresses.is_empty() {
        output
            .result("# No public address: nobody reaches this node. Give one with --external, or use --allow-private.");
        return;
    }
    output.result("# Copy into blink.toml of everybody in the group:");
    output.result("[signalings.libp2p]");
    output.result(&format!("bootstrap = {}", toml_list(addresses)));
}

/// Array of strings in TOML. Addresses contain no character that TOML escapes.
fn toml_list(texts: &[String]) -> String {
    let quoted: Vec<_> = texts.iter().map(|text| format!("\"{text}\"")).collect();
    format!("[{}]", quoted.join(", "))
}

fn start_failure(error: blink_api::Error) -> Failure {
    let hint = match error.kind() {
        ErrorKind::Busy => "; choose another port with --listen, or stop the program that has it",
        _ => "",
    };
    let failure = Failure::from(error);
    if hint.is_empty() { failure } else { Failure::input(format!("{}{hint}", failure.reason())) }
}
