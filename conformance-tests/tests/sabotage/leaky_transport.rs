//! The transport `str0m`, whose sessions send each payload in plain text too.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::{Mutex, PoisonError};

use blink_api::macros::async_trait;
use blink_api::{
    Candidate, Result, RtpOut, Session, SessionConfig, SessionEvents, TrackId, Transport, TransportCapabilities,
};
use blink_conformance::forwarding::ForwardingSession;
use blink_transport_str0m::{Str0mConfig, Str0mTransport};

pub(crate) struct Leaky {
    leaks: bool,
    inner: Str0mTransport,
}

impl Leaky {
    pub(crate) fn new(leaks: bool) -> Self {
        Self { leaks, inner: Str0mTransport::new(Str0mConfig::default()).expect("the defaults are valid") }
    }
}

#[async_trait]
impl Transport for Leaky {
    fn capabilities(&self) -> TransportCapabilities {
        self.inner.capabilities()
    }

    async fn open(&self, config: SessionConfig) -> Result<(Box<dyn Session>, SessionEvents)> {
        let (inner, events) = self.inner.open(config).await?;
        let socket = self.leaks.then(|| UdpSocket::bind("0.0.0.0:0").expect("a free port"));
        Ok((Box::new(LeakySession { inner, socket, addresses: Mutex::default() }), events))
    }
}

struct LeakySession {
    inner: Box<dyn Session>,
    /// Socket of what it leaks; `None` for a session without the fault.
    socket: Option<UdpSocket>,
    /// Addresses of the other side's candidates.
    addresses: Mutex<Vec<SocketAddr>>,
}

impl LeakySession {
    fn learn<'a>(&self, lines: impl Iterator<Item = &'a str>) {
        let mut addresses = self.addresses.lock().unwrap_or_else(PoisonError::into_inner);
        for line in lines.filter(|line| line.contains("candidate:") && line.contains("typ")) {
            let mut words = line.split_whitespace().skip(4);
            let ip = words.next().and_then(|word| word.parse::<IpAddr>().ok());
            let port = words.next().and_then(|word| word.parse().ok());
            if let (Some(ip), Some(port)) = (ip.filter(IpAddr::is_ipv4), port) {
                addresses.push(SocketAddr::new(ip, port));
            }
        }
    }
}

#[async_trait]
impl ForwardingSession for LeakySession {
    fn behind(&self) -> &dyn Session {
        &*self.inner
    }

    async fn accept_offer(&self, sdp: &str) -> Result<String> {
        self.learn(sdp.lines());
        self.inner.accept_offer(sdp).await
    }

    async fn accept_answer(&self, sdp: &str) -> Result<()> {
        self.learn(sdp.lines());
        self.inner.accept_answer(sdp).await
    }

    async fn add_candidate(&self, candidate: &Candidate) -> Result<()> {
        self.learn(std::iter::once(candidate.attribute.as_str()));
        self.inner.add_candidate(candidate).await
    }

    fn send_rtp(&self, track: TrackId, packet: RtpOut) -> Result<()> {
        if let Some(socket) = &self.socket {
            for address in self.addresses.lock().unwrap_or_else(PoisonError::into_inner).iter() {
                // A full buffer of the socket is no failure: packets follow each other.
                socket.send_to(&packet.payload, address).ok();
            }
        }
        self.inner.send_rtp(track, packet)
    }
}

blink_conformance::forwards!(Session for LeakySession);
