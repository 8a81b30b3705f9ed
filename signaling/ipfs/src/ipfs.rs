//! The IPFS node around the behaviour. The only place that instantiates rust-ipfs's generic types,
//! which takes a minute to compile.

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::time::Duration;

use blink_api::{Error, ErrorKind, Result};
use libp2p::identity::Keypair;
use libp2p::{Multiaddr, PeerId};
use rust_ipfs::Ipfs;
use rust_ipfs::builder::IpfsBuilder;
use rust_ipfs::p2p::RelayConfig;

use crate::behaviour::{BehaviourOptions, SignalingBehaviour};
use crate::protocols::Protocols;
use crate::{NAME, addresses};

/// Idle timeout of connections in seconds: a year, since signaling connections stay open.
const IDLE_TIMEOUT: u64 = 365 * 24 * 3600;
/// Time for a listener to report its address.
const LISTEN_TIMEOUT: Duration = Duration::from_secs(5);

/// Configuration of a node.
pub(crate) struct NodeOptions {
    pub(crate) key: Keypair,
    pub(crate) mdns: bool,
    pub(crate) dht: bool,
    pub(crate) max_connections: usize,
    pub(crate) repository: Option<PathBuf>,
    pub(crate) behaviour_options: BehaviourOptions,
}

/// Starts a node without listeners.
///
/// # Errors
/// [`Io`](ErrorKind::Io) if the repository cannot be opened.
pub(crate) async fn start(options: NodeOptions) -> Result<Ipfs> {
    // rust-ipfs's builder is not `Send`, so it is driven on a blocking thread.
    let runtime = tokio::runtime::Handle::current();
    let started = tokio::task::spawn_blocking(move || runtime.block_on(build(options)));
    started.await.unwrap_or_else(|source| Err(failure("the node does not start").source(source)))
}

/// Opens listeners on addresses that [`probe`] found free.
///
/// # Errors
/// [`Busy`](ErrorKind::Busy) for an occupied port, [`Invalid`](ErrorKind::Invalid) for an address
/// the machine does not have, [`Timeout`](ErrorKind::Timeout), [`Io`](ErrorKind::Io); each with the
/// address.
pub(crate) async fn listen(ipfs: &Ipfs, addresses: &[Multiaddr]) -> Result<()> {
    for address in addresses {
        let cannot = |error: Error| error.backend(NAME).operation("listen").with("address", address);
        match tokio::time::timeout(LISTEN_TIMEOUT, ipfs.add_listening_address(address.clone())).await {
            Ok(Ok(_)) => {}
            Ok(Err(reason)) => return Err(cannot(Error::new(ErrorKind::Io, "cannot listen")).with("reason", reason)),
            Err(_) => return Err(cannot(Error::new(ErrorKind::Timeout, "the listener did not open in time"))),
        }
    }
    Ok(())
}

/// Checks that this process may listen on all these addresses. libp2p sets `SO_REUSEPORT`, with
/// which several processes share a TCP port and each get some of the connections, and hides the
/// operating system's error in its own.
///
/// # Errors
/// [`Busy`](ErrorKind::Busy), [`Invalid`](ErrorKind::Invalid) or [`Io`](ErrorKind::Io), with the
/// address.
pub(crate) fn probe(listen: &[Multiaddr]) -> Result<()> {
    listen.iter().try_for_each(|address| {
        addresses::probe(address).map_err(|source| {
            let (kind, message) = match source.kind() {
                std::io::ErrorKind::AddrInUse => (ErrorKind::Busy, "the port is in use by another program"),
                std::io::ErrorKind::AddrNotAvailable => (ErrorKind::Invalid, "the machine does not have this address"),
                _ => (ErrorKind::Io, "cannot listen"),
            };
            Error::new(kind, message).backend(NAME).operation("listen").with("address", address).source(source)
        })
    })
}

/// Returns whether a node has the repository open. The node's tasks hold the lock until the last of
/// them is dropped.
pub(crate) fn is_in_use(repository: &Path) -> bool {
    // The lock file of rust-ipfs.
    let lock = File::open(repository.join("repo_lock"));
    lock.is_ok_and(|lock| matches!(lock.try_lock(), Err(TryLockError::WouldBlock)))
}

async fn build(options: NodeOptions) -> Result<Ipfs> {
    let NodeOptions { key, mdns, dht, max_connections, repository, behaviour_options } = options;
    let protocols = Protocols::new(&key, mdns, dht, max_connections).map_err(|reason| {
        Error::new(ErrorKind::Unexpected, "gossipsub rejects its configuration").backend(NAME).with("reason", reason)
    })?;
    let serves_relay = behaviour_options.serves_relay;
    let behaviour = SignalingBehaviour::new(protocols, PeerId::from(key.public()), behaviour_options);
    let mut builder = IpfsBuilder::<SignalingBehaviour>::with_keypair(&key)
        .map_err(|source| failure("the node's key is rejected").source(source))?
        .with_custom_behaviour(move |_| Ok(behaviour))
        .with_relay(true)
        .enable_tcp_with_config(|tcp| tcp.nodelay(true))
        // Without this closure rust-ipfs closes QUIC connections that are idle for 300 ms.
        .enable_quic_with_config(|quic| quic)
        .enable_websocket()
        .set_idle_connection_timeout(IDLE_TIMEOUT);
    if serves_relay {
        builder = builder.with_relay_server(relay_limits());
    }
    if let Some(path) = &repository {
        builder = builder.set_path(path);
    }
    builder.start().await.map_err(|reason| {
        let error = failure("the node does not start").with("reason", format!("{reason:#}"));
        match repository {
            Some(path) => error.with("repository", path.display()),
            None => error,
        }
    })
}

/// Relay limits that suffice for the signaling of hour-long calls, but not for media.
fn relay_limits() -> RelayConfig {
    RelayConfig {
        max_circuits: 256,
        max_circuits_per_peer: 16,
        max_circuit_duration: Duration::from_secs(3600),
        max_circuit_bytes: 32 * 1024 * 1024,
        ..RelayConfig::default()
    }
}

fn failure(message: &'static str) -> Error {
    Error::new(ErrorKind::Io, message).backend(NAME).operation("create")
}
