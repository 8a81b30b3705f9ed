//! A transport whose packets go through an [`ImpairedNetwork`].

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use blink_api::macros::async_trait;
use blink_api::{
    Candidate, Result, Session, SessionConfig, SessionEvent, SessionEvents, Transport, TransportCapabilities,
};
use tokio::sync::mpsc;

use super::network::{Device, ImpairedNetwork};
use super::{Cut, telling};
use crate::forwarding::ForwardingSession;

/// Events that wait for a slow reader, as many as a session's own.
const QUEUE: usize = 1_024;

/// Any transport, as one device on an [`ImpairedNetwork`].
///
/// Addresses are replaced both in what a session tells and in what it is told, so that it suffices
/// where one side of a connection is on the network. Candidates with names instead of addresses
/// would lead past the network and are left out.
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

    /// Cuts the device off, in the network; [`Cut::None`] heals it. What is under way is lost.
    pub fn cut(&self, cut: Cut) {
        self.place.network.cut(self.place.device, cut);
    }

    /// The device has another address: nothing passes to or from those that it told up to now.
    /// Those that it tells from now on work.
    pub fn change_address(&self) {
        self.place.network.move_on(self.place.device);
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
        // It ends with the session's events, which end after the session.
        tokio::spawn(forward(Arc::clone(&addresses), events, queue));
        Ok((Box::new(ImpairedSession { inner, addresses }), outer))
    }
}

/// The addresses of one session.
struct Addresses {
    place: Place,
    used: Mutex<Vec<SocketAddr>>,
}

impl Addresses {
    /// What is told of an own address; one that cannot be relayed is not told.
    fn tell(&self, address: SocketAddr) -> Option<SocketAddr> {
        let told = self.place.network.tell(self.place.device, address);
        self.used().push(address);
        told.inspect_err(|error| tracing::warn!(%error, "an address cannot be impaired")).ok()
    }

    /// What the session is given for an address of the other side.
    fn stand_in(&self, address: SocketAddr) -> Option<SocketAddr> {
        let stands_in = self.place.network.stand_in(address);
        if stands_in.as_ref().is_ok_and(|stands_in| *stands_in != address) {
            self.used().push(address);
        }
        stands_in.inspect_err(|error| tracing::warn!(%error, "an address cannot be impaired")).ok()
    }

    fn told(&self, sdp: &str) -> String {
        telling::description(sdp, &mut |address| self.tell(address))
    }

    fn given(&self, sdp: &str) -> String {
        telling::description(sdp, &mut |address| self.stand_in(address))
    }

    fn used(&self) -> MutexGuard<'_, Vec<SocketAddr>> {
        self.used.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Addresses {
    fn drop(&mut self) {
        let used = std::mem::take(&mut *self.used());
        self.place.network.forget(&used);
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
        Ok(self.addresses.told(&sdp))
    }

    async fn accept_offer(&self, sdp: &str) -> Result<String> {
        let answer = self.inner.accept_offer(&self.addresses.given(sdp)).await?;
        Ok(self.addresses.told(&answer))
    }

    async fn accept_answer(&self, sdp: &str) -> Result<()> {
        self.inner.accept_answer(&self.addresses.given(sdp)).await
    }

    async fn add_candidate(&self, candidate: &Candidate) -> Result<()> {
        let given = telling::candidate(&candidate.attribute, &mut |address| self.addresses.stand_in(address));
        // What is no candidate with an address is the transport's to judge.
        let attribute = given.unwrap_or_else(|| candidate.attribute.clone());
        self.inner.add_candidate(&Candidate { attribute, mid: candidate.mid.clone() }).await
    }
}

crate::forwards!(Session for ImpairedSession);

/// Passes events on, candidates with the addresses that stand for theirs.
async fn forward(addresses: Arc<Addresses>, mut events: SessionEvents, queue: mpsc::Sender<SessionEvent>) {
    while let Some(event) = events.recv().await {
        let event = match event {
            SessionEvent::LocalCandidate(candidate) => {
                let told = telling::candidate(&candidate.attribute, &mut |address| addresses.tell(address));
                let Some(attribute) = told else { continue };
                SessionEvent::LocalCandidate(Candidate { attribute, ..candidate })
            }
            event => event,
        };
        if queue.send(event).await.is_err() {
            return;
        }
    }
}
