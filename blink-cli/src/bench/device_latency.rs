//! `blink bench latency --device`: latency from mouth to ear, devices included.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use blink_api::{AudioFormat, AudioSink, AudioSource, Configuration, MediaHost, OpenRequest, Registry};
use serde::Serialize;

use super::chirps::{ChirpHost, PERIOD};
use super::engine_call::{EngineCall, Side};
use super::latency::{FRAMES, WARM_UP, measure, quantile};
use crate::args::{BenchLatencyArguments, Global};
use crate::failure::Failure;
use crate::interrupt::Interrupt;
use crate::output::Output;
use crate::{backends, configuration, files};

const REQUEST: OpenRequest = OpenRequest::new(AudioFormat::CALL, PERIOD);
/// Time after which the latency of a device is known.
const SETTLE: Duration = Duration::from_secs(2);

/// Last line of `--json`.
#[derive(Debug, Serialize)]
struct Report {
    results: Vec<Row>,
}

/// One frame duration.
#[derive(Debug, Serialize)]
struct Row {
    frame_ms: u64,
    /// From mouth to ear.
    median_ms: f64,
    p95_ms: f64,
    chirps: usize,
    missed: usize,
    /// From capture to playout of the same call without devices.
    without_devices_ms: f64,
    /// Latencies that the microphone and the speaker report, with their queues.
    microphone_ms: f64,
    speaker_ms: f64,
}

/// Measures through the devices that the options name.
pub(super) async fn run(
    arguments: &BenchLatencyArguments,
    global: &Global,
    output: &Output,
    interrupt: &Interrupt,
) -> Result<(), Failure> {
    let frames = arguments.frame.map_or(FRAMES.to_vec(), |frame| vec![frame]);
    let mut results = Vec::new();
    for frame in frames {
        output.waiting(format!("measuring with frames of {frame} ms"));
        let row = tokio::select! {
            row = row(arguments, global, frame) => row?,
            () = interrupt.wait() => return Err(Failure::interrupted()),
        };
        results.push(row);
    }
    output.waited();
    output.result("frame  mouth to ear: median    p95   chirps  missed  without devices  microphone  speaker");
    for row in &results {
        let Row { frame_ms, median_ms, p95_ms, chirps, missed, without_devices_ms, microphone_ms, speaker_ms } = row;
        output.result(&format!(
            "{frame_ms:2} ms{median_ms:20.1} ms  {p95_ms:5.1}   {chirps:6}  {missed:6}{without_devices_ms:14.1} ms\
             {microphone_ms:9.1} ms{speaker_ms:6.1} ms"
        ));
    }
    output.json_result(&Report { results });
    Ok(())
}

async fn row(arguments: &BenchLatencyArguments, global: &Global, frame: u64) -> Result<Row, Failure> {
    let registry = Registry::discovered()?;
    let duration = Duration::from_secs(arguments.seconds);
    let configure = |devices: Option<(&str, &str)>| {
        let (builder, (microphone, speaker)) = match devices {
            Some(devices) => (backends::with_devices(&registry), devices),
            None => (backends::configuration(&registry), ("default", "default")),
        };
        let builder = configuration::options(configuration::file_and_environment(builder, global), global)
            .set("bench", "signaling", "memory")
            .set("bench", "call.audio.frame", format!("{frame}ms"))
            .set("bench", "processor", arguments.devices.processors().unwrap_or_default())
            .set("bench", "microphone", microphone)
            .set("bench", "speaker", speaker);
        builder.build()
    };
    let (alice, bob) = (ChirpHost::default(), ChirpHost::default());
    let synthetic = measure([(configure(None)?, alice), (configure(None)?, bob)], duration).await?;
    let microphone = arguments.devices.microphone.as_deref().unwrap_or("default");
    let speaker = arguments.devices.speaker.as_deref().unwrap_or("default");
    let caller = configure(Some((microphone, "null")))?;
    let host = device_host(&caller).await?;
    let own = own_latency(&*host, microphone, speaker).await?;
    let (mouth, ear) = arguments
        .mouth
        .as_deref()
        .zip(arguments.ear.as_deref())
        .ok_or_else(|| Failure::input("--device needs --mouth and --ear"))?;
    let (mouth, ear) = (host.open_audio_sink(mouth, REQUEST).await?, host.open_audio_source(ear, REQUEST).await?);
    let callee = configure(Some(("silence", speaker)))?;
    let through = measure_through([caller, callee], (mouth, ear), duration).await?;
    let (with, without) = (sorted(&through), sorted(&synthetic));
    if with.is_empty() || without.is_empty() {
        return Err(Failure::call("no chirp was heard: does the microphone hear --mouth, and --ear the speaker?"));
    }
    Ok(Row {
        frame_ms: frame,
        median_ms: quantile(&with, 0.5),
        p95_ms: quantile(&with, 0.95),
        chirps: through.len(),
        missed: through.len() - with.len(),
        without_devices_ms: quantile(&without, 0.5),
        microphone_ms: own.0,
        speaker_ms: own.1,
    })
}

