//! What the two ends of a session tell each other of the path, once a second on the data channel,
//! and what this end makes of it.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use blink_api::{Mid, RtpIn};

use blink_media::rate::{Allocation, AudioDemand, HEADERS, PathReport, RateController};
use blink_media::{Network, ReceiveStatistics};
use blink_proto::wire::{ChannelMessage, REPORT_VERSION, SectionReport};

/// How often the other end is told.
const INTERVAL: Duration = Duration::from_secs(1);
/// A report about a shorter time than this says too little to act upon.
const SHORTEST: Duration = Duration::from_millis(100);
/// Sections that are counted.
const MAX_SECTIONS: usize = 8;

/// What came in, and how much may go out.
pub(super) struct Feedback {
    incoming: BTreeMap<Mid, Incoming>,
    reported: Instant,
    controller: RateController,
    /// What the other end told last of the microphone's section.
    told: Network,
}

struct Incoming {
    clock_rate: u32,
    reception: ReceiveStatistics,
}

/// What the other end says of one section.
pub(super) struct Told {
    pub(super) mid: Mid,
    pub(super) network: Network,
}

impl Feedback {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            incoming: BTreeMap::new(),
            reported: now,
            controller: RateController::default(),
            told: Network { burst: 1.0, ..Network::default() },
        }
    }

    /// A packet came, whose timestamp has so many ticks per second.
    pub(super) fn note(&mut self, packet: &RtpIn, clock_rate: u32) {
        let (sequence, timestamp, bytes) = (packet.sequence, packet.timestamp, packet.payload.len());
        if let Some(incoming) = self.incoming.get_mut(&packet.mid) {
            // Padding says nothing of what is sent.
            if incoming.clock_rate != clock_rate && bytes > 0 {
                *incoming = Incoming { clock_rate, reception: ReceiveStatistics::new(clock_rate) };
            }
            incoming.reception.push(sequence, timestamp, packet.arrival, bytes);
        } else if self.incoming.len() < MAX_SECTIONS {
            let mut reception = ReceiveStatistics::new(clock_rate);
            reception.push(sequence, timestamp, packet.arrival, bytes);
            self.incoming.insert(packet.mid.clone(), Incoming { clock_rate, reception });
        }
    }

    /// When the other end is told next.
    pub(super) fn due(&self) -> Instant {
        self.reported + INTERVAL
    }

    /// What to tell the other end now; `None` where nothing came.
    pub(super) fn report(&mut self, now: Instant) -> Option<ChannelMessage> {
        let interval = now.saturating_duration_since(self.reported);
        self.reported = now;
        let micros = |duration: Duration| u32::try_from(duration.as_micros()).unwrap_or(u32::MAX);
        let sections = self.incoming.iter_mut().filter_map(|(mid, incoming)| {
            let report = incoming.reception.report()?;
            Some(SectionReport {
                mid: mid.as_str().to_owned(),
                expected: report.expected,
                lost: report.lost,
                runs: report.runs,
                jitter_us: micros(report.jitter),
                delay_us: micros(report.delay),
                bytes: report.bytes,
            })
        });
        let sections: Vec<_> = sections.collect();
        let interval_ms = u32::try_from(interval.as_millis()).unwrap_or(u32::MAX);
        (!sections.is_empty()).then_some(ChannelMessage::Report {
            version: REPORT_VERSION,
            interval_ms,
            sections,
            captures: Vec::new(),
        })
    }

    /// The other end tells how what was sent arrives. Returns what it says of each section; of a
    /// report that cannot be acted upon, nothing.
    pub(super) fn handle_report(
        &mut self,
        version: u32,
        interval_ms: u32,
        sections: &[SectionReport],
        demand: AudioDemand,
    ) -> Vec<Told> {
        let interval = Duration::from_millis(interval_ms.into());
        if version != REPORT_VERSION || interval < SHORTEST {
            return Vec::new();
        }
        let sections = &sections[..sections.len().min(MAX_SECTIONS)];
        let (mut expected, mut lost, mut bits) = (0.0, 0.0, 0.0);
        let mut told = Vec::new();
        for section in sections {
            let missing = section.lost.min(section.expected);
            expected += f64::from(section.expected);
            lost += f64::from(missing);
            bits += f64::from(section.bytes) * 8.0 + f64::from(section.expected - missing) * HEADERS;
            let burst = missing as f32 / section.runs.clamp(1, missing.max(1)) as f32;
            let network =
                Network { loss: share(missing.into(), section.expected.into()), burst: burst.max(1.0), bitrate: None };
            told.push(Told { mid: Mid::new(&section.mid), network });
        }
        let delay = sections.iter().map(|section| section.delay_us).min().unwrap_or(0);
        let report = PathReport {
            loss: share(lost, expected),
            delay: Duration::from_micros(delay.into()),
            received: bits / interval.as_secs_f64(),
        };
        self.controller.handle_report(report, demand);
        told
    }

    /// The transport says what the path carries.
    pub(super) fn handle_estimate(&mut self, now: Instant, bits_per_second: u64) {
        self.controller.handle_estimate(now, bits_per_second);
    }

    /// How much sound and pictures may take.
    pub(super) fn allocation(&self, now: Instant, demand: AudioDemand) -> Allocation {
        self.controller.allocation(now, demand)
    }

    /// Keeps what was told of the microphone's section, to be shown.
    pub(super) fn keep(&mut self, network: Network) {
        self.told = network;
    }

    /// What was kept, and what the path is taken to carry, in bits per second.
    pub(super) fn figures(&self, now: Instant) -> (Network, u64) {
        (self.told, self.controller.rate(now) as u64)
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

    /// What one end counts, the other end reads as shares of loss and lengths of bursts.
    #[test]
    fn one_end_tells_and_the_other_understands() {
        let start = Instant::now();
        let (mut one, mut other) = (Feedback::new(start), Feedback::new(start));
        assert!(one.report(start + INTERVAL).is_none(), "nothing came");
        for n in (0..108_u16).filter(|n| ![20, 21, 22, 50].contains(n)) {
            one.note(&packet("0", n, start + Duration::from_millis(20) * n.into()), 48_000);
        }
        let message = one.report(start + INTERVAL * 3);
        let Some(ChannelMessage::Report { version, interval_ms, sections, .. }) = message else {
            panic!("{message:?}")
        };
        assert_eq!((version, interval_ms, sections.len()), (1, 2_000, 1));
        let told = other.handle_report(version, interval_ms, &sections, DEMAND);
        assert_eq!(told[0].mid, Mid::new("0"));
        assert!((told[0].network.loss - 4.0 / 99.0).abs() < 1e-6);
        assert_eq!(told[0].network.burst, 2.0);
    }

    /// Whatever payload type padding comes under, it is one of the packets that were expected.
    #[test]
    fn padding_is_counted_under_any_payload_type() {
        let start = Instant::now();
        let mut feedback = Feedback::new(start);
        for n in 0..100 {
            let arrival = start + Duration::from_millis(20) * n.into();
            feedback.note(&packet("0", n * 2, arrival), 48_000);
            feedback.note(&RtpIn { payload: Bytes::new(), ..packet("0", n * 2 + 1, arrival) }, 90_000);
        }
        let message = feedback.report(start + INTERVAL);
        let Some(ChannelMessage::Report { sections, .. }) = message else { panic!("{message:?}") };
        assert_eq!((sections[0].expected, sections[0].lost, sections[0].bytes), (191, 0, 8_000));
    }

    /// Reports of other versions are ignored, and nonsense is brought into range.
    #[test]
    fn what_cannot_be_understood_changes_nothing() {
        let now = Instant::now();
        let mut feedback = Feedback::new(now);
        let section = SectionReport {
            mid: "0".to_owned(),
            expected: 10,
            lost: u32::MAX,
            runs: 0,
            jitter_us: u32::MAX,
            delay_us: u32::MAX,
            bytes: u32::MAX,
        };
        let before = feedback.allocation(now, DEMAND);
        assert!(feedback.handle_report(2, 1_000, std::slice::from_ref(&section), DEMAND).is_empty());
        assert!(feedback.handle_report(1, 0, std::slice::from_ref(&section), DEMAND).is_empty());
        assert_eq!(feedback.allocation(now, DEMAND), before);
        let told = feedback.handle_report(1, 1_000, &vec![section; 20], DEMAND);
        assert_eq!(told.len(), MAX_SECTIONS);
        assert_eq!((told[0].network.loss, told[0].network.burst), (1.0, 10.0));
        assert!(feedback.allocation(now, DEMAND).audio > 0);
    }
}
