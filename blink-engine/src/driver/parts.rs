//! The parts that an engine is made of.

use std::sync::Arc;

use blink_api::{AudioCodec, AudioProcessorFactory, Clock, MediaHost, Recorder, Settings, Signaling, Transport};
use blink_media::CallAudio;
use blink_media::video::PayloadFormats;

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

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
    pub(crate) recorders: Vec<NamedRecorder>,
    /// Payload formats of video.
    pub(crate) payload_formats: PayloadFormats,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) settings: Settings,
    pub(crate) workers: WorkerHost,
    /// Seed of all randomness beside that of the call machine and the envelopes.
    pub(crate) seed: [u8; 32],
}

/// A recorder with its name in the configuration.
pub(crate) type NamedRecorder = (String, Arc<dyn Recorder>);

/// Uses of randomness, each with a generator of its own.
#[derive(Debug, Clone, Copy)]
pub(crate) enum RandomUse {
    /// Ids and first timestamps of offered streams.
    Streams,
    /// Media of calls.
    Media,
    /// Ids of recordings.
    Recordings,
}

impl Parts {
    /// The generator for one use.
    pub(crate) fn random(&self, used_for: RandomUse) -> ChaCha8Rng {
        let mut random = ChaCha8Rng::from_seed(self.seed);
        random.set_stream(used_for as u64);
        random
    }
}
