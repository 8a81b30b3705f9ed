//! Detection of utterances: voice for longer than a click, until there is none for longer than a
//! pause.

use web_time::Duration;

/// Least duration of a voice; a click is shorter.
const ONSET: Duration = Duration::from_millis(60);
/// Longest pause within an utterance.
const HANGOVER: Duration = Duration::from_millis(600);

/// Detects utterances by the voice in one block of audio after the other.
#[derive(Debug, Default)]
pub(super) struct SpeechDetector {
    speaking: bool,
    /// Duration for which the voice has contradicted `speaking`.
    otherwise: Duration,
}

impl SpeechDetector {
    /// A detector within an utterance, or without one.
    pub(super) fn with_speech(speaking: bool) -> Self {
        Self { speaking, otherwise: Duration::ZERO }
    }

    /// Resets the detector; returns `false` where an utterance ends by that.
    pub(super) fn reset(&mut self) -> Option<bool> {
        std::mem::take(self).speaking.then_some(false)
    }

    /// Takes the next block. Returns whether an utterance begins (`true`) or ends with it.
    pub(super) fn observe(&mut self, is_voice: bool, duration: Duration) -> Option<bool> {
        if is_voice == self.speaking {
            // Blocks without voice where a voice begins are its own pauses; only as many of
            // them as there were with voice undo it.
            self.otherwise = if self.speaking { Duration::ZERO } else { self.otherwise.saturating_sub(duration) };
            return None;
        }
        self.otherwise += duration;
        let needed = if self.speaking { HANGOVER } else { ONSET };
        if self.otherwise < needed {
            return None;
        }
        self.otherwise = Duration::ZERO;
        self.speaking = is_voice;
        Some(is_voice)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The changes for blocks of 20 ms, with the block's number.
    fn changes(blocks: &[(bool, usize)]) -> Vec<(usize, bool)> {
        let mut detector = SpeechDetector::default();
        let blocks = blocks.iter().flat_map(|(loud, count)| std::iter::repeat_n(*loud, *count));
        let observed = blocks.enumerate().map(|(n, loud)| (n, detector.observe(loud, Duration::from_millis(20))));
        observed.filter_map(|(n, change)| Some((n, change?))).collect()
    }

    #[test]
    fn an_utterance_with_pauses_is_told_once_and_a_click_never() {
        let utterance = [(false, 10), (true, 20), (false, 25), (true, 20), (false, 60)];
        assert_eq!(changes(&utterance), [(12, true), (104, false)]);
        assert_eq!(changes(&[(true, 2), (false, 10), (true, 2), (false, 10)]), []);
    }

    #[test]
    fn silence_tells_nothing() {
        assert_eq!(changes(&[(false, 1_000)]), []);
    }
}
