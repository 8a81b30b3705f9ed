//! `blink bench audio`: simulated speech over impaired networks.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use blink_api::{AudioFormat, Preference};
use blink_media::TICK;
use blink_media_cpal_opus::OpusConfig;
use blink_media_synthetic::speech_clip;
use blink_sim::impairment::Impairments;
use serde::Serialize;

use super::line::{self, Ends, Outcome};
use super::plot::{self, Panel};
use crate::args::{BenchAudioArguments, Global};
use crate::configuration;
use crate::failure::Failure;
use crate::interrupt::Interrupt;
use crate::output::Output;
use crate::score::pesq_wb;

/// Duration of the sent speech: the whole recording.
const SPEECH: Duration = Duration::from_millis(24_700);

/// Rows of the table: loss in percent, jitter in ms, and loss with mean burst length of the last
/// rows.
const LOSSES: [f64; 5] = [0.0, 5.0, 10.0, 20.0, 30.0];
const JITTERS: [u64; 3] = [0, 20, 60];
const BURSTS: (f64, f64) = (17.0, 3.0);

/// Fixed delay of the baseline's jitter buffer.
const FIXED: Duration = Duration::from_millis(60);

/// Network conditions of one row.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Case {
    loss: f64,
    jitter: u64,
    burst: Option<f64>,
}

/// Last line of `--json`.
#[derive(Debug, Serialize)]
struct Report {
    results: Vec<Row>,
}

/// Results of one row.
#[derive(Debug, Serialize)]
struct Row {
    /// Loss in percent.
    loss: f64,
    jitter_ms: u64,
    /// `random` or `burst`.
    pattern: &'static str,
    #[serde(flatten)]
    figures: Figures,
    /// Results of a fixed buffer of 60 ms.
    baseline: Figures,
}

/// Means over the seeds.
#[derive(Debug, Clone, Copy, Default, Serialize)]
struct Figures {
    pesq_wb: f64,
    delay_ms_median: f64,
    delay_ms_p95: f64,
    buffer_ms: f64,
    /// Share of concealed audio, 0 to 1.
    concealed: f64,
    /// Share of audio removed or inserted to change the delay, 0 to 1.
    stretched: f64,
    cpu_us_per_20ms: f64,
    /// Bitrate in bits per second.
    bitrate: f64,
}

/// One simulated call: index of the case, seed, and whether it is the baseline.
type Job = (usize, u64, bool);

/// Setup of the calls.
#[derive(Debug, Clone, Copy)]
struct Setup {
    codec: OpusConfig,
    prefer: Preference,
    frame: Duration,
}

/// Simulates the selected cases.
pub(super) async fn run(
    arguments: &BenchAudioArguments,
    global: &Global,
    output: &Output,
    interrupt: &Interrupt,
) -> Result<(), Failure> {
    check(arguments)?;
    let cases = Arc::new(cases(arguments));
    let setup = setup(arguments, global)?;
    let delay = Duration::from_millis(arguments.rtt) / 2;
    output.waiting(format!("simulating {} calls", cases.len() * 2 * arguments.seeds as usize));
    let (seeds, shared) = (arguments.seeds, cases.clone());
    let working = tokio::task::spawn_blocking(move || simulate(&shared, setup, delay, seeds));
    let done = tokio::select! {
        done = working => done.map_err(|error| Failure::call(format!("a simulation failed: {error}")))??,
        () = interrupt.wait() => return Err(Failure::interrupted()),
    };
    output.waited();
    if let Some(file) = &arguments.plot {
        let panels: Vec<_> = cases.iter().enumerate().map(|(n, case)| panel(*case, n, &done)).collect();
        blink_api::private::write(file, plot::svg(&panels))
            .map_err(|error| Failure::call(format!("{} cannot be written: {error}", file.display())))?;
    }
    let results = cases.iter().enumerate().map(|(n, case)| row(*case, n, &done, seeds)).collect();
    let report = Report { results };
    output.table(&table(&report));
    output.json_result(&report);
    Ok(())
}

