//! Conformance tests of every registered processor, and of broken ones: each must be detected by
//! the test that is about it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use blink_api::{
    AudioFormat, AudioProcessor, AudioProcessorFactory, Configuration, Context, Error, ErrorKind,
    ProcessorCapabilities, Registry, Result, SystemClock,
};
use blink_conformance::processor::{self as contract, verify};
use blink_media_processing as _;

#[tokio::test]
async fn every_registered_processor_fulfils_the_contract() {
    let registry = Registry::discovered().unwrap();
    let context = Context { clock: Arc::new(SystemClock), shared: registry.shared() };
    let mut verified = Vec::new();
    for entry in registry.entries::<dyn AudioProcessorFactory>() {
        let configuration = Configuration::builder(&registry).build().unwrap();
        let made = entry.create(&configuration, &context).await.unwrap();
        let (can, may) = (made.capabilities(), entry.capabilities);
        assert!(may.echo_cancellation || !can.echo_cancellation, "{} cancels echo undeclared", entry.name);
        assert!(may.noise_suppression || !can.noise_suppression, "{} suppresses noise undeclared", entry.name);
        assert!(may.gain_control || !can.gain_control, "{} controls gain undeclared", entry.name);
        verify(&*made);
        verified.push(entry.name);
    }
    assert_eq!(verified, ["nnnoiseless", "sonora"]);
}

/// Fault of a processor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    None,
    /// Accepts formats that it cannot process.
    TakesEveryFormat,
    /// Silences the second channel.
    OneChannel,
    /// Accepts blocks of any length.
    TakesEveryLength,
    /// Changes a block that it refuses.
    ChangesRefused,
    /// Delays by 20 ms undeclared.
    HidesDelay,
    /// Adds noise to silence.
    Hisses,
    /// Passes samples that are not finite.
    PassesNan,
    /// Amplifies beyond full scale.
    Clips,
    /// Fails without a far end.
    NeedsRender,
    /// Fails after a minute of rendering.
    QueueOverflows,
    /// Fails where a time goes back.
    NeedsOrder,
    /// Keeps its state in a reset.
    KeepsState,
    /// Silences a voice.
    Mutes,
    /// Declares what it cannot do.
    DeclaresEcho,
    DeclaresNoise,
    DeclaresGain,
    /// Amplifies undeclared.
    HidesGain,
}

/// Passes blocks on, but for its fault.
struct Plain(Fault);

struct PlainProcessor {
    fault: Fault,
    format: AudioFormat,
    rendered: usize,
    captured: usize,
    last: Option<Instant>,
    delayed: Vec<f32>,
}

impl AudioProcessorFactory for Plain {
    fn capabilities(&self) -> ProcessorCapabilities {
        ProcessorCapabilities {
            echo_cancellation: self.0 == Fault::DeclaresEcho,
            noise_suppression: self.0 == Fault::DeclaresNoise,
            gain_control: self.0 == Fault::DeclaresGain,
        }
    }

    fn processor(&self, format: AudioFormat) -> Result<Box<dyn AudioProcessor>> {
        let known = format.sample_rate >= 8_000 && format.channels > 0;
        if !known && self.0 != Fault::TakesEveryFormat {
            return Err(Error::new(ErrorKind::Invalid, "unsupported format"));
        }
        let delayed = vec![0.0; format.samples_in(Duration::from_millis(20))];
        Ok(Box::new(PlainProcessor { fault: self.0, format, rendered: 0, captured: 0, last: None, delayed }))
    }
}

impl PlainProcessor {
    fn check(&self, block: &[f32]) -> Result<()> {
        let right = block.len() == self.format.samples_in(Duration::from_millis(10));
        match right || self.fault == Fault::TakesEveryLength {
            true => Ok(()),
            false => Err(Error::new(ErrorKind::Invalid, "expected 10 ms")),
        }
    }
}

impl AudioProcessor for PlainProcessor {
    fn render(&mut self, far_end: &[f32], at: Instant) -> Result<()> {
        self.check(far_end)?;
        self.rendered += 1;
        let goes_back = self.last.replace(at).is_some_and(|last| at < last);
        if goes_back && self.fault == Fault::NeedsOrder {
            return Err(Error::new(ErrorKind::Unexpected, "time goes back"));
        }
        Ok(())
    }

