//! Media host with a microphone that sends chirps at known times and a speaker that records with
//! times, and the detection of the chirps.

use std::f32::consts::TAU;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use blink_api::macros::async_trait;
use blink_api::{
    AudioFormat, AudioSink, AudioSource, DeviceChange, DeviceInfo, MediaCapabilities, MediaHost, OpenRequest,
    ReadResult, Result,
};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tokio::sync::broadcast;

const RATE: u32 = AudioFormat::CALL.sample_rate;
/// Blocks of devices.
pub(super) const PERIOD: Duration = Duration::from_millis(10);
const BLOCK: usize = 480;
/// Length of a chirp in samples: 20 ms.
const CHIRP: usize = 960;
/// Lowest and highest frequency of a chirp in Hz, within the band of speech.
const SWEEP: (f32, f32) = (400.0, 3_400.0);
/// Interval between chirps in ms, irregular so that they are spread over frames and ticks.
const PAUSES: std::ops::Range<u32> = 420..520;
/// Maximum delay of a detected chirp, less than the interval.
const LATEST: Duration = Duration::from_millis(400);
/// Minimum correlation of a detected chirp, 0 to 1.
const MIN_CORRELATION: f32 = 0.5;

/// A media host with one microphone and one speaker. Clones share them.
#[derive(Clone, Default)]
pub(super) struct ChirpHost(Arc<Mutex<Recording>>);

#[derive(Default)]
struct Recording {
    /// Time at which the first sample of each chirp was captured.
    said: Vec<Instant>,
    heard: Vec<f32>,
    /// Index of the first sample and time of each block of `heard`.
    played: Vec<(usize, Instant)>,
}

impl ChirpHost {
    fn recording(&self) -> MutexGuard<'_, Recording> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Delays in ms of the chirps sent since `since` to another host's speaker; `None` for one that
    /// was not detected.
    pub(super) fn delays_to(&self, sink_host: &ChirpHost, since: Instant) -> Vec<Option<f64>> {
        let heard = sink_host.recording();
        let end = heard.played.last().map_or(since, |(_, at)| *at);
        let said = self.recording().said.clone();
        // The last chirps may not have arrived yet.
        said.iter().filter(|at| **at >= since && **at + LATEST < end).map(|at| heard.delay_of(*at)).collect()
    }
}

impl ChirpHost {
    /// Plays chirps to a sink of devices, and records what a source of devices hears, until told
    /// to stop. Blocks its thread.
    pub(super) fn run_on_devices(
        &self,
        mouth: &mut dyn AudioSink,
        (ear, heard): (&mut dyn AudioSource, &ChirpHost),
        stop: &AtomicBool,
    ) -> Result<()> {
        let mut chirps = self.source();
        let mut block = [0.0; BLOCK];
        let mut next = Instant::now();
        while !stop.load(Ordering::Relaxed) {
            std::thread::sleep(next.saturating_duration_since(Instant::now()));
            next += PERIOD;
            let delay = PERIOD + AudioFormat::CALL.duration_of(mouth.queued()) + mouth.latency();
            let before = self.recording().said.len();
            chirps.read(&mut block)?;
            // The source takes a block for captured before; this one is still to be played.
            self.recording().said[before..].iter_mut().for_each(|at| *at += delay);
            mouth.write(&block)?;
            loop {
                let read = ear.read(&mut block)?;
                let (Some(at), 1..) = (read.at, read.samples) else { break };
                let mut recording = heard.recording();
                let first = recording.heard.len();
                recording.played.push((first, at));
                recording.heard.extend_from_slice(&block[..read.samples]);
            }
        }
        Ok(())
    }

    fn source(&self) -> ChirpSource {
        let random = ChaCha8Rng::seed_from_u64(1);
        ChirpSource { head: self.clone(), chirp: chirp(), at: CHIRP, pause: RATE as usize / 5, random }
    }
}

