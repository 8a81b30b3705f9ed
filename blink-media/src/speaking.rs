//! Whether somebody speaks: loud for long enough to be no click, quiet for long enough to be no
//! pause.

use web_time::Duration;

/// A voice lasts at least so long; a click does not.
const ONSET: Duration = Duration::from_millis(60);
/// So long a pause belongs to the utterance.
const HANGOVER: Duration = Duration::from_millis(600);

/// Tells utterances from the loudness of one piece of sound after the other.
#[derive(Debug, Default)]
pub(super) struct SpeechDetector {
    speaking: bool,
    /// How long the sound has been other than `speaking` says.
    otherwise: Duration,
}

impl SpeechDetector {
    /// Begins anew; returns what ends by that.
    pub(super) fn reset(&mut self) -> Option<bool> {
        std::mem::take(self).speaking.then_some(false)
    }

    /// Takes the next piece of sound in; returns what begins (`true`) or ends with it.
    pub(super) fn observe(&mut self, loud: bool, duration: Duration) -> Option<bool> {
        if loud == self.speaking {
            // Quiet pieces within a voice that begins are its own pauses; only as much quiet as
            // there was voice undoes it.
            self.otherwise = if self.speaking { Duration::ZERO } else { self.otherwise.saturating_sub(duration) };
            return None;
        }
        self.otherwise += duration;
        let needed = if self.speaking { HANGOVER } else { ONSET };
        if self.otherwise < needed {
            return None;
        }
        self.otherwise = Duration::ZERO;
        self.speaking = loud;
        Some(loud)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is told for pieces of 20 ms, with the piece's number.
    fn told(pieces: &[(bool, usize)]) -> Vec<(usize, bool)> {
        let mut detector = SpeechDetector::default();
        let pieces = pieces.iter().flat_map(|(loud, count)| std::iter::repeat_n(*loud, *count));
        let observed = pieces.enumerate().map(|(n, loud)| (n, detector.observe(loud, Duration::from_millis(20))));
        observed.filter_map(|(n, change)| Some((n, change?))).collect()
    }

    #[test]
    fn an_utterance_with_pauses_is_told_once_and_a_click_never() {
        let utterance = [(false, 10), (true, 20), (false, 25), (true, 20), (false, 60)];
        assert_eq!(told(&utterance), [(12, true), (104, false)]);
        assert_eq!(told(&[(true, 2), (false, 10), (true, 2), (false, 10)]), []);
    }

    #[test]
    fn silence_tells_nothing() {
        assert_eq!(told(&[(false, 1_000)]), []);
    }
}
