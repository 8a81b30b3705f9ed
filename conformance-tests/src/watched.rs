//! Backends whose methods are recorded for the watchdog.

use std::sync::Arc;
use std::time::Duration;

use blink_api::macros::async_trait;
use blink_api::{
    Candidate, ChannelId, DeliveryId, Mid, Result, RtpOut, Session, SessionConfig, SessionEvents, SessionStats,
    Signaling, SignalingEvent, Subscription, Topic, TrackId, TrackKind, Transport, TransportCapabilities, Verdict,
};
use bytes::Bytes;
use tokio::sync::broadcast;

use crate::forwarding::{ForwardingSession, ForwardingSignaling};
use crate::watchdog::Progress;

/// Limits of the contract: see the section Timing of [`Signaling`] and [`Transport`].
const SIGNALING: Duration = Duration::from_secs(1);
const CONNECT: Duration = Duration::from_secs(30);
const SHUTDOWN: Duration = Duration::from_secs(5);
const CONTROL: Duration = Duration::from_secs(5);
const CLOSE: Duration = Duration::from_secs(2);
/// Limit of methods that never block, beyond the contract's 10 ms: the test's thread may have to
/// wait for a processor.
const AT_ONCE: Duration = Duration::from_millis(500);

/// A signaling backend that is watched.
pub(crate) struct WatchedSignaling {
    pub(crate) inner: Arc<dyn Signaling>,
    pub(crate) node: String,
    pub(crate) progress: Progress,
}

#[async_trait]
impl ForwardingSignaling for WatchedSignaling {
    fn behind(&self) -> &dyn Signaling {
        &*self.inner
    }

    async fn subscribe(&self, topic: &Topic) -> Result<Subscription> {
        let _running = self.progress.begin(&self.node, "Signaling::subscribe", SIGNALING);
        self.inner.subscribe(topic).await
    }

    async fn publish(&self, topic: &Topic, message: Bytes) -> Result<()> {
        let _running = self.progress.begin(&self.node, "Signaling::publish", SIGNALING);
        self.inner.publish(topic, message).await
    }

    async fn subscribers(&self, topic: &Topic) -> Result<usize> {
        let _running = self.progress.begin(&self.node, "Signaling::subscribers", SIGNALING);
        self.inner.subscribers(topic).await
    }

    fn report(&self, delivery: DeliveryId, verdict: Verdict) {
        let _running = self.progress.begin(&self.node, "Signaling::report", AT_ONCE);
        self.inner.report(delivery, verdict);
    }

    async fn connect(&self, address: &str) -> Result<()> {
        let _running = self.progress.begin(&self.node, "Signaling::connect", CONNECT);
        self.inner.connect(address).await
    }

    async fn addresses(&self) -> Result<Vec<String>> {
        let _running = self.progress.begin(&self.node, "Signaling::addresses", SIGNALING);
        self.inner.addresses().await
    }

    fn events(&self) -> broadcast::Receiver<SignalingEvent> {
        let _running = self.progress.begin(&self.node, "Signaling::events", AT_ONCE);
        self.inner.events()
    }

    async fn shutdown(&self) {
        let _running = self.progress.begin(&self.node, "Signaling::shutdown", SHUTDOWN);
        self.inner.shutdown().await;
    }
}

crate::forwards!(Signaling for WatchedSignaling);

/// A transport that is watched.
pub(crate) struct WatchedTransport {
    pub(crate) inner: Arc<dyn Transport>,
    pub(crate) side: String,
    pub(crate) progress: Progress,
}

#[async_trait]
impl Transport for WatchedTransport {
    fn capabilities(&self) -> TransportCapabilities {
        self.inner.capabilities()
    }

    async fn open(&self, config: SessionConfig) -> Result<(Box<dyn Session>, SessionEvents)> {
        let _running = self.progress.begin(&self.side, "Transport::open", CONTROL);
        let (inner, events) = self.inner.open(config).await?;
        let session = WatchedSession { inner, side: self.side.clone(), progress: self.progress.clone() };
        Ok((Box::new(session), events))
    }
}

struct WatchedSession {
    inner: Box<dyn Session>,
    side: String,
    progress: Progress,
}

#[async_trait]
impl ForwardingSession for WatchedSession {
    fn behind(&self) -> &dyn Session {
        &*self.inner
    }

    async fn create_offer(&self, ice_restart: bool) -> Result<String> {
        let _running = self.progress.begin(&self.side, "Session::create_offer", CONTROL);
        self.inner.create_offer(ice_restart).await
    }

    async fn accept_offer(&self, sdp: &str) -> Result<String> {
        let _running = self.progress.begin(&self.side, "Session::accept_offer", CONTROL);
        self.inner.accept_offer(sdp).await
    }

    async fn accept_answer(&self, sdp: &str) -> Result<()> {
        let _running = self.progress.begin(&self.side, "Session::accept_answer", CONTROL);
        self.inner.accept_answer(sdp).await
    }

    async fn add_candidate(&self, candidate: &Candidate) -> Result<()> {
        let _running = self.progress.begin(&self.side, "Session::add_candidate", CONTROL);
        self.inner.add_candidate(candidate).await
    }

    async fn add_track(&self, kind: TrackKind) -> Result<TrackId> {
        let _running = self.progress.begin(&self.side, "Session::add_track", CONTROL);
        self.inner.add_track(kind).await
    }

    async fn remove_track(&self, track: TrackId) -> Result<()> {
        let _running = self.progress.begin(&self.side, "Session::remove_track", CONTROL);
        self.inner.remove_track(track).await
    }

    async fn open_channel(&self, label: &str) -> Result<()> {
        let _running = self.progress.begin(&self.side, "Session::open_channel", CONTROL);
        self.inner.open_channel(label).await
    }

    async fn stats(&self) -> Result<SessionStats> {
        let _running = self.progress.begin(&self.side, "Session::stats", CONTROL);
        self.inner.stats().await
    }

    async fn close(&self) {
        let _running = self.progress.begin(&self.side, "Session::close", CLOSE);
        self.inner.close().await;
    }

    fn send_rtp(&self, track: TrackId, packet: RtpOut) -> Result<()> {
        let _running = self.progress.begin(&self.side, "Session::send_rtp", AT_ONCE);
        self.inner.send_rtp(track, packet)
    }

    fn request_keyframe(&self, mid: &Mid) -> Result<()> {
        let _running = self.progress.begin(&self.side, "Session::request_keyframe", AT_ONCE);
        self.inner.request_keyframe(mid)
    }

    fn send_data(&self, channel: ChannelId, message: Bytes) -> Result<()> {
        let _running = self.progress.begin(&self.side, "Session::send_data", AT_ONCE);
        self.inner.send_data(channel, message)
    }
}

crate::forwards!(Session for WatchedSession);
