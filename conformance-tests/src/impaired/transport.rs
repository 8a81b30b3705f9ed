//! Transport whose packets pass an [`ImpairedNetwork`].

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use blink_api::macros::async_trait;
use blink_api::{
    Candidate, Result, Session, SessionConfig, SessionEvent, SessionEvents, Transport, TransportCapabilities,
};
use tokio::sync::mpsc;

use super::network::{Device, ImpairedNetwork};
use super::{Cut, address_rewrite};
use crate::forwarding::ForwardingSession;

/// Capacity of the event queue, the same as a session's own.
const QUEUE: usize = 1_024;

/// Decorates a transport as one device on an [`ImpairedNetwork`].
///
/// Addresses are replaced in local and in remote descriptions and candidates, so that one side of a
/// connection on the network suffices. Candidates with names instead of addresses would bypass the
/// network and are removed.
pub struct ImpairedTransport {
    inner: Arc<dyn Transport>,
    place: Place,
}

/// A device on its network.
#[derive(Clone)]
struct Place {
    network: Arc<ImpairedNetwork>,
    device: Device,
}

impl ImpairedTransport {
    /// A transport on a network.
    pub fn new(inner: Arc<dyn Transport>, network: &Arc<ImpairedNetwork>) -> Self {
        let place = Place { network: Arc::clone(network), device: network.add_device() };
        Self { inner, place }
    }

    /// Cuts the device's traffic; [`Cut::None`] restores it. Datagrams in flight are lost.
    pub fn cut(&self, cut: Cut) {
        self.place.network.cut(self.place.device, cut);
    }

    /// Changes the device's external addresses: datagrams to and from those signaled so far are
    /// dropped, and addresses signaled from now on work.
    pub fn change_address(&self) {
        self.place.network.retire_addresses(self.place.device);
    }
}

#[async_trait]
impl Transport for ImpairedTransport {
    fn capabilities(&self) -> TransportCapabilities {
        self.inner.capabilities()
    }

    async fn open(&self, config: SessionConfig) -> Result<(Box<dyn Session>, SessionEvents)> {
        let (inner, events) = self.inner.open(config).await?;
        let addresses = Arc::new(Addresses { place: self.place.clone(), used: Mutex::default() });
        let (queue, outer) = mpsc::channel(QUEUE);
        // The task ends with the session's events.
        tokio::spawn(forward(Arc::clone(&addresses), events, queue));
        Ok((Box::new(ImpairedSession { inner, addresses }), outer))
    }
}

/// Addresses of one session, released when it ends.
struct Addresses {
    place: Place,
    used: Mutex<Vec<SocketAddr>>,
}

impl Addresses {
    /// External address of a local one; `None` if it cannot be relayed.
    fn external_address(&self, address: SocketAddr) -> Option<SocketAddr> {
        let external = self.place.network.external_address(self.place.device, address);
        self.used().push(address);
        external.inspect_err(|error| tracing::warn!(%error, "an address cannot be impaired")).ok()
    }

    /// Address that the session uses for a remote one; `None` if it cannot be relayed.
    fn mapped(&self, address: SocketAddr) -> Option<SocketAddr> {
        let mapped = self.place.network.mapped(address);
        if mapped.as_ref().is_ok_and(|mapped| *mapped != address) {
            self.used().push(address);
        }
        mapped.inspect_err(|error| tracing::warn!(%error, "an address cannot be impaired")).ok()
    }

    /// Local description with external addresses.
    fn local_description(&self, sdp: &str) -> String {
        address_rewrite::description(sdp, &mut |address| self.external_address(address))
    }

    /// Remote description with mapped addresses.
    fn remote_description(&self, sdp: &str) -> String {
        address_rewrite::description(sdp, &mut |address| self.mapped(address))
    }

    fn used(&self) -> MutexGuard<'_, Vec<SocketAddr>> {
        self.used.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Addresses {
    fn drop(&mut self) {
        let used = std::mem::take(&mut *self.used());
        self.place.network.release(&used);
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
        Ok(self.addresses.local_description(&sdp))
    }

    async fn accept_offer(&self, sdp: &str) -> Result<String> {
        let answer = self.inner.accept_offer(&self.addresses.remote_description(sdp)).await?;
        Ok(self.addresses.local_description(&answer))
    }

    async fn accept_answer(&self, sdp: &str) -> Result<()> {
        self.inner.accept_answer(&self.addresses.remote_description(sdp)).await
    }

    async fn add_candidate(&self, candidate: &Candidate) -> Result<()> {
        let mapped = address_rewrite::candidate(&candidate.attribute, &mut |address| self.addresses.mapped(address));
        // The transport judges input that is not a candidate with an address.
        let attribute = mapped.unwrap_or_else(|| candidate.attribute.clone());
        self.inner.add_candidate(&Candidate { attribute, mid: candidate.mid.clone() }).await
    }
}

crate::forwards!(Session for ImpairedSession);

/// Forwards events, with external addresses in candidates.
async fn forward(addresses: Arc<Addresses>, mut events: SessionEvents, queue: mpsc::Sender<SessionEvent>) {
    while let Some(event) = events.recv().await {
        let event = match event {
            SessionEvent::LocalCandidate(candidate) => {
                let external = address_rewrite::candidate(&candidate.attribute, &mut |address| {
                    addresses.external_address(address)
                });
                let Some(attribute) = external else { continue };
                SessionEvent::LocalCandidate(Candidate { attribute, ..candidate })
            }
            event => event,
        };
        if queue.send(event).await.is_err() {
            return;
        }
    }
}
