//! Arguments of `blink node`.

use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use blink_node::{Host, NodeConfig, TurnConfig, TurnLimits};
use clap::{Args, Subcommand};

use crate::failure::Failure;
use crate::files::path;
use crate::inviting::lifetime;

/// Bytes per second of 1 Mbit/s.
const MEGABIT: u64 = 125_000;

pub(crate) const ABOUT: &str = "\
Runs a public node for a group of people: they find each other in its distributed hash table, and reach each other through its relay and \
its STUN and TURN server.

Run it on a machine with a public address, or on a local network with `--allow-private`. It prints an invite: each of the group adds it with \
`blink node add blink:…`, or copies the lines above it into blink.toml. The node takes part in no call, and reads none.";

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub(crate) struct NodeArguments {
    #[command(subcommand)]
    pub(super) command: Option<NodeCommand>,
    /// Directory of the node's key and secret, created if missing. Its address and its credentials
    /// stay the same as long as the directory is kept
    #[arg(long, value_name = "DIR", value_parser = path(), required = true)]
    state: Option<PathBuf>,
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
    /// Serve private networks too: advertise, dial and relay to private, loopback and link-local
    /// addresses
    #[arg(long)]
    allow_private: bool,
    /// Limit of connections, 16 to 65536
    #[arg(long, value_name = "N", default_value_t = 4096)]
    max_connections: usize,
    /// Address of the STUN and TURN server, over UDP and TCP; may be repeated [default: port 3478
    /// of all addresses]
    #[arg(long, value_name = "IP:PORT", value_parser = socket)]
    turn: Vec<SocketAddr>,
    /// Run no STUN and TURN server
    #[arg(long, conflicts_with_all = ["turn", "turn_ports"])]
    no_turn: bool,
    /// UDP ports of relayed addresses [default: 49152-65535]
    #[arg(long, value_name = "FROM-TO", value_parser = ports)]
    turn_ports: Option<RangeInclusive<u16>>,
    /// Limit of allocations in total; a call takes one or two of each participant
    #[arg(long, value_name = "N", default_value_t = 1000)]
    max_allocations: usize,
    /// Limit of allocations of a user
    #[arg(long, value_name = "N", default_value_t = 200)]
    max_allocations_per_user: usize,
    /// Limit of relayed media in total, in Mbit/s
    #[arg(long, value_name = "N", default_value_t = 800)]
    max_bandwidth: u32,
    /// Limit of relayed media of a user, in Mbit/s
    #[arg(long, value_name = "N", default_value_t = 160)]
    max_bandwidth_per_user: u32,
    /// User of the credential that is printed
    #[arg(long, value_name = "NAME", default_value = "group")]
    pub(super) user: String,
    /// Time for which the credential that is printed is valid, such as `12h` or `30d`
    #[arg(long, value_name = "TIME", value_parser = lifetime, default_value = "30d")]
    pub(super) valid: Duration,
    /// Serve metrics in Prometheus' format at http://ADDR/metrics
    #[arg(long, value_name = "IP:PORT", value_parser = socket)]
    metrics: Option<SocketAddr>,
}

#[derive(Debug, Subcommand)]
pub(super) enum NodeCommand {
    /// Use the node of an invite: to find people, and where a router lets no direct path through
    Add {
        /// Invite (`blink:…`) that `blink node` printed for its operator
        invite: String,
    },
    /// List the nodes that were added
    List,
    /// Do not use a node any more
    Remove {
        /// Peer id of the node, or how it begins
        #[arg(value_name = "PEER")]
        peer: String,
    },
    /// Issue a credential for the TURN server of a node, which may be running
    Credentials(CredentialsArguments),
}

#[derive(Debug, Args)]
pub(super) struct CredentialsArguments {
    /// State directory of the node
    #[arg(long, value_name = "DIR", value_parser = path())]
    pub(super) state: PathBuf,
    /// User, to whom quotas apply: letters, digits, `-`, `_` and `.`
    #[arg(long, value_name = "NAME", default_value = "group")]
    pub(super) user: String,
    /// Time for which the credential is valid, such as `12h` or `30d`
    #[arg(long, value_name = "TIME", value_parser = lifetime, default_value = "30d")]
    pub(super) valid: Duration,
}

impl NodeArguments {
    /// Configuration of the node.
    ///
    /// # Errors
    /// An input failure without `--state`.
    pub(super) fn config(&self) -> Result<NodeConfig, Failure> {
        let state = self.state.clone().ok_or_else(|| Failure::input("--state DIR is required"))?;
        let defaults = NodeConfig::new(state);
        Ok(NodeConfig {
            listen: if self.listen.is_empty() { defaults.listen } else { self.listen.clone() },
            external: self.external.clone(),
            bootstrap: self.bootstrap.clone(),
            allow_private: self.allow_private,
            turn: (!self.no_turn).then(|| self.turn()),
            metrics: self.metrics,
            max_connections: self.max_connections,
            state: defaults.state,
        })
    }

    fn turn(&self) -> TurnConfig {
        let defaults = TurnConfig::default();
        TurnConfig {
            listen: if self.turn.is_empty() { defaults.listen } else { self.turn.clone() },
            ports: self.turn_ports.clone().unwrap_or(defaults.ports),
            limits: TurnLimits {
                allocations: self.max_allocations,
                allocations_per_user: self.max_allocations_per_user,
                bandwidth: u64::from(self.max_bandwidth) * MEGABIT,
                bandwidth_per_user: u64::from(self.max_bandwidth_per_user) * MEGABIT,
            },
        }
    }
}

fn host(text: &str) -> Result<Host, String> {
    text.parse().map_err(|error: blink_api::Error| error.message().to_owned())
}

fn socket(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| "expected IP:PORT, such as 0.0.0.0:3478 or [::]:3478".to_owned())
}

fn ports(text: &str) -> Result<RangeInclusive<u16>, String> {
    let parsed = text.split_once('-').and_then(|(from, to)| Some((from.parse().ok()?, to.parse().ok()?)));
    match parsed {
        Some((from, to)) if 0 < from && from <= to => Ok(from..=to),
        _ => Err("expected FROM-TO, such as 50000-50999".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn port_ranges_and_sockets_are_parsed() {
        assert_eq!(ports("50000-50999").unwrap(), 50_000..=50_999);
        for text in ["", "1", "0-5", "9-3", "1-70000", "a-b"] {
            assert!(ports(text).unwrap_err().contains("FROM-TO"), "{text}");
        }
        assert_eq!(socket("[::]:3478").unwrap().port(), 3478);
        for text in ["3478", "localhost:3478", "1.2.3.4"] {
            assert!(socket(text).unwrap_err().contains("IP:PORT"), "{text}");
        }
    }
}
