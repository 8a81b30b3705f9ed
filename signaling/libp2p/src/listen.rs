//! Creation of the swarm and its listeners.

use std::collections::HashMap;
use std::time::Duration;

use blink_api::{Error, ErrorKind, Result};
use futures::{FutureExt, StreamExt};
use libp2p::core::transport::ListenerId;
use libp2p::identity::Keypair;
use libp2p::swarm::{self, NetworkBehaviour, Swarm, SwarmEvent};
use libp2p::{Multiaddr, TransportError, relay};

use crate::transport::transport;
use crate::{NAME, addresses};

/// Event of a swarm with the behaviour `B`.
pub type EventOf<B> = SwarmEvent<<B as NetworkBehaviour>::ToSwarm>;

/// Time for a listener to report its address.
const LISTEN_TIMEOUT: Duration = Duration::from_secs(5);
/// Idle timeout of connections: a year, since signaling connections stay open.
const IDLE_TIMEOUT: Duration = Duration::from_secs(365 * 24 * 3600);

/// Creates a swarm that listens on all configured addresses; also returns its events so far.
///
/// # Errors
/// [`Busy`](ErrorKind::Busy) for an occupied port, [`Invalid`](ErrorKind::Invalid) for an address
/// the machine does not have, [`Io`](ErrorKind::Io); each with the address.
pub async fn open<B: NetworkBehaviour>(
    key: &Keypair,
    listen: &[Multiaddr],
    behaviour: B,
) -> Result<(Swarm<B>, Vec<EventOf<B>>)> {
    open_with(key, listen, None, behaviour).await
}

/// Does the same as [`open`], for a swarm that may also dial and listen through relays.
pub(crate) async fn open_with<B: NetworkBehaviour>(
    key: &Keypair,
    listen: &[Multiaddr],
    circuits: Option<relay::client::Transport>,
    behaviour: B,
) -> Result<(Swarm<B>, Vec<EventOf<B>>)> {
    let transport = transport(key, circuits).map_err(|source| {
        Error::new(ErrorKind::Io, "the network cannot be opened").backend(NAME).operation("create").source(source)
    })?;
    let timeouts = swarm::Config::with_tokio_executor().with_idle_connection_timeout(IDLE_TIMEOUT);
    let mut swarm = Swarm::new(transport, behaviour, key.public().to_peer_id(), timeouts);
    let mut silent = HashMap::new();
    for address in listen {
        silent.insert(begin(&mut swarm, address)?, address);
    }
    let opened = tokio::time::timeout(LISTEN_TIMEOUT, wait_for_all(&mut swarm, silent)).await;
    let events = opened.unwrap_or_else(|_| {
        Err(Error::new(ErrorKind::Timeout, "the listener did not open in time").backend(NAME).operation("listen"))
    })?;
    Ok((swarm, events))
}

fn begin<B: NetworkBehaviour>(swarm: &mut Swarm<B>, address: &Multiaddr) -> Result<ListenerId> {
    // libp2p sets `SO_REUSEPORT`, with which several processes share a TCP port and each get some
    // of the connections, and hides the operating system's error in its own. Hence the probe.
    addresses::probe(address).map_err(|error| failure(address, error))?;
    swarm.listen_on(address.clone()).map_err(|error| match error {
        TransportError::MultiaddrNotSupported(_) => {
            Error::new(ErrorKind::Invalid, "no transport listens on this address")
                .backend(NAME)
                .operation("listen")
                .with("address", address)
        }
        TransportError::Other(error) => failure(address, error),
    })
}

/// Waits until each listener has reported an address, then drains the events that are ready: a
/// wildcard listener reports an address per interface.
async fn wait_for_all<B: NetworkBehaviour>(
    swarm: &mut Swarm<B>,
    mut silent: HashMap<ListenerId, &Multiaddr>,
) -> Result<Vec<EventOf<B>>> {
    let mut events = Vec::new();
    loop {
        let event = if silent.is_empty() {
            swarm.select_next_some().now_or_never()
        } else {
            Some(swarm.select_next_some().await)
        };
        let Some(event) = event else { return Ok(events) };
        match event {
            SwarmEvent::NewListenAddr { listener_id, .. } => {
                silent.remove(&listener_id);
            }
            SwarmEvent::ListenerClosed { listener_id, reason: Err(error), .. } => {
                if let Some(address) = silent.get(&listener_id) {
                    return Err(failure(address, error));
                }
            }
            event => events.push(event),
        }
    }
}

fn failure(address: &Multiaddr, source: std::io::Error) -> Error {
    let (kind, message) = match source.kind() {
        std::io::ErrorKind::AddrInUse => (ErrorKind::Busy, "the port is in use by another program"),
        std::io::ErrorKind::AddrNotAvailable => (ErrorKind::Invalid, "the machine does not have this address"),
        _ => (ErrorKind::Io, "cannot listen"),
    };
    Error::new(kind, message).backend(NAME).operation("listen").with("address", address).source(source)
}
