//! `blink bench echo`: audio processors in simulated rooms.

use std::sync::Arc;
use std::time::Duration;

use blink_api::{AudioFormat, AudioProcessor, AudioProcessorFactory, Context, Registry, SystemClock};
use blink_conformance::room::{Noise, Room, delayed, level, process};
use blink_media_synthetic::speech_clip;
use serde::Serialize;

use super::cpu::CpuTime;
use crate::args::{BenchEchoArguments, Global};
use crate::backends::{PROCESSOR_CHAINS, ProcessorChain};
use crate::failure::Failure;
use crate::interrupt::Interrupt;
use crate::output::Output;
use crate::score::pesq_wb;
use crate::{backends, configuration};

const FORMAT: AudioFormat = AudioFormat::CALL;
const SECOND: usize = 48_000;
/// Time in which a canceller may adapt, at the start and after each change of the delay.
const ADAPTATION: usize = 2 * SECOND;
/// Constant echo delays in ms.
const DELAYS: [u64; 4] = [40, 120, 250, 400];
/// Moving echo delay: from this second on, in ms.
const MOVING: [(u64, u64); 3] = [(0, 60), (5, 200), (10, 100)];
/// Time in which the far end speaks alone before double talk.
const ALONE: usize = 4 * SECOND;
/// Noise kinds: feedback of a low-pass filter of the first order, and a name.
const NOISES: [(f32, &str); 3] = [(0.0, "white"), (0.9, "low"), (0.98, "brown")];
const SIGNAL_TO_NOISE_DB: f32 = 5.0;

/// Last line of `--json`.
#[derive(Debug, Serialize)]
struct Report {
    results: Vec<Row>,
}

/// One chain of processors.
#[derive(Debug, Clone, Serialize)]
struct Row {
    chain: &'static str,
    /// Processor time per block of 10 ms in microseconds, with both sides speaking.
    cpu_us_per_10ms: f64,
    delay_ms: f64,
    /// Empty for chains without echo cancellation.
    echo: Vec<Echo>,
    /// PESQ-WB of near-end speech alone: unprocessed and processed.
    near_end: Change,
    /// PESQ-WB of the near end while both sides speak.
    double_talk: Change,
    /// Reduction of the echo in the pauses of the near end during double talk, in dB.
    double_talk_echo_reduction_db: f32,
    noise: Vec<NoiseResult>,
}

/// Echo of far-end speech alone.
#[derive(Debug, Clone, Serialize)]
struct Echo {
    /// `null`: the delay moves.
    delay_ms: Option<u64>,
    /// Whether the devices report the delay.
    reported: bool,
    /// Echo return loss enhancement after 2 s of adaptation.
    erle_db: f32,
}

#[derive(Debug, Clone, Copy, Serialize)]
struct Change {
    before: f32,
    after: f32,
}

#[derive(Debug, Clone, Serialize)]
struct NoiseResult {
    noise: &'static str,
    pesq_wb: Change,
}

/// Measures every chain.
pub(super) async fn run(
    arguments: &BenchEchoArguments,
    global: &Global,
    output: &Output,
    interrupt: &Interrupt,
) -> Result<(), Failure> {
    if !(8..=120).contains(&arguments.seconds) {
        return Err(Failure::input("--seconds is 8 to 120"));
    }
    let mut results = Vec::new();
    for chain in &PROCESSOR_CHAINS {
        output.waiting(format!("measuring {}", chain.name));
        let factories = factories(chain, global).await?;
        let duration = Duration::from_secs(arguments.seconds);
        let working = tokio::task::spawn_blocking(move || measure(chain, &factories, duration));
        let row = tokio::select! {
            row = working => row.map_err(|error| Failure::call(format!("a simulation failed: {error}")))??,
            () = interrupt.wait() => return Err(Failure::interrupted()),
        };
        results.push(row);
    }
    output.waited();
    let report = Report { results };
    output.table(&table(&report));
    output.json_result(&report);
    Ok(())
}

type Factories = Vec<Arc<dyn AudioProcessorFactory>>;

async fn factories(chain: &ProcessorChain, global: &Global) -> Result<Factories, Failure> {
    let registry = Registry::discovered()?;
    let builder = backends::offline(configuration::base(&registry, global));
    let builder = chain.settings.iter().fold(builder, |builder, setting| builder.set_argument("bench", setting));
    let configuration = configuration::options(builder, global).build()?;
    let context = Context { clock: Arc::new(SystemClock), shared: registry.shared() };
    let mut factories = Vec::new();
    for name in chain.processors {
        factories.push(registry.entry::<dyn AudioProcessorFactory>(name)?.create(&configuration, &context).await?);
    }
    Ok(factories)
}

