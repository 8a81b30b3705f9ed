//! Voice and level of a received track.

use blink_api::{AudioFormat, AudioLevel};

use crate::capture::louder;
use crate::speaking::SpeechDetector;
use crate::tick_scheduler::TICK;
use crate::voice_activity::VoiceActivity;

/// Voice of a participant as its sender marked it (RFC 6464), detected here where it did not.
pub(super) struct ReceivedVoice {
    format: AudioFormat,
    is_voice: bool,
    /// Detector for senders without the extension, from their first packet on.
    detector: Option<Box<VoiceActivity>>,
    utterances: SpeechDetector,
    /// The loudest level since it was taken last.
    loudest: AudioLevel,
}

impl ReceivedVoice {
    pub(super) fn new(format: AudioFormat) -> Self {
        let utterances = SpeechDetector::default();
        Self { format, is_voice: false, detector: None, utterances, loudest: AudioLevel::SILENCE }
    }

    /// Takes a packet that is played: its level as sent, and its samples where it was decoded.
    pub(super) fn on_packet(&mut self, level: Option<AudioLevel>, samples: Option<&[f32]>) {
        let level = match (level, samples) {
            (Some(level), _) => level,
            (None, Some(samples)) => {
                let format = self.format;
                let detector = self.detector.get_or_insert_with(|| Box::new(VoiceActivity::new(format)));
                AudioLevel::of(samples, detector.push(samples))
            }
            (None, None) => AudioLevel::SILENCE,
        };
        self.is_voice = level.is_voice();
        self.loudest = louder(self.loudest, level);
    }

    /// Takes note that nothing is received.
    pub(super) fn on_pause(&mut self) {
        self.is_voice = false;
    }

    /// 10 ms pass. Returns whether an utterance begins (`true`) or ends with them.
    pub(super) fn tick(&mut self) -> Option<bool> {
        self.utterances.observe(self.is_voice, TICK)
    }

    /// The loudest level since the last call.
    pub(super) fn take_level(&mut self) -> AudioLevel {
        std::mem::replace(&mut self.loudest, AudioLevel::SILENCE)
    }
}
