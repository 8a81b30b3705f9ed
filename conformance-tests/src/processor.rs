//! Conformance tests for audio processors.
//!
//! Each function verifies one property, and panics with a sentence that names it. The author of a
//! processor calls [`verify`], which calls them all, from a test of their own crate:
//!
//! ```no_run
//! # fn test(mine: &dyn blink_api::AudioProcessorFactory) {
//! blink_conformance::processor::verify(mine);
//! # }
//! ```
//!
//! Abilities are tested where they are declared, and their absence where not, in the format of a
//! call. The voice of these tests is synthetic: harmonics of a gliding pitch in syllables, with
//! pauses.

use std::f32::consts::TAU;
use std::time::{Duration, Instant};

use blink_api::{AudioFormat, AudioProcessor, AudioProcessorFactory, ErrorKind};

use crate::clause::Clause;
use crate::room::{self, Noise, Room, delayed, level};

const FORMAT: AudioFormat = AudioFormat::CALL;
const BLOCK: Duration = Duration::from_millis(10);
/// Samples of a second.
const SECOND: usize = 48_000;
/// Formats that a processor may support or refuse, beside the call's.
const FORMATS: [(u32, u16); 7] =
    [(8_000, 1), (16_000, 1), (16_000, 2), (32_000, 1), (44_100, 1), (48_000, 2), (96_000, 8)];

/// Runs all tests of this module.
pub fn verify(factory: &dyn AudioProcessorFactory) {
    Clause(
        "formats_work_or_are_refused",
        "AudioProcessorFactory::processor: Invalid for a format that it does not support",
    )
    .verify(|| formats_work_or_are_refused(factory));
    Clause(
        "other_lengths_are_refused",
        "AudioProcessor::render and capture: Invalid for another number of samples than 10 ms",
    )
    .verify(|| other_lengths_are_refused(factory));
    Clause("the_delay_is_true", "AudioProcessor::delay: from a block that goes in to the same audio that comes out")
        .verify(|| the_delay_is_true(factory));
    Clause("silence_stays_silence", "AudioProcessor::capture: nothing is added to silence")
        .verify(|| silence_stays_silence(factory));
    Clause("output_is_finite_and_bounded", "AudioProcessor::capture: samples stay finite and between -1 and 1")
        .verify(|| output_is_finite_and_bounded(factory));
    Clause("capture_works_without_render", "AudioProcessor::capture: works also while nothing is played")
        .verify(|| capture_works_without_render(factory));
    Clause(
        "render_without_capture_is_harmless",
        "AudioProcessor::render: every block that is played comes, also while nothing is captured",
    )
    .verify(|| render_without_capture_is_harmless(factory));
    Clause("times_that_jump_are_harmless", "AudioProcessor: times of one clock, in both directions")
        .verify(|| times_that_jump_are_harmless(factory));
    Clause("a_reset_starts_anew", "AudioProcessor::reset: discards what was learned and all buffered audio")
        .verify(|| a_reset_starts_anew(factory));
    Clause("voice_survives", "AudioProcessor::capture: the near end is what remains")
        .verify(|| voice_survives(factory));
    Clause("echo_is_removed_where_declared", "ProcessorCapabilities::echo_cancellation")
        .verify(|| echo_is_removed_where_declared(factory));
    Clause("noise_is_lowered_where_declared", "ProcessorCapabilities::noise_suppression")
        .verify(|| noise_is_lowered_where_declared(factory));
    Clause("gain_is_controlled_where_declared", "ProcessorCapabilities::gain_control")
        .verify(|| gain_is_controlled_where_declared(factory));
}

