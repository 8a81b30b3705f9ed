//! Recorded speech, which a tone cannot stand in for where voice is detected.

use std::sync::LazyLock;

/// A clip of 7 s: 16 kHz, 16 bits, mono (`assets/speech/README.md`).
const CLIP: &[u8] = include_bytes!("../../../assets/speech/sense_and_sensibility_01_austen_64kb-0870.wav");
/// Bytes before its samples.
const HEADER: usize = 44;
/// Silence at its beginning, in samples at 16 kHz.
const SILENCE: usize = 4_160;

/// The clip at 48 kHz, interpolated.
pub(crate) static VOICE: LazyLock<Vec<f32>> = LazyLock::new(|| {
    let (samples, _) = CLIP[HEADER..].as_chunks::<2>();
    let samples = samples.iter().skip(SILENCE).map(|sample| f32::from(i16::from_le_bytes(*sample)) / 32_768.0);
    let mut last = 0.0;
    samples
        .flat_map(|sample| {
            let before = std::mem::replace(&mut last, sample);
            [1.0, 2.0, 3.0].map(|third| before + (sample - before) * third / 3.0)
        })
        .collect()
});
