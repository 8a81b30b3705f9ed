//! `blink bench calls`: CPU time and memory per call.

use std::sync::Arc;
use std::time::{Duration, Instant};

use blink_api::{AudioCodec, Configuration, Context, Registry, SystemClock, Transport};
use blink_engine::MediaThreads;
use serde::Serialize;

use super::clocks;
use super::engine_call::{EngineCall, Side};
use super::memory;
use super::metered_codec::{Meter, MeteredCodec};
use crate::args::{BenchCallsArguments, Global};
use crate::configuration;
use crate::failure::Failure;
use crate::interrupt::Interrupt;
use crate::output::Output;

/// Time between the start of a call and its measurement, in which it connects and its buffers
/// settle.
const WARM_UP: Duration = Duration::from_secs(3);
/// Approximate number of measurements.
const STEPS: usize = 4;
/// Ends per call in this process.
const ENDS: f64 = 2.0;

/// Last line of `--json`. Percentages are of one core.
#[derive(Debug, Serialize)]
struct Report {
    transport: &'static str,
    codec: &'static str,
    points: Vec<Point>,
    /// CPU time of one more call per end: half of the slope over the points.
    cpu_percent_per_call: f64,
    /// Share of encoding and decoding.
    codec_percent_per_call: f64,
    /// Share of everything else.
    rest_percent_per_call: f64,
    /// Resident memory of one more call, both ends, in MB; `None` where the system does not tell.
    memory_mb_per_call: Option<f64>,
}

/// Measurement with a number of calls, both ends of each.
#[derive(Debug, Clone, Copy, Serialize)]
struct Point {
    calls: usize,
    cpu_percent: f64,
    codec_percent: f64,
    /// Share of late and therefore concealed audio, 0.0 to 1.0: a high share means that the machine
    /// was overloaded.
    concealed: f64,
    /// Resident memory of the process in MB, without files that are mapped into it.
    memory_mb: Option<f64>,
}

/// Measures with an increasing number of calls.
pub(super) async fn run(
    arguments: &BenchCallsArguments,
    global: &Global,
    output: &Output,
    interrupt: &Interrupt,
) -> Result<(), Failure> {
    if !(2..=64).contains(&arguments.n) {
        return Err(Failure::input("--n is 2 to 64"));
    }
    if !(1..=600).contains(&arguments.seconds) {
        return Err(Failure::input("--seconds is 1 to 600"));
    }
    if clocks::of_process().is_none() {
        return Err(Failure::call("CPU time of a process is not available on this system"));
    }
    let registry = Registry::discovered()?;
    let base = configuration::base(&registry, global)
        .set("bench", "signaling", "memory")
        .set("bench", "microphone", "speech")
        .set("bench", "speaker", "null");
    let configuration = configuration::options(base, global).build()?;
    let mut engine_calls = Vec::new();
    let result = tokio::select! {
        result = measure(arguments, &configuration, output, &mut engine_calls) => result,
        () = interrupt.wait() => Err(Failure::interrupted()),
    };
    output.waiting("ending the calls");
    for engine_call in engine_calls {
        engine_call.end().await;
    }
    output.waited();
    let report = report(&configuration, result?)?;
    output.table(&table(&report));
    output.json_result(&report);
    Ok(())
}

async fn measure(
    arguments: &BenchCallsArguments,
    configuration: &Configuration,
    output: &Output,
    engine_calls: &mut Vec<EngineCall>,
) -> Result<Vec<Point>, Failure> {
    let meter = Meter::default();
    let context = Context { clock: Arc::new(SystemClock), shared: configuration.registry().shared() };
    let codecs = configuration.create_all::<dyn AudioCodec>(&context).await?;
    let metered_codec =
        |codec: Arc<dyn AudioCodec>| Arc::new(MeteredCodec { codec, meter: meter.clone() }) as Arc<dyn AudioCodec>;
    let codecs: Vec<_> = codecs.into_iter().map(metered_codec).collect();
    let threads = MediaThreads::new(std::thread::available_parallelism().map_or(1, usize::from))?;
    let side = Side { configuration: configuration.clone(), codecs, media_host: None, threads: Some(threads) };
    let reading = clocks::reading();
    let mut points = Vec::new();
    for calls in steps(arguments.n) {
        while engine_calls.len() < calls {
            output.waiting(format!("starting call {} of {}", engine_calls.len() + 1, arguments.n));
            engine_calls.push(EngineCall::start([side.clone(), side.clone()]).await?);
        }
        output.waiting(format!("measuring {calls} calls"));
        tokio::time::sleep(WARM_UP).await;
        let concealed = concealed_in(engine_calls).await?;
        let (began, cpu, codec) = (Instant::now(), clocks::of_process(), meter.total());
        tokio::time::sleep(Duration::from_secs(arguments.seconds)).await;
        let lasted = began.elapsed();
        let cpu = clocks::of_process().unwrap_or_default().saturating_sub(cpu.unwrap_or_default());
        let codec = meter.total().since(codec);
        // Subtract the cost of the measurement itself.
        let (cpu, codec) = (cpu.saturating_sub(2 * codec.measuring(reading)), codec.spent - codec.measuring(reading));
        let concealed = concealed_in(engine_calls).await?.saturating_sub(concealed);
        let share = |spent: Duration| spent.as_secs_f64() / lasted.as_secs_f64();
        points.push(Point {
            calls,
            cpu_percent: 100.0 * share(cpu),
            codec_percent: 100.0 * share(codec),
            concealed: share(concealed) / (calls as f64 * ENDS),
            memory_mb: memory::resident_mb(),
        });
    }
    Ok(points)
}