/// The format of a call is supported. Every other format either works, with all its channels, or
/// is refused with `Invalid` at creation.
pub fn formats_work_or_are_refused(factory: &dyn AudioProcessorFactory) {
    let invalid = [(0, 1), (48_000, 0), (1, 1)];
    for (sample_rate, channels) in invalid {
        let format = AudioFormat { sample_rate, channels };
        match factory.processor(format) {
            Ok(_) => panic!("{format:?} was accepted"),
            Err(error) => assert_eq!(error.kind(), ErrorKind::Invalid, "{format:?}: {error}"),
        }
    }
    for (sample_rate, channels) in FORMATS.into_iter().chain([(FORMAT.sample_rate, FORMAT.channels)]) {
        let format = AudioFormat { sample_rate, channels };
        let mut processor = match factory.processor(format) {
            Ok(processor) => processor,
            Err(error) => {
                assert_ne!(format, FORMAT, "the format of a call is supported: {error}");
                assert_eq!(error.kind(), ErrorKind::Invalid, "{format:?}: {error}");
                continue;
            }
        };
        let mono = voice(sample_rate, 3);
        let near: Vec<f32> = mono.iter().flat_map(|sample| std::iter::repeat_n(*sample, channels.into())).collect();
        let far = vec![0.0; near.len()];
        let out = run(&mut processor, format, &far, &near);
        for channel in 0..usize::from(channels) {
            let of_channel = |signal: &[f32]| -> Vec<f32> {
                signal[signal.len() / 2..].chunks(channels.into()).map(|frame| frame[channel]).collect()
            };
            let change = level(&of_channel(&out)) - level(&of_channel(&near));
            assert!(change > -15.0, "{format:?}: channel {channel} of a voice changes by {change:.1} dB");
        }
    }
}

/// Blocks of another length than 10 ms are refused with `Invalid`, leave the samples unchanged,
/// and the processor goes on.
pub fn other_lengths_are_refused(factory: &dyn AudioProcessorFactory) {
    let mut processor = processor(factory);
    let now = Instant::now();
    for length in [0, 1, 160, 479, 481, 960, 48_000] {
        let mut block = vec![0.25; length];
        let refused = [processor.render(&block, now).err(), processor.capture(&mut block, now).err()];
        for error in refused {
            let error = error.unwrap_or_else(|| panic!("a block of {length} samples was accepted"));
            assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
        }
        assert!(block.iter().all(|sample| *sample == 0.25), "a refused block of {length} samples was changed");
    }
    let mut block = vec![0.0; FORMAT.samples_in(BLOCK)];
    processor.render(&block, now).expect("a block of 10 ms");
    processor.capture(&mut block, now).expect("a block of 10 ms");
}

/// A click in the middle of a voice comes out after `delay()`, to 1 ms; before and after a reset.
pub fn the_delay_is_true(factory: &dyn AudioProcessorFactory) {
    let mut processor = processor(factory);
    for round in ["at first", "after a reset"] {
        let declared = FORMAT.samples_in(processor.delay());
        // Clicks of 5 ms with a wide spectrum, from loud to louder so that none is noise.
        let mut near = voice(FORMAT.sample_rate, 4);
        let mut noise = Noise::new(7);
        let clicks: Vec<usize> = (0..6).map(|click| SECOND + click * SECOND / 3 + 1_234).collect();
        for &click in &clicks {
            near[click..click + 240].iter_mut().for_each(|sample| *sample = 0.7 * noise.sample());
        }
        let out = run(&mut processor, FORMAT, &vec![0.0; near.len()], &near);
        let correlation = |delay: usize| -> f32 {
            let click = |&at: &usize| -> f32 {
                near[at..at + 240].iter().zip(&out[at + delay..]).map(|(one, other)| one * other).sum()
            };
            clicks.iter().map(click).sum()
        };
        let score: Vec<f32> = (0..SECOND / 10).map(correlation).collect();
        let found = (0..score.len()).max_by(|one, other| score[*one].total_cmp(&score[*other])).unwrap_or(0);
        assert!(found.abs_diff(declared) <= 48, "{round}, a click came after {found} frames, declared are {declared}");
        processor.reset();
    }
}

