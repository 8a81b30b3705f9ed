//! Real speech of participants: recordings of what microphones captured and loudspeakers played,
//! and measures of delay and quality between the two.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Speech clips, described in `assets/speech/README.md`: 16 kHz, 16 bits, mono.
const CLIPS: [&[u8]; 2] = [
    include_bytes!("../../../assets/speech/sense_and_sensibility_01_austen_64kb-0870.wav"),
    include_bytes!("../../../assets/speech/sense_and_sensibility_01_austen_64kb-0920.wav"),
];
/// Sample rate of clips and recordings in Hz.
const RATE: usize = 16_000;
/// Samples of a call per sample of a clip.
pub(super) const STEP: usize = 3;
/// Resolution of measured delays.
const RESOLUTION: Duration = Duration::from_millis(1);
/// Samples per [`RESOLUTION`].
const ENVELOPE_STEP: usize = RATE / 1_000;
/// Longest delay that is looked for.
pub(super) const LONGEST_DELAY: Duration = Duration::from_millis(1_500);
/// Correlation of the envelopes from which speech is recognized.
const RECOGNIZED: f32 = 0.6;

/// All clips joined, starting with a participant's own, at 48 kHz.
pub(super) struct SpeechClip {
    samples: Vec<f32>,
    position: usize,
}

impl SpeechClip {
    /// Speech of the participant with this number.
    pub(super) fn of(number: usize) -> Self {
        let clips = CLIPS.iter().cycle().skip(number % CLIPS.len()).take(CLIPS.len());
        let samples: Vec<f32> = clips.flat_map(|clip| pcm_of(clip)).collect();
        Self { samples, position: 0 }
    }

    /// Begins again with the first word.
    pub(super) fn restart(&mut self) {
        self.position = 0;
    }

    /// The next sample at 48 kHz, interpolated. It never ends.
    pub(super) fn next(&mut self) -> f32 {
        let at = |n: usize| self.samples[n % self.samples.len()];
        let (whole, part) = (self.position / STEP, (self.position % STEP) as f32 / STEP as f32);
        let sample = at(whole) + (at(whole + 1) - at(whole)) * part;
        self.position = (self.position + 1) % (self.samples.len() * STEP);
        sample
    }
}

fn pcm_of(wav: &[u8]) -> Vec<f32> {
    let reader = hound::WavReader::new(wav).expect("the embedded clips are WAV files");
    let samples = reader.into_samples::<i16>().map(|sample| sample.expect("the embedded clips are whole, of 16 bits"));
    samples.map(|sample| f32::from(sample) / 32_768.0).collect()
}

/// Recording of speech at 16 kHz, with the time of each block.
#[derive(Default)]
pub(crate) struct SpeechRecording(Mutex<Recorded>);

#[derive(Default)]
struct Recorded {
    /// Time of each block, and the number of samples before it.
    blocks: Vec<(Duration, usize)>,
    samples: Vec<f32>,
    /// Samples at 48 kHz that are not a whole sample at 16 kHz yet.
    partial: Vec<f32>,
}

impl SpeechRecording {
    /// Records samples at 48 kHz that are captured or played now.
    pub(super) fn take(&self, at: Duration, samples: &[f32]) {
        let mut recorded = self.recorded();
        let before = recorded.samples.len();
        recorded.blocks.push((at, before));
        recorded.partial.extend_from_slice(samples);
        let whole = recorded.partial.len() / STEP * STEP;
        let rest = recorded.partial.split_off(whole);
        let block = std::mem::replace(&mut recorded.partial, rest);
        // Speech has nothing above 8 kHz that could alias.
        recorded.samples.extend(block.chunks_exact(STEP).map(|step| step.iter().sum::<f32>() / STEP as f32));
    }

    /// Samples from the first block after a time on, of this duration.
    fn from(&self, from: Duration, length: Duration) -> Vec<f32> {
        let recorded = self.recorded();
        let block = recorded.blocks.partition_point(|(at, _)| *at < from);
        let first = recorded.blocks.get(block).map_or(recorded.samples.len(), |(_, first)| *first);
        let count = (length.as_secs_f64() * RATE as f64) as usize;
        recorded.samples[first..].iter().copied().take(count).collect()
    }

    /// Approximate memory of the recording, in bytes.
    pub(super) fn size(&self) -> usize {
        let recorded = self.recorded();
        recorded.samples.capacity() * size_of::<f32>() + recorded.blocks.capacity() * size_of::<(Duration, usize)>()
    }

