//! The IPFS node around the behaviour. All of rust-ipfs is instantiated here and nowhere else: that
//! takes a minute to compile.

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::time::Duration;

use blink_api::{Error, ErrorKind, Result};
use libp2p::identity::Keypair;
use libp2p::{Multiaddr, PeerId};
use rust_ipfs::Ipfs;
use rust_ipfs::builder::IpfsBuilder;
use rust_ipfs::p2p::RelayConfig;

use crate::behaviour::{Calls, Setting};
use crate::parts::Parts;
use crate::{NAME, addresses};

/// Connections stay open while there is nothing to say: a year in seconds.
const IDLE_TIMEOUT: u64 = 365 * 24 * 3600;
/// How long a listener may take to say where it listens.
const LISTEN_TIMEOUT: Duration = Duration::from_secs(5);

/// What a node is made of.
pub(crate) struct Recipe {
    pub(crate) key: Keypair,
    pub(crate) mdns: bool,
    pub(crate) max_connections: usize,
    pub(crate) repository: Option<PathBuf>,
    pub(crate) setting: Setting,
}

/// Starts a node that listens nowhere yet.
///
/// # Errors
/// [`Io`](ErrorKind::Io) where the repository cannot be opened.
pub(crate) async fn start(recipe: Recipe) -> Result<Ipfs> {
    // The builder may not change threads.
    let runtime = tokio::runtime::Handle::current();
    let started = tokio::task::spawn_blocking(move || runtime.block_on(build(recipe)));
    started.await.unwrap_or_else(|source| Err(failure("the node does not start").source(source)))
}

/// Listens, after a look at whether this can be.
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
            Err(_) => return Err(cannot(Error::new(ErrorKind::Timeout, "a listener does not open"))),
        }
    }
    Ok(())
}

/// Finds out whether this machine lets one listen on all these addresses: libp2p lets several
/// processes share a TCP port, each getting some of the connections, and hides the system's errors
/// in its own.
///
/// # Errors
/// [`Busy`](ErrorKind::Busy), [`Invalid`](ErrorKind::Invalid) or [`Io`](ErrorKind::Io), with the
/// address.
pub(crate) fn probe(listen: &[Multiaddr]) -> Result<()> {
    listen.iter().try_for_each(|address| {
        addresses::probe(address).map_err(|source| {
            let (kind, message) = match source.kind() {
                std::io::ErrorKind::AddrInUse => (ErrorKind::Busy, "the port belongs to another program"),
                std::io::ErrorKind::AddrNotAvailable => (ErrorKind::Invalid, "the machine does not have this address"),
                _ => (ErrorKind::Io, "cannot listen"),
            };
            Error::new(kind, message).backend(NAME).operation("listen").with("address", address).source(source)
        })
    })
}

/// Whether a node has a repository open. What the node's tasks hold of it is dropped with the last
/// of them.
pub(crate) fn is_in_use(repository: &Path) -> bool {
    // As rust-ipfs locks it.
    let lock = File::open(repository.join("repo_lock"));
    lock.is_ok_and(|lock| matches!(lock.try_lock(), Err(TryLockError::WouldBlock)))
}

async fn build(recipe: Recipe) -> Result<Ipfs> {
    let Recipe { key, mdns, max_connections, repository, setting } = recipe;
    let parts = Parts::new(&key, mdns, max_connections).map_err(|reason| {
        Error::new(ErrorKind::Unexpected, "gossipsub refuses its settings").backend(NAME).with("reason", reason)
    })?;
    let serves_relay = setting.serves_relay;
    let calls = Calls::new(parts, PeerId::from(key.public()), setting);
    let mut builder = IpfsBuilder::<Calls>::with_keypair(&key)
        .map_err(|source| failure("the node's key is refused").source(source))?
        .with_custom_behaviour(move |_| Ok(calls))
        .with_relay(true)
        .enable_tcp_with_config(|tcp| tcp.nodelay(true))
        // Without a function to configure it rust-ipfs ends a connection that is silent for 300 ms.
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

/// Enough for the signaling of calls of an hour, and too little for media.
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
