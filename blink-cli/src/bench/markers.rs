//! A mouth that says chirps at known times, an ear that keeps what it hears with times, and how to
//! find the ones in the other.

use std::f32::consts::TAU;
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
/// A chirp's length in samples: 20 ms.
const CHIRP: usize = 960;
/// Its lowest and highest frequency: where voices are.
const SWEEP: (f32, f32) = (400.0, 3_400.0);
/// From one chirp to the next, in ms: unevenly, so that they fall everywhere within frames and
/// ticks.
const PAUSES: std::ops::Range<u32> = 420..520;
/// So late a chirp is still looked for: before the next one.
const LATEST: Duration = Duration::from_millis(400);
/// So alike what is heard must be to count as the chirp, 0 to 1.
const ALIKE: f32 = 0.5;

/// A media host with one mouth and one ear. Clones share them.
#[derive(Clone, Default)]
pub(super) struct Head(Arc<Mutex<Memory>>);

#[derive(Default)]
struct Memory {
    /// When each chirp's first sample left the mouth.
    said: Vec<Instant>,
    heard: Vec<f32>,
    /// When pieces of `heard` were played: number of the first sample, time.
    played: Vec<(usize, Instant)>,
}

impl Head {
    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From this mouth to another head's ear: the delay of each chirp said from `since` on, in ms;
    /// `None` where it was not heard.
    pub(super) fn delays_to(&self, ear: &Head, since: Instant) -> Vec<Option<f64>> {
        let heard = ear.memory();
        let end = heard.played.last().map_or(since, |(_, at)| *at);
        let said = self.memory().said.clone();
        // What was said last may still be on its way.
        said.iter().filter(|at| **at >= since && **at + LATEST < end).map(|at| heard.delay_of(*at)).collect()
    }
}

impl Memory {
    fn delay_of(&self, said: Instant) -> Option<f64> {
        let from = self.sample_at(said)?;
        let window = self.heard.get(from..from + AudioFormat::CALL.samples_in(LATEST) + CHIRP)?;
        let chirp = chirp();
        let energy = |samples: &[f32]| samples.iter().map(|sample| sample * sample).sum::<f32>().sqrt();
        let likeness = |part: &[f32]| {
            let product: f32 = part.iter().zip(&chirp).map(|(one, other)| one * other).sum();
            (product, product / (energy(part) * energy(&chirp)).max(1e-6))
        };
        let parts = window.windows(CHIRP).enumerate().map(|(at, part)| (at, likeness(part)));
        let (at, (_, alike)) = parts.max_by(|(_, (one, _)), (_, (other, _))| one.total_cmp(other))?;
        let heard = self.time_of(from + at)?;
        (alike >= ALIKE).then(|| heard.saturating_duration_since(said).as_secs_f64() * 1_000.0)
    }

    /// The number of the last sample that was played before a time.
    fn sample_at(&self, time: Instant) -> Option<usize> {
        let piece = self.played.partition_point(|(_, at)| *at <= time).checked_sub(1)?;
        let (first, at) = self.played[piece];
        let next = self.played.get(piece + 1).map_or(self.heard.len(), |(first, _)| *first);
        Some((first + AudioFormat::CALL.samples_in(time - at)).min(next))
    }

    fn time_of(&self, sample: usize) -> Option<Instant> {
        let piece = self.played.partition_point(|(first, _)| *first <= sample).checked_sub(1)?;
        let (first, at) = self.played[piece];
        Some(at + Duration::from_secs((sample - first) as u64) / RATE)
    }
}

#[async_trait]
impl MediaHost for Head {
    fn capabilities(&self) -> MediaCapabilities {
        MediaCapabilities { audio_sources: true, audio_sinks: true, ..MediaCapabilities::default() }
    }

    async fn devices(&self) -> Result<Vec<DeviceInfo>> {
        Ok(Vec::new())
    }

    async fn open_audio_source(&self, _: &str, _: OpenRequest) -> Result<Box<dyn AudioSource>> {
        let random = ChaCha8Rng::seed_from_u64(1);
        Ok(Box::new(Mouth { head: self.clone(), chirp: chirp(), at: CHIRP, pause: RATE as usize / 5, random }))
    }

    async fn open_audio_sink(&self, _: &str, _: OpenRequest) -> Result<Box<dyn AudioSink>> {
        Ok(Box::new(Ear(self.clone())))
    }

    fn changes(&self) -> Option<broadcast::Receiver<DeviceChange>> {
        None
    }
}

/// Chirps and silence.
struct Mouth {
    head: Head,
    chirp: Vec<f32>,
    /// How much of the chirp was said.
    at: usize,
    /// Samples of silence until the next one.
    pause: usize,
    random: ChaCha8Rng,
}

impl AudioSource for Mouth {
    fn format(&self) -> AudioFormat {
        AudioFormat::CALL
    }

    fn read(&mut self, out: &mut [f32]) -> Result<ReadResult> {
        let now = Instant::now();
        for n in 0..out.len() {
            if self.at == CHIRP && self.pause == 0 {
                self.at = 0;
                let pause = PAUSES.start + self.random.next_u32() % (PAUSES.end - PAUSES.start);
                // Any sample of a frame may be the first.
                self.pause = (pause * RATE / 1_000 + self.random.next_u32() % 480) as usize;
                // As a device would: what is read now was said in the period before, its last
                // sample just now.
                self.head.memory().said.push(now - Duration::from_secs((out.len() - n) as u64) / RATE);
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

/// Keeps what is played: its first sample is heard when it is written.
struct Ear(Head);

impl AudioSink for Ear {
    fn format(&self) -> AudioFormat {
        AudioFormat::CALL
    }

    fn write(&mut self, samples: &[f32]) -> Result<usize> {
        let now = Instant::now();
        let mut memory = self.0.memory();
        let first = memory.heard.len();
        memory.played.push((first, now));
        memory.heard.extend_from_slice(samples);
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

/// A tone that rises and falls silent softly at both ends.
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

    /// What is heard some time after it was said is found there to within a sample, wherever in a
    /// piece it was said and heard.
    #[tokio::test]
    async fn a_chirp_is_found_where_it_is_heard() {
        let request = OpenRequest::new(AudioFormat::CALL, Duration::from_millis(10));
        let (mouth, ear) = (Head::default(), Head::default());
        let mut source = mouth.open_audio_source("", request).await.unwrap();
        let start = Instant::now();
        let mut piece = vec![0.0; 480];
        let mut said = vec![0.0; 2_413];
        for n in 0..400 {
            source.read(&mut piece).unwrap();
            said.extend_from_slice(&piece);
            ear.memory().played.push((n * 480, start + Duration::from_millis(10) * n as u32));
        }
        // The mouth's times, as if its pieces had been read every 10 ms.
        let chirp = chirp();
        let firsts = (0..said.len() - CHIRP).filter(|at| said[*at..*at + CHIRP] == chirp[..]);
        let firsts: Vec<_> = firsts.map(|at| start + Duration::from_secs((at - 2_413) as u64) / RATE).collect();
        assert!(firsts.len() > 5);
        mouth.memory().said = firsts;
        ear.memory().heard = said[..192_000].to_vec();
        let delays = mouth.delays_to(&ear, start);
        assert!(delays.len() > 3, "{delays:?}");
        for delay in delays {
            assert!((delay.unwrap() - 2_413.0 / 48.0).abs() < 0.05, "{delay:?}");
        }
        ear.memory().heard.fill(0.0);
        assert!(mouth.delays_to(&ear, start).iter().all(Option::is_none), "silence is no chirp");
    }
}
