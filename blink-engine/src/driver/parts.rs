//! The parts that an engine is made of.

use std::sync::Arc;

use blink_api::{AudioCodec, AudioProcessorFactory, Clock, MediaHost, Settings, Signaling, Transport};
use blink_media::CallAudio;

use super::worker_host::WorkerHost;

/// The parts of an engine, chosen by configuration or given by the integrator.
#[derive(Clone)]
pub(crate) struct Parts {
    pub(crate) transport: Arc<dyn Transport>,
    pub(crate) signaling: Arc<dyn Signaling>,
    /// The preferred one first.
    pub(crate) codecs: Vec<Arc<dyn AudioCodec>>,
    /// How audio is sent and received unless a call says otherwise.
    pub(crate) audio: CallAudio,
    /// Names and hosts, the preferred one first.
    pub(crate) media_hosts: Vec<(String, Arc<dyn MediaHost>)>,
    pub(crate) processors: Vec<Arc<dyn AudioProcessorFactory>>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) settings: Settings,
    pub(crate) workers: WorkerHost,
}
