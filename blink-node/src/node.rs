//! A running node.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use blink_api::{Error, ErrorKind, Result, private};
use blink_signaling_libp2p::{key, listen};
use libp2p::PeerId;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use crate::external::{external_addresses, relay_addresses};
use crate::metrics::{Metrics, MetricsEndpoint};
use crate::overlay::{Behaviour, Command, Task};
use crate::turn::{TurnHandle, TurnSecret};
use crate::{Host, NAME, NodeConfig, TurnConfig, error};

/// File of the node's key in its state directory.
const KEY_FILE: &str = "node.key";
/// File of the secret of TURN credentials in the state directory.
const SECRET_FILE: &str = "turn.secret";
/// Capacity of the queue of commands.
const COMMANDS: usize = 16;

/// A running node. Dropping it stops it.
#[derive(Debug)]
pub struct Node {
    peer: PeerId,
    commands: mpsc::Sender<Command>,
    overlay: JoinHandle<()>,
    turn: Option<Turn>,
    metrics: Option<MetricsEndpoint>,
}

/// Running TURN server.
#[derive(Debug)]
struct Turn {
    handle: TurnHandle,
    secret: TurnSecret,
    urls: Vec<String>,
}

impl Node {
    /// Opens all sockets and starts to serve. Needs a tokio runtime with time and IO enabled.
    ///
    /// # Errors
    /// [`Invalid`](ErrorKind::Invalid) for an invalid value or state directory,
    /// [`Busy`](ErrorKind::Busy) for an occupied port, [`Io`](ErrorKind::Io).
    pub async fn start(config: NodeConfig) -> Result<Self> {
        config.check()?;
        create_state(&config.state)?;
        let key = key::load_file(&config.state.join(KEY_FILE))?;
        let bootstrap = config.bootstrap_addresses()?;
        let behaviour = Behaviour::new(&key, config.policy(), config.max_connections, &bootstrap);
        let (swarm, early_events) = listen::open(&key, &config.listen_addresses()?, behaviour).await?;
        let listeners: Vec<_> = swarm.listeners().cloned().collect();
        if external_addresses(&listeners, &config.external, config.policy()).is_empty() {
            let message = "this machine has no public address: name the one under which others reach it, or allow \
                           private ones on a local network";
            return Err(error(ErrorKind::Invalid, "start", message));
        }
        let peer = *swarm.local_peer_id();
        let metrics = Arc::new(Metrics::default());
        let turn = match &config.turn {
            Some(turn) => Some(start_turn(turn, &config, Arc::clone(&metrics)).await?),
            None => None,
        };
        let endpoint = match config.metrics {
            Some(address) => {
                let metrics = Arc::clone(&metrics);
                Some(MetricsEndpoint::start(address, move || metrics.text()).await?)
            }
            None => None,
        };
        let (commands, receiver) = mpsc::channel(COMMANDS);
        let task = Task::new(swarm, receiver, config.external.clone(), config.policy(), bootstrap, metrics);
        Ok(Self { peer, commands, overlay: tokio::spawn(task.run(early_events)), turn, metrics: endpoint })
    }

    /// The node's peer id: the hash of its key, the same after a restart.
    pub fn peer(&self) -> String {
        self.peer.to_string()
    }

    /// Multiaddresses under which others reach the node, with its peer id.
    ///
    /// # Errors
    /// [`Closed`](ErrorKind::Closed) after the node has stopped.
    pub async fn addresses(&self) -> Result<Vec<String>> {
        let (reply, addresses) = oneshot::channel();
        let closed = || error(ErrorKind::Closed, "addresses", "the node has stopped");
        self.commands.send(Command::Addresses(reply)).await.map_err(|_| closed())?;
        let addresses = addresses.await.map_err(|_| closed())?;
        let full = |address: libp2p::Multiaddr| address.with_p2p(self.peer).unwrap_or_else(|other| other).to_string();
        Ok(addresses.into_iter().map(full).collect())
    }

    /// URLs of the STUN and TURN server over UDP, as `ice.servers` takes them. Clients of other
    /// kinds can append `?transport=tcp`.
    pub fn ice_urls(&self) -> &[String] {
        self.turn.as_ref().map_or(&[], |turn| &turn.urls)
    }

    /// Secret of the credentials for the TURN server; `None` without one.
    pub fn turn_secret(&self) -> Option<&TurnSecret> {
        self.turn.as_ref().map(|turn| &turn.secret)
    }

    /// Addresses that the STUN and TURN server listens on, each over UDP and TCP.
    pub fn turn_listeners(&self) -> &[SocketAddr] {
        self.turn.as_ref().map_or(&[], |turn| turn.handle.listeners())
    }

    /// Address of the HTTP endpoint with metrics.
    pub fn metrics_address(&self) -> Option<SocketAddr> {
        self.metrics.as_ref().map(MetricsEndpoint::address)
    }

    /// Waits until the node stops by itself, which is a bug.
    pub async fn stopped(&self) {
        self.commands.closed().await;
    }

    /// Closes all connections and sockets.
    pub async fn shutdown(self) {
        let Self { commands, overlay, .. } = self;
        drop(commands);
        if let Err(error) = overlay.await {
            tracing::error!(%error, "the task of the swarm failed");
        }
    }
}

/// Loads the secret of TURN credentials from the state directory of a node.
///
/// # Errors
/// [`NotFound`](ErrorKind::NotFound) if no node with TURN has run there, and as
/// [`TurnSecret::load`].
pub fn turn_secret(state: &Path) -> Result<TurnSecret> {
    let path = state.join(SECRET_FILE);
    if !path.exists() {
        let message = "no secret: expected the state directory of a node that has run with TURN";
        return Err(error(ErrorKind::NotFound, "turn_secret", message).with("file", path.display()));
    }
    TurnSecret::load(&path)
}

async fn start_turn(turn: &TurnConfig, config: &NodeConfig, metrics: Arc<Metrics>) -> Result<Turn> {
    let secret = TurnSecret::load(&config.state.join(SECRET_FILE))?;
    let listeners = turn.listen.iter().map(SocketAddr::ip);
    let relay = relay_addresses(&config.external, listeners, config.policy()).await?;
    if relay.is_empty() {
        let message = "no public address for relayed media: name one, or start without TURN";
        return Err(error(ErrorKind::Invalid, "turn", message));
    }
    let hosts = match &config.external[..] {
        [] => relay.iter().map(|address| Host::Ip(address.external)).collect(),
        hosts => hosts.to_vec(),
    };
    let handle = TurnHandle::start(turn, secret.clone(), config.policy(), relay, metrics)?;
    let urls = ice_urls(&hosts, handle.listeners());
    Ok(Turn { handle, secret, urls })
}

/// URLs of the servers (RFC 7065), one for each host and port.
fn ice_urls(hosts: &[Host], listeners: &[SocketAddr]) -> Vec<String> {
    let mut urls = Vec::new();
    for listener in listeners {
        let same_family = |host: &&Host| !matches!(host, Host::Ip(ip) if ip.is_ipv4() != listener.is_ipv4());
        for host in hosts.iter().filter(same_family) {
            let url = format!("turn:{host}:{}", listener.port());
            if !urls.contains(&url) {
                urls.push(url);
            }
        }
    }
    urls
}

fn create_state(path: &Path) -> Result<()> {
    private::create_directory(path).map_err(|source| Error::from(source).backend(NAME).with("state", path.display()))
}
