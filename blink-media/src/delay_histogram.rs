//! How late packets come, and so how long to wait for them.

use web_time::Duration;

/// The width of a bin.
const BIN: Duration = Duration::from_millis(5);
/// Bins: lateness up to 500 ms; whatever is later counts as that.
const BINS: usize = 100;
/// From so many packets on there is a first guess, and from so many on it is more than that.
const FEWEST: f32 = 6.0;
const ENOUGH: f32 = 24.0;
/// How much of the past each packet leaves: some 10 s of packets of 20 ms count.
const KEPT: f32 = 0.998;

/// A histogram of lateness that forgets.
///
/// After RFC 3550 §A.8's estimate of jitter, which knows no shape: what matters here is the tail.
#[derive(Debug)]
pub(super) struct DelayHistogram {
    bins: [f32; BINS],
    weight: f32,
}

impl DelayHistogram {
    pub(super) fn new() -> Self {
        Self { bins: [0.0; BINS], weight: 0.0 }
    }

    /// A packet came so much later than the fastest would have.
    pub(super) fn observe(&mut self, lateness: Duration) {
        let bin = (lateness.as_nanos() / BIN.as_nanos()).min(BINS as u128 - 1) as usize;
        for share in &mut self.bins {
            *share *= KEPT;
        }
        self.bins[bin] += 1.0;
        self.weight = self.weight * KEPT + 1.0;
    }

    /// How long to wait so that this share of packets, 0.0 to 1.0, is in time; `None` before there
    /// were enough to tell.
    pub(super) fn wait(&self, in_time: f32) -> Option<Duration> {
        (self.weight >= FEWEST).then(|| self.quantile(in_time))
    }

    /// Whether there were enough packets for what [`wait`](Self::wait) tells to be no mere guess.
    pub(super) fn is_settled(&self) -> bool {
        self.weight >= ENOUGH
    }

    fn quantile(&self, in_time: f32) -> Duration {
        let mut late = self.weight * (1.0 - in_time);
        for (bin, share) in self.bins.iter().enumerate().rev() {
            if *share > late {
                // They are taken to be spread evenly over the bin.
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

    fn after(lateness: impl Iterator<Item = u64>, in_time: f32) -> Option<u128> {
        let mut histogram = DelayHistogram::new();
        lateness.for_each(|ms| histogram.observe(Duration::from_millis(ms)));
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
