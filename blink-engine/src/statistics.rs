//! Statistics of a call by participant.

use std::time::Duration;

use blink_api::{Endpoint, SessionStats};
use serde::Serialize;

use blink_media::{AudioStatistics, ReceivedVideo};
use blink_proto::call::ClockSync;

/// Statistics of one participant: those of the path since it was opened, those of its audio since
/// it was first heard in the call.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct ParticipantStatistics {
    /// The participant.
    pub participant: Endpoint,
    /// Statistics of the path.
    pub session: SessionStats,
    /// Statistics of its audio: jitter buffer, concealment and playout.
    pub audio: AudioStatistics,
    /// Interarrival jitter of its audio packets (RFC 3550 §6.4.1); `None` before the first one.
    pub jitter: Option<Duration>,
    /// Statistics of its video streams that are received, since they began to flow on this path.
    pub video: Vec<ReceivedVideo>,
    /// Offset of its clock from this device's; `None` before the first measurement.
    pub clock: Option<ClockSync>,
    /// Codec of the audio sent to it.
    pub codec: String,
    /// Statistics of the media sent to it, from its reports.
    pub sending: SendingStatistics,
}

/// Statistics of the media sent to a participant, from its reports.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
#[non_exhaustive]
pub struct SendingStatistics {
    /// Fraction of the microphone's packets lost on the way in the newest report, 0.0 to 1.0.
    pub loss: f32,
    /// Mean length of a loss burst in packets; 1.0 without losses.
    pub burst: f32,
    /// Maximum bitrate of audio on this path in bits per second; `None` before the first report.
    pub audio_bitrate: Option<u32>,
    /// Estimated bandwidth of the path in bits per second, headers included.
    pub path_bitrate: u64,
    /// Video frames dropped because the path's bandwidth did not suffice.
    pub frames_dropped: u64,
}