/// Silence in both directions stays silence.
pub fn silence_stays_silence(factory: &dyn AudioProcessorFactory) {
    let silence = vec![0.0; 2 * SECOND];
    let out = run(&mut processor(factory), FORMAT, &silence, &silence);
    let loudest = peak(&out);
    assert!(loudest < 1e-3, "silence comes out with a peak of {loudest}");
}

/// The output is finite and in −1 to 1, whatever comes in: full scale, beyond it, and samples that
/// are not finite, in both directions. A voice survives afterwards.
pub fn output_is_finite_and_bounded(factory: &dyn AudioProcessorFactory) {
    let mut processor = processor(factory);
    let mut noise = Noise::new(3);
    let loud: Vec<f32> = (0..SECOND).map(|_| 4.0 * noise.sample()).collect();
    let square: Vec<f32> = (0..SECOND).map(|at| if at / 120 % 2 == 0 { 1.0 } else { -1.0 }).collect();
    let broken: Vec<f32> = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, f32::MAX, f32::MIN_POSITIVE / 2.0]
        .into_iter()
        .cycle()
        .take(SECOND / 10)
        .collect();
    for (far, near) in [(&loud, &square), (&square, &loud), (&broken, &broken), (&loud, &loud)] {
        let out = run(&mut processor, FORMAT, far, near);
        assert!(out.iter().all(|sample| sample.is_finite()), "the output is not finite");
        assert!(peak(&out) <= 1.0, "the output exceeds full scale: {}", peak(&out));
    }
    let near = voice(FORMAT.sample_rate, 6);
    let out = run(&mut processor, FORMAT, &vec![0.0; near.len()], &near);
    let change = level(&out[4 * SECOND..]) - level(&near[4 * SECOND..]);
    assert!(change > -15.0, "a voice after broken samples changes by {change:.1} dB");
}

/// Captured audio is processed although nothing was ever rendered.
pub fn capture_works_without_render(factory: &dyn AudioProcessorFactory) {
    let near = voice(FORMAT.sample_rate, 3);
    let mut out = near.clone();
    let mut processor = processor(factory);
    let mut at = Instant::now();
    for block in out.chunks_exact_mut(FORMAT.samples_in(BLOCK)) {
        processor.capture(block, at).expect("capture works without render");
        at += BLOCK;
    }
    let change = level(&out[SECOND..]) - level(&near[SECOND..]);
    assert!(change > -10.0, "a voice without a far end changes by {change:.1} dB");
}

/// A minute of rendering without a capture does no harm: the first voice that is captured
/// afterwards survives.
pub fn render_without_capture_is_harmless(factory: &dyn AudioProcessorFactory) {
    let mut processor = processor(factory);
    let start = Instant::now();
    let far = voice(FORMAT.sample_rate, 1);
    let blocks: Vec<&[f32]> = far.chunks_exact(FORMAT.samples_in(BLOCK)).collect();
    for number in 0..6_000 {
        processor.render(blocks[number % blocks.len()], start + BLOCK * number as u32).expect("render");
    }
    let near = voice(FORMAT.sample_rate, 3);
    let mut out = near.clone();
    for (number, block) in out.chunks_exact_mut(FORMAT.samples_in(BLOCK)).enumerate() {
        processor.capture(block, start + BLOCK * (6_000 + number as u32)).expect("capture after a minute");
    }
    let change = level(&out[SECOND..]) - level(&near[SECOND..]);
    assert!(change > -10.0, "a voice after a minute of rendering changes by {change:.1} dB");
}

