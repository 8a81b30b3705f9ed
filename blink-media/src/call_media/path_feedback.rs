//! Reports about a path: what this end reports of what arrives, and how it adapts to the other
//! end's reports.

use std::collections::BTreeMap;
use std::fmt;
use web_time::{Duration, Instant};

use blink_api::{Mid, RtpIn};

use super::section_report::SectionReport;
use crate::rate::{Allocation, AudioDemand, HEADERS, PathReport, RateController};
use crate::receive_statistics::ReceiveStatistics;
use crate::receiver_reports::PathQuality;

/// Interval of the reports.
pub const REPORT_INTERVAL: Duration = Duration::from_secs(1);
/// Shortest interval of a report that is acted upon: one about less time says too little.
const SHORTEST: Duration = Duration::from_millis(100);
/// Sections that are counted.
const MAX_SECTIONS: usize = 8;

/// Statistics of what arrives on a path, and the rate of what may be sent on it.
pub struct PathFeedback {
    incoming: BTreeMap<Mid, Incoming>,
    reported: Instant,
    controller: RateController,
    /// The newest report about the microphone's section.
    microphone: PathQuality,
}

impl fmt::Debug for PathFeedback {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PathFeedback").finish_non_exhaustive()
    }
}

struct Incoming {
    clock_rate: u32,
    statistics: ReceiveStatistics,
}

/// The quality of the path as reported for one section.
#[derive(Debug)]
pub struct SectionQuality {
    /// The section.
    pub mid: Mid,
    /// Its quality, without a limit to the bitrate.
    pub quality: PathQuality,
}

impl PathFeedback {
    /// Feedback about a path of which nothing is known.
    pub fn new(now: Instant) -> Self {
        Self {
            incoming: BTreeMap::new(),
            reported: now,
            controller: RateController::default(),
            microphone: PathQuality { burst: 1.0, ..PathQuality::default() },
        }
    }

    /// Takes a received packet, whose timestamp has this clock rate.
    pub fn on_packet(&mut self, packet: &RtpIn, clock_rate: u32) {
        let (sequence, timestamp, bytes) = (packet.sequence, packet.timestamp, packet.payload.len());
        if let Some(incoming) = self.incoming.get_mut(&packet.mid) {
            // Padding says nothing about the codec.
            if incoming.clock_rate != clock_rate && bytes > 0 {
                *incoming = Incoming { clock_rate, statistics: ReceiveStatistics::new(clock_rate) };
            }
            incoming.statistics.push(sequence, timestamp, packet.arrival, bytes);
        } else if self.incoming.len() < MAX_SECTIONS {
            let mut statistics = ReceiveStatistics::new(clock_rate);
            statistics.push(sequence, timestamp, packet.arrival, bytes);
            self.incoming.insert(packet.mid.clone(), Incoming { clock_rate, statistics });
        }
    }

    /// Time at which the next report is due.
    pub fn due(&self) -> Instant {
        self.reported + REPORT_INTERVAL
    }

    /// The report that is due, with the time that it is about. Empty where nothing arrived.
    pub fn report(&mut self, now: Instant) -> (Duration, Vec<SectionReport>) {
        let interval = now.saturating_duration_since(self.reported);
        self.reported = now;
        let sections = self.incoming.iter_mut().filter_map(|(mid, incoming)| {
            let report = incoming.statistics.report()?;
            Some(SectionReport {
                mid: mid.clone(),
                expected: report.expected,
                lost: report.lost,
                runs: report.runs,
                jitter: report.jitter,
                delay: report.delay,
                bytes: report.bytes,
            })
        });
        (interval, sections.collect())
    }

    /// Takes the other end's report. Returns the quality of each section; of a report that cannot
    /// be acted upon, nothing.
    pub fn handle_report(
        &mut self,
        interval: Duration,
        sections: &[SectionReport],
        demand: AudioDemand,
    ) -> Vec<SectionQuality> {
        if interval < SHORTEST {
            return Vec::new();
        }
        let sections = &sections[..sections.len().min(MAX_SECTIONS)];
        let (mut expected, mut lost, mut bits) = (0.0, 0.0, 0.0);
        let mut qualities = Vec::new();
        for section in sections {
            let missing = section.lost.min(section.expected);
            expected += f64::from(section.expected);
            lost += f64::from(missing);
            bits += f64::from(section.bytes) * 8.0 + f64::from(section.expected - missing) * HEADERS;
            let burst = missing as f32 / section.runs.clamp(1, missing.max(1)) as f32;
            let loss = share(missing.into(), section.expected.into());
            let quality = PathQuality { loss, burst: burst.max(1.0), bitrate: None };
            qualities.push(SectionQuality { mid: section.mid.clone(), quality });
        }
        let delay = sections.iter().map(|section| section.delay).min().unwrap_or(Duration::ZERO);
        let report = PathReport { loss: share(lost, expected), delay, received: bits / interval.as_secs_f64() };
        self.controller.handle_report(report, demand);
        qualities
    }

