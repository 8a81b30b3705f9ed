//! What the network lost.

/// How much of the estimate each packet is: it is that of some 200 packets.
const WEIGHT: f32 = 0.005;
/// The first packets weigh as if so many had come before them.
const FIRST: f32 = 20.0;

/// Counts packets that never came. A packet is settled once it is too late to be merely out of
/// order.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct LossEstimator {
    /// Of late, 0.0 to 1.0.
    share: f32,
    settled: u32,
    lost: u64,
    bursts: u64,
    in_burst: bool,
}

impl LossEstimator {
    /// The next packet in the order of sending came, or never will.
    pub(super) fn settle(&mut self, came: bool) {
        self.settled = self.settled.saturating_add(1);
        let weight = WEIGHT.max(1.0 / (FIRST + self.settled as f32));
        let lost = if came { 0.0 } else { 1.0 };
        self.share += (lost - self.share) * weight;
        self.lost += u64::from(!came);
        self.bursts += u64::from(!came && !self.in_burst);
        self.in_burst = !came;
    }

    /// The share that is lost lately, 0.0 to 1.0.
    pub(super) fn share(&self) -> f32 {
        self.share
    }

    /// How many packets were lost.
    pub(super) fn lost(&self) -> u64 {
        self.lost
    }

    /// How many times one or more in a row were.
    pub(super) fn bursts(&self) -> u64 {
        self.bursts
    }
}
