//! Histogram of packet delays, for the jitter buffer's target delay.

use web_time::Duration;

/// Width of a bin.
const BIN: Duration = Duration::from_millis(5);
/// Number of bins: delays up to 500 ms; longer ones count as that.
const BINS: usize = 100;
/// Weights of packets from which on a quantile is a first guess, and from which on it is settled.
const FEWEST: f32 = 6.0;
const ENOUGH: f32 = 24.0;
/// Weight that each packet leaves to the ones before it: some 10 s of packets of 20 ms count.
const KEPT: f32 = 0.998;

/// Histogram of relative delays with exponential forgetting.
///
/// RFC 3550 §A.8 estimates a mean deviation; a playout delay depends on the tail of the
/// distribution.
#[derive(Debug)]
pub(super) struct DelayHistogram {
    bins: [f32; BINS],
    weight: f32,
}

impl DelayHistogram {
    pub(super) fn new() -> Self {
        Self { bins: [0.0; BINS], weight: 0.0 }
    }

    /// Takes a packet's delay beyond that of the fastest one.
    pub(super) fn observe(&mut self, delay: Duration) {
        let bin = (delay.as_nanos() / BIN.as_nanos()).min(BINS as u128 - 1) as usize;
        for share in &mut self.bins {
            *share *= KEPT;
        }
        self.bins[bin] += 1.0;
        self.weight = self.weight * KEPT + 1.0;
    }

    /// Delay within which this share of packets, 0.0 to 1.0, arrives; `None` before there were
    /// enough packets to tell.
    pub(super) fn wait(&self, in_time: f32) -> Option<Duration> {
        (self.weight >= FEWEST).then(|| self.quantile(in_time))
    }

    /// Whether there were enough packets for [`wait`](Self::wait) to be more than a first guess.
    pub(super) fn is_settled(&self) -> bool {
        self.weight >= ENOUGH
    }

    fn quantile(&self, in_time: f32) -> Duration {
        let mut late = self.weight * (1.0 - in_time);
        for (bin, share) in self.bins.iter().enumerate().rev() {
            if *share > late {
                // Delays within a bin are taken to be spread evenly over it: without that, the
                // target would jump by a bin's width.
                return BIN * bin as u32 + BIN.mul_f32(1.0 - late / share);
            }
            late -= share;
        }
        Duration::ZERO
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(delay: impl Iterator<Item = u64>, in_time: f32) -> Option<u128> {
        let mut histogram = DelayHistogram::new();
        delay.for_each(|ms| histogram.observe(Duration::from_millis(ms)));
        histogram.wait(in_time).map(|wait| wait.as_millis())
    }

    #[test]
    fn as_many_packets_as_asked_for_are_waited_for() {
        assert_eq!(after([3; 5].into_iter(), 0.99), None, "too few to tell");
        assert_eq!(after([3; 1_000].into_iter(), 0.99), Some(4));
        assert_eq!(after((0..3_000).map(|n| n % 60), 0.99), Some(59));
        assert_eq!(after((0..3_000).map(|n| n % 60), 0.95), Some(57));
        assert_eq!(after((0..3_000).map(|n| n % 60), 0.5), Some(30));
        assert_eq!(after((0..1_000).map(|n| if n % 200 == 0 { 400 } else { 1 }), 0.99), Some(4));
        assert_eq!(after([60_000; 100].into_iter(), 0.99), Some(499));
    }

    #[test]
    fn the_past_is_forgotten() {
        let (bad, good) = ([200; 500], [0; 3_000]);
        assert_eq!(after(bad.into_iter().chain(good), 0.99), Some(4));
    }
}
