//! The ring tone on a speaker.

use std::f32::consts::TAU;
use std::sync::Arc;
use std::time::Duration;

use blink_api::{AudioFormat, AudioSink, Configuration, MediaHost, OpenRequest, Result};
use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::MissedTickBehavior;

use crate::devices::{NamedHost, open_speaker};
use crate::files;

const FORMAT: AudioFormat = AudioFormat::CALL;
const TICK: Duration = Duration::from_millis(10);
const BLOCK: usize = 480;
/// Blocks that wait in a device: enough for a program that is scheduled late.
const QUEUED: usize = 4;
/// Samples of a period, and of the two bursts that begin it and of the pause between them.
const PERIOD: u64 = 144_000;
const BURST: u64 = 19_200;
const PAUSE: u64 = 9_600;
/// Samples in which a burst fades in and out.
const EDGE: f32 = 480.0;
/// Frequencies, and the amplitude of each.
const TONES: [f32; 2] = [440.0, 554.37];
const AMPLITUDE: f32 = 0.15;
/// Longest wait for a speaker to be closed.
const CLOSE: Duration = Duration::from_millis(500);

/// A ring tone that plays until it is stopped or dropped.
pub(crate) struct RingTone {
    stop: Arc<Notify>,
    task: JoinHandle<()>,
}

impl RingTone {
    /// Starts to play on the speaker of `[ui]`, or on that of calls.
    pub(crate) fn start(configuration: &Configuration, speaker: &str) -> Self {
        let (configuration, speaker) = (configuration.clone(), speaker.to_owned());
        let stop = Arc::new(Notify::new());
        let stopped = Arc::clone(&stop);
        let runtime = Handle::current();
        // Opening and closing a device may block.
        let task = tokio::task::spawn_blocking(move || {
            // Without a speaker, the bell and the screen still tell of the call.
            if let Err(error) = runtime.block_on(play(&configuration, &speaker, &stopped)) {
                tracing::debug!(%error, "no ring tone");
            }
        });
        Self { stop, task }
    }

    /// Stops, and waits until the speaker is free for the call.
    pub(crate) async fn stop(mut self) {
        self.stop.notify_one();
        if tokio::time::timeout(CLOSE, &mut self.task).await.is_err() {
            tracing::debug!("the speaker of the ring tone closes late");
        }
    }
}

impl Drop for RingTone {
    fn drop(&mut self) {
        self.stop.notify_one();
    }
}

async fn play(configuration: &Configuration, speaker: &str, stop: &Notify) -> Result<()> {
    let Some(mut sink) = open(configuration, speaker).await? else { return Ok(()) };
    ring(&mut *sink, stop).await.and(sink.finish())
}

/// Opens the speaker; `None` where none is wanted.
async fn open(configuration: &Configuration, speaker: &str) -> Result<Option<Box<dyn AudioSink>>> {
    let chosen = configuration.settings().ui.ring_speaker.as_deref();
    let name = chosen.unwrap_or(speaker);
    if name == "none" {
        return Ok(None);
    }
    let context = files::context(configuration);
    let mut hosts: Vec<NamedHost> = Vec::new();
    for entry in configuration.chosen_all::<dyn MediaHost>()? {
        // By default a file of calls gets no ring tone.
        if chosen.is_some() || entry.capabilities.hardware_clock {
            hosts.push((entry.name, entry.create(configuration, &context).await?));
        }
    }
    if hosts.is_empty() {
        return Ok(None);
    }
    open_speaker(&hosts, name, OpenRequest::new(FORMAT, TICK)).await.map(Some)
}

/// Writes the tone until it is stopped.
async fn ring(sink: &mut dyn AudioSink, stop: &Notify) -> Result<()> {
    let mut ticks = tokio::time::interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut position = 0;
    let mut block = [0.0; BLOCK];
    loop {
        tokio::select! {
            () = stop.notified() => {
                // A tone that is cut off clicks.
                let fade = |n: usize| 1.0 - n as f32 / BLOCK as f32;
                block.iter_mut().zip(position..).enumerate().for_each(|(n, (out, at))| *out = tone(at) * fade(n));
                return sink.write(&block).map(drop);
            }
            _ = ticks.tick() => {}
        }
        // A sink that plays nothing takes one block in each tick.
        let room = QUEUED.saturating_sub(sink.queued() / BLOCK);
        for _ in 0..if position == 0 { room } else { room.min(2) } {
            block.iter_mut().zip(position..).for_each(|(sample, at)| *sample = tone(at));
            position += BLOCK as u64;
            sink.write(&block)?;
            if sink.queued() == 0 {
                break;
            }
        }
    }
}

/// Sample of the ring tone at 48 kHz: two bursts of two tones, then a pause.
fn tone(at: u64) -> f32 {
    let in_period = at % PERIOD;
    let in_burst = match in_period {
        first if first < BURST => first,
        pause if pause < BURST + PAUSE => return 0.0,
        second if second < 2 * BURST + PAUSE => second - BURST - PAUSE,
        _ => return 0.0,
    };
    // Soft edges, so that they do not click.
    let (from_start, to_end) = (in_burst as f32, (BURST - in_burst) as f32);
    let envelope = (from_start.min(to_end) / EDGE).min(1.0);
    let time = in_burst as f32 / FORMAT.sample_rate as f32;
    TONES.iter().map(|hertz| (TAU * hertz * time).sin()).sum::<f32>() * AMPLITUDE * envelope
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tone_has_two_bursts_a_period_without_clicks_and_is_not_loud() {
        let samples: Vec<f32> = (0..2 * PERIOD).map(tone).collect();
        let loudest = samples.iter().fold(0.0_f32, |peak, sample| peak.max(sample.abs()));
        assert!((0.2..0.31).contains(&loudest), "{loudest}");
        let steepest = samples.windows(2).map(|pair| (pair[1] - pair[0]).abs()).fold(0.0, f32::max);
        assert!(steepest < 0.03, "{steepest}");
        let rings: Vec<bool> = samples.chunks(4_800).map(|part| part.iter().any(|sample| *sample != 0.0)).collect();
        let expected: Vec<bool> = (0..60).map(|n| matches!(n % 30, 0..=3 | 6..=9)).collect();
        assert_eq!(rings, expected);
    }
}
