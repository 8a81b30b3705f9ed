//! Position of a device between its callbacks, from the stamps of these.

use std::time::{Duration, Instant};

/// Time after which an unusually long gap between two callbacks counts 1/e.
const GAP_MEMORY: f64 = 10.0;

/// Time over which the latency of a device is averaged, in seconds.
const LATENCY_MEMORY: f64 = 2.0;

/// Most stamps that wait for the media thread. 2,000 callbacks a second fill it in two seconds.
pub(super) const STAMPS: usize = 4_096;

/// Callbacks nearer than this belong together: a sound server passes a buffer in two pieces where
/// it wraps.
const PIECES: Duration = Duration::from_micros(500);

/// Note of one callback of a device.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stamp {
    /// Time of the callback.
    pub(super) at: Instant,
    /// Frames in the ring's account before this callback: captured, or played.
    pub(super) before: u64,
    /// Frames that this callback captured or played.
    pub(super) frames: u32,
    /// Latency of the first frame, as the device reports it.
    pub(super) latency: Duration,
}

/// Estimates the position of a device. The position before the last callback's frames grows with
/// time at the nominal rate, so that it is smooth, however many frames a callback has.
#[derive(Debug)]
pub(super) struct DeviceClock {
    rate: f64,
    last: Option<Stamp>,
    /// Greatest recent time between two callbacks, in seconds.
    gap: f64,
    /// Greatest recent duration of the frames of a callback, in seconds.
    burst: f64,
    latency: Option<f64>,
}

impl DeviceClock {
    /// A clock of a device with this sample rate, of which callbacks of a duration are expected.
    pub(super) fn new(rate: u32, expected: Duration) -> Self {
        let expected = expected.as_secs_f64();
        Self { rate: f64::from(rate), last: None, gap: expected, burst: expected, latency: None }
    }

    /// Takes a stamp. They come in the order of time.
    pub(super) fn update(&mut self, stamp: Stamp) {
        let Some(last) = &mut self.last else {
            self.burst = self.burst.max(f64::from(stamp.frames) / self.rate);
            self.last = Some(stamp);
            return self.learn_latency(stamp.latency, f64::INFINITY);
        };
        let elapsed = stamp.at.saturating_duration_since(last.at);
        let continues = last.before + u64::from(last.frames) == stamp.before;
        if elapsed < PIECES && continues && elapsed.as_secs_f64() < f64::from(last.frames) / self.rate / 2.0 {
            last.frames += stamp.frames;
            self.burst = self.burst.max(f64::from(last.frames) / self.rate);
            return;
        }
        let elapsed = elapsed.as_secs_f64();
        let kept = (-elapsed / GAP_MEMORY).exp();
        // A device that stopped and started again made no gap, and neither did stamps that were
        // dropped while nothing was read.
        if last.frames > 0 && stamp.frames > 0 && continues {
            self.gap = (self.gap * kept).max(elapsed);
        }
        self.burst = (self.burst * kept).max(f64::from(stamp.frames) / self.rate);
        *last = stamp;
        self.learn_latency(stamp.latency, elapsed);
    }

    fn learn_latency(&mut self, reported: Duration, elapsed: f64) {
        let reported = reported.as_secs_f64();
        let known = self.latency.get_or_insert(reported);
        *known += (reported - *known) * (elapsed / LATENCY_MEMORY).min(1.0);
    }

    /// Frames up to the last callback's first one, and those since by the nominal rate; `None`
    /// before the first callback.
    pub(super) fn position(&self, now: Instant) -> Option<f64> {
        let last = self.last?;
        let elapsed = now.saturating_duration_since(last.at).as_secs_f64();
        // A device that stopped does not run on.
        let most = if last.frames == 0 { 0.0 } else { self.gap * 1.5 + 0.005 };
        Some(last.before as f64 + elapsed.min(most) * self.rate)
    }

    /// Frames of the last callback.
    pub(super) fn last_frames(&self) -> f64 {
        self.last.map_or(0.0, |last| f64::from(last.frames))
    }

    /// Greatest recent time between two callbacks, in seconds.
    pub(super) fn gap(&self) -> f64 {
        self.gap
    }

    /// Greatest recent duration of the frames of a callback, in seconds.
    pub(super) fn burst(&self) -> f64 {
        self.burst
    }

    /// Average latency of a callback's first frame.
    pub(super) fn latency(&self) -> Duration {
        Duration::from_secs_f64(self.latency.unwrap_or_default().clamp(0.0, 10.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stamp(start: Instant, at_us: u64, before: u64, frames: u32) -> Stamp {
        Stamp { at: start + Duration::from_micros(at_us), before, frames, latency: Duration::from_millis(4) }
    }

    #[test]
    fn the_position_is_smooth_between_callbacks_and_stops_with_the_device() {
        let start = Instant::now();
        let mut clock = DeviceClock::new(48_000, Duration::from_millis(10));
        assert_eq!(clock.position(start), None);
        clock.update(stamp(start, 0, 0, 480));
        clock.update(stamp(start, 10_000, 480, 480));
        assert_eq!(clock.position(start + Duration::from_millis(15)), Some(720.0));
        let stopped = clock.position(start + Duration::from_secs(9));
        assert_eq!(stopped, clock.position(start + Duration::from_secs(10)));
        assert_eq!(clock.latency(), Duration::from_millis(4));
    }

    #[test]
    fn a_buffer_in_two_pieces_is_one_callback() {
        let start = Instant::now();
        let mut clock = DeviceClock::new(48_000, Duration::from_millis(1));
        for n in 0..10 {
            clock.update(stamp(start, n * 10_000, n * 480, 456));
            clock.update(stamp(start, n * 10_000 + 30, n * 480 + 456, 24));
        }
        assert_eq!(clock.last_frames(), 480.0);
        assert_eq!(clock.position(start + Duration::from_millis(95)), Some(4_560.0));
        assert!((clock.gap() - 0.01).abs() < 1e-9 && (clock.burst() - 0.01).abs() < 1e-9);
    }

    #[test]
    fn long_gaps_are_forgotten() {
        let start = Instant::now();
        let mut clock = DeviceClock::new(48_000, Duration::from_millis(10));
        clock.update(stamp(start, 0, 0, 480));
        clock.update(stamp(start, 60_000, 480, 480));
        assert!((clock.gap() - 0.06).abs() < 1e-9);
        for n in 1..6_000 {
            clock.update(stamp(start, 60_000 + n * 10_000, 480 + n * 480, 480));
        }
        assert!((clock.gap() - 0.01).abs() < 1e-9);
    }
}
