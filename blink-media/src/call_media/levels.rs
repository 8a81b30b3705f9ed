//! Audio levels of a call, for meters.

use blink_api::{AudioLevel, Endpoint};

use super::CallMedia;

/// Level of a participant's microphone, or of this device's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ParticipantLevel {
    /// The participant.
    pub participant: Endpoint,
    /// The loudest level since the last reading. A participant's is the one that it sent (RFC
    /// 6464), before the volume; this device's own is measured before muting.
    pub level: AudioLevel,
}

impl CallMedia {
    /// Replaces the content of `levels` by the levels since the last call: this device's own first,
    /// then those of the participants whose microphones are received. Allocates nothing where
    /// `levels` has room.
    pub fn take_levels(&mut self, levels: &mut Vec<ParticipantLevel>) {
        levels.clear();
        levels.push(ParticipantLevel { participant: self.local, level: self.microphone.take_level() });
        self.speaker.take_levels(levels);
    }
}
