//! Test of a microphone and a speaker: level, tone, round trip.

use std::f32::consts::TAU;
use std::time::{Duration, Instant};

use blink_api::{AudioFormat, AudioSink, AudioSource, OpenRequest};
use serde::Serialize;
use tokio::time::MissedTickBehavior;

use super::{NamedHost, open_microphone, open_speaker};
use crate::failure::Failure;
use crate::output::Output;

const FORMAT: AudioFormat = AudioFormat::CALL;
const TICK: Duration = Duration::from_millis(10);
const BLOCK: usize = 480;
const RATE: u32 = FORMAT.sample_rate;

/// Duration and frequency of the tone.
const TONE: (u32, f32) = (100, 440.0);
/// Chirps of the round trip, their length in samples, and the ticks between two.
const CHIRPS: usize = 8;
const CHIRP: usize = 2_400;
const PAUSE: u32 = 60;
/// Longest round trip, and least correlation of a chirp that was heard.
const LONGEST: Duration = Duration::from_millis(500);
const MIN_CORRELATION: f32 = 0.5;
/// Ticks until devices run.
const SETTLE: u32 = 50;
/// Width of the level meter.
const METER: usize = 30;

/// Results of the test: the last line of `--json`.
#[derive(Debug, Default, Serialize)]
struct Report {
    microphone: Option<String>,
    speaker: Option<String>,
    /// Greatest level while the meter ran, in dB of full scale.
    peak_dbfs: Option<f32>,
    tone_played: bool,
    /// Median time from writing to the speaker until reading from the microphone, `None` where
    /// they do not hear each other.
    round_trip_ms: Option<f64>,
    /// Latencies that the devices report, and the queue.
    microphone_latency_ms: Option<f64>,
    speaker_latency_ms: Option<f64>,
    errors: Vec<String>,
}

/// Tests the devices, and prints what was found.
pub(super) async fn run(
    hosts: &[NamedHost],
    (microphone, speaker): (&str, &str),
    seconds: u64,
    output: &Output,
) -> Result<(), Failure> {
    let request = OpenRequest::new(FORMAT, TICK);
    let mut report = Report::default();
    let mut source = None;
    match open_microphone(hosts, microphone, request).await {
        Ok(opened) => (source, report.microphone) = (Some(opened), Some(microphone.to_owned())),
        Err(error) => report.errors.push(format!("microphone: {error}")),
    }
    let mut sink = None;
    match open_speaker(hosts, speaker, request).await {
        Ok(opened) => (sink, report.speaker) = (Some(opened), Some(speaker.to_owned())),
        Err(error) => report.errors.push(format!("speaker: {error}")),
    }
    let result = test(source.as_deref_mut(), sink.as_deref_mut(), seconds, (output, &mut report)).await;
    if let Err(error) = result {
        report.errors.push(error.to_string());
    }
    output.waited();
    show(&report, output);
    match report.errors.first() {
        Some(error) => Err(Failure::call(error.clone())),
        None => Ok(()),
    }
}

