//! The lower envelope of noisy delays: what a clock difference is without the jitter.

use std::collections::VecDeque;

/// Width of a bucket and their number: four minutes, of which each bucket keeps its least sample.
const BUCKET_S: f64 = 4.0;
const BUCKETS: usize = 64;
/// Clocks that drift more than this are faulty.
pub(super) const MAX_SKEW_PPM: f64 = 500.0;

/// Least samples of the last minutes of a series whose noise only adds: queues make packets later,
/// never earlier (Moon, Skelly and Towsley, 1999).
#[derive(Debug, Clone)]
pub(super) struct LowerEnvelope {
    buckets: VecDeque<Bucket>,
}

impl Default for LowerEnvelope {
    fn default() -> Self {
        Self { buckets: VecDeque::with_capacity(BUCKETS) }
    }
}

#[derive(Debug, Clone, Copy)]
struct Bucket {
    begun: f64,
    /// The least sample: when, and what.
    at: f64,
    least: f64,
    samples: u32,
}

impl LowerEnvelope {
    /// Takes a sample: `at` in seconds, which does not go back by much, `value` in microseconds.
    pub(super) fn observe(&mut self, at: f64, value: f64) {
        match self.buckets.back_mut() {
            Some(newest) if at < newest.begun + BUCKET_S => {
                newest.samples = newest.samples.saturating_add(1);
                if value < newest.least {
                    (newest.at, newest.least) = (at, value);
                }
            }
            _ => {
                if self.buckets.len() == BUCKETS {
                    self.buckets.pop_front();
                }
                self.buckets.push_back(Bucket { begun: at, at, least: value, samples: 1 });
            }
        }
    }

    /// The envelope at a time, if the series drifts by `skew` microseconds per second; `None`
    /// without samples.
    pub(super) fn at(&self, at: f64, skew: f64) -> Option<f64> {
        Self::least(self.buckets.iter(), at, skew)
    }

    /// As [`at`](Self::at), of the newest two buckets alone.
    pub(super) fn recent(&self, at: f64, skew: f64) -> Option<f64> {
        Self::least(self.buckets.iter().rev().take(2), at, skew)
    }

    fn least<'a>(buckets: impl Iterator<Item = &'a Bucket>, at: f64, skew: f64) -> Option<f64> {
        buckets.map(|bucket| bucket.least + skew * (at - bucket.at)).min_by(f64::total_cmp)
    }

    /// Drift of the series in microseconds per second (ppm): the slope of the line that lies below
    /// all samples and nearest to them, which is the edge of their lower hull under their middle.
    pub(super) fn skew(&self) -> Option<f64> {
        let (first, last) = (self.buckets.front()?.at, self.buckets.back()?.at);
        let middle = (first + last) / 2.0;
        // Andrew's monotone chain, lower half: a point is no corner if it lies above the line from
        // the corner before it to the next point.
        let (mut hull, mut corners) = ([(0.0, 0.0); BUCKETS], 0);
        for point in self.buckets.iter().map(|bucket| (bucket.at, bucket.least)) {
            while let [.., a, b] = hull[..corners] {
                if (b.0 - a.0) * (point.1 - a.1) > (b.1 - a.1) * (point.0 - a.0) {
                    break;
                }
                corners -= 1;
            }
            hull[corners] = point;
            corners += 1;
        }
        let edge = hull[..corners].windows(2).find(|edge| edge[1].0 >= middle)?;
        let (run, rise) = (edge[1].0 - edge[0].0, edge[1].1 - edge[0].1);
        (run > 0.0).then(|| (rise / run).clamp(-MAX_SKEW_PPM, MAX_SKEW_PPM))
    }

    /// Samples that are behind the envelope.
    pub(super) fn samples(&self) -> u32 {
        self.buckets.iter().fold(0, |all, bucket| all.saturating_add(bucket.samples))
    }

    /// Seconds from the first bucket's sample to the last one's.
    pub(super) fn span(&self) -> f64 {
        self.buckets.front().zip(self.buckets.back()).map_or(0.0, |(first, last)| last.at - first.at)
    }

    /// Adds a step of the clock to all samples.
    pub(super) fn shift(&mut self, by: f64) {
        self.buckets.iter_mut().for_each(|bucket| bucket.least += by);
    }

    /// Keeps the newest buckets alone.
    pub(super) fn keep_newest(&mut self, buckets: usize) {
        self.buckets.drain(..self.buckets.len().saturating_sub(buckets));
    }

    pub(super) fn clear(&mut self) {
        self.buckets.clear();
    }
}

#[cfg(test)]
mod tests {
    use rand::{RngExt as _, SeedableRng as _};

    use super::*;

    #[test]
    fn drift_is_found_under_jitter() {
        for (seed, ppm) in [(1, 80.0), (2, -80.0), (3, 300.0), (4, -300.0), (5, 0.0)] {
            let mut random = rand_chacha::ChaCha8Rng::seed_from_u64(seed);
            let mut envelope = LowerEnvelope::default();
            for n in 0..6_000 {
                let at = f64::from(n) * 0.02;
                envelope.observe(at, ppm * at + 7_000.0 + random.random_range(0.0..150_000.0));
            }
            let skew = envelope.skew().unwrap();
            assert!((skew - ppm).abs() < 25.0, "seed {seed}: {skew} ppm");
            let value = envelope.at(120.0, skew).unwrap();
            assert!((value - 7_000.0 - ppm * 120.0).abs() < 2_500.0, "seed {seed}: {value}");
        }
    }

    #[test]
    fn the_hull_of_few_samples_is_bounded() {
        let mut envelope = LowerEnvelope::default();
        assert_eq!((envelope.skew(), envelope.at(1.0, 0.0), envelope.span()), (None, None, 0.0));
        envelope.observe(0.0, 5.0);
        assert_eq!((envelope.skew(), envelope.at(1.0, 2.0)), (None, Some(7.0)));
        envelope.observe(4.0, 1e12);
        assert_eq!(envelope.skew(), Some(MAX_SKEW_PPM));
        (0..10_000).for_each(|n| envelope.observe(f64::from(n) * 4.0, 0.0));
        assert_eq!(envelope.buckets.len(), BUCKETS);
    }
}
