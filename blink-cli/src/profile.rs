//! The data directory of this user, and the node address that is kept in it.

use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::path::{Path, PathBuf};

use blink_api::{Configuration, ConfigurationBuilder, Error, private};
use serde_json::Value;

use crate::args::Global;
use crate::failure::Failure;

/// File with the key of the signaling node.
const NODE_KEY: &str = "node.key";
/// File with the first of the two ports of the signaling node.
const NODE_PORT: &str = "node.port";
/// Control socket of a running program of this user.
const SOCKET: &str = "control.sock";
/// Source of the values that are set here, in `blink config`.
const SOURCE: &str = "--ephemeral";

/// `$XDG_DATA_HOME/blink`, else `~/.local/share/blink` (XDG Base Directory Specification 0.8).
pub(crate) fn default_data_dir() -> Option<PathBuf> {
    let absolute = |path: PathBuf| path.is_absolute().then_some(path);
    let data = std::env::var_os("XDG_DATA_HOME").map(PathBuf::from).and_then(absolute);
    let home = || Some(std::env::home_dir().and_then(absolute)?.join(".local/share"));
    Some(data.or_else(home)?.join("blink"))
}

/// Adds the default of `data_dir`, unless `--ephemeral` is given.
pub(crate) fn defaults(builder: ConfigurationBuilder, global: &Global) -> ConfigurationBuilder {
    let path = if global.ephemeral { None } else { default_data_dir() };
    // A path that is not UTF-8 is no configuration value; `data_dir` can be set instead.
    match path.as_deref().and_then(Path::to_str) {
        Some(path) => builder.default_value("data_dir", path),
        None => builder,
    }
}

/// Removes `data_dir` if `--ephemeral` is given, wherever it was set.
pub(crate) fn ephemeral(builder: ConfigurationBuilder, global: &Global) -> ConfigurationBuilder {
    let none = figment::value::Value::from(figment::value::Empty::None);
    if global.ephemeral { builder.set(SOURCE, "data_dir", none) } else { builder }
}

/// Data directory of a command that keeps something.
///
/// # Errors
/// An input failure that says how to have one.
pub(crate) fn required(configuration: &Configuration) -> Result<&Path, Failure> {
    configuration.settings().data_dir.as_deref().ok_or_else(|| {
        Failure::input("nothing is kept with --ephemeral or without a home directory: set `data_dir` to a directory")
    })
}

/// Adds defaults with which the signaling node keeps its key and ports, so that its addresses stay
/// valid. `first` is the same configuration without them.
///
/// Only what was not configured is changed: `node_key` where there is none, and port 0 in the
/// default of `listen`.
///
/// # Errors
/// An input failure for a directory that cannot be written.
pub(crate) fn keep_node(
    mut builder: ConfigurationBuilder,
    first: &Configuration,
) -> Result<ConfigurationBuilder, Failure> {
    let Some(data_dir) = first.settings().data_dir.as_deref() else { return Ok(builder) };
    let Some(signaling) = first.settings().signaling.as_deref() else { return Ok(builder) };
    let (key, listen) = (format!("signalings.{signaling}.node_key"), format!("signalings.{signaling}.listen"));
    for value in first.effective().into_iter().filter(|value| value.source == "default") {
        if value.key == key && value.value == Value::Null {
            create(data_dir)?;
            if let Some(path) = data_dir.join(NODE_KEY).to_str() {
                builder = builder.default_value(&key, path);
            }
        } else if value.key == listen
            && let Some(ports) = ports(data_dir)?
        {
            builder = builder.default_value(&listen, with_ports(&value.value, ports));
        }
    }
    Ok(builder)
}

fn create(data_dir: &Path) -> Result<(), Failure> {
    private::create_directory(data_dir)
        .map_err(|error| Error::from(error).with("data_dir", data_dir.display()))
        .map_err(|error| Failure::input(error.to_string()))
}

/// Replaces port 0: WebSocket has a TCP port of its own.
fn with_ports(listen: &Value, [first, second]: [u16; 2]) -> Vec<String> {
    let addresses = listen.as_array().into_iter().flatten().filter_map(Value::as_str);
    addresses
        .map(|address| {
            let port = if address.ends_with("/ws") { second } else { first };
            address.replacen("/tcp/0", &format!("/tcp/{port}"), 1).replacen("/udp/0", &format!("/udp/{port}"), 1)
        })
        .collect()
}

/// The kept ports, chosen at the first start; `None` if another program uses them now, which makes
/// the addresses of this run different ones.
fn ports(data_dir: &Path) -> Result<Option<[u16; 2]>, Failure> {
    let path = data_dir.join(NODE_PORT);
    let kept = std::fs::read_to_string(&path).ok().and_then(|text| text.trim().parse::<u16>().ok());
    if let Some(port) = kept.filter(|port| (1_024..u16::MAX).contains(port)) {
        let is_free = are_free(port);
        // A running program of this user has them, and takes the commands of the others.
        if !is_free && !data_dir.join(SOCKET).exists() {
            tracing::warn!(port, "another program uses the ports of this node: it listens on others this time");
        }
        return Ok(is_free.then_some([port, port + 1]));
    }
    let Some(port) = (0..32).find_map(|_| free_port()) else { return Ok(None) };
    create(data_dir)?;
    private::write(&path, format!("{port}\n"))
        .map_err(|error| Failure::input(Error::from(error).with("file", path.display()).to_string()))?;
    Ok(Some([port, port + 1]))
}

/// A port that is free for TCP and UDP, as is the next one.
fn free_port() -> Option<u16> {
    let port = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()?.local_addr().ok()?.port();
    (port < u16::MAX && are_free(port)).then_some(port)
}

fn are_free(port: u16) -> bool {
    let tcp = |port| TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).is_ok();
    tcp(port) && tcp(port + 1) && UdpSocket::bind((Ipv4Addr::UNSPECIFIED, port)).is_ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_open_ports_of_defaults_are_replaced() {
        let listen = json!(["/ip4/0.0.0.0/tcp/0", "/ip4/0.0.0.0/udp/0/quic-v1", "/ip4/0.0.0.0/tcp/0/ws"]);
        let kept = ["/ip4/0.0.0.0/tcp/40000", "/ip4/0.0.0.0/udp/40000/quic-v1", "/ip4/0.0.0.0/tcp/40001/ws"];
        assert_eq!(with_ports(&listen, [40_000, 40_001]), kept);
        assert_eq!(with_ports(&json!(["/ip4/0.0.0.0/tcp/4001"]), [40_000, 40_001]), ["/ip4/0.0.0.0/tcp/4001"]);
    }

    #[test]
    fn ports_are_kept_unless_another_program_uses_them() {
        let directory = tempfile::tempdir().unwrap();
        let data_dir = directory.path().join("blink");
        let first = ports(&data_dir).unwrap().unwrap();
        assert_eq!(ports(&data_dir).unwrap(), Some(first));
        let taken = TcpListener::bind((Ipv4Addr::UNSPECIFIED, first[0])).unwrap();
        assert_eq!(ports(&data_dir).unwrap(), None);
        drop(taken);
        std::fs::write(data_dir.join(NODE_PORT), "0\n").unwrap();
        assert!(ports(&data_dir).unwrap().unwrap()[0] > 1_023, "an impossible port is replaced");
    }
}
