//! `blink bench latency`: capture-to-playout latency.

use std::time::{Duration, Instant};

use blink_api::{Configuration, Registry};
use serde::Serialize;

use super::chirps::ChirpHost;
use super::device_latency;
use super::engine_call::{EngineCall, Side};
use crate::args::{BenchLatencyArguments, Global};
use crate::failure::Failure;
use crate::interrupt::Interrupt;
use crate::output::Output;
use crate::{backends, configuration};

/// Frame durations of the table, unless one is given.
pub(super) const FRAMES: [u64; 2] = [20, 10];
/// Time in which the jitter buffers settle.
pub(super) const WARM_UP: Duration = Duration::from_secs(2);

/// Last line of `--json`.
#[derive(Debug, Serialize)]
struct Report {
    results: Vec<Row>,
}

/// One pair of transports with one frame duration.
#[derive(Debug, Serialize)]
struct Row {
    caller: &'static str,
    callee: &'static str,
    frame_ms: u64,
    median_ms: f64,
    p95_ms: f64,
    /// Number of chirps sent in both directions, and of those not detected.
    chirps: usize,
    missed: usize,
}

/// Measures every pair of transports.
pub(super) async fn run(
    arguments: &BenchLatencyArguments,
    global: &Global,
    output: &Output,
    interrupt: &Interrupt,
) -> Result<(), Failure> {
    if !(1..=600).contains(&arguments.seconds) {
        return Err(Failure::input("--seconds is 1 to 600"));
    }
    if arguments.frame.is_some_and(|frame| ![10, 20, 40, 60].contains(&frame)) {
        return Err(Failure::input("--frame is 10, 20, 40 or 60 ms"));
    }
    let frames = arguments.frame.map_or(FRAMES.to_vec(), |frame| vec![frame]);
    if arguments.device {
        return device_latency::run(arguments, global, output, interrupt).await;
    }
    if arguments.devices.is_any() {
        return Err(Failure::input("--microphone, --speaker and --processors need --device"));
    }
    let registry = Registry::discovered()?;
    let mut results = Vec::new();
    for frame in frames {
        for caller in backends::DEMO_TRANSPORTS {
            for callee in backends::DEMO_TRANSPORTS {
                output.waiting(format!("measuring {caller} to {callee} with frames of {frame} ms"));
                let sides = [caller, callee].map(|transport| {
                    configure(&registry, global, transport, frame)
                        .map(|configuration| (configuration, ChirpHost::default()))
                });
                let [alice, bob] = sides;
                let measured = measure([alice?, bob?], Duration::from_secs(arguments.seconds));
                let delays = tokio::select! {
                    delays = measured => delays?,
                    () = interrupt.wait() => return Err(Failure::interrupted()),
                };
                results.push(row(caller, callee, frame, &delays)?);
            }
        }
    }
    output.waited();
    let report = Report { results };
    output.table(&table(&report));
    output.json_result(&report);
    Ok(())
}

fn configure(
    registry: &Registry,
    global: &Global,
    transport: &'static str,
    frame: u64,
) -> Result<Configuration, Failure> {
    let builder = configuration::base(registry, global)
        .set("bench", "signaling", "memory")
        .set("bench", "transport", transport)
        .set("bench", "call.audio.frame", format!("{frame}ms"));
    let builder = builder.set("bench", "microphone", "default").set("bench", "speaker", "default");
    Ok(configuration::options(builder, global).build()?)
}

/// Delays of both directions.
pub(super) async fn measure(
    sides: [(Configuration, ChirpHost); 2],
    duration: Duration,
) -> Result<Vec<Option<f64>>, Failure> {
    let [(alice, alices), (bob, bobs)] = sides;
    let side = |configuration, head: &ChirpHost| Side {
        configuration,
        codecs: Vec::new(),
        media_host: Some(std::sync::Arc::new(head.clone())),
        threads: None,
    };
    let engine_call = EngineCall::start([side(alice, &alices), side(bob, &bobs)]).await?;
    tokio::time::sleep(WARM_UP).await;
    let since = Instant::now();
    tokio::time::sleep(duration).await;
    engine_call.end().await;
    let found = tokio::task::spawn_blocking(move || {
        let mut delays = alices.delays_to(&bobs, since);
        delays.extend(bobs.delays_to(&alices, since));
        delays
    });
    found.await.map_err(|error| Failure::call(format!("the detection of chirps failed: {error}")))
}

fn row(caller: &'static str, callee: &'static str, frame_ms: u64, delays: &[Option<f64>]) -> Result<Row, Failure> {
    let mut heard: Vec<f64> = delays.iter().flatten().copied().collect();
    heard.sort_by(f64::total_cmp);
    if heard.is_empty() {
        return Err(Failure::call(format!("{caller} to {callee}: no audio was received")));
    }
    let quantile = |share: f64| quantile(&heard, share);
    let (chirps, missed) = (delays.len(), delays.len() - heard.len());
    Ok(Row { caller, callee, frame_ms, median_ms: quantile(0.5), p95_ms: quantile(0.95), chirps, missed })
}

/// Quantile of sorted figures, which are not empty, with one decimal.
pub(super) fn quantile(sorted: &[f64], share: f64) -> f64 {
    let at = ((sorted.len() - 1) as f64 * share).round() as usize;
    (sorted[at] * 10.0).round() / 10.0
}

fn table(report: &Report) -> String {
    let mut lines = vec!["caller     callee     frame  capture to playout: median    p95   chirps  missed".to_owned()];
    for Row { caller, callee, frame_ms, median_ms, p95_ms, chirps, missed } in &report.results {
        lines.push(format!(
            "{caller:9}  {callee:9}  {frame_ms:2} ms{median_ms:25.1} ms  {p95_ms:5.1}   {chirps:6}  {missed:6}"
        ));
    }
    lines.join("\n")
}