async fn test(
    mut source: Option<&mut (dyn AudioSource + 'static)>,
    sink: Option<&mut (dyn AudioSink + 'static)>,
    seconds: u64,
    (output, report): (&Output, &mut Report),
) -> Result<(), blink_api::Error> {
    if let Some(source) = source.as_deref_mut() {
        report.peak_dbfs = Some(meter(source, seconds, output).await?);
        report.microphone_latency_ms = Some(milliseconds(source.latency()));
    }
    let Some(sink) = sink else { return Ok(()) };
    output.waiting("playing a tone");
    tone(sink).await?;
    report.tone_played = true;
    if let Some(source) = source {
        output.waiting("measuring the round trip");
        report.round_trip_ms = round_trip(source, sink).await?;
        report.microphone_latency_ms = Some(milliseconds(source.latency()));
    }
    report.speaker_latency_ms = Some(milliseconds(sink.latency() + FORMAT.duration_of(sink.queued())));
    Ok(())
}

fn show(report: &Report, output: &Output) {
    output.json_result(report);
    if let Some(peak) = report.peak_dbfs {
        let silent = if peak < -70.0 { ": nothing was heard; is it muted?" } else { "" };
        output.result(&format!("microphone: peak {peak:.0} dBFS{silent}"));
    }
    if report.tone_played {
        output.result("speaker: a tone of one second was played");
        match report.round_trip_ms {
            Some(time) => output.result(&format!("round trip: {time:.1} ms from the speaker to the microphone")),
            None => output.result("round trip: the microphone does not hear the speaker"),
        }
    }
    let latency = |what: &str, time: Option<f64>| {
        if let Some(time) = time {
            output.result(&format!("{what}: {time:.1} ms"));
        }
    };
    latency("latency of the microphone", report.microphone_latency_ms);
    latency("latency of the speaker", report.speaker_latency_ms);
}

fn milliseconds(time: Duration) -> f64 {
    (time.as_secs_f64() * 10_000.0).round() / 10.0
}

fn ticks() -> tokio::time::Interval {
    let mut ticks = tokio::time::interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    ticks
}

/// Shows the level for some seconds. Returns the greatest one.
async fn meter(source: &mut dyn AudioSource, seconds: u64, output: &Output) -> Result<f32, blink_api::Error> {
    let (mut ticks, mut block, mut peak, mut level) = (ticks(), [0.0_f32; BLOCK], 0.0_f32, 0.0_f32);
    for tick in 0..seconds * 100 {
        ticks.tick().await;
        let read = source.read(&mut block)?;
        let loudest = block[..read.samples].iter().fold(0.0_f32, |peak, sample| peak.max(sample.abs()));
        (peak, level) = (peak.max(loudest), loudest.max(level * 0.95));
        if tick % 10 == 0 {
            let length = ((dbfs(level) + 60.0) / 60.0 * METER as f32).clamp(0.0, METER as f32) as usize;
            output.waiting(format!("speak: [{:-<METER$}] {:.0} dBFS", "#".repeat(length), dbfs(level)));
        }
    }
    Ok(dbfs(peak))
}

fn dbfs(amplitude: f32) -> f32 {
    20.0 * amplitude.max(1e-6).log10()
}

async fn tone(sink: &mut dyn AudioSink) -> Result<(), blink_api::Error> {
    let (mut ticks, (length, hertz)) = (ticks(), TONE);
    for tick in 0..length {
        ticks.tick().await;
        let sample = |n: u32| (n as f32 * hertz / RATE as f32 * TAU).sin() * 0.2;
        // The ends are soft, so that they do not click.
        let edge = if tick == 0 { 1.0 } else { 0.0 };
        let end = if tick + 1 == length { 1.0 } else { 0.0 };
        let block: Vec<_> = (0..BLOCK as u32)
            .map(|n| {
                let part = n as f32 / BLOCK as f32;
                sample(tick * BLOCK as u32 + n) * (1.0 - edge * (1.0 - part)) * (1.0 - end * part)
            })
            .collect();
        sink.write(&block)?;
    }
    Ok(())
}

/// Median time from writing a chirp until it is read, in milliseconds.
async fn round_trip(source: &mut dyn AudioSource, sink: &mut dyn AudioSink) -> Result<Option<f64>, blink_api::Error> {
    let (mut ticks, chirp) = (ticks(), chirp());
    let (mut heard, mut read_at, mut said) = (Vec::new(), Vec::new(), Vec::new());
    let mut block = [0.0_f32; BLOCK];
    for tick in 0..SETTLE + PAUSE * (CHIRPS as u32 + 1) {
        ticks.tick().await;
        let now = Instant::now();
        loop {
            let read = source.read(&mut block)?;
            if read.samples == 0 {
                break;
            }
            read_at.push((heard.len(), now));
            heard.extend_from_slice(&block[..read.samples]);
            if read.at.is_none() || read.samples < block.len() {
                break;
            }
        }
        let since = tick.checked_sub(SETTLE).map(|tick| (tick / PAUSE, (tick % PAUSE) as usize * BLOCK));
        let (number, offset) = since.unwrap_or((0, CHIRP));
        let part = chirp.get(offset..).filter(|_| (number as usize) < CHIRPS).unwrap_or_default();
        if offset == 0 && !part.is_empty() {
            said.push(now);
        }
        let length = part.len().min(BLOCK);
        block[..length].copy_from_slice(&part[..length]);
        block[length..].fill(0.0);
        sink.write(&block)?;
    }
    let mut times: Vec<_> = said.iter().filter_map(|said| delay(&heard, &read_at, *said, &chirp)).collect();
    times.sort_by(f64::total_cmp);
    // A chirp that seems to be heard by chance is no echo.
    Ok((times.len() > CHIRPS / 2).then(|| (times[times.len() / 2] * 10.0).round() / 10.0))
}

/// Delay of a chirp in milliseconds, where it was heard.
fn delay(heard: &[f32], read_at: &[(usize, Instant)], said: Instant, chirp: &[f32]) -> Option<f64> {
    let (first, start) = *read_at.iter().find(|(_, at)| *at >= said)?;
    let window = heard.get(first..(first + FORMAT.samples_in(LONGEST) + chirp.len()).min(heard.len()))?;
    let energy = |samples: &[f32]| samples.iter().map(|sample| sample * sample).sum::<f32>().sqrt();
    let correlation = |part: &[f32]| {
        let product: f32 = part.iter().zip(chirp).map(|(one, other)| one * other).sum();
        // What is hardly there has no shape.
        product.abs() / (energy(part).max(0.01) * energy(chirp))
    };
    let parts = window.windows(chirp.len()).enumerate().map(|(at, part)| (at, correlation(part)));
    let (at, best) = parts.max_by(|(_, one), (_, other)| one.total_cmp(other))?;
    let found = start + FORMAT.duration_of(at);
    (best >= MIN_CORRELATION).then(|| found.saturating_duration_since(said).as_secs_f64() * 1_000.0)
}

/// A sweep from 500 to 3000 Hz with soft ends.
fn chirp() -> Vec<f32> {
    let length = CHIRP as f32 / RATE as f32;
    let sample = |n: usize| {
        let time = n as f32 / RATE as f32;
        let phase = 500.0 * time + 2_500.0 * time * time / (2.0 * length);
        0.3 * (0.5 - 0.5 * (TAU * n as f32 / CHIRP as f32).cos()) * (TAU * phase).sin()
    };
    (0..CHIRP).map(sample).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chirp_is_found_at_its_delay_and_not_in_noise() {
        let (start, chirp) = (Instant::now(), chirp());
        let read_at: Vec<_> = (0..100).map(|n| (n * BLOCK, start + TICK * n as u32)).collect();
        let mut heard: Vec<f32> = (0..100 * BLOCK).map(|n| ((n * 7_919 % 997) as f32 / 997.0 - 0.5) * 0.02).collect();
        assert_eq!(delay(&heard, &read_at, start + TICK, &chirp), None);
        for (to, from) in heard[BLOCK + 4_800..].iter_mut().zip(&chirp) {
            *to -= from * 0.3;
        }
        let found = delay(&heard, &read_at, start + TICK, &chirp).unwrap();
        assert!((found - 100.0).abs() < 0.2, "{found}");
    }
}
