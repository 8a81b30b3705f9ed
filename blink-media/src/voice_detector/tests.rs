use std::f32::consts::TAU;
use std::time::Duration;

use allocation_counter::measure;
use blink_media_synthetic::speech_clip;

use super::*;

const BLOCK: usize = 480;
const SECONDS: usize = 10;

/// Share of blocks that end with voice.
fn voice_share(audio: &[f32]) -> f32 {
    let mut detector = VoiceDetector::new();
    let blocks: Vec<bool> = audio.chunks_exact(BLOCK).map(|block| detector.push(block)).collect();
    blocks.iter().filter(|voice| **voice).count() as f32 / blocks.len() as f32
}

fn audio(sample: impl FnMut(usize) -> f32) -> Vec<f32> {
    (0..SECONDS * 48_000).map(sample).collect()
}

fn tone(hertz: f32, at: usize) -> f32 {
    (TAU * (hertz * at as f32 / SAMPLE_RATE).fract()).sin()
}

fn noise() -> impl FnMut() -> f32 {
    let mut seed = 5_u32;
    move || {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (seed >> 8) as f32 / (1 << 23) as f32 - 1.0
    }
}

#[test]
fn speech_is_voice() {
    let speech = speech_clip(0, Duration::from_secs(20));
    let share = voice_share(&speech);
    assert!(share > 0.8, "{share}");
    let quiet: Vec<f32> = speech.iter().map(|sample| sample * 0.1).collect();
    assert!(voice_share(&quiet) > 0.7, "20 dB quieter: {}", voice_share(&quiet));
}

#[test]
fn silence_noise_and_tones_are_no_voice() {
    let mut white = noise();
    let noises = [0.0, 0.001, 0.03, 0.3].map(|gain| voice_share(&audio(|_| gain * white())));
    assert_eq!(noises, [0.0; 4], "white noise");
    let tones = [150.0, 440.0, 1_000.0, 3_000.0].map(|hertz| voice_share(&audio(|at| 0.3 * tone(hertz, at))));
    assert_eq!(tones, [0.0; 4], "tones");
}

#[test]
fn chords_are_no_voice() {
    // Triads of half a second with a decay, as of a piano.
    let roots = [220.0, 261.6, 174.6, 196.0];
    let chords = audio(|at| {
        let root = roots[at / 24_000 % roots.len()];
        let decay = (-((at % 24_000) as f32) / 12_000.0).exp();
        let triad = [1.0, 1.26, 1.5].map(|interval| {
            (1..=4)
                .map(|harmonic| tone(root * interval * harmonic as f32, at) / (harmonic * harmonic) as f32)
                .sum::<f32>()
        });
        0.15 * decay * triad.iter().sum::<f32>()
    });
    let share = voice_share(&chords);
    assert!(share < 0.05, "{share}");
}

#[test]
fn clicks_are_no_voice() {
    // Strokes of keys: 5 ms of noise, five a second, over a faint noise floor.
    let mut white = noise();
    let clicks = audio(|at| if at % 9_600 < 240 { 0.5 * white() } else { 0.0005 * white() });
    let share = voice_share(&clicks);
    assert!(share < 0.02, "{share}");
}

#[test]
fn blocks_of_any_length_give_the_same_result() {
    let speech = speech_clip(0, Duration::from_secs(3));
    let mut whole = VoiceDetector::new();
    let mut parts = VoiceDetector::new();
    for block in speech.chunks(BLOCK) {
        let expected = whole.push(block);
        let given = block.chunks(7).map(|part| parts.push(part)).last();
        assert_eq!(given, Some(expected));
    }
}

#[test]
fn a_reset_forgets_the_voice_and_broken_samples_are_harmless() {
    let speech = speech_clip(0, Duration::from_secs(5));
    let mut detector = VoiceDetector::new();
    detector.push(&[f32::NAN, f32::INFINITY, f32::MAX, -f32::MAX].repeat(1_000));
    assert!(speech.chunks(BLOCK).any(|block| detector.push(block)), "voice after broken samples");
    detector.reset();
    assert!(!detector.push(&[]));
    assert!(speech.chunks(BLOCK).any(|block| detector.push(block)), "voice after a reset");
}

#[test]
fn detection_allocates_nothing() {
    let speech = speech_clip(0, Duration::from_secs(5));
    let mut detector = VoiceDetector::new();
    let allocations = measure(|| {
        speech.chunks(BLOCK).for_each(|block| {
            detector.push(block);
        });
    });
    assert_eq!(allocations.count_total, 0);
}