fn measure(chain: &ProcessorChain, factories: &Factories, duration: Duration) -> Result<Row, Failure> {
    let far = speech_clip(0, duration);
    let echo = Room::new(1).echo(&far);
    let cancels = factories.iter().any(|factory| factory.capabilities().echo_cancellation);
    let echo_rows = if cancels { echoes(factories, &far, &echo)? } else { Vec::new() };
    let near = speech_clip(2, duration);
    let silence = vec![0.0; near.len()];
    let alone = run_chain(factories, &silence, &near, |_| Duration::ZERO)?;
    let (double_talk, double_talk_echo_reduction_db, cpu_us_per_10ms) = double_talk(factories, duration)?;
    let delay: Duration = processors(factories)?.iter().map(|processor| processor.delay()).sum();
    Ok(Row {
        chain: chain.name,
        cpu_us_per_10ms,
        delay_ms: (delay.as_secs_f64() * 1e4).round() / 10.0,
        echo: echo_rows,
        near_end: Change { before: score(&near, &near)?, after: score_delayed(&near, &alone, delay)? },
        double_talk,
        double_talk_echo_reduction_db,
        noise: noises(factories, &near, delay)?,
    })
}

/// Far-end speech alone, with constant delays and a moving one, reported by the devices and not.
fn echoes(factories: &Factories, far: &[f32], echo: &[f32]) -> Result<Vec<Echo>, Failure> {
    let mut rows = Vec::new();
    for delay_ms in DELAYS.map(Some).into_iter().chain([None]) {
        let delay_at = move |now: Duration| Duration::from_millis(delay_ms.unwrap_or_else(|| moving_delay(now)));
        let near = with_floor(&delayed(echo, FORMAT, delay_at));
        for reported in [true, false] {
            let out = match reported {
                true => run_chain(factories, far, &near, delay_at)?,
                false => run_chain(factories, far, &near, |_| Duration::ZERO)?,
            };
            let counts = |at: usize| match delay_ms {
                Some(_) => at >= ADAPTATION,
                None => MOVING
                    .iter()
                    .all(|(since, _)| !(0..ADAPTATION).contains(&at.wrapping_sub(*since as usize * SECOND))),
            };
            let erle_db = selected_level(&near, counts) - selected_level(&out, counts);
            rows.push(Echo { delay_ms, reported, erle_db: tenths(erle_db) });
        }
    }
    Ok(rows)
}

fn moving_delay(now: Duration) -> u64 {
    MOVING.iter().rev().find(|(since, _)| now.as_secs() >= *since).map_or(0, |(_, delay)| *delay)
}

/// After four seconds of the far end alone both sides speak, the near end with pauses. Returns the
/// PESQ-WB of the near end, the reduction of the echo in the pauses, and the processor time.
fn double_talk(factories: &Factories, duration: Duration) -> Result<(Change, f32, f64), Failure> {
    let far = speech_clip(0, duration + Duration::from_secs(4));
    let echo = with_floor(&Room::new(1).echo(&far));
    let speaks = |at: usize| at >= ALONE && at / SECOND % 4 != 3;
    let speech = speech_clip(2, duration + Duration::from_secs(4));
    let near: Vec<f32> =
        speech.iter().enumerate().map(|(at, sample)| if speaks(at) { 0.7 * sample } else { 0.0 }).collect();
    let mixed: Vec<f32> = near.iter().zip(&echo).map(|(near, echo)| near + 0.5 * echo).collect();
    let cpu = CpuTime::start();
    let out = run_chain(factories, &far, &mixed, |_| Duration::ZERO)?;
    let blocks = (far.len() / FORMAT.samples_in(Duration::from_millis(10))) as f64;
    let cpu_us = cpu.elapsed().as_secs_f64() * 1e6 / blocks;
    // The middle of each pause, clear of the delay of the chain.
    let pauses = |at: usize| at >= ALONE && !speaks(at) && (SECOND / 4..3 * SECOND / 4).contains(&(at % SECOND));
    let reduction = selected_level(&mixed, pauses) - selected_level(&out, pauses);
    let delay = processors(factories)?.iter().map(|processor| processor.delay()).sum();
    let after = score_delayed(&near[ALONE..], &out[ALONE..], delay)?;
    let scores = Change { before: score(&near[ALONE..], &mixed[ALONE..])?, after };
    Ok((scores, tenths(reduction), cpu_us.round()))
}

