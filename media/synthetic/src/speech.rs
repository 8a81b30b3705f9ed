//! Embedded speech recordings, described in `assets/speech/README.md`.

use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use blink_api::AudioFormat;

use crate::wav::Pcm;

/// Number of clips.
pub const CLIPS: usize = 5;

/// Sample rate of the clips in Hz.
const RATE: u32 = 16_000;

/// Speech clips as WAV files: 16 kHz, 16 bits, mono, 24.7 s in total. Each begins with up to 260 ms
/// of silence.
pub fn speech() -> &'static [&'static [u8]; CLIPS] {
    &[
        include_bytes!("../../../assets/speech/sense_and_sensibility_01_austen_64kb-0870.wav"),
        include_bytes!("../../../assets/speech/sense_and_sensibility_01_austen_64kb-0880.wav"),
        include_bytes!("../../../assets/speech/sense_and_sensibility_01_austen_64kb-0890.wav"),
        include_bytes!("../../../assets/speech/sense_and_sensibility_01_austen_64kb-0920.wav"),
        include_bytes!("../../../assets/speech/sense_and_sensibility_01_austen_64kb-0930.wav"),
    ]
}

/// Joins clips into speech of this duration, 48 kHz mono, starting with clip `first` modulo their
/// number and looping when all are used.
pub fn speech_clip(first: usize, duration: Duration) -> Vec<f32> {
    let samples = joined(first, AudioFormat::CALL);
    samples.into_iter().cycle().take(AudioFormat::CALL.samples_in(duration)).collect()
}

/// All clips joined, starting with clip `first`. Sources that are open at the same time share the
/// samples: 4.7 MB at 48 kHz.
pub(crate) fn at(first: usize, format: AudioFormat) -> Arc<[f32]> {
    type Shared = (usize, AudioFormat, Weak<[f32]>);
    static SHARED: Mutex<Vec<Shared>> = Mutex::new(Vec::new());
    let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
    shared.retain(|(.., samples)| samples.strong_count() > 0);
    let known = shared.iter().find(|(of, in_format, _)| (*of, *in_format) == (first, format));
    if let Some(samples) = known.and_then(|(.., samples)| samples.upgrade()) {
        return samples;
    }
    let samples: Arc<[f32]> = joined(first, format).into();
    shared.push((first, format, Arc::downgrade(&samples)));
    samples
}

fn joined(first: usize, format: AudioFormat) -> Vec<f32> {
    let clips = speech().iter().cycle().skip(first % CLIPS).take(CLIPS);
    let samples = clips.flat_map(|clip| {
        let reader = hound::WavReader::new(*clip).expect("the embedded clips are WAV files");
        reader.into_samples::<i16>().map(|sample| sample.expect("the embedded clips are whole, of 16 bits"))
    });
    let samples = samples.map(|sample| f32::from(sample) / 32_768.0).collect();
    Pcm { format: AudioFormat { sample_rate: RATE, channels: 1 }, samples }.into_format(format)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clips_have_the_documented_format_and_duration() {
        for clip in speech() {
            let spec = hound::WavReader::new(*clip).unwrap().spec();
            assert_eq!((spec.sample_rate, spec.channels, spec.bits_per_sample), (RATE, 1, 16));
        }
        let all = joined(0, AudioFormat { sample_rate: RATE, channels: 1 });
        assert!((24.5..25.0).contains(&(all.len() as f64 / f64::from(RATE))));
    }

    #[test]
    fn sources_share_their_samples_while_they_are_open() {
        let stereo = AudioFormat { channels: 2, ..AudioFormat::CALL };
        let (one, same) = (at(1, AudioFormat::CALL), at(1, AudioFormat::CALL));
        assert!(Arc::ptr_eq(&one, &same));
        assert!(!Arc::ptr_eq(&one, &at(2, AudioFormat::CALL)));
        assert_eq!(at(1, stereo).len(), 2 * one.len());
        let closed = Arc::downgrade(&one);
        drop((one, same));
        assert!(closed.upgrade().is_none());
        assert_eq!(at(1, AudioFormat::CALL).to_vec(), joined(1, AudioFormat::CALL));
    }

    #[test]
    fn speech_clips_differ_and_have_the_requested_duration() {
        let eight = Duration::from_secs(8);
        let alice = speech_clip(0, eight);
        let bob = speech_clip(2, eight);
        assert_eq!((alice.len(), bob.len()), (8 * 48_000, 8 * 48_000));
        assert_ne!(alice, bob);
        for speech in [&alice, &bob] {
            let power = speech.iter().map(|x| x * x).sum::<f32>() / speech.len() as f32;
            assert!(10.0 * power.log10() > -35.0, "{power}");
        }
        let long = speech_clip(7, Duration::from_secs(60));
        assert_eq!(long.len(), 60 * 48_000);
        assert_eq!(long[..8 * 48_000], bob);
    }
}
