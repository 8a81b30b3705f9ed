//! Reports of the receivers of one encoder, and the worst-case path that it has to be robust
//! against.

use web_time::{Duration, Instant};

/// Age from which a report is ignored.
const STALE: Duration = Duration::from_secs(5);
/// Weight of a report that is worse than the estimate, and of one that is better.
const WORSE: f32 = 0.5;
const BETTER: f32 = 0.2;

/// Quality of the path to one receiver.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct PathQuality {
    /// Share of packets lost, 0.0 to 1.0.
    pub loss: f32,
    /// Average number of packets lost in a row; 1.0 where none were.
    pub burst: f32,
    /// Most bits per second that audio may take; `None` for no limit.
    pub bitrate: Option<u32>,
}

/// The path that an encoder adapts to: of everything the worst that a receiver reported of late.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct WorstCasePath {
    /// Greatest share of packets lost, 0.0 to 1.0.
    pub loss: f32,
    /// Longest average burst of losses.
    pub burst: f32,
    /// Lowest limit in bits per second; `None` where no receiver has one.
    pub bitrate: Option<u32>,
}

impl From<PathQuality> for WorstCasePath {
    fn from(PathQuality { loss, burst, bitrate }: PathQuality) -> Self {
        Self { loss, burst, bitrate }
    }
}

/// The newest report of each receiver of one encoder.
#[derive(Debug, Clone)]
pub struct ReceiverReports<K> {
    reports: Vec<(K, Instant, PathQuality)>,
}

impl<K> Default for ReceiverReports<K> {
    fn default() -> Self {
        Self { reports: Vec::new() }
    }
}

impl<K: Copy + PartialEq> ReceiverReports<K> {
    /// Takes a report. Single reports move the estimate of loss only part of the way: there are few
    /// packets in a second.
    pub fn on_report(&mut self, receiver: K, now: Instant, reported: PathQuality) {
        let reported =
            PathQuality { loss: reported.loss.clamp(0.0, 1.0), burst: reported.burst.clamp(1.0, 100.0), ..reported };
        match self.reports.iter_mut().find(|(known, ..)| *known == receiver) {
            Some((_, at, path)) if now < *at + STALE => {
                let towards = |from: f32, to: f32| from + (to - from) * if to > from { WORSE } else { BETTER };
                *at = now;
                path.loss = towards(path.loss, reported.loss);
                // A second without a loss says nothing about the length of bursts.
                if reported.loss > 0.0 {
                    path.burst = towards(path.burst, reported.burst);
                }
                path.bitrate = reported.bitrate;
            }
            Some(known) => *known = (receiver, now, reported),
            None => self.reports.push((receiver, now, reported)),
        }
    }

    /// Forgets a receiver.
    pub fn remove(&mut self, receiver: K) {
        self.reports.retain(|(known, ..)| *known != receiver);
    }

    /// The path that the encoder has to be robust against; `None` without a recent report.
    pub fn worst_case(&self, now: Instant) -> Option<WorstCasePath> {
        let recent = self.reports.iter().filter(|(_, at, _)| now < *at + STALE).map(|(_, _, path)| *path);
        recent.map(WorstCasePath::from).reduce(|worst, path| WorstCasePath {
            loss: worst.loss.max(path.loss),
            burst: worst.burst.max(path.burst),
            bitrate: worst.bitrate.into_iter().chain(path.bitrate).min(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quality(loss: f32, burst: f32, bitrate: Option<u32>) -> PathQuality {
        PathQuality { loss, burst, bitrate }
    }

    fn worst_case(loss: f32, burst: f32, bitrate: Option<u32>) -> Option<WorstCasePath> {
        Some(WorstCasePath { loss, burst, bitrate })
    }

    #[test]
    fn the_worst_report_of_all_receivers_counts() {
        let (mut reports, now) = (ReceiverReports::default(), Instant::now());
        assert_eq!(reports.worst_case(now), None);
        reports.on_report(1, now, quality(0.1, 1.0, None));
        reports.on_report(2, now, quality(0.02, 3.0, Some(20_000)));
        reports.on_report(3, now, quality(0.0, 1.0, Some(60_000)));
        assert_eq!(reports.worst_case(now), worst_case(0.1, 3.0, Some(20_000)));
        reports.remove(2);
        assert_eq!(reports.worst_case(now), worst_case(0.1, 1.0, Some(60_000)));
    }

    #[test]
    fn stale_reports_are_ignored() {
        let (mut reports, start) = (ReceiverReports::default(), Instant::now());
        reports.on_report(1, start, quality(0.3, 2.0, Some(8_000)));
        reports.on_report(2, start + Duration::from_secs(3), quality(0.1, 1.0, None));
        let at = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(reports.worst_case(at(4)), worst_case(0.3, 2.0, Some(8_000)));
        assert_eq!(reports.worst_case(at(6)), worst_case(0.1, 1.0, None));
        assert_eq!(reports.worst_case(at(9)), None);
        reports.on_report(1, at(20), quality(0.05, 1.0, None));
        assert_eq!(
            reports.worst_case(at(20)),
            worst_case(0.05, 1.0, None),
            "reports from before a pause are forgotten"
        );
    }

    #[test]
    fn a_worse_report_counts_for_more_than_a_better_one_and_nonsense_is_brought_into_range() {
        let (mut reports, mut now) = (ReceiverReports::default(), Instant::now());
        let worst = |reports: &ReceiverReports<u8>, now| reports.worst_case(now).unwrap();
        reports.on_report(1, now, quality(0.0, 1.0, None));
        for expected in [0.1, 0.15, 0.175] {
            now += Duration::from_secs(1);
            reports.on_report(1, now, quality(0.2, 4.0, None));
            assert!((worst(&reports, now).loss - expected).abs() < 1e-6);
        }
        let burst = worst(&reports, now).burst;
        reports.on_report(1, now, quality(0.0, 1.0, None));
        let better = worst(&reports, now);
        assert!((better.loss - 0.14).abs() < 1e-6);
        assert_eq!(better.burst, burst, "a second without losses says nothing about their length");
        reports.on_report(2, now, quality(7.0, f32::INFINITY, None));
        assert_eq!((worst(&reports, now).loss, worst(&reports, now).burst), (1.0, 100.0));
    }
}
