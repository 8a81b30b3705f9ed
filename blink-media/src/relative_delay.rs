//! Relative one-way delay of packets.

use web_time::{Duration, Instant};

/// Time for which the fastest packet counts at least; it counts at most twice as long. Clocks drift
/// apart by at most 1.2 ms in that time (300 ppm over 4 s).
const WINDOW: Duration = Duration::from_secs(2);

/// Least difference between arrival and timestamp lately, in RTP ticks. The zero of both clocks is
/// arbitrary, so only differences mean something: a packet's own difference less this is how much
/// slower it was than the fastest.
#[derive(Debug)]
pub(super) struct RelativeDelay {
    clock_rate: u32,
    epoch: Option<Instant>,
    turned: Option<Instant>,
    current: i64,
    previous: i64,
}

impl RelativeDelay {
    pub(super) fn new(clock_rate: u32) -> Self {
        Self { clock_rate, epoch: None, turned: None, current: i64::MAX, previous: i64::MAX }
    }

    /// Forgets the packets, not the zero of the clocks.
    pub(super) fn reset(&mut self) {
        self.turned = None;
        self.current = i64::MAX;
        self.previous = i64::MAX;
    }

    /// Forgets packets too long before `now`, so that a packet after a pause is not compared with
    /// those before it: the two clocks went apart meanwhile.
    pub(super) fn forget_before(&mut self, now: Instant) {
        let Some(since) = self.turned.map(|turned| now.saturating_duration_since(turned)) else { return };
        if since >= WINDOW * 2 {
            self.reset();
        } else if since >= WINDOW {
            self.turned = Some(now);
            self.previous = std::mem::replace(&mut self.current, i64::MAX);
        }
    }

    pub(super) fn observe(&mut self, arrival: Instant, timestamp: i64) {
        self.forget_before(arrival);
        let epoch = *self.epoch.get_or_insert(arrival);
        self.turned.get_or_insert(arrival);
        self.current = self.current.min(ticks_between(epoch, arrival, self.clock_rate) - timestamp);
    }

    /// Delay relative to the fastest packet, in ticks, if `timestamp` is played at `now`; `None`
    /// before the first packet.
    pub(super) fn delay(&self, now: Instant, timestamp: i64) -> Option<i64> {
        let fastest = self.current.min(self.previous);
        let epoch = self.epoch.filter(|_| fastest != i64::MAX)?;
        Some(ticks_between(epoch, now, self.clock_rate) - timestamp - fastest)
    }
}

/// Ticks from `earlier` to `later`; negative where `later` is before it.
pub(super) fn ticks_between(earlier: Instant, later: Instant, clock_rate: u32) -> i64 {
    match later.checked_duration_since(earlier) {
        Some(ahead) => ticks_in(ahead, clock_rate),
        None => -ticks_in(earlier.saturating_duration_since(later), clock_rate),
    }
}

/// Ticks in a duration, rounded down.
pub(super) fn ticks_in(duration: Duration, clock_rate: u32) -> i64 {
    i64::try_from(duration.as_nanos() * u128::from(clock_rate) / 1_000_000_000).unwrap_or(i64::MAX / 4)
}

/// Duration of ticks; zero for negative ones.
pub(super) fn duration_of(ticks: i64, clock_rate: u32) -> Duration {
    Duration::from_nanos(u64::try_from(i128::from(ticks) * 1_000_000_000 / i128::from(clock_rate.max(1))).unwrap_or(0))
}
