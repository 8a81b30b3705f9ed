//! Figures of a call, by participant.

use blink_api::{Endpoint, SessionStats};
use serde::Serialize;

use crate::call::ClockSync;
use crate::media::AudioStatistics;

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
    /// The codec sound is sent with.
    pub codec: String,
}
