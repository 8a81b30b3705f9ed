//! The configuration of the media of a call.

use blink_api::{Endpoint, QualitySettings};
use web_time::Instant;

use crate::call_audio::CallAudio;
use crate::call_clock::CallClock;
use crate::processors::Processors;
use crate::video::PayloadFormats;

/// The configuration of a [`CallMedia`](super::CallMedia).
#[derive(Debug)]
pub struct CallMediaConfig {
    /// This device.
    pub local: Endpoint,
    /// Codecs, frames, channels.
    pub audio: CallAudio,
    /// Preference of the jitter buffers, and thresholds of degraded quality.
    pub quality: QualitySettings,
    /// The processors of the microphone, in order.
    pub processors: Processors,
    /// Payload formats of video.
    pub payload_formats: PayloadFormats,
    /// The clock of the call.
    pub clock: CallClock,
    /// Ticks begin a multiple of [`TICK`](crate::TICK) after this, so that calls on one thread tick
    /// together; `None` for ticks that begin at once.
    pub tick_grid: Option<Instant>,
    /// Seed of the first sequence numbers and timestamps.
    pub seed: [u8; 32],
}