    fn capture(&mut self, near_end: &mut [f32], _: Instant) -> Result<()> {
        if self.fault == Fault::ChangesRefused {
            near_end.iter_mut().for_each(|sample| *sample *= 0.5);
        }
        self.check(near_end)?;
        self.captured += 1;
        let overflows = self.fault == Fault::QueueOverflows && self.rendered > self.captured + 1_000;
        if overflows || (self.fault == Fault::NeedsRender && self.rendered == 0) {
            return Err(Error::new(ErrorKind::Unexpected, "out of step"));
        }
        if self.fault != Fault::PassesNan {
            near_end.iter_mut().filter(|sample| !sample.is_finite()).for_each(|sample| *sample = 0.0);
        }
        let gain = match self.fault {
            Fault::Mutes => 0.0,
            Fault::HidesGain => 2.0,
            Fault::KeepsState => 1.0 / (1.0 + self.captured as f32 / 1_000.0),
            _ => 1.0,
        };
        near_end.iter_mut().for_each(|sample| *sample *= gain);
        if self.fault != Fault::Clips {
            near_end.iter_mut().for_each(|sample| *sample = sample.clamp(-1.0, 1.0));
        }
        match self.fault {
            Fault::Hisses => near_end.iter_mut().step_by(2).for_each(|sample| *sample += 0.01),
            Fault::OneChannel if self.format.channels > 1 => {
                near_end.iter_mut().step_by(2).for_each(|sample| *sample = 0.0);
            }
            Fault::HidesDelay => {
                self.delayed.extend_from_slice(near_end);
                let rest = self.delayed.split_off(near_end.len());
                near_end.copy_from_slice(&self.delayed);
                self.delayed = rest;
            }
            _ => {}
        }
        Ok(())
    }

    fn reset(&mut self) {
        if self.fault != Fault::KeepsState {
            (self.rendered, self.captured) = (0, 0);
        }
    }

    fn delay(&self) -> Duration {
        Duration::ZERO
    }
}

#[test]
fn a_processor_that_passes_blocks_on_fulfils_the_contract() {
    verify(&Plain(Fault::None));
}

/// Test of the suite.
type Test = fn(&dyn AudioProcessorFactory);

/// Whether a test of the suite panics for a fault.
fn detects(test: Test, fault: Fault) -> bool {
    catch_unwind(AssertUnwindSafe(|| test(&Plain(fault)))).is_err()
}

#[test]
fn every_fault_is_detected_by_the_test_about_it() {
    let cases: [(Fault, Test); 17] = [
        (Fault::TakesEveryFormat, contract::formats_work_or_are_refused),
        (Fault::OneChannel, contract::formats_work_or_are_refused),
        (Fault::TakesEveryLength, contract::other_lengths_are_refused),
        (Fault::ChangesRefused, contract::other_lengths_are_refused),
        (Fault::HidesDelay, contract::the_delay_is_true),
        (Fault::Hisses, contract::silence_stays_silence),
        (Fault::PassesNan, contract::output_is_finite_and_bounded),
        (Fault::Clips, contract::output_is_finite_and_bounded),
        (Fault::NeedsRender, contract::capture_works_without_render),
        (Fault::QueueOverflows, contract::render_without_capture_is_harmless),
        (Fault::NeedsOrder, contract::times_that_jump_are_harmless),
        (Fault::KeepsState, contract::a_reset_starts_anew),
        (Fault::Mutes, contract::voice_survives),
        (Fault::HidesGain, contract::voice_survives),
        (Fault::DeclaresEcho, contract::echo_is_removed_where_declared),
        (Fault::DeclaresNoise, contract::noise_is_lowered_where_declared),
        (Fault::DeclaresGain, contract::gain_is_controlled_where_declared),
    ];
    let missed: Vec<_> =
        cases.into_iter().filter(|(fault, test)| !detects(*test, *fault)).map(|(fault, _)| fault).collect();
    assert!(missed.is_empty(), "not detected: {missed:?}");
}