impl Recording {
    /// Delay of a chirp in ms; `None` where it was not heard. A jitter buffer that stretches time
    /// in the middle of a chirp leaves one of its halves as it was: that one is located then.
    fn delay_of(&self, said: Instant) -> Option<f64> {
        let from = self.sample_at(said)?;
        let window = self.heard.get(from..from + AudioFormat::CALL.samples_in(LATEST) + CHIRP)?;
        let chirp = chirp();
        let halves = [0..CHIRP / 2, CHIRP / 2..CHIRP];
        let whole = locate(window, &chirp);
        let (at, _) = whole.filter(|(_, correlation)| *correlation >= MIN_CORRELATION).or_else(|| {
            let half = |part: std::ops::Range<usize>| {
                let (at, correlation) = locate(window, &chirp[part.clone()])?;
                Some((at.checked_sub(part.start)?, correlation))
            };
            let best = halves.into_iter().filter_map(half).max_by(|(_, one), (_, other)| one.total_cmp(other));
            best.filter(|(_, correlation)| *correlation >= MIN_CORRELATION)
        })?;
        let heard = self.time_of(from + at)?;
        Some(heard.saturating_duration_since(said).as_secs_f64() * 1_000.0)
    }

    /// Index of the last sample played before a time.
    fn sample_at(&self, time: Instant) -> Option<usize> {
        let block = self.played.partition_point(|(_, at)| *at <= time).checked_sub(1)?;
        let (first, at) = self.played[block];
        let next = self.played.get(block + 1).map_or(self.heard.len(), |(first, _)| *first);
        Some((first + AudioFormat::CALL.samples_in(time - at)).min(next))
    }

    fn time_of(&self, sample: usize) -> Option<Instant> {
        let block = self.played.partition_point(|(first, _)| *first <= sample).checked_sub(1)?;
        let (first, at) = self.played[block];
        Some(at + Duration::from_secs((sample - first) as u64) / RATE)
    }
}

#[async_trait]
impl MediaHost for ChirpHost {
    fn capabilities(&self) -> MediaCapabilities {
        MediaCapabilities { audio_sources: true, audio_sinks: true, ..MediaCapabilities::default() }
    }

    async fn devices(&self) -> Result<Vec<DeviceInfo>> {
        Ok(Vec::new())
    }

    async fn open_audio_source(&self, _: &str, _: OpenRequest) -> Result<Box<dyn AudioSource>> {
        Ok(Box::new(self.source()))
    }

    async fn open_audio_sink(&self, _: &str, _: OpenRequest) -> Result<Box<dyn AudioSink>> {
        Ok(Box::new(RecordingSink(self.clone())))
    }

    fn changes(&self) -> Option<broadcast::Receiver<DeviceChange>> {
        None
    }
}

/// Audio source of chirps and silence.
struct ChirpSource {
    head: ChirpHost,
    chirp: Vec<f32>,
    /// Position within the chirp.
    at: usize,
    /// Samples of silence until the next chirp.
    pause: usize,
    random: ChaCha8Rng,
}

impl AudioSource for ChirpSource {
    fn format(&self) -> AudioFormat {
        AudioFormat::CALL
    }

    fn read(&mut self, out: &mut [f32]) -> Result<ReadResult> {
        let now = Instant::now();
        for n in 0..out.len() {
            if self.at == CHIRP && self.pause == 0 {
                self.at = 0;
                let pause = PAUSES.start + self.random.next_u32() % (PAUSES.end - PAUSES.start);
                // A chirp may start at any sample of a frame.
                self.pause = (pause * RATE / 1_000 + self.random.next_u32() % 480) as usize;
                // As on a device, a block contains the audio captured before the read, its last
                // sample just now.
                self.head.recording().said.push(now - Duration::from_secs((out.len() - n) as u64) / RATE);
            }
            out[n] = match self.chirp.get(self.at) {
                Some(sample) => {
                    self.at += 1;
                    *sample
                }
                None => {
                    self.pause -= 1;
                    0.0
                }
            };
        }
        Ok(ReadResult::new(out.len()))
    }

    fn latency(&self) -> Duration {
        Duration::ZERO
    }
}

/// Audio sink that records: the first sample of a block is played when it is written.
struct RecordingSink(ChirpHost);

impl AudioSink for RecordingSink {
    fn format(&self) -> AudioFormat {
        AudioFormat::CALL
    }

