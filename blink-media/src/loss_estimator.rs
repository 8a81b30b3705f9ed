//! Estimate of the network's packet loss.

/// Weight of each packet in the share of losses: some 200 packets count.
const WEIGHT: f32 = 0.005;
/// Packets without loss that the first ones are taken to follow: one early loss is not 100 %.
const FIRST: f32 = 20.0;

/// Counts packets that never came. A packet is settled once it is too late to be merely reordered.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct LossEstimator {
    /// Share of losses lately, 0.0 to 1.0.
    share: f32,
    settled: u32,
    lost: u64,
    bursts: u64,
    in_burst: bool,
}

impl LossEstimator {
    /// Takes the fate of the next packet in sending order: it came, or never will.
    pub(super) fn settle(&mut self, came: bool) {
        self.settled = self.settled.saturating_add(1);
        let weight = WEIGHT.max(1.0 / (FIRST + self.settled as f32));
        let lost = if came { 0.0 } else { 1.0 };
        self.share += (lost - self.share) * weight;
        self.lost += u64::from(!came);
        self.bursts += u64::from(!came && !self.in_burst);
        self.in_burst = !came;
    }

    /// Share of packets lost lately, 0.0 to 1.0.
    pub(super) fn share(&self) -> f32 {
        self.share
    }

    /// Packets lost so far.
    pub(super) fn lost(&self) -> u64 {
        self.lost
    }

    /// Bursts of one or more lost packets in a row so far.
    pub(super) fn bursts(&self) -> u64 {
        self.bursts
    }
}
