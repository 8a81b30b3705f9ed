//! Figures of a call, by participant.

use blink_api::{Endpoint, SessionStats};
use serde::Serialize;

use blink_media::AudioStatistics;
use blink_proto::call::ClockSync;

/// One participant's figures since its path was opened.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ParticipantStatistics {
    /// Who.
    pub participant: Endpoint,
    /// The path's.
    pub session: SessionStats,
    /// What became of its sound here.
    pub audio: AudioStatistics,
    /// How its clock stands against this device's; `None` before that was measured.
    pub clock: Option<ClockSync>,
    /// The codec that sound is sent to it with.
    pub codec: String,
    /// How what is sent to it fares, as it told.
    pub sending: SendingStatistics,
}

/// How what is sent to a participant fares.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub struct SendingStatistics {
    /// The share of the microphone's packets that were lost on the way, in the newest report; 0.0
    /// to 1.0.
    pub loss: f32,
    /// How many were lost in a row, on average; 1.0 where none were.
    pub burst: f32,
    /// Most bits per second that sound may take on this path; `None` before the first report.
    pub audio_bitrate: Option<u32>,
    /// What the path is taken to carry, in bits per second, headers included.
    pub path_bitrate: u64,
    /// Video frames that were dropped because the path had no room for them.
    pub frames_dropped: u64,
}
