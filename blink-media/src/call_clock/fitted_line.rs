//! A line through reports: one clock as a function of another.

use std::collections::VecDeque;

use super::envelope::MAX_SKEW_PPM;

/// Points that the line is fitted through.
const POINTS: usize = 32;
/// From this span on the slope is fitted; before, the two clocks are taken to run equally fast.
const SPAN_S: f64 = 4.0;
/// A point this far off the line is a step of one of the clocks.
const STEP_US: f64 = 50_000.0;

/// Least-squares line through the newest points, which are at least `spacing` seconds apart.
#[derive(Debug, Clone)]
pub(super) struct FittedLine {
    spacing: f64,
    points: VecDeque<(f64, f64)>,
    /// Centre of the points and the deviation of the slope from 1, in ppm.
    centre: (f64, f64),
    skew: f64,
}

/// Outcome of a point.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Fit {
    /// It says nothing new.
    Ignored,
    /// It belongs to the line.
    Fitted,
    /// It is so many microseconds off the line, which begins anew with it.
    Stepped(f64),
}

impl FittedLine {
    pub(super) fn new(spacing: f64) -> Self {
        Self { spacing, points: VecDeque::with_capacity(POINTS), centre: (0.0, 0.0), skew: 0.0 }
    }

    /// Takes a point: seconds of the one clock, microseconds of the other.
    pub(super) fn observe(&mut self, seconds: f64, micros: f64) -> Fit {
        if self.points.back().is_some_and(|(newest, _)| seconds < newest + self.spacing) {
            return Fit::Ignored;
        }
        let off = self.at(seconds).map_or(0.0, |expected| micros - expected);
        let stepped = off.abs() > STEP_US;
        if stepped {
            self.points.clear();
        } else if self.points.len() == POINTS {
            self.points.pop_front();
        }
        self.points.push_back((seconds, micros));
        self.fit();
        if stepped { Fit::Stepped(off) } else { Fit::Fitted }
    }

    /// The other clock, in microseconds, at so many seconds of the one; `None` without points.
    pub(super) fn at(&self, seconds: f64) -> Option<f64> {
        let ahead = seconds - self.centre.0;
        (!self.points.is_empty()).then_some(self.centre.1 + ahead * self.slope())
    }

    /// Deviation of the slope from 1, in ppm; `None` before there is a span to tell it from.
    pub(super) fn skew(&self) -> Option<f64> {
        (self.span() >= SPAN_S).then_some(self.skew)
    }

    /// Microseconds of the other clock in a second of the one.
    pub(super) fn slope(&self) -> f64 {
        1e6 + self.skew
    }

    pub(super) fn clear(&mut self) {
        self.points.clear();
    }

    fn span(&self) -> f64 {
        self.points.front().zip(self.points.back()).map_or(0.0, |(first, last)| last.0 - first.0)
    }

    fn fit(&mut self) {
        let count = self.points.len().max(1) as f64;
        // Relative to the first point, so that large clock values cost no precision.
        let (x0, y0) = self.points[0];
        let of = |f: fn(f64, f64) -> f64| self.points.iter().map(|(x, y)| f(x - x0, y - y0)).sum::<f64>() / count;
        let (x, y) = (of(|x, _| x), of(|_, y| y));
        let (xx, xy) = (of(|x, _| x * x) - x * x, of(|x, y| x * y) - x * y);
        self.skew = if self.span() >= SPAN_S && xx > 0.0 {
            (xy / xx - 1e6).clamp(-2.0 * MAX_SKEW_PPM, 2.0 * MAX_SKEW_PPM)
        } else {
            0.0
        };
        self.centre = (x0 + x, y0 + y);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drift_is_followed_and_a_step_begins_anew() {
        let mut line = FittedLine::new(0.5);
        assert_eq!(line.at(0.0), None);
        for n in 0..100 {
            let seconds = 1e6 + f64::from(n);
            let noise = f64::from(n % 3 - 1) * 1_000.0;
            assert_eq!(line.observe(seconds, 5e9 + f64::from(n) * 1_000_300.0 + noise), Fit::Fitted);
            assert_eq!(line.observe(seconds + 0.1, 0.0), Fit::Ignored, "too soon");
        }
        let at = line.at(1e6 + 100.0).unwrap() - 5e9;
        assert!((at - 100.0 * 1_000_300.0).abs() < 500.0, "{at}");
        assert!((line.skew().unwrap() - 300.0).abs() < 20.0);
        assert!(matches!(line.observe(1e6 + 100.0, 0.0), Fit::Stepped(off) if off < -5e9));
        assert_eq!((line.at(1e6 + 101.0), line.skew(), line.points.len()), (Some(1e6), None, 1));
    }
}
