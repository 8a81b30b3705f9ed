//! What a receiver can tell a sender about the path: how much was lost and how, how evenly packets came, and whether they queue up.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use blink_api::RtpTime;

use super::transit::duration_of;

/// Sequence numbers that are remembered, a power of two: more than a second of the fastest video.
const REMEMBERED: i64 = 2_048;
/// A packet is lost when so many after it have come: until then it may have been overtaken.
const REORDERED: i64 = 8;
/// A jump in sequence numbers that is a restart of the source (RFC 3550 §A.1, `MAX_DROPOUT`).
const MAX_DROPOUT: i64 = 3_000;
/// How many reports the fastest packet counts for: what is slower than it waits in queues.
const FASTEST: usize = 20;

/// Counts one source's packets.
#[derive(Debug)]
pub struct Reception {
    clock_rate: u32,
    /// The first packet since the last restart: where both clocks are taken to be 0.
    epoch: Option<(Instant, RtpTime)>,
    highest: i64,
    /// Everything before this was reported.
    reported: i64,
    /// Bit `n % REMEMBERED`: packet `n` of the newest came.
    came: [u64; (REMEMBERED / 64) as usize],
    /// RFC 3550 §6.4.1, in ticks, and the difference that it is computed from.
    jitter: f64,
    last_transit: i64,
    /// The least difference of arrival and timestamp since the last report, and with each of those before.
    fastest: Option<i64>,
    before: VecDeque<i64>,
    bytes: u64,
}

/// What came of a source since the report before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ReceptionReport {
    /// Packets that should have come.
    pub expected: u32,
    /// Of these, those that did not.
    pub lost: u32,
    /// How many times one or several in a row did not.
    pub runs: u32,
    /// How unevenly packets came (RFC 3550 §6.4.1).
    pub jitter: Duration,
    /// How much slower than the fastest packet of late the fastest since the last report was: the time that every packet waits in a queue.
    pub delay: Duration,
    /// Bytes of payload that came.
    pub bytes: u32,
}

impl Reception {
    /// For a source with so many ticks per second.
    pub fn new(clock_rate: u32) -> Self {
        Self {
            clock_rate: clock_rate.max(1),
            epoch: None,
            highest: 0,
            reported: 0,
            came: [0; (REMEMBERED / 64) as usize],
            jitter: 0.0,
            last_transit: 0,
            fastest: None,
            before: VecDeque::with_capacity(FASTEST),
            bytes: 0,
        }
    }

    /// A packet came with so many bytes of payload.
    pub fn push(&mut self, sequence: u16, timestamp: RtpTime, arrival: Instant, bytes: usize) {
        let step = i64::from(sequence.wrapping_sub(self.highest as u16).cast_signed());
        if self.epoch.is_none() || step.abs() > MAX_DROPOUT {
            self.restart(sequence, timestamp, arrival);
        } else {
            let number = self.highest + step;
            if step > 0 {
                (self.highest + 1..number)
                    .skip(step.saturating_sub(REMEMBERED).max(0) as usize)
                    .for_each(|n| self.mark(n, false));
                self.highest = number;
            }
            if self.highest - number < REMEMBERED {
                self.mark(number, true);
            }
        }
        self.bytes += bytes as u64;
        self.observe(timestamp, arrival);
    }

    fn restart(&mut self, sequence: u16, timestamp: RtpTime, arrival: Instant) {
        self.epoch = Some((arrival, timestamp));
        self.highest = i64::from(sequence);
        self.reported = self.highest;
        self.mark(self.highest, true);
        self.last_transit = 0;
        self.fastest = None;
        self.before.clear();
    }

    fn mark(&mut self, number: i64, came: bool) {
        let bit = number.rem_euclid(REMEMBERED) as usize;
        let word = &mut self.came[bit / 64];
        *word = if came { *word | 1 << (bit % 64) } else { *word & !(1 << (bit % 64)) };
    }

    fn has_come(&self, number: i64) -> bool {
        let bit = number.rem_euclid(REMEMBERED) as usize;
        self.came[bit / 64] >> (bit % 64) & 1 == 1
    }

    /// Learns from when a packet came.
    fn observe(&mut self, timestamp: RtpTime, arrival: Instant) {
        let Some((began, first)) = self.epoch else { return };
        let since = arrival.saturating_duration_since(began).as_nanos() * u128::from(self.clock_rate) / 1_000_000_000;
        let transit = i64::try_from(since).unwrap_or(i64::MAX / 4) - i64::from(timestamp.since(first));
        let difference = (transit - self.last_transit).abs() as f64;
        self.jitter += (difference - self.jitter) / 16.0;
        self.last_transit = transit;
        self.fastest = Some(self.fastest.map_or(transit, |fastest| fastest.min(transit)));
    }

