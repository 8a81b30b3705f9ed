//! A network that loses and delays packets, the same way for the same seed.

use std::time::Duration;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// What a network does to packets.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Impairment {
    /// The share of packets that are lost, 0.0 to 1.0.
    pub(super) loss: f64,
    /// How many are lost in a row, on average; `None`: each for itself.
    pub(super) burst: Option<f64>,
    /// Each packet takes up to so much longer than the fastest, evenly spread.
    pub(super) jitter: Duration,
    /// What the fastest takes.
    pub(super) delay: Duration,
}

/// One direction of such a network.
///
/// Bursts are Gilbert's: in the bad state everything is lost, in the good state nothing.
pub(super) struct Path {
    impairment: Impairment,
    /// LossEstimator and delays are drawn apart, so that packets are lost alike whatever the jitter
    /// is.
    losses: ChaCha8Rng,
    delays: ChaCha8Rng,
    bad: bool,
}

impl Path {
    pub(super) fn new(impairment: Impairment, seed: u64) -> Self {
        let mut losses = ChaCha8Rng::seed_from_u64(seed);
        losses.set_stream(1);
        Self { impairment, losses, delays: ChaCha8Rng::seed_from_u64(seed), bad: false }
    }

    /// How long the next packet takes; `None` where it is lost.
    pub(super) fn send(&mut self) -> Option<Duration> {
        let delay = self.impairment.delay + self.impairment.jitter.mul_f64(self.delays.random());
        (!self.loses()).then_some(delay)
    }

    fn loses(&mut self) -> bool {
        let chance: f64 = self.losses.random();
        let loss = self.impairment.loss;
        match self.impairment.burst {
            None => self.bad = chance < loss,
            Some(_) if loss >= 1.0 => self.bad = true,
            // The chances to change between the states follow from the share of the bad one and its
            // mean length.
            Some(mean) if self.bad => self.bad = chance >= 1.0 / mean,
            Some(mean) => self.bad = chance < loss / (1.0 - loss) / mean,
        }
        self.bad
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn losses_have_their_share_and_their_length_and_delays_their_range() {
        let jitter = Duration::from_millis(60);
        for (loss, burst, length) in
            [(0.1, None, 1.0 / 0.9), (0.3, None, 1.0 / 0.7), (0.17, Some(3.0), 3.0), (0.0, None, 0.0)]
        {
            let mut path = Path::new(Impairment { loss, burst, jitter, delay: jitter }, 7);
            let sent: Vec<_> = (0..200_000).map(|_| path.send()).collect();
            let lost = sent.iter().filter(|delay| delay.is_none()).count() as f64;
            let bursts = sent.windows(2).filter(|two| two[0].is_some() && two[1].is_none()).count() as f64;
            assert!((lost / 200_000.0 - loss).abs() < 0.01, "{loss} {burst:?}: {lost}");
            assert!(
                loss == 0.0 || (lost / bursts - length).abs() < 0.1 * length,
                "{loss} {burst:?}: {}",
                lost / bursts
            );
            assert!(sent.iter().flatten().all(|delay| (jitter..=2 * jitter).contains(delay)));
        }
    }
}
