//! Voice activity of one endpoint.

/// Voice activity: as media detects it, and as the user was told.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Voice {
    detected: bool,
    speaking: bool,
}

impl Voice {
    /// Records a report of media.
    pub(super) fn set_detected(&mut self, detected: bool) {
        self.detected = detected;
    }

    /// Whether media detects voice activity.
    pub(super) fn is_detected(self) -> bool {
        self.detected
    }

    /// Records what the user is told.
    pub(super) fn set_speaking(&mut self, speaking: bool) {
        self.speaking = speaking;
    }

    /// Whether the endpoint speaks, as the user was told.
    pub(super) fn is_speaking(self) -> bool {
        self.speaking
    }
}
