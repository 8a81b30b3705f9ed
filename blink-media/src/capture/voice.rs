//! Voice and level of captured audio, before it is muted.

use blink_api::{AudioFormat, AudioLevel};

use crate::speaking::SpeechDetector;
use crate::tick_scheduler::TICK;
use crate::voice_activity::VoiceActivity;

/// Voice and level of what is captured.
pub(super) struct CapturedVoice {
    activity: VoiceActivity,
    /// Utterances that are sent, and those that are not because the microphone is muted.
    sent: SpeechDetector,
    unsent: SpeechDetector,
    speaking: Option<bool>,
    spoke_muted: bool,
    /// The loudest level since it was taken last.
    loudest: AudioLevel,
}

impl CapturedVoice {
    pub(super) fn new(format: AudioFormat) -> Self {
        Self {
            activity: VoiceActivity::new(format),
            sent: SpeechDetector::default(),
            unsent: SpeechDetector::default(),
            speaking: None,
            spoke_muted: false,
            loudest: AudioLevel::SILENCE,
        }
    }

    /// Takes the next 10 ms, processed and not yet muted.
    pub(super) fn observe(&mut self, block: &[f32], muted: bool) {
        let is_voice = self.activity.push(block);
        self.loudest = louder(self.loudest, AudioLevel::of(block, is_voice));
        if muted {
            self.spoke_muted |= self.unsent.observe(is_voice, TICK) == Some(true);
        } else {
            self.speaking = self.sent.observe(is_voice, TICK).or(self.speaking);
        }
    }

    /// The microphone is muted from now on: an utterance ends, and the rest of it, which is not
    /// sent, is no new one.
    pub(super) fn mute(&mut self) {
        let ended = self.sent.reset();
        self.unsent = SpeechDetector::with_speech(ended.is_some());
        self.speaking = ended.or(self.speaking);
    }

    /// The microphone is not muted any more: an utterance that ended meanwhile is none to be sent,
    /// although the detector still waits for its next word.
    pub(super) fn unmute(&mut self) {
        self.activity.end_pause();
    }

    /// Whether there is voice at the end of what was captured.
    pub(super) fn is_voice(&self) -> bool {
        self.activity.is_voice()
    }

    /// Change since the last call: an utterance that is sent began (`true`) or ended.
    pub(super) fn take_speaking(&mut self) -> Option<bool> {
        self.speaking.take()
    }

    /// Whether an utterance began since the last call that is not sent.
    pub(super) fn take_spoke_muted(&mut self) -> bool {
        std::mem::take(&mut self.spoke_muted)
    }

    /// The loudest level since the last call.
    pub(super) fn take_level(&mut self) -> AudioLevel {
        std::mem::replace(&mut self.loudest, AudioLevel::SILENCE)
    }

    /// Another source is captured.
    pub(super) fn reset(&mut self) {
        self.activity.reset();
    }
}

/// The louder of two levels, with voice where one of them has it.
pub(crate) fn louder(one: AudioLevel, other: AudioLevel) -> AudioLevel {
    AudioLevel::new(one.minus_dbov().min(other.minus_dbov()), one.is_voice() || other.is_voice())
}