fn sorted(delays: &[Option<f64>]) -> Vec<f64> {
    let mut sorted: Vec<f64> = delays.iter().flatten().copied().collect();
    sorted.sort_by(f64::total_cmp);
    sorted
}

async fn device_host(configuration: &Configuration) -> Result<Arc<dyn MediaHost>, Failure> {
    let hosts = configuration.chosen_all::<dyn MediaHost>()?;
    let entry = hosts.into_iter().find(|host| host.capabilities.hardware_clock);
    let entry = entry.ok_or_else(|| Failure::input("no media host with devices is configured"))?;
    Ok(entry.create(configuration, &files::context(configuration)).await?)
}

/// Latencies in milliseconds that a microphone and a speaker report while they run.
async fn own_latency(host: &dyn MediaHost, microphone: &str, speaker: &str) -> Result<(f64, f64), Failure> {
    let mut source = host.open_audio_source(microphone, REQUEST).await?;
    let mut sink = host.open_audio_sink(speaker, REQUEST).await?;
    let run = move || {
        let (start, mut next, mut block) = (Instant::now(), Instant::now(), [0.0; 480]);
        while start.elapsed() < SETTLE {
            std::thread::sleep(next.saturating_duration_since(Instant::now()));
            next += PERIOD;
            while source.read(&mut block)?.samples == block.len() {}
            block.fill(0.0);
            sink.write(&block)?;
        }
        // The block that was written is no part of the latency.
        let queued = AudioFormat::CALL.duration_of(sink.queued()).saturating_sub(PERIOD);
        let milliseconds = |time: Duration| (time.as_secs_f64() * 10_000.0).round() / 10.0;
        Ok((milliseconds(source.latency()), milliseconds(sink.latency() + queued)))
    };
    tokio::task::spawn_blocking(run).await.map_err(|error| Failure::call(error.to_string()))?
}

/// Delays of chirps from mouth to ear.
async fn measure_through(
    [caller, callee]: [Configuration; 2],
    (mut mouth, mut ear): (Box<dyn AudioSink>, Box<dyn AudioSource>),
    duration: Duration,
) -> Result<Vec<Option<f64>>, Failure> {
    let (said, heard, stop) = (ChirpHost::default(), ChirpHost::default(), Arc::new(AtomicBool::new(false)));
    let (chirps, hearing, stopped) = (said.clone(), heard.clone(), stop.clone());
    let running =
        tokio::task::spawn_blocking(move || chirps.run_on_devices(&mut *mouth, (&mut *ear, &hearing), &stopped));
    let side = |configuration| Side { configuration, codecs: Vec::new(), media_host: None, threads: None };
    let engine_call = EngineCall::start([side(caller), side(callee)]).await?;
    tokio::time::sleep(WARM_UP).await;
    let since = Instant::now();
    tokio::time::sleep(duration).await;
    engine_call.end().await;
    stop.store(true, Ordering::Relaxed);
    running.await.map_err(|error| Failure::call(error.to_string()))??;
    let found = tokio::task::spawn_blocking(move || said.delays_to(&heard, since)).await;
    found.map_err(|error| Failure::call(format!("the detection of chirps failed: {error}")))
}