fn check(arguments: &BenchAudioArguments) -> Result<(), Failure> {
    if arguments.loss.is_some_and(|loss| !(0.0..100.0).contains(&loss)) {
        return Err(Failure::input("--loss is 0 to less than 100 percent"));
    }
    if arguments.jitter.is_some_and(|jitter| jitter > 1_000) || arguments.rtt > 4_000 {
        return Err(Failure::input("--jitter is at most 1000 ms, --rtt at most 4000 ms"));
    }
    if arguments.burst.is_some_and(|burst| !(1.0..=50.0).contains(&burst)) {
        return Err(Failure::input("--burst is 1 to 50 packets"));
    }
    if ![10, 20, 40, 60].contains(&arguments.frame) {
        return Err(Failure::input("--frame is 10, 20, 40 or 60 ms"));
    }
    if !(1..=1_000).contains(&arguments.seeds) {
        return Err(Failure::input("--seeds is 1 to 1000"));
    }
    Ok(())
}

fn cases(arguments: &BenchAudioArguments) -> Vec<Case> {
    let jitters = arguments.jitter.map_or(JITTERS.to_vec(), |jitter| vec![jitter]);
    let over = |loss: f64, burst: Option<f64>| jitters.iter().map(move |jitter| Case { loss, jitter: *jitter, burst });
    match (arguments.loss, arguments.burst) {
        (Some(loss), burst) => over(loss, burst).collect(),
        (None, Some(burst)) => over(BURSTS.0, Some(burst)).collect(),
        (None, None) => {
            let random = LOSSES.iter().flat_map(|loss| over(*loss, None));
            random.chain(over(BURSTS.0, Some(BURSTS.1))).collect()
        }
    }
}

/// Setup from the configuration and the options.
fn setup(arguments: &BenchAudioArguments, global: &Global) -> Result<Setup, Failure> {
    let configuration = configuration::for_engine(global, None, None, None)?;
    let prefer = if arguments.quality { Preference::Quality } else { configuration.settings().quality.prefer };
    Ok(Setup { codec: configuration.section("codecs", "opus")?, prefer, frame: Duration::from_millis(arguments.frame) })
}

/// Setup of both ends.
fn ends(Setup { codec: usual, prefer, frame }: Setup, baseline: bool) -> Ends {
    if baseline {
        let codec = OpusConfig { redundancy_ms: 0, decoder_complexity: 0, ..usual };
        return Ends { codec, fixed: Some(FIXED), prefer, frame, red: false };
    }
    Ends { codec: usual, fixed: None, prefer, frame, red: true }
}

/// A simulated call with its score.
type Done = (Job, Outcome, Option<f32>);

/// Simulates all calls on all processors.
fn simulate(cases: &[Case], setup: Setup, delay: Duration, seeds: u64) -> Result<Vec<Done>, Failure> {
    let said = speech_clip(0, SPEECH);
    let jobs: Vec<Job> = (0..cases.len())
        .flat_map(|case| (1..=seeds).flat_map(move |seed| [(case, seed, false), (case, seed, true)]))
        .collect();
    let (next, done) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    let work = || -> Result<(), Failure> {
        while let Some(job) = jobs.get(next.fetch_add(1, Ordering::Relaxed)) {
            let (case, seed, baseline) = *job;
            let Case { loss, jitter, burst } = cases[case];
            let jitter = Duration::from_millis(jitter);
            let impairments = Impairments { loss: loss / 100.0, burst, jitter, ..Impairments::delayed(delay) };
            let outcome = line::run(&ends(setup, baseline), impairments, seed, &said)?;
            let score = pesq_wb(&said, &outcome.heard, AudioFormat::CALL.sample_rate);
            done.lock().expect("no thread panics while it holds the lock").push((*job, outcome, score));
        }
        Ok(())
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        workers.into_iter().try_for_each(|worker| match worker.join() {
            Ok(result) => result,
            Err(panic) => std::panic::resume_unwind(panic),
        })
    })?;
    let mut done = done.into_inner().expect("no thread panics while it holds the lock");
    done.sort_by_key(|(job, ..)| *job);
    Ok(done)
}

fn row(case: Case, n: usize, done: &[Done], seeds: u64) -> Row {
    let figures = |baseline: bool| {
        let mut sum = Figures::default();
        for (_, outcome, score) in done.iter().filter(|((of, _, base), ..)| *of == n && *base == baseline) {
            sum.add(&Figures::of(outcome, *score));
        }
        sum.over(seeds as f64)
    };
    Row {
        loss: case.loss,
        jitter_ms: case.jitter,
        pattern: if case.burst.is_some() { "burst" } else { "random" },
        figures: figures(false),
        baseline: figures(true),
    }
}

