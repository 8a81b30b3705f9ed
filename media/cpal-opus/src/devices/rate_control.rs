//! Control of a queue by the resampling ratio.

/// Time over which the error is averaged, in seconds: jitter of callbacks is no drift.
const AVERAGE: f64 = 0.5;

/// Time constant of the proportional part, in seconds.
const RESPONSE: f64 = 4.0;

/// Gain of the integral part per second squared, for critical damping.
const INTEGRAL: f64 = 1.0 / (4.0 * RESPONSE * RESPONSE);

/// Greatest drift of a device's clock that the integral part makes up for.
const MAX_DRIFT: f64 = 0.002;

/// Error in seconds up to which the drift is learned from it: that of 2,500 ppm.
const NEAR: f64 = 0.01;

/// Greatest change of the ratio: a sixth of a semitone, and 100 ms of queue in ten seconds.
pub(super) const MAX_CHANGE: f64 = 0.01;

/// Proportional-integral controller: from how much too long a queue is to how much faster it is to
/// shrink.
#[derive(Debug, Default)]
pub(super) struct RateControl {
    /// Average error in seconds; `None` after a reset.
    error: Option<f64>,
    /// Drift of the device's clock against the caller's.
    drift: f64,
}

impl RateControl {
    /// Begins again after the queue was filled or emptied in one go. The drift stays known.
    pub(super) fn reset(&mut self) {
        self.error = None;
    }

    /// Takes the error of the queue and the time since the last call, both in seconds. Returns the
    /// relative change of the rate at which the queue shrinks: 0.0001 for 100 ppm.
    pub(super) fn update(&mut self, error: f64, elapsed: f64) -> f64 {
        let elapsed = elapsed.clamp(0.0, AVERAGE);
        let average = self.error.get_or_insert(error);
        *average += (error - *average) * (elapsed / AVERAGE);
        let average = *average;
        let change = average / RESPONSE + self.drift;
        // Far from the target, the error is not the drift's, and would make the queue overshoot.
        if average.abs() < NEAR {
            self.drift = (self.drift + average * INTEGRAL * elapsed).clamp(-MAX_DRIFT, MAX_DRIFT);
        }
        change.clamp(-MAX_CHANGE, MAX_CHANGE)
    }

    /// Known drift of the device's clock in parts per million.
    pub(super) fn drift_ppm(&self) -> f64 {
        self.drift * 1e6
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A queue that grows by a drift settles at the target, without oscillation.
    #[test]
    fn a_drift_is_learned_and_the_queue_returns_to_its_target() {
        for drift in [-300e-6, 300e-6, 1_500e-6] {
            let (mut control, mut queue) = (RateControl::default(), 0.0);
            let mut worst_late: f64 = 0.0;
            for tick in 0..30_000 {
                let change = control.update(queue, 0.01);
                queue += (drift - change) * 0.01;
                if tick > 6_000 {
                    worst_late = worst_late.max(queue.abs());
                }
            }
            assert!((control.drift_ppm() - drift * 1e6).abs() < 1.0, "{}", control.drift_ppm());
            assert!(worst_late < 100e-6, "{worst_late}");
        }
    }

    #[test]
    fn a_long_queue_shrinks_at_one_percent_at_most_and_does_not_undershoot() {
        let (mut control, mut queue, mut least) = (RateControl::default(), 0.1_f64, f64::MAX);
        for _ in 0..6_000 {
            let change = control.update(queue, 0.01);
            assert!(change.abs() <= MAX_CHANGE);
            queue -= change * 0.01;
            least = least.min(queue);
        }
        assert!(queue.abs() < 0.001, "{queue}");
        assert!(least > -0.002, "{least}");
    }
}
