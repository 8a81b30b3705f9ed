//! A transport and a signaling backend that note what passes through them and must not be logged.

use std::sync::{Arc, Mutex};

use blink_api::macros::async_trait;
use blink_api::{
    Candidate, Result, Session, SessionConfig, SessionEvents, Signaling, Topic, Transport, TransportCapabilities,
};
use blink_conformance::forwarding::{ForwardingSession, ForwardingSignaling};
use bytes::Bytes;

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
impl ForwardingSession for ListeningSession {
    fn behind(&self) -> &dyn Session {
        &*self.inner
    }

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
}

blink_conformance::forwards!(Session for ListeningSession);

/// A signaling backend behind which every message is noted.
pub(super) struct ListeningSignaling {
    pub(super) inner: Arc<dyn Signaling>,
    pub(super) overheard: Overheard,
}

#[async_trait]
impl ForwardingSignaling for ListeningSignaling {
    fn behind(&self) -> &dyn Signaling {
        &*self.inner
    }

    async fn publish(&self, topic: &Topic, message: Bytes) -> Result<()> {
        self.overheard.notes(|notes| notes.letters.push((*topic, message.clone())));
        self.inner.publish(topic, message).await
    }
}

blink_conformance::forwards!(Signaling for ListeningSignaling);