impl Figures {
    fn of(outcome: &Outcome, score: Option<f32>) -> Self {
        let mut delays: Vec<f64> = outcome.delays.iter().map(|(_, delay)| *delay).collect();
        delays.sort_by(f64::total_cmp);
        let at = |share: f64| delays.get((delays.len() as f64 * share) as usize).copied().unwrap_or(0.0);
        let (statistics, lasted) = (outcome.statistics, f64::from(outcome.ticks.max(1)) * TICK.as_secs_f64());
        let stretched = statistics.removed_samples_for_acceleration + statistics.inserted_samples_for_deceleration;
        Self {
            // A call without audio has the worst score.
            pesq_wb: score.map_or(1.0, f64::from),
            delay_ms_median: at(0.5),
            delay_ms_p95: at(0.95),
            buffer_ms: outcome.buffer.iter().sum::<f64>() / outcome.buffer.len().max(1) as f64,
            concealed: statistics.duration_of(statistics.concealed_samples).as_secs_f64() / lasted,
            stretched: statistics.duration_of(stretched).as_secs_f64() / lasted,
            cpu_us_per_20ms: outcome.cpu.as_secs_f64() * 2e6 / f64::from(outcome.ticks.max(1)),
            bitrate: outcome.payload_bytes as f64 * 800.0 / f64::from(outcome.ticks.max(1)),
        }
    }

    fn fields(&mut self) -> [&mut f64; 8] {
        let Self { pesq_wb, delay_ms_median, delay_ms_p95, buffer_ms, concealed, stretched, cpu_us_per_20ms, bitrate } =
            self;
        [pesq_wb, delay_ms_median, delay_ms_p95, buffer_ms, concealed, stretched, cpu_us_per_20ms, bitrate]
    }

    fn add(&mut self, other: &Self) {
        let mut other = *other;
        self.fields().into_iter().zip(other.fields()).for_each(|(sum, value)| *sum += *value);
    }

    fn over(mut self, count: f64) -> Self {
        self.fields().into_iter().for_each(|sum| *sum = (*sum / count * 10_000.0).round() / 10_000.0);
        self
    }
}

fn table(report: &Report) -> String {
    let mut lines = vec![
        "  loss  jitter  pattern  PESQ-WB  delay p50   p95  buffer  concealed  stretched  CPU/20 ms  kbit/s   fixed 60 ms: PESQ  delay  concealed"
            .to_owned(),
    ];
    for Row { loss, jitter_ms, pattern, figures, baseline } in &report.results {
        lines.push(format!(
            "{loss:4.0} % {jitter_ms:4} ms  {pattern:7}  {:7.2}  {:6.0} ms {:5.0} {:4.0} ms    {:5.1} %    {:5.1} %  {:6.0} µs  {:6.1}                {:4.2}  {:3.0} ms    {:5.1} %",
            figures.pesq_wb,
            figures.delay_ms_median,
            figures.delay_ms_p95,
            figures.buffer_ms,
            figures.concealed * 100.0,
            figures.stretched * 100.0,
            figures.cpu_us_per_20ms,
            figures.bitrate / 1_000.0,
            baseline.pesq_wb,
            baseline.delay_ms_median,
            baseline.concealed * 100.0,
        ));
    }
    lines.join("\n")
}

/// Delays of the first seed.
fn panel(case: Case, n: usize, done: &[Done]) -> Panel {
    let of = |baseline: bool| {
        let job = done.iter().find(|((of, _, base), ..)| *of == n && *base == baseline);
        job.map(|(_, outcome, _)| outcome.delays.clone()).unwrap_or_default()
    };
    let bursts = case.burst.map_or(String::new(), |mean| format!(" in bursts of {mean}"));
    Panel {
        title: format!("{} % lost{bursts}, 0–{} ms jitter", case.loss, case.jitter),
        lines: vec![("fixed 60 ms".to_owned(), of(true)), ("adapting".to_owned(), of(false))],
    }
}