/// Audio concealed so far at all ends of all calls.
async fn concealed_in(engine_calls: &[EngineCall]) -> Result<Duration, Failure> {
    let mut concealed = Duration::ZERO;
    for engine_call in engine_calls {
        concealed += engine_call.concealed().await?;
    }
    Ok(concealed)
}

/// Numbers of calls to measure, from one to all.
fn steps(n: usize) -> Vec<usize> {
    let mut steps: Vec<_> = (0..=STEPS).map(|step| (1 + (n - 1) * step / STEPS).min(n)).collect();
    steps.dedup();
    steps
}

fn report(configuration: &Configuration, points: Vec<Point>) -> Result<Report, Failure> {
    let memory = points.iter().map(|point| Some((point.calls as f64, point.memory_mb?)));
    let memory: Option<Vec<_>> = memory.collect();
    let memory_mb_per_call = memory.map(|points| (slope(points.into_iter()) * 100.0).round() / 100.0);
    let slope = |value: &dyn Fn(&Point) -> f64| {
        let slope = slope(points.iter().map(|point| (point.calls as f64, value(point))));
        (slope / ENDS * 10_000.0).round() / 10_000.0
    };
    let cpu_percent_per_call = slope(&|point| point.cpu_percent);
    let codec_percent_per_call = slope(&|point| point.codec_percent);
    let rest_percent_per_call = slope(&|point| point.cpu_percent - point.codec_percent);
    Ok(Report {
        transport: configuration.chosen::<dyn Transport>()?.name,
        codec: configuration.chosen::<dyn AudioCodec>()?.name,
        cpu_percent_per_call,
        codec_percent_per_call,
        rest_percent_per_call,
        memory_mb_per_call,
        points,
    })
}

/// Slope of the least-squares line through the points.
fn slope(points: impl Iterator<Item = (f64, f64)> + Clone) -> f64 {
    let count = points.clone().count().max(1) as f64;
    let mean = |of: &dyn Fn((f64, f64)) -> f64| points.clone().map(of).sum::<f64>() / count;
    let (x, y) = (mean(&|point| point.0), mean(&|point| point.1));
    let spread = mean(&|point| (point.0 - x).powi(2));
    mean(&|point| (point.0 - x) * (point.1 - y)) / spread.max(f64::MIN_POSITIVE)
}

fn table(report: &Report) -> String {
    let mut lines = vec!["calls  CPU       codec     everything else  concealed  memory".to_owned()];
    for Point { calls, cpu_percent, codec_percent, concealed, memory_mb } in &report.points {
        let memory = memory_mb.map_or_else(|| "unknown".to_owned(), |memory| format!("{memory:.1} MB"));
        let (rest, concealed) = (cpu_percent - codec_percent, 100.0 * concealed);
        lines.push(format!(
            "{calls:5}  {cpu_percent:6.2} %  {codec_percent:6.2} %  {rest:13.2} %  {concealed:7.2} %  {memory}"
        ));
    }
    lines.push(format!(
        "CPU per call and end ({}, {}): {:.2} % of a core, codec {:.2} %, everything else {:.3} %",
        report.transport,
        report.codec,
        report.cpu_percent_per_call,
        report.codec_percent_per_call,
        report.rest_percent_per_call,
    ));
    if let Some(memory) = report.memory_mb_per_call {
        lines.push(format!("memory per call, both ends: {memory:.2} MB"));
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slope_is_that_of_the_least_squares_line() {
        let exact = slope([(1.0, 5.0), (2.0, 7.0), (4.0, 11.0)].into_iter());
        assert!((exact - 2.0).abs() < 1e-9);
        let nearest = slope([(0.0, 0.0), (1.0, 3.0), (2.0, 2.0)].into_iter());
        assert!((nearest - 1.0).abs() < 1e-9);
    }

    #[test]
    fn steps_range_from_one_call_to_all() {
        assert_eq!(steps(8), [1, 2, 4, 6, 8]);
        assert_eq!(steps(2), [1, 2]);
        assert_eq!(steps(3), [1, 2, 3]);
    }
}
