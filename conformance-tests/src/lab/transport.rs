//! A transport as an engine of the lab sees it: the real one, behind its [`Line`].

use std::sync::Arc;
use std::sync::atomic::Ordering;

use blink_api::macros::async_trait;
use blink_api::{Result, Session, SessionConfig, SessionEvents, Transport, TransportCapabilities};

use super::core::Core;
use super::line::Line;
use super::session::{GatedRtp, LineSession};

pub(crate) struct LineTransport {
    inner: Arc<dyn Transport>,
    line: Arc<Line>,
    core: Arc<Core>,
}

impl LineTransport {
    pub(crate) fn new(inner: Arc<dyn Transport>, line: Arc<Line>, core: Arc<Core>) -> Self {
        Self { inner, line, core }
    }
}

#[async_trait]
impl Transport for LineTransport {
    fn capabilities(&self) -> TransportCapabilities {
        self.inner.capabilities()
    }

    async fn open(&self, mut config: SessionConfig) -> Result<(Box<dyn Session>, SessionEvents)> {
        let gate = Arc::new(GatedRtp::new(config.rtp));
        config.rtp = gate.clone();
        let (session, events) = self.inner.open(config).await?;
        self.line.sessions_opened.fetch_add(1, Ordering::Relaxed);
        let (session, events) = LineSession::start((session, events), &gate, self.line.clone(), self.core.clone());
        Ok((Box::new(session), events))
    }
}
