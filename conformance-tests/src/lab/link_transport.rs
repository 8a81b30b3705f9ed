//! Transport behind the [`Link`] of a participant.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use blink_api::macros::async_trait;
use blink_api::{Result, Session, SessionConfig, SessionEvents, Transport, TransportCapabilities};

use super::core::Core;
use super::link::Link;
use super::link_events::GatedRtp;
use super::link_session::LinkSession;

pub(crate) struct LinkTransport {
    inner: Arc<dyn Transport>,
    link: Arc<Link>,
    core: Arc<Core>,
}

impl LinkTransport {
    pub(crate) fn new(inner: Arc<dyn Transport>, link: Arc<Link>, core: Arc<Core>) -> Self {
        Self { inner, link, core }
    }
}

#[async_trait]
impl Transport for LinkTransport {
    fn capabilities(&self) -> TransportCapabilities {
        self.inner.capabilities()
    }

    async fn open(&self, mut config: SessionConfig) -> Result<(Box<dyn Session>, SessionEvents)> {
        let gate = Arc::new(GatedRtp::new(config.rtp));
        config.rtp = gate.clone();
        let (session, events) = self.inner.open(config).await?;
        self.link.sessions_opened.fetch_add(1, Ordering::Relaxed);
        let (session, events) = LinkSession::start((session, events), &gate, self.link.clone(), self.core.clone());
        Ok((Box::new(session), events))
    }
}