    fn write(&mut self, samples: &[f32]) -> Result<usize> {
        let now = Instant::now();
        let mut recording = self.0.recording();
        let first = recording.heard.len();
        recording.played.push((first, now));
        recording.heard.extend_from_slice(samples);
        Ok(samples.len())
    }

    fn queued(&self) -> usize {
        0
    }

    fn latency(&self) -> Duration {
        Duration::ZERO
    }

    fn finish(&mut self) -> Result<()> {
        Ok(())
    }
}

/// Where a part of a chirp is in a window, and its correlation with what is there, 0 to 1.
fn locate(window: &[f32], part: &[f32]) -> Option<(usize, f32)> {
    let energy = |samples: &[f32]| samples.iter().map(|sample| sample * sample).sum::<f32>().sqrt();
    let sent = energy(part);
    let correlation_at = |heard: &[f32]| {
        let product: f32 = heard.iter().zip(part).map(|(one, other)| one * other).sum();
        (product, product / (energy(heard) * sent).max(1e-6))
    };
    let places = window.windows(part.len()).map(correlation_at).enumerate();
    let (at, (_, correlation)) = places.max_by(|(_, (one, _)), (_, (other, _))| one.total_cmp(other))?;
    Some((at, correlation))
}

/// A frequency sweep with a soft onset and end.
fn chirp() -> Vec<f32> {
    let length = CHIRP as f32 / RATE as f32;
    let sample = |n: usize| {
        let t = n as f32 / RATE as f32;
        let phase = SWEEP.0 * t + (SWEEP.1 - SWEEP.0) * t * t / (2.0 * length);
        let window = 0.5 - 0.5 * (TAU * n as f32 / CHIRP as f32).cos();
        0.5 * window * (TAU * phase).sin()
    };
    (0..CHIRP).map(sample).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A chirp is located to within a sample, wherever in a block it was sent and played.
    #[tokio::test]
    async fn chirps_are_located_to_within_a_sample() {
        let request = OpenRequest::new(AudioFormat::CALL, Duration::from_millis(10));
        let (source_host, sink_host) = (ChirpHost::default(), ChirpHost::default());
        let mut source = source_host.open_audio_source("", request).await.unwrap();
        let start = Instant::now();
        let mut block = vec![0.0; 480];
        let mut said = vec![0.0; 2_413];
        for n in 0..400 {
            source.read(&mut block).unwrap();
            said.extend_from_slice(&block);
            sink_host.recording().played.push((n * 480, start + Duration::from_millis(10) * n as u32));
        }
        // Send times as if the blocks had been read every 10 ms.
        let chirp = chirp();
        let firsts = (0..said.len() - CHIRP).filter(|at| said[*at..*at + CHIRP] == chirp[..]);
        let firsts: Vec<_> = firsts.map(|at| start + Duration::from_secs((at - 2_413) as u64) / RATE).collect();
        assert!(firsts.len() > 5);
        source_host.recording().said = firsts;
        sink_host.recording().heard = said[..192_000].to_vec();
        let delays = source_host.delays_to(&sink_host, start);
        assert!(delays.len() > 3, "{delays:?}");
        for delay in delays {
            assert!((delay.unwrap() - 2_413.0 / 48.0).abs() < 0.05, "{delay:?}");
        }
        // The second half of each chirp comes 3 ms later than it should.
        let stretched: Vec<_> = sink_host.recording().heard.clone();
        let late = said[2_413..].windows(CHIRP).enumerate().filter(|(_, part)| *part == &chirp[..]).map(|(at, _)| at);
        for at in late.map(|at| at + 2_413 + CHIRP / 2).filter(|at| at + CHIRP < stretched.len()) {
            let mut recording = sink_host.recording();
            recording.heard[at..at + 144].fill(0.0);
            recording.heard[at + 144..at + 144 + CHIRP / 2].copy_from_slice(&stretched[at..at + CHIRP / 2]);
        }
        for delay in source_host.delays_to(&sink_host, start) {
            assert!((delay.unwrap() - 2_413.0 / 48.0).abs() < 3.05, "{delay:?}");
        }
        sink_host.recording().heard.fill(0.0);
        assert!(
            source_host.delays_to(&sink_host, start).iter().all(Option::is_none),
            "no chirp is detected in silence"
        );
    }
}