    /// Takes the transport's estimate of what the path carries.
    pub fn handle_estimate(&mut self, now: Instant, bits_per_second: u64) {
        self.controller.handle_estimate(now, bits_per_second);
    }

    /// The shares of audio and video.
    pub fn allocation(&self, now: Instant, demand: AudioDemand) -> Allocation {
        self.controller.allocation(now, demand)
    }

    /// Interarrival jitter on a section; `None` before its first packet.
    pub(super) fn jitter(&self, mid: &Mid) -> Option<Duration> {
        self.incoming.get(mid).map(|incoming| incoming.statistics.jitter())
    }

    /// Keeps the report about the microphone's section for statistics.
    pub(super) fn set_microphone(&mut self, quality: PathQuality) {
        self.microphone = quality;
    }

    /// The newest report about the microphone's section.
    pub(super) fn microphone(&self) -> PathQuality {
        self.microphone
    }

    /// Bits per second that the path is taken to carry, headers included.
    pub(super) fn bitrate(&self, now: Instant) -> u64 {
        self.controller.rate(now) as u64
    }
}

fn share(part: f64, whole: f64) -> f32 {
    (part / whole.max(1.0)).clamp(0.0, 1.0) as f32
}

#[cfg(test)]
mod tests {
    use blink_api::{CodecName, RtpTime};
    use bytes::Bytes;

    use super::*;

    const DEMAND: AudioDemand = AudioDemand { bitrate: 32_000, frame: Duration::from_millis(20) };

    fn packet(mid: &str, n: u16, arrival: Instant) -> RtpIn {
        RtpIn {
            mid: Mid::new(mid),
            payload_type: 111,
            codec: CodecName::new("opus"),
            sequence: n,
            timestamp: RtpTime(u32::from(n) * 960),
            marker: false,
            level: None,
            payload: Bytes::from_static(&[0; 80]),
            arrival,
        }
    }

    /// The statistics of one end arrive at the other as shares of loss and lengths of bursts.
    #[test]
    fn one_end_reports_and_the_other_understands() {
        let start = Instant::now();
        let (mut one, mut other) = (PathFeedback::new(start), PathFeedback::new(start));
        assert!(one.report(start + REPORT_INTERVAL).1.is_empty(), "nothing arrived");
        for n in (0..108_u16).filter(|n| ![20, 21, 22, 50].contains(n)) {
            one.on_packet(&packet("0", n, start + Duration::from_millis(20) * n.into()), 48_000);
        }
        let (interval, sections) = one.report(start + REPORT_INTERVAL * 3);
        assert_eq!((interval, sections.len()), (2 * REPORT_INTERVAL, 1));
        let qualities = other.handle_report(interval, &sections, DEMAND);
        assert_eq!(qualities[0].mid, Mid::new("0"));
        assert!((qualities[0].quality.loss - 4.0 / 99.0).abs() < 1e-6);
        assert_eq!(qualities[0].quality.burst, 2.0);
    }

    /// Padding counts as one of the expected packets, whatever its payload type.
    #[test]
    fn padding_is_counted_under_any_payload_type() {
        let start = Instant::now();
        let mut feedback = PathFeedback::new(start);
        for n in 0..100 {
            let arrival = start + Duration::from_millis(20) * n.into();
            feedback.on_packet(&packet("0", n * 2, arrival), 48_000);
            feedback.on_packet(&RtpIn { payload: Bytes::new(), ..packet("0", n * 2 + 1, arrival) }, 90_000);
        }
        let (_, sections) = feedback.report(start + REPORT_INTERVAL);
        assert_eq!((sections[0].expected, sections[0].lost, sections[0].bytes), (191, 0, 8_000));
    }

    /// A report about no time is ignored, and nonsense is brought into range.
    #[test]
    fn an_absurd_report_changes_nothing() {
        let now = Instant::now();
        let mut feedback = PathFeedback::new(now);
        let section = SectionReport {
            mid: Mid::new("0"),
            expected: 10,
            lost: u32::MAX,
            runs: 0,
            jitter: Duration::from_micros(u32::MAX.into()),
            delay: Duration::from_micros(u32::MAX.into()),
            bytes: u32::MAX,
        };
        let before = feedback.allocation(now, DEMAND);
        assert!(feedback.handle_report(Duration::ZERO, std::slice::from_ref(&section), DEMAND).is_empty());
        assert_eq!(feedback.allocation(now, DEMAND), before);
        let qualities = feedback.handle_report(REPORT_INTERVAL, &vec![section; 20], DEMAND);
        assert_eq!(qualities.len(), MAX_SECTIONS);
        assert_eq!((qualities[0].quality.loss, qualities[0].quality.burst), (1.0, 10.0));
        assert!(feedback.allocation(now, DEMAND).audio > 0);
    }
}
