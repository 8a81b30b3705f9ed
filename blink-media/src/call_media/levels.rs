//! Audio levels of a call, for meters.

use blink_api::{AudioLevel, Endpoint};

/// Level of a participant's microphone, or of this device's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ParticipantLevel {
    /// The participant.
    pub participant: Endpoint,
    /// The loudest level since the last reading. A participant's is the one that it sent (RFC
    /// 6464), before the volume; this device's own is measured before muting.
    pub level: AudioLevel,
}
