//! Transport and signaling backend that capture secrets, which must not be logged.

use std::sync::{Arc, Mutex};

use blink_api::macros::async_trait;
use blink_api::{
    Candidate, Result, Session, SessionConfig, SessionEvents, Signaling, Topic, Transport, TransportCapabilities,
};
use blink_conformance::forwarding::{ForwardingSession, ForwardingSignaling};
use bytes::Bytes;

/// Captured data.
#[derive(Clone, Default)]
pub(super) struct CapturedSecrets(Arc<Mutex<Captures>>);

#[derive(Default)]
struct Captures {
    descriptions: Vec<String>,
    candidates: Vec<String>,
    messages: Vec<(Topic, Bytes)>,
}

impl CapturedSecrets {
    /// Created and received session descriptions.
    pub(super) fn descriptions(&self) -> Vec<String> {
        self.captures(|captures| captures.descriptions.clone())
    }

    /// Candidates of the remote side.
    pub(super) fn candidates(&self) -> Vec<String> {
        self.captures(|captures| captures.candidates.clone())
    }

    /// Published messages, with their topics.
    pub(super) fn messages(&self) -> Vec<(Topic, Bytes)> {
        self.captures(|captures| captures.messages.clone())
    }

    fn describe(&self, sdp: &str) {
        self.captures(|captures| captures.descriptions.push(sdp.to_owned()));
    }

    fn captures<T>(&self, take: impl FnOnce(&mut Captures) -> T) -> T {
        take(&mut self.0.lock().expect("no thread panics while it holds the lock"))
    }
}

/// Transport that captures every description.
pub(super) struct CapturingTransport {
    pub(super) inner: Arc<dyn Transport>,
    pub(super) captured: CapturedSecrets,
}

#[async_trait]
impl Transport for CapturingTransport {
    fn capabilities(&self) -> TransportCapabilities {
        self.inner.capabilities()
    }

    async fn open(&self, config: SessionConfig) -> Result<(Box<dyn Session>, SessionEvents)> {
        let (inner, events) = self.inner.open(config).await?;
        Ok((Box::new(CapturingSession { inner, captured: self.captured.clone() }), events))
    }
}

struct CapturingSession {
    inner: Box<dyn Session>,
    captured: CapturedSecrets,
}

#[async_trait]
impl ForwardingSession for CapturingSession {
    fn behind(&self) -> &dyn Session {
        &*self.inner
    }

    async fn create_offer(&self, ice_restart: bool) -> Result<String> {
        let offer = self.inner.create_offer(ice_restart).await?;
        self.captured.describe(&offer);
        Ok(offer)
    }

    async fn accept_offer(&self, sdp: &str) -> Result<String> {
        self.captured.describe(sdp);
        let answer = self.inner.accept_offer(sdp).await?;
        self.captured.describe(&answer);
        Ok(answer)
    }

    async fn accept_answer(&self, sdp: &str) -> Result<()> {
        self.captured.describe(sdp);
        self.inner.accept_answer(sdp).await
    }

    async fn add_candidate(&self, candidate: &Candidate) -> Result<()> {
        self.captured.captures(|captures| captures.candidates.push(candidate.attribute.clone()));
        self.inner.add_candidate(candidate).await
    }
}

blink_conformance::forwards!(Session for CapturingSession);

/// Signaling backend that captures every message.
pub(super) struct CapturingSignaling {
    pub(super) inner: Arc<dyn Signaling>,
    pub(super) captured: CapturedSecrets,
}

#[async_trait]
impl ForwardingSignaling for CapturingSignaling {
    fn behind(&self) -> &dyn Signaling {
        &*self.inner
    }

    async fn publish(&self, topic: &Topic, message: Bytes) -> Result<()> {
        self.captured.captures(|captures| captures.messages.push((*topic, message.clone())));
        self.inner.publish(topic, message).await
    }
}

blink_conformance::forwards!(Signaling for CapturingSignaling);
