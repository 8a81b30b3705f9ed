//! Audio levels for meters.

use blink_api::{AudioLevel, Endpoint};

use blink_media::ParticipantLevel;

/// Audio levels of the current call, as [`Blink::levels`](crate::Blink::levels) publishes them;
/// empty without a call.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Levels(Vec<ParticipantLevel>);

impl Levels {
    /// The level of a participant's microphone, or of this device's own; `None` where there is
    /// none.
    pub fn of(&self, participant: &Endpoint) -> Option<AudioLevel> {
        self.0.iter().find(|level| level.participant == *participant).map(|level| level.level)
    }

    /// All levels, this device's own first.
    pub fn iter(&self) -> impl Iterator<Item = (Endpoint, AudioLevel)> {
        self.0.iter().map(|level| (level.participant, level.level))
    }

    /// Whether there are none: there is no call.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Replaces all levels. Returns whether they are other ones.
    pub(crate) fn replace(&mut self, levels: &[ParticipantLevel]) -> bool {
        let is_other = self.0 != levels;
        self.0.clear();
        self.0.extend_from_slice(levels);
        is_other
    }
}