/// Times that stand still, jump forward and backward by hours, or come twice, do no harm.
pub fn times_that_jump_are_harmless(factory: &dyn AudioProcessorFactory) {
    let mut processor = processor(factory);
    let hour = Duration::from_secs(3_600);
    let start = Instant::now() + 3 * hour;
    let far = voice(FORMAT.sample_rate, 1);
    for (number, far) in far.chunks_exact(FORMAT.samples_in(BLOCK)).enumerate() {
        let usual = start + BLOCK * number as u32;
        let (played, captured) = match number % 7 {
            0 => (usual + hour, usual),
            1 => (usual - hour, usual + 2 * hour),
            2 => (start, start),
            3 => (usual, usual - 2 * hour),
            _ => (usual, usual),
        };
        let mut near = far.to_vec();
        processor.render(far, played).expect("a time that jumps");
        processor.render(far, played).expect("a time that comes twice");
        processor.capture(&mut near, captured).expect("a time that jumps");
        assert!(near.iter().all(|sample| sample.is_finite() && sample.abs() <= 1.0));
    }
}

/// A reset discards buffered audio and what was learned: the output afterwards is that of a new
/// processor.
pub fn a_reset_starts_anew(factory: &dyn AudioProcessorFactory) {
    let far = voice(FORMAT.sample_rate, 3);
    let near: Vec<f32> = Room::new(1).echo(&far);
    let expected = run(&mut processor(factory), FORMAT, &far, &near);
    let mut used = processor(factory);
    let loud: Vec<f32> = far.iter().rev().map(|sample| (3.0 * sample).clamp(-1.0, 1.0)).collect();
    run(&mut used, FORMAT, &loud, &loud);
    used.reset();
    let out = run(&mut used, FORMAT, &far, &near);
    let difference: Vec<f32> = out.iter().zip(&expected).map(|(one, other)| one - other).collect();
    assert!(peak(&difference) < 1e-3, "after a reset the output differs by {}", peak(&difference));
}

/// A voice at the near end keeps its level, unless the gain is controlled, and is no fainter in any
/// case.
pub fn voice_survives(factory: &dyn AudioProcessorFactory) {
    let near = voice(FORMAT.sample_rate, 6);
    let out = run(&mut processor(factory), FORMAT, &vec![0.0; near.len()], &near);
    let change = level(&out[2 * SECOND..]) - level(&near[2 * SECOND..]);
    assert!(change > -6.0, "a voice changes by {change:.1} dB");
    let quiet = factory.capabilities().gain_control || change < 3.0;
    assert!(quiet, "no gain control is declared, and a voice changes by {change:.1} dB");
}

/// The echo of the far end alone is lowered by 25 dB after 3 s if cancellation is declared, with
/// the delay reported by the devices; otherwise it is not removed.
pub fn echo_is_removed_where_declared(factory: &dyn AudioProcessorFactory) {
    let far = voice(FORMAT.sample_rate, 8);
    let delay = Duration::from_millis(120);
    let near = delayed(&Room::new(1).echo(&far), FORMAT, |_| delay);
    let mut chain = [processor(factory)];
    let out = room::process(&mut chain, FORMAT, &far, &near, |_| delay).expect("blocks of 10 ms");
    let removed = level(&near[3 * SECOND..]) - level(&out[3 * SECOND..]);
    match factory.capabilities().echo_cancellation {
        true => assert!(removed > 25.0, "echo cancellation is declared, and lowers echo by {removed:.1} dB"),
        false => assert!(removed < 12.0, "no echo cancellation is declared, and echo changes by {removed:.1} dB"),
    }
}

