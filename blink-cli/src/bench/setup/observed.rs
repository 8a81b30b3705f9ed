//! Decorators of transport and signaling that note when something happens.

use std::sync::Arc;

use blink_api::macros::async_trait;
use blink_api::{
    Candidate, DeliveryQueue, Result, RtpIn, RtpOut, RtpSink, Session, SessionConfig, SessionEvent, SessionEvents,
    Signaling, Subscription, SubscriptionEvent, Topic, TrackId, Transport, TransportCapabilities, subscription,
};
use blink_conformance::forwarding::{ForwardingSession, ForwardingSignaling};
use blink_conformance::forwards;
use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};

use super::time_line::{Step, TimeLine};

/// Entries of a queue between a backend and the engine, as in the contract.
const QUEUE: usize = 1_024;

/// A transport whose sessions are observed.
pub(super) struct ObservedTransport {
    pub(super) inner: Arc<dyn Transport>,
    pub(super) line: TimeLine,
}

#[async_trait]
impl Transport for ObservedTransport {
    fn capabilities(&self) -> TransportCapabilities {
        self.inner.capabilities()
    }

    async fn open(&self, mut config: SessionConfig) -> Result<(Box<dyn Session>, SessionEvents)> {
        config.rtp = Arc::new(ObservedSink { inner: config.rtp, line: self.line.clone() });
        let (inner, mut events) = self.inner.open(config).await?;
        self.line.note(Step::SessionOpen);
        let (queue, outer) = mpsc::channel(QUEUE);
        let line = self.line.clone();
        // It ends with the session's events, which end after the session.
        tokio::spawn(async move {
            while let Some(event) = events.recv().await {
                match &event {
                    SessionEvent::Connected => line.note(Step::Connected),
                    SessionEvent::ChannelOpen { .. } => line.note(Step::ChannelOpen),
                    _ => {}
                }
                if queue.send(event).await.is_err() {
                    return;
                }
            }
        });
        Ok((Box::new(ObservedSession { inner, line: self.line.clone() }), outer))
    }
}

struct ObservedSink {
    inner: Arc<dyn RtpSink>,
    line: TimeLine,
}

impl RtpSink for ObservedSink {
    fn deliver(&self, packet: RtpIn) {
        self.line.note(Step::PacketReceived);
        self.inner.deliver(packet);
    }
}

struct ObservedSession {
    inner: Box<dyn Session>,
    line: TimeLine,
}

#[async_trait]
impl ForwardingSession for ObservedSession {
    fn behind(&self) -> &dyn Session {
        &*self.inner
    }

    async fn create_offer(&self, ice_restart: bool) -> Result<String> {
        let sdp = self.inner.create_offer(ice_restart).await;
        self.line.note(Step::OfferMade);
        sdp
    }

    async fn accept_offer(&self, sdp: &str) -> Result<String> {
        let answer = self.inner.accept_offer(sdp).await;
        self.line.note(Step::AnswerMade);
        answer
    }

    async fn accept_answer(&self, sdp: &str) -> Result<()> {
        let accepted = self.inner.accept_answer(sdp).await;
        self.line.note(Step::AnswerApplied);
        accepted
    }

    async fn add_candidate(&self, candidate: &Candidate) -> Result<()> {
        self.line.note(Step::CandidateAdded);
        self.inner.add_candidate(candidate).await
    }

    fn send_rtp(&self, track: TrackId, packet: RtpOut) -> Result<()> {
        self.line.note(Step::PacketSent);
        self.inner.send_rtp(track, packet)
    }
}

forwards!(Session for ObservedSession);

/// A signaling backend whose messages are observed.
pub(super) struct ObservedSignaling {
    pub(super) inner: Arc<dyn Signaling>,
    pub(super) line: TimeLine,
}

#[async_trait]
impl ForwardingSignaling for ObservedSignaling {
    fn behind(&self) -> &dyn Signaling {
        &*self.inner
    }

    async fn subscribe(&self, topic: &Topic) -> Result<Subscription> {
        let inner = self.inner.subscribe(topic).await?;
        let (closing, closed) = oneshot::channel::<()>();
        let (queue, outer) = subscription(QUEUE, move || drop(closing));
        let line = self.line.clone();
        tokio::spawn(async move {
            tokio::select! {
                () = pass_on(inner, queue, line) => {}
                // Dropped by its reader: so is the backend's own.
                _ = closed => {}
            }
        });
        Ok(outer)
    }

    async fn publish(&self, topic: &Topic, message: Bytes) -> Result<()> {
        let published = self.inner.publish(topic, message).await;
        self.line.note(Step::Published);
        published
    }
}

forwards!(Signaling for ObservedSignaling);

async fn pass_on(mut inner: Subscription, queue: DeliveryQueue, line: TimeLine) {
    while let Some(event) = inner.next().await {
        if let SubscriptionEvent::Delivery(delivery) = event {
            line.note(Step::Delivered);
            // What is lost, here and before, the engine repeats.
            queue.push(delivery).ok();
        }
    }
}