    fn recorded(&self) -> MutexGuard<'_, Recorded> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Time from the capture of speech to its playback, where the envelopes of what was said from a
/// time on and what was heard agree best; `None` where they do not agree.
pub(super) fn delay(
    said: &SpeechRecording,
    heard: &SpeechRecording,
    from: Duration,
    length: Duration,
) -> Option<Duration> {
    let said = envelope(&said.from(from, length));
    let heard = envelope(&heard.from(from, length + LONGEST_DELAY));
    let lags = 0..=heard.len().checked_sub(said.len())?;
    let best = lags.map(|lag| (lag, correlation(&said, &heard[lag..lag + said.len()])));
    let (lag, agreement) = best.max_by(|one, other| one.1.total_cmp(&other.1))?;
    (agreement >= RECOGNIZED).then(|| RESOLUTION * lag as u32)
}

/// PESQ-WB score (ITU-T P.862.2) of what was heard of what was said from a time on, 1.0 to 4.6;
/// `None` for less than PESQ can score, or silence.
pub(super) fn pesq_wb(
    said: &SpeechRecording,
    heard: &SpeechRecording,
    from: Duration,
    length: Duration,
) -> Option<f32> {
    let pcm = |samples: Vec<f32>| -> Vec<i16> {
        samples.iter().map(|sample| (sample.clamp(-1.0, 1.0) * 32_767.0) as i16).collect()
    };
    let (said, heard) = (said.from(from, length), heard.from(from, length + LONGEST_DELAY / 3));
    pesq::pesq_wb(&pcm(said), &pcm(heard)).ok().filter(|score| score.is_finite())
}

/// Average magnitudes of successive milliseconds.
fn envelope(samples: &[f32]) -> Vec<f32> {
    let magnitude = |step: &[f32]| step.iter().map(|sample| sample.abs()).sum::<f32>() / ENVELOPE_STEP as f32;
    samples.chunks_exact(ENVELOPE_STEP).map(magnitude).collect()
}

/// Pearson correlation of two series of the same length; 0 where one is constant.
fn correlation(one: &[f32], other: &[f32]) -> f32 {
    let mean = |values: &[f32]| values.iter().sum::<f32>() / values.len().max(1) as f32;
    let (mean_one, mean_other) = (mean(one), mean(other));
    let (mut product, mut power_one, mut power_other) = (0.0, 0.0, 0.0);
    for (a, b) in one.iter().zip(other) {
        let (a, b) = (a - mean_one, b - mean_other);
        product += a * b;
        power_one += a * a;
        power_other += b * b;
    }
    let power = f32::sqrt(power_one * power_other);
    if power > 0.0 { product / power } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TICK: Duration = Duration::from_millis(10);

    /// Speech as said, and as heard this much later, with a change of each block.
    fn conversation(
        delay_ms: u64,
        mut change: impl FnMut(usize, &mut [f32]),
    ) -> (SpeechRecording, SpeechRecording, Duration) {
        let (said, heard) = (SpeechRecording::default(), SpeechRecording::default());
        let mut clip = SpeechClip::of(0);
        for number in 0..1_200 {
            let mut block: Vec<f32> = (0..480).map(|_| clip.next()).collect();
            let at = TICK * number as u32;
            said.take(at, &block);
            change(number, &mut block);
            heard.take(at + Duration::from_millis(delay_ms), &block);
        }
        (said, heard, TICK * 100)
    }

    #[test]
    fn delays_and_scores_of_speech_are_measured() {
        for delay_ms in [0, 40, 130, 730] {
            let (said, heard, from) = conversation(delay_ms, |_, _| {});
            let measured = delay(&said, &heard, from, Duration::from_secs(3)).unwrap();
            assert!(measured.as_millis().abs_diff(delay_ms.into()) <= 10, "{measured:?} instead of {delay_ms} ms");
            if delay_ms < 500 {
                let score = pesq_wb(&said, &heard, from, Duration::from_secs(8)).unwrap();
                assert!(score > 4.4, "{score}");
            }
        }
    }

    #[test]
    fn gaps_lower_the_score_and_silence_has_none() {
        let every_tenth = |number: usize, block: &mut [f32]| {
            if number % 20 < 2 {
                block.fill(0.0);
            }
        };
        let (said, heard, from) = conversation(100, every_tenth);
        let lossy = pesq_wb(&said, &heard, from, Duration::from_secs(8)).unwrap();
        assert!(lossy < 2.5, "{lossy}");
        assert!(delay(&said, &heard, from, Duration::from_secs(3)).is_some(), "still recognized");
        let (said, heard, from) = conversation(100, |_, block| block.fill(0.0));
        assert_eq!(delay(&said, &heard, from, Duration::from_secs(3)), None);
    }

    #[test]
    fn other_speech_is_not_recognized() {
        let (said, ..) = conversation(0, |_, _| {});
        let mut other = SpeechClip::of(1);
        let (_, heard, from) = conversation(50, |_, block| block.iter_mut().for_each(|sample| *sample = other.next()));
        assert_eq!(delay(&said, &heard, from, Duration::from_secs(3)), None);
    }
}