/// Stationary noise in the pauses of a voice is lowered against the voice, by 3 dB at least, if
/// suppression is declared, and by less otherwise.
pub fn noise_is_lowered_where_declared(factory: &dyn AudioProcessorFactory) {
    let mut noise = Noise::new(5);
    let mut near = voice(FORMAT.sample_rate, 10);
    // Speech of one second and a pause of one second, in turn.
    for (second, samples) in near.chunks_mut(SECOND).enumerate() {
        let gain = if second % 2 == 0 { 1.0 } else { 0.0 };
        samples.iter_mut().for_each(|sample| *sample = gain * *sample + 0.02 * noise.sample());
    }
    let mut processor = processor(factory);
    let out = run(&mut processor, FORMAT, &vec![0.0; near.len()], &near);
    // The second half of each second of the last six, so that suppression has settled.
    let ratio = |signal: &[f32], delay: usize| -> f32 {
        let part = |second: usize| {
            let from = second * SECOND + SECOND / 4 + delay;
            level(&signal[from..from + SECOND / 2])
        };
        [4, 6, 8].map(|second| part(second) - part(second - 1)).iter().sum::<f32>() / 3.0
    };
    let gained = ratio(&out, FORMAT.samples_in(processor.delay())) - ratio(&near, 0);
    match factory.capabilities().noise_suppression {
        true => assert!(gained > 3.0, "noise suppression is declared, and noise is lowered by {gained:.1} dB"),
        false => assert!(gained < 3.0, "no noise suppression is declared, and noise is lowered by {gained:.1} dB"),
    }
}

/// A faint voice becomes louder, by 6 dB at least, if gain control is declared; and no louder than
/// 3 dB otherwise. The level of a loud voice stays below full scale.
pub fn gain_is_controlled_where_declared(factory: &dyn AudioProcessorFactory) {
    let faint: Vec<f32> = voice(FORMAT.sample_rate, 8).iter().map(|sample| sample * 0.1).collect();
    let out = run(&mut processor(factory), FORMAT, &vec![0.0; faint.len()], &faint);
    let raised = level(&out[4 * SECOND..]) - level(&faint[4 * SECOND..]);
    match factory.capabilities().gain_control {
        true => assert!(raised > 6.0, "gain control is declared, and raises a faint voice by {raised:.1} dB"),
        false => assert!(raised < 3.0, "no gain control is declared, and a faint voice changes by {raised:.1} dB"),
    }
}

fn processor(factory: &dyn AudioProcessorFactory) -> Box<dyn AudioProcessor> {
    factory.processor(FORMAT).expect("the format of a call is supported")
}

/// Runs both directions without a delay between them.
fn run(processor: &mut Box<dyn AudioProcessor>, format: AudioFormat, far: &[f32], near: &[f32]) -> Vec<f32> {
    room::process(std::slice::from_mut(processor), format, far, near, |_| Duration::ZERO).expect("blocks of 10 ms")
}

/// Synthetic voice of some seconds: harmonics of a gliding pitch in syllables of 200 ms, with
/// pauses of 100 ms.
fn voice(sample_rate: u32, seconds: usize) -> Vec<f32> {
    let rate = sample_rate as f32;
    let mut phase = 0.0_f32;
    let sample = |at: usize| {
        let time = at as f32 / rate;
        let pitch = 130.0 + 30.0 * (TAU * 0.7 * time).sin() + 15.0 * (TAU * 2.3 * time).sin();
        phase = (phase + pitch / rate).fract();
        let within = (time % 0.3) / 0.2;
        let envelope = if within < 1.0 { (within * std::f32::consts::PI).sin() } else { 0.0 };
        // Two formants that move from syllable to syllable.
        let syllable = (time / 0.3).floor();
        let formants = [500.0 + 200.0 * (syllable * 1.7).sin(), 1_500.0 + 500.0 * (syllable * 2.9).sin()];
        let harmonic = |number: u32| {
            let hertz = pitch * number as f32;
            let near = |formant: f32| 1.0 / (1.0 + ((hertz - formant) / 150.0).powi(2));
            let strength = 0.03 + near(formants[0]) + 0.5 * near(formants[1]);
            strength * (TAU * phase * number as f32).sin()
        };
        0.12 * envelope * (1..=24).map(harmonic).sum::<f32>()
    };
    (0..sample_rate as usize * seconds).map(sample).collect()
}

fn peak(signal: &[f32]) -> f32 {
    signal.iter().fold(0.0, |peak: f32, sample| peak.max(sample.abs()))
}
