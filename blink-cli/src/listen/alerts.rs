//! Alerts of `blink ui --plain`: the terminal's bell, and the ring tone.

use blink_api::Configuration;

use crate::ring_tone::RingTone;
use crate::screen_output;

/// Bell and ring tone, if this is an interactive program.
pub(super) struct Alerts {
    configuration: Option<Configuration>,
    tone: Option<RingTone>,
    rings: bool,
}

impl Alerts {
    /// Alerts of a program that is interactive, or none.
    pub(super) fn new(configuration: &Configuration, is_interactive: bool) -> Self {
        Self { configuration: is_interactive.then(|| configuration.clone()), tone: None, rings: false }
    }

    /// Whether this program is interactive: it ends with its input.
    pub(super) fn is_interactive(&self) -> bool {
        self.configuration.is_some()
    }

    /// Starts or stops as calls ring. During a call there is no tone.
    pub(super) fn update(&mut self, rings: bool, in_call: bool) {
        let Some(configuration) = &self.configuration else { return };
        let settings = configuration.settings();
        if rings && !self.rings && settings.ui.bell {
            screen_output::bell();
        }
        self.rings = rings;
        match (rings && !in_call, &self.tone) {
            (true, None) => self.tone = Some(RingTone::start(configuration, &settings.speaker)),
            (false, Some(_)) => self.tone = None,
            _ => {}
        }
    }

    /// Stops the tone, and waits until the speaker is free for a call.
    pub(super) async fn silence(&mut self) {
        if let Some(tone) = self.tone.take() {
            tone.stop().await;
        }
    }
}
