//! A transport and a signaling backend that note what passes through them and must not be logged.

use std::sync::{Arc, Mutex};

use blink_api::macros::async_trait;
use blink_api::{
    Candidate, ChannelId, CodecName, DeliveryId, Mid, Result, RtpOut, Session, SessionConfig, SessionEvents,
    SessionStats, Signaling, SignalingCapabilities, SignalingEvent, Subscription, Topic, TrackId, TrackKind, Transport,
    TransportCapabilities, Verdict,
};
use bytes::Bytes;
use tokio::sync::broadcast;

/// What was overheard.
#[derive(Clone, Default)]
pub(super) struct Overheard(Arc<Mutex<Notes>>);

#[derive(Default)]
struct Notes {
    descriptions: Vec<String>,
    candidates: Vec<String>,
    letters: Vec<(Topic, Bytes)>,
}

impl Overheard {
    /// Session descriptions, made and received.
    pub(super) fn descriptions(&self) -> Vec<String> {
        self.notes(|notes| notes.descriptions.clone())
    }

    /// Candidates of the other side, as they came.
    pub(super) fn candidates(&self) -> Vec<String> {
        self.notes(|notes| notes.candidates.clone())
    }

    /// What was published, and where.
    pub(super) fn letters(&self) -> Vec<(Topic, Bytes)> {
        self.notes(|notes| notes.letters.clone())
    }

    fn describe(&self, sdp: &str) {
        self.notes(|notes| notes.descriptions.push(sdp.to_owned()));
    }

    fn notes<T>(&self, take: impl FnOnce(&mut Notes) -> T) -> T {
        take(&mut self.0.lock().expect("nobody panics while noting"))
    }
}

/// A transport behind which every description is noted.
pub(super) struct ListeningTransport {
    pub(super) inner: Arc<dyn Transport>,
    pub(super) overheard: Overheard,
}

#[async_trait]
impl Transport for ListeningTransport {
    fn capabilities(&self) -> TransportCapabilities {
        self.inner.capabilities()
    }

    async fn open(&self, config: SessionConfig) -> Result<(Box<dyn Session>, SessionEvents)> {
        let (inner, events) = self.inner.open(config).await?;
        Ok((Box::new(ListeningSession { inner, overheard: self.overheard.clone() }), events))
    }
}

struct ListeningSession {
    inner: Box<dyn Session>,
    overheard: Overheard,
}

#[async_trait]
impl Session for ListeningSession {
    async fn create_offer(&self, ice_restart: bool) -> Result<String> {
        let offer = self.inner.create_offer(ice_restart).await?;
        self.overheard.describe(&offer);
        Ok(offer)
    }

    async fn accept_offer(&self, sdp: &str) -> Result<String> {
        self.overheard.describe(sdp);
        let answer = self.inner.accept_offer(sdp).await?;
        self.overheard.describe(&answer);
        Ok(answer)
    }

    async fn accept_answer(&self, sdp: &str) -> Result<()> {
        self.overheard.describe(sdp);
        self.inner.accept_answer(sdp).await
    }

    async fn add_candidate(&self, candidate: &Candidate) -> Result<()> {
        self.overheard.notes(|notes| notes.candidates.push(candidate.attribute.clone()));
        self.inner.add_candidate(candidate).await
    }

    async fn add_track(&self, kind: TrackKind) -> Result<TrackId> {
        self.inner.add_track(kind).await
    }

    async fn remove_track(&self, track: TrackId) -> Result<()> {
        self.inner.remove_track(track).await
    }

    fn mid(&self, track: TrackId) -> Option<Mid> {
        self.inner.mid(track)
    }

    fn codecs(&self, track: TrackId) -> Vec<CodecName> {
        self.inner.codecs(track)
    }

    fn send_rtp(&self, track: TrackId, packet: RtpOut) -> Result<()> {
        self.inner.send_rtp(track, packet)
    }

    fn request_keyframe(&self, mid: &Mid) -> Result<()> {
        self.inner.request_keyframe(mid)
    }

    async fn open_channel(&self, label: &str) -> Result<()> {
        self.inner.open_channel(label).await
    }

    fn send_data(&self, channel: ChannelId, message: Bytes) -> Result<()> {
        self.inner.send_data(channel, message)
    }

    async fn stats(&self) -> Result<SessionStats> {
        self.inner.stats().await
    }

    async fn close(&self) {
        self.inner.close().await;
    }
}

/// A signaling backend behind which every message is noted.
pub(super) struct ListeningSignaling {
    pub(super) inner: Arc<dyn Signaling>,
    pub(super) overheard: Overheard,
}

#[async_trait]
impl Signaling for ListeningSignaling {
    fn capabilities(&self) -> SignalingCapabilities {
        self.inner.capabilities()
    }

    async fn subscribe(&self, topic: &Topic) -> Result<Subscription> {
        self.inner.subscribe(topic).await
    }

    async fn publish(&self, topic: &Topic, message: Bytes) -> Result<()> {
        self.overheard.notes(|notes| notes.letters.push((*topic, message.clone())));
        self.inner.publish(topic, message).await
    }

    async fn subscribers(&self, topic: &Topic) -> Result<usize> {
        self.inner.subscribers(topic).await
    }

    fn report(&self, delivery: DeliveryId, verdict: Verdict) {
        self.inner.report(delivery, verdict);
    }

    async fn connect(&self, address: &str) -> Result<()> {
        self.inner.connect(address).await
    }

    async fn addresses(&self) -> Result<Vec<String>> {
        self.inner.addresses().await
    }

    fn events(&self) -> broadcast::Receiver<SignalingEvent> {
        self.inner.events()
    }

    async fn shutdown(&self) {
        self.inner.shutdown().await;
    }
}