    /// What came since the report before; `None` where nothing did.
    pub fn report(&mut self) -> Option<ReceptionReport> {
        let fastest = self.fastest.take()?;
        if self.before.len() == FASTEST {
            self.before.pop_front();
        }
        self.before.push_back(fastest);
        let least = self.before.iter().copied().min().unwrap_or(fastest);
        let ticks = |ticks: i64| duration_of(ticks, self.clock_rate);
        let mut report = ReceptionReport {
            jitter: ticks(self.jitter as i64),
            delay: ticks(fastest - least),
            bytes: u32::try_from(std::mem::take(&mut self.bytes)).unwrap_or(u32::MAX),
            ..ReceptionReport::default()
        };
        let end = (self.highest - REORDERED).max(self.reported);
        let mut before = true;
        for number in self.reported.max(end - (REMEMBERED - REORDERED))..end {
            let came = self.has_come(number);
            report.expected += 1;
            report.lost += u32::from(!came);
            report.runs += u32::from(before && !came);
            before = came;
        }
        self.reported = end;
        Some(report)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FRAME: Duration = Duration::from_millis(20);

    /// Packets of 20 ms with these numbers, each so many ms late.
    fn receive(reception: &mut Reception, start: Instant, packets: impl IntoIterator<Item = (u32, u64)>) {
        for (n, late) in packets {
            let arrival = start + FRAME * n + Duration::from_millis(late);
            reception.push(
                65_500_u16.wrapping_add(n as u16),
                RtpTime(n.wrapping_mul(960).wrapping_sub(99)),
                arrival,
                80,
            );
        }
    }

    #[test]
    fn losses_are_counted_with_their_runs_around_the_wrap() {
        let (mut reception, start) = (Reception::new(48_000), Instant::now());
        assert_eq!(reception.report(), None, "nothing came");
        receive(&mut reception, start, (0..108).filter(|n| ![10, 20, 21, 22, 90].contains(n)).map(|n| (n, 0)));
        let report = reception.report().unwrap();
        assert_eq!((report.expected, report.lost, report.runs, report.bytes), (99, 5, 3, 103 * 80));
        assert_eq!((report.jitter, report.delay), (Duration::ZERO, Duration::ZERO));
        assert_eq!(reception.report(), None, "nothing came since");
        receive(&mut reception, start, (108..208).map(|n| (n, 0)));
        let report = reception.report().unwrap();
        assert_eq!((report.expected, report.lost, report.runs), (100, 0, 0));
    }

    #[test]
    fn what_is_overtaken_or_comes_twice_is_not_lost() {
        let (mut reception, start) = (Reception::new(48_000), Instant::now());
        let order = (0..200).flat_map(|n| [(n * 4 + 3, 0), (n * 4 + 1, 5), (n * 4 + 1, 5), (n * 4 + 2, 3), (n * 4, 9)]);
        receive(&mut reception, start, order);
        let report = reception.report().unwrap();
        assert_eq!((report.lost, report.runs), (0, 0), "{report:?}");
    }

    #[test]
    fn a_queue_that_every_packet_waits_in_is_delay_and_uneven_arrival_is_jitter() {
        let (mut reception, start) = (Reception::new(48_000), Instant::now());
        receive(&mut reception, start, (0..50).map(|n| (n, 0)));
        reception.report();
        receive(&mut reception, start, (50..100).map(|n| (n, 120)));
        let queued = reception.report().unwrap();
        assert_eq!(queued.delay, Duration::from_millis(120));
        receive(&mut reception, start, (100..200).map(|n| (n, u64::from(n % 2) * 30)));
        let uneven = reception.report().unwrap();
        assert_eq!(uneven.delay, Duration::ZERO, "some packets do not wait");
        assert!(uneven.jitter > Duration::from_millis(20) && uneven.jitter < Duration::from_millis(35), "{uneven:?}");
    }

    #[test]
    fn a_source_that_begins_anew_loses_nothing() {
        let (mut reception, start) = (Reception::new(48_000), Instant::now());
        receive(&mut reception, start, (0..50).map(|n| (n, 0)));
        receive(&mut reception, start, (20_000..20_050).map(|n| (n, 0)));
        let report = reception.report().unwrap();
        assert_eq!((report.lost, report.runs), (0, 0));
        receive(&mut reception, start, (20_050..30_000).step_by(2_900).map(|n| (n, 0)));
        assert!(reception.report().unwrap().expected <= REMEMBERED as u32, "what is too long ago is not known");
    }
}
