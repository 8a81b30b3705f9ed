//! A transport whose packets go through an [`ImpairedNetwork`].

use std::fmt;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use blink_api::macros::async_trait;
use blink_api::{
    Candidate, Result, Session, SessionConfig, SessionEvent, SessionEvents, Transport, TransportCapabilities,
};
use tokio::sync::mpsc;

use super::network::{Device, ImpairedNetwork};
use super::{Cut, rewrite};
use crate::forwarding::ForwardingSession;

/// Events that wait for a slow reader, as many as a session's own.
const QUEUE: usize = 1_024;

/// Any transport, as one device on an [`ImpairedNetwork`].
///
/// Addresses are replaced in local and remote descriptions and candidates, so that one side of a
/// connection on the network suffices. Candidates with names instead of addresses would bypass the
/// network and are dropped.
pub struct ImpairedTransport {
    inner: Arc<dyn Transport>,
    attachment: Attachment,
}

impl fmt::Debug for ImpairedTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ImpairedTransport").finish_non_exhaustive()
    }
}

/// A device on its network.
#[derive(Clone)]
struct Attachment {
    network: Arc<ImpairedNetwork>,
    device: Device,
}

impl ImpairedTransport {
    /// A transport on a network.
    pub fn new(inner: Arc<dyn Transport>, network: &Arc<ImpairedNetwork>) -> Self {
        let attachment = Attachment { network: Arc::clone(network), device: network.add_device() };
        Self { inner, attachment }
    }

    /// Cuts the device off the network; [`Cut::None`] heals it. Packets on their way are lost.
    pub fn cut(&self, cut: Cut) {
        self.attachment.network.cut(self.attachment.device, cut);
    }

    /// Changes the device's address: all packets to and from the addresses that it has signaled are
    /// dropped. Addresses that it signals from now on work.
    pub fn change_address(&self) {
        self.attachment.network.move_on(self.attachment.device);
    }
}

#[async_trait]
impl Transport for ImpairedTransport {
    fn capabilities(&self) -> TransportCapabilities {
        self.inner.capabilities()
    }

    async fn open(&self, config: SessionConfig) -> Result<(Box<dyn Session>, SessionEvents)> {
        let (inner, events) = self.inner.open(config).await?;
        let addresses = Arc::new(Addresses { attachment: self.attachment.clone(), used: Mutex::default() });
        let (queue, outer) = mpsc::channel(QUEUE);
        // It ends with the session's events, which end after the session.
        tokio::spawn(forward(Arc::clone(&addresses), events, queue));
        Ok((Box::new(ImpairedSession { inner, addresses }), outer))
    }
}

/// The addresses of one session.
struct Addresses {
    attachment: Attachment,
    used: Mutex<Vec<SocketAddr>>,
}

impl Addresses {
    /// The alias to signal for a local address; `None` for one that cannot be relayed.
    fn local_alias(&self, address: SocketAddr) -> Option<SocketAddr> {
        let alias = self.attachment.network.local_alias(self.attachment.device, address);
        self.used().push(address);
        alias.inspect_err(|error| tracing::warn!(%error, "an address cannot be impaired")).ok()
    }

    /// The address to give to the session for a remote one.
    fn remote_alias(&self, address: SocketAddr) -> Option<SocketAddr> {
        let alias = self.attachment.network.remote_alias(address);
        if alias.as_ref().is_ok_and(|alias| *alias != address) {
            self.used().push(address);
        }
        alias.inspect_err(|error| tracing::warn!(%error, "an address cannot be impaired")).ok()
    }

    /// A local description with aliases.
    fn local(&self, sdp: &str) -> String {
        rewrite::description(sdp, &mut |address| self.local_alias(address))
    }

    /// A remote description with aliases.
    fn remote(&self, sdp: &str) -> String {
        rewrite::description(sdp, &mut |address| self.remote_alias(address))
    }

    fn used(&self) -> MutexGuard<'_, Vec<SocketAddr>> {
        self.used.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Addresses {
    fn drop(&mut self) {
        let used = std::mem::take(&mut *self.used());
        self.attachment.network.remove(&used);
    }
}

/// A session of an impaired transport.
struct ImpairedSession {
    inner: Box<dyn Session>,
    addresses: Arc<Addresses>,
}

#[async_trait]
impl ForwardingSession for ImpairedSession {
    fn behind(&self) -> &dyn Session {
        &*self.inner
    }

    async fn create_offer(&self, ice_restart: bool) -> Result<String> {
        let sdp = self.inner.create_offer(ice_restart).await?;
        Ok(self.addresses.local(&sdp))
    }

    async fn accept_offer(&self, sdp: &str) -> Result<String> {
        let answer = self.inner.accept_offer(&self.addresses.remote(sdp)).await?;
        Ok(self.addresses.local(&answer))
    }

    async fn accept_answer(&self, sdp: &str) -> Result<()> {
        self.inner.accept_answer(&self.addresses.remote(sdp)).await
    }

    async fn add_candidate(&self, candidate: &Candidate) -> Result<()> {
        let rewritten = rewrite::candidate(&candidate.attribute, &mut |address| self.addresses.remote_alias(address));
        // Text without an address is left to the transport, which accepts or rejects it.
        let attribute = rewritten.unwrap_or_else(|| candidate.attribute.clone());
        self.inner.add_candidate(&Candidate { attribute, mid: candidate.mid.clone() }).await
    }
}

crate::forwards!(Session for ImpairedSession);

/// Forwards events, candidates with their aliases.
async fn forward(addresses: Arc<Addresses>, mut events: SessionEvents, queue: mpsc::Sender<SessionEvent>) {
    while let Some(event) = events.recv().await {
        let event = match event {
            SessionEvent::LocalCandidate(candidate) => {
                let rewritten = rewrite::candidate(&candidate.attribute, &mut |address| addresses.local_alias(address));
                let Some(attribute) = rewritten else { continue };
                SessionEvent::LocalCandidate(Candidate { attribute, ..candidate })
            }
            event => event,
        };
        if queue.send(event).await.is_err() {
            return;
        }
    }
}
