//! Claims of the processors on real speech: what `blink bench echo` measures, in short.

use std::time::Duration;

use blink_api::{AudioFormat, AudioProcessor, AudioProcessorFactory as _};
use blink_conformance::room::{Noise, Room, delayed, level, process};
use blink_media_processing::{NnnoiselessFactory, SonoraConfig, SonoraFactory};
use blink_media_synthetic::{resample, speech_clip};

const FORMAT: AudioFormat = AudioFormat::CALL;
const SECOND: usize = 48_000;
const NOTHING: fn(Duration) -> Duration = |_| Duration::ZERO;

fn echo_canceller() -> Box<dyn AudioProcessor> {
    let config = SonoraConfig { gain_control: false, ..SonoraConfig::default() };
    SonoraFactory::new(config).unwrap().processor(FORMAT).unwrap()
}

fn noise_suppressor() -> Box<dyn AudioProcessor> {
    NnnoiselessFactory.processor(FORMAT).unwrap()
}

/// Speech over a noise floor of −72 dBFS, as every microphone has.
fn far_end_and_echo(seconds: u64) -> (Vec<f32>, Vec<f32>) {
    let far = speech_clip(0, Duration::from_secs(seconds));
    let echo = Room::new(1).echo(&far);
    (far, echo)
}

fn with_floor(signal: &[f32]) -> Vec<f32> {
    let mut noise = Noise::new(9);
    signal.iter().map(|sample| sample + 0.0004 * noise.sample()).collect()
}

/// PESQ-WB, with the delay of the processed signal removed.
fn pesq(reference: &[f32], processed: &[f32], delay: Duration) -> f32 {
    let delay = FORMAT.samples_in(delay);
    let narrow = |signal: &[f32]| -> Vec<i16> {
        resample(signal, 48_000, 16_000).iter().map(|sample| (sample.clamp(-1.0, 1.0) * 32_767.0) as i16).collect()
    };
    pesq::pesq_wb(&narrow(&reference[..reference.len() - delay]), &narrow(&processed[delay..])).unwrap()
}

#[test]
fn echo_of_speech_is_lowered_by_40_db_after_two_seconds() {
    let (far, echo) = far_end_and_echo(10);
    for milliseconds in [40, 120, 400] {
        let delay = Duration::from_millis(milliseconds);
        let near = with_floor(&delayed(&echo, FORMAT, |_| delay));
        for (what, reported) in [("reported", delay), ("unreported", Duration::ZERO)] {
            let out = process(&mut [echo_canceller()], FORMAT, &far, &near, |_| reported).unwrap();
            let lowered = level(&near[2 * SECOND..]) - level(&out[2 * SECOND..]);
            assert!(lowered >= 40.0, "{what} {delay:?}: {lowered:.1} dB");
        }
    }
}

#[test]
fn a_reported_change_of_the_delay_is_followed() {
    let (far, echo) = far_end_and_echo(12);
    let delay_at = |now: Duration| Duration::from_millis(if now < Duration::from_secs(6) { 60 } else { 200 });
    let near = with_floor(&delayed(&echo, FORMAT, delay_at));
    let out = process(&mut [echo_canceller()], FORMAT, &far, &near, delay_at).unwrap();
    let lowered = level(&near[7 * SECOND..]) - level(&out[7 * SECOND..]);
    assert!(lowered >= 40.0, "{lowered:.1} dB one second after the change");
}

#[test]
fn near_end_speech_alone_loses_less_than_a_tenth_of_pesq() {
    let near = speech_clip(2, Duration::from_secs(10));
    let silence = vec![0.0; near.len()];
    let clean = pesq(&near, &near, Duration::ZERO);
    let all = SonoraFactory::new(SonoraConfig::default()).unwrap().processor(FORMAT).unwrap();
    let chains = [vec![echo_canceller()], vec![noise_suppressor()], vec![all, noise_suppressor()]];
    for mut chain in chains {
        let out = process(&mut chain, FORMAT, &silence, &near, NOTHING).unwrap();
        let score = pesq(&near, &out, chain.iter().map(|processor| processor.delay()).sum());
        println!("{score:.2} of {clean:.2}");
        assert!(clean - score < 0.1, "{score:.2} of {clean:.2}");
    }
}

#[test]
fn echo_is_lowered_in_pauses_of_double_talk_and_the_near_end_is_kept() {
    let (far, echo) = far_end_and_echo(14);
    // After four seconds of the far end alone, both talk: the near end a second, then a pause of
    // one.
    let speech = speech_clip(2, Duration::from_secs(14));
    let speaks = |at: usize| at >= 4 * SECOND && (at / SECOND).is_multiple_of(2);
    let near = speech.iter().enumerate().map(|(at, sample)| if speaks(at) { 0.7 * sample } else { 0.0 });
    let near: Vec<f32> = near.collect();
    let mixed: Vec<f32> = with_floor(&echo).iter().zip(&near).map(|(echo, near)| 0.5 * echo + near).collect();
    let mut chain = [echo_canceller()];
    let out = process(&mut chain, FORMAT, &far, &mixed, NOTHING).unwrap();
    let part = |signal: &[f32], speaking: bool| -> f32 {
        let of_seconds = (4..14).filter(|second| (second % 2 == 0) == speaking);
        // The middle of each second, clear of the delay.
        let parts =
            of_seconds.flat_map(|second| &signal[second * SECOND + SECOND / 4..(second + 1) * SECOND - SECOND / 4]);
        level(&parts.copied().collect::<Vec<_>>())
    };
    let lowered = part(&mixed, false) - part(&out, false);
    let lost = part(&near, true) - part(&out, true);
    assert!(lowered > 20.0, "echo is lowered by {lowered:.1} dB in the pauses of the near end");
    assert!(lost < 6.0, "the near end loses {lost:.1} dB");
}

#[test]
fn noise_at_5_db_is_worth_three_tenths_of_pesq() {
    let near = speech_clip(2, Duration::from_secs(10));
    let silence = vec![0.0; near.len()];
    // White noise, and coloured by a low-pass filter of the first order.
    let gains = [0.0, 0.9, 0.98].map(|feedback| {
        let mut white = Noise::new(4);
        let mut low = 0.0;
        let filtered = std::iter::repeat_with(|| {
            low = feedback * low + white.sample();
            low
        });
        let noise: Vec<f32> = filtered.take(near.len()).collect();
        let gain = 10_f32.powf((level(&near) - level(&noise) - 5.0) / 20.0);
        let noisy: Vec<f32> = near.iter().zip(&noise).map(|(near, noise)| near + gain * noise).collect();
        let mut chain = [noise_suppressor()];
        let out = process(&mut chain, FORMAT, &silence, &noisy, NOTHING).unwrap();
        let (before, after) = (pesq(&near, &noisy, Duration::ZERO), pesq(&near, &out, chain[0].delay()));
        assert!(after - before > 0.2, "feedback {feedback}: PESQ-WB {before:.2} before, {after:.2} after");
        after - before
    });
    let mean = gains.iter().sum::<f32>() / 3.0;
    assert!(mean >= 0.3, "PESQ-WB gains {gains:?}");
}