/// Near-end speech in noise.
fn noises(factories: &Factories, near: &[f32], delay: Duration) -> Result<Vec<NoiseResult>, Failure> {
    let silence = vec![0.0; near.len()];
    let mut results = Vec::new();
    for (feedback, name) in NOISES {
        let mut white = Noise::new(4);
        let mut low = 0.0;
        let filtered = std::iter::repeat_with(|| {
            low = feedback * low + white.sample();
            low
        });
        let noise: Vec<f32> = filtered.take(near.len()).collect();
        let gain = 10_f32.powf((level(near) - level(&noise) - SIGNAL_TO_NOISE_DB) / 20.0);
        let noisy: Vec<f32> = near.iter().zip(&noise).map(|(near, noise)| near + gain * noise).collect();
        let out = run_chain(factories, &silence, &noisy, |_| Duration::ZERO)?;
        results.push(NoiseResult {
            noise: name,
            pesq_wb: Change { before: score(near, &noisy)?, after: score_delayed(near, &out, delay)? },
        });
    }
    Ok(results)
}

fn processors(factories: &Factories) -> Result<Vec<Box<dyn AudioProcessor>>, Failure> {
    Ok(factories.iter().map(|factory| factory.processor(FORMAT)).collect::<blink_api::Result<_>>()?)
}

fn run_chain(
    factories: &Factories,
    far: &[f32],
    near: &[f32],
    reported_at: impl Fn(Duration) -> Duration,
) -> Result<Vec<f32>, Failure> {
    Ok(process(&mut processors(factories)?, FORMAT, far, near, reported_at)?)
}

/// Adds the noise floor of a microphone, −72 dBFS.
fn with_floor(signal: &[f32]) -> Vec<f32> {
    let mut noise = Noise::new(9);
    signal.iter().map(|sample| sample + 0.0004 * noise.sample()).collect()
}

fn selected_level(signal: &[f32], selects: impl Fn(usize) -> bool) -> f32 {
    let selected = signal.iter().enumerate().filter(|(at, _)| selects(*at));
    level(&selected.map(|(_, sample)| *sample).collect::<Vec<_>>())
}

fn score(reference: &[f32], processed: &[f32]) -> Result<f32, Failure> {
    let score = pesq_wb(reference, processed, FORMAT.sample_rate);
    score.map(|score| (score * 100.0).round() / 100.0).ok_or_else(|| Failure::call("PESQ gave no score"))
}

/// PESQ-WB of a signal that `delay` was added to. PESQ itself aligns to 4 ms only, which costs up
/// to 0.1.
fn score_delayed(reference: &[f32], processed: &[f32], delay: Duration) -> Result<f32, Failure> {
    let delay = FORMAT.samples_in(delay);
    score(&reference[..reference.len() - delay], &processed[delay..])
}

fn tenths(value: f32) -> f32 {
    (value * 10.0).round() / 10.0
}

fn table(report: &Report) -> String {
    let mut lines = Vec::new();
    for row in &report.results {
        let Row { chain, cpu_us_per_10ms, delay_ms, near_end, double_talk, .. } = row;
        lines.push(format!("{chain}: {cpu_us_per_10ms:.0} us of CPU per 10 ms, delay {delay_ms:.1} ms"));
        for Echo { delay_ms, reported, erle_db } in &row.echo {
            let delay = delay_ms.map_or("moving".to_owned(), |delay| format!("{delay} ms"));
            let reported = if *reported { "reported" } else { "unreported" };
            lines.push(format!("  echo, delay {delay:>6} {reported:10}         ERLE {erle_db:5.1} dB"));
        }
        let change = |Change { before, after }: &Change| format!("PESQ-WB {before:4.2} -> {after:4.2}");
        lines.push(format!("  near end alone                         {}", change(near_end)));
        lines.push(format!(
            "  double talk                            {}, echo in pauses -{:.1} dB",
            change(double_talk),
            row.double_talk_echo_reduction_db
        ));
        for NoiseResult { noise, pesq_wb } in &row.noise {
            lines.push(format!("  {noise:5} noise, 5 dB SNR                {}", change(pesq_wb)));
        }
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_moving_delay_moves() {
        let delays = [0, 4, 5, 9, 10, 60].map(|second| moving_delay(Duration::from_secs(second)));
        assert_eq!(delays, [60, 60, 200, 200, 100, 100]);
    }
}
