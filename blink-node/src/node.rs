//! A running node.

use std::path::Path;

use blink_api::{Error, ErrorKind, Result, private};
use blink_signaling_libp2p::{key, listen};
use libp2p::PeerId;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use crate::overlay::{Behaviour, Command, Task};
use crate::{NAME, NodeConfig, error};

/// File of the node's key in its state directory.
const KEY_FILE: &str = "node.key";
/// Capacity of the queue of commands.
const COMMANDS: usize = 16;

/// A running node. Dropping it stops it.
#[derive(Debug)]
pub struct Node {
    peer: PeerId,
    commands: mpsc::Sender<Command>,
    overlay: JoinHandle<()>,
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
        let peer = *swarm.local_peer_id();
        let (commands, receiver) = mpsc::channel(COMMANDS);
        let task = Task::new(swarm, receiver, config.external.clone(), config.policy(), bootstrap);
        Ok(Self { peer, commands, overlay: tokio::spawn(task.run(early_events)) })
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

    /// Closes all connections and sockets.
    pub async fn shutdown(self) {
        let Self { commands, overlay, .. } = self;
        drop(commands);
        if let Err(error) = overlay.await {
            tracing::error!(%error, "the task of the swarm failed");
        }
    }
}

fn create_state(path: &Path) -> Result<()> {
    private::create_directory(path).map_err(|source| Error::from(source).backend(NAME).with("state", path.display()))
}
