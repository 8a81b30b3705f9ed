//! Reception statistics for reports to the sender: loss, bursts, jitter and standing delay.

use std::collections::VecDeque;
use web_time::{Duration, Instant};

use blink_api::RtpTime;

use super::relative_delay::{duration_of, ticks_between, ticks_in};
use super::unwrap::{SequenceUnwrapper, TimestampUnwrapper};

/// Sequence numbers that are remembered, a power of two: more than a second of the fastest video.
const REMEMBERED: i64 = 2_048;
/// Packets with later numbers after which a missing packet counts as lost; until then it may be
/// reordered.
const REORDERED: i64 = 8;
/// Jump in sequence numbers that is a restart of the source (RFC 3550 §A.1, `MAX_DROPOUT`).
const MAX_DROPOUT: u64 = 3_000;
/// Reports for which the fastest packet counts; slower packets wait in queues.
const FASTEST: usize = 20;
/// Time for which it counts at most: in a pause, such as while muted, the two clocks drift apart by
/// more than a queue is long.
const FASTEST_FOR: Duration = Duration::from_secs(30);
/// Difference of arrival and timestamp from one packet to the next beyond which the sender's clock
/// jumped: no queue is that long.
const CLOCK_JUMP: Duration = Duration::from_secs(10);

/// Statistics of one source's packets.
#[derive(Debug)]
pub struct ReceiveStatistics {
    clock_rate: u32,
    /// Sequence numbers; `None` before the first packet.
    numbers: Option<SequenceUnwrapper>,
    /// Count up to which everything is reported.
    reported: i64,
    /// Bit `n % REMEMBERED`: packet `n` came.
    came: [u64; (REMEMBERED / 64) as usize],
    /// Interarrival jitter (RFC 3550 §6.4.1), in ticks.
    jitter: f64,
    timing: Option<Timing>,
    /// Least difference of arrival and timestamp since the last report, and with each of the
    /// reports before, with when they ended.
    fastest: Option<i64>,
    before: VecDeque<(Instant, i64)>,
    bytes: u64,
}

/// Sender's clock against the own one.
#[derive(Debug)]
struct Timing {
    /// Moment at which both clocks are taken to be 0.
    epoch: Instant,
    first: i64,
    timestamps: TimestampUnwrapper,
    /// Newest packet with payload: its arrival, and its delay relative to the first one, in ticks.
    arrival: Instant,
    transit: i64,
}

/// Reception of a source since the report before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ReceiveReport {
    /// Packets that were sent, by their sequence numbers.
    pub expected: u32,
    /// Packets of these that did not come.
    pub lost: u32,
    /// Bursts of one or several in a row that did not come.
    pub runs: u32,
    /// Interarrival jitter (RFC 3550 §6.4.1).
    pub jitter: Duration,
    /// Standing delay: how much slower the fastest packet since the last report was than the
    /// fastest lately. Every packet waits that long in a queue.
    pub delay: Duration,
    /// Bytes of payload received.
    pub bytes: u32,
}

impl ReceiveStatistics {
    /// Creates statistics for a source with so many ticks per second.
    pub fn new(clock_rate: u32) -> Self {
        Self {
            clock_rate: clock_rate.max(1),
            numbers: None,
            reported: 0,
            came: [0; (REMEMBERED / 64) as usize],
            jitter: 0.0,
            timing: None,
            fastest: None,
            before: VecDeque::with_capacity(FASTEST),
            bytes: 0,
        }
    }

    /// Takes a packet with so many bytes of payload. One without payload is counted and says
    /// nothing of time: padding may have any timestamp.
    pub fn push(&mut self, sequence: u16, timestamp: RtpTime, arrival: Instant, bytes: usize) {
        self.count(sequence);
        if bytes > 0 {
            self.bytes += bytes as u64;
            self.observe(timestamp, arrival);
        }
    }

    fn count(&mut self, sequence: u16) {
        let Some(mut numbers) = self.numbers else { return self.restart(sequence) };
        let (highest, number) = (numbers.highest(), numbers.advance(sequence));
        if number.abs_diff(highest) > MAX_DROPOUT {
            return self.restart(sequence);
        }
        self.numbers = Some(numbers);
        // Those between are missing, until they come after all.
        (highest + 1..number).for_each(|missing| self.mark(missing, false));
        if numbers.highest() - number < REMEMBERED {
            self.mark(number, true);
        }
    }

    fn restart(&mut self, sequence: u16) {
        let numbers = SequenceUnwrapper::new(sequence);
        self.reported = numbers.highest();
        self.mark(numbers.highest(), true);
        self.numbers = Some(numbers);
        self.forget_times();
    }

    fn forget_times(&mut self) {
        self.timing = None;
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

    /// Learns from a packet's arrival.
    fn observe(&mut self, timestamp: RtpTime, arrival: Instant) {
        let rate = self.clock_rate;
        let timing = self.timing.get_or_insert_with(|| Timing::new(rate, timestamp, arrival));
        let difference = timing.observe(rate, timestamp, arrival);
        if difference.abs() > ticks_in(CLOCK_JUMP, rate) {
            self.forget_times();
            self.timing = Some(Timing::new(rate, timestamp, arrival));
        } else {
            self.jitter += (difference.abs() as f64 - self.jitter) / 16.0;
        }
        let transit = self.timing.as_ref().map_or(0, |timing| timing.transit);
        self.fastest = Some(self.fastest.map_or(transit, |fastest| fastest.min(transit)));
    }

    /// Interarrival jitter so far (RFC 3550 §6.4.1).
    pub fn jitter(&self) -> Duration {
        duration_of(self.jitter as i64, self.clock_rate)
    }

    /// Reports the time since the last report; `None` without any packet with payload.
    pub fn report(&mut self) -> Option<ReceiveReport> {
        let (fastest, arrival) = (self.fastest.take()?, self.timing.as_ref()?.arrival);
        let (highest, before) = (self.numbers?.highest(), &mut self.before);
        before.retain(|(ended, _)| arrival.saturating_duration_since(*ended) <= FASTEST_FOR);
        if before.len() == FASTEST {
            before.pop_front();
        }
        before.push_back((arrival, fastest));
        let least = before.iter().map(|(_, fastest)| *fastest).min().unwrap_or(fastest);
        let ticks = |ticks: i64| duration_of(ticks, self.clock_rate);
        let mut report = ReceiveReport {
            jitter: ticks(self.jitter as i64),
            delay: ticks(fastest - least),
            bytes: u32::try_from(std::mem::take(&mut self.bytes)).unwrap_or(u32::MAX),
            ..ReceiveReport::default()
        };
        let end = (highest - REORDERED).max(self.reported);
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

impl Timing {
    fn new(clock_rate: u32, timestamp: RtpTime, arrival: Instant) -> Self {
        let timestamps = TimestampUnwrapper::new(clock_rate, timestamp, arrival);
        Self { epoch: arrival, first: timestamps.newest(), timestamps, arrival, transit: 0 }
    }

    /// Returns the delay relative to the packet before, in ticks.
    fn observe(&mut self, clock_rate: u32, timestamp: RtpTime, arrival: Instant) -> i64 {
        let sent = self.timestamps.advance(timestamp, arrival) - self.first;
        let transit = ticks_between(self.epoch, arrival, clock_rate) - sent;
        self.arrival = arrival;
        transit - std::mem::replace(&mut self.transit, transit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FRAME: Duration = Duration::from_millis(20);

    /// Packets of 20 ms with these numbers, each so many milliseconds late.
    fn receive(reception: &mut ReceiveStatistics, start: Instant, packets: impl IntoIterator<Item = (u32, u64)>) {
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
        let (mut reception, start) = (ReceiveStatistics::new(48_000), Instant::now());
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
        let (mut reception, start) = (ReceiveStatistics::new(48_000), Instant::now());
        let order = (0..200).flat_map(|n| [(n * 4 + 3, 0), (n * 4 + 1, 5), (n * 4 + 1, 5), (n * 4 + 2, 3), (n * 4, 9)]);
        receive(&mut reception, start, order);
        let report = reception.report().unwrap();
        assert_eq!((report.lost, report.runs), (0, 0), "{report:?}");
    }

    #[test]
    fn a_queue_that_every_packet_waits_in_is_delay_and_uneven_arrival_is_jitter() {
        let (mut reception, start) = (ReceiveStatistics::new(48_000), Instant::now());
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

    /// Padding has its own sequence numbers, and any timestamp: it is received, and neither late
    /// nor jitter.
    #[test]
    fn packets_without_payload_are_received_and_say_nothing_of_the_time() {
        let (mut reception, start) = (ReceiveStatistics::new(48_000), Instant::now());
        let mut sequence = 65_530_u16;
        for n in 0..200_u32 {
            let arrival = start + FRAME * n;
            for (timestamp, bytes) in [(n * 960, 80), (n * 960, 0), (n.wrapping_mul(0x5555_5555), 0)] {
                sequence = sequence.wrapping_add(1);
                reception.push(sequence, RtpTime(timestamp), arrival + Duration::from_millis(15), bytes);
            }
        }
        let report = reception.report().unwrap();
        let told = (report.expected, report.lost, report.runs, report.bytes);
        assert_eq!(told, (600 - 1 - REORDERED as u32, 0, 0, 200 * 80));
        assert_eq!((report.jitter, report.delay), (Duration::ZERO, Duration::ZERO));
    }

    /// 2³¹ ticks after the first packet, and in a call that is muted for longer than that.
    #[test]
    fn reports_are_the_same_after_any_time() {
        for (rate, first) in [(48_000, 0_u32), (48_000, u32::MAX), (90_000, 1 << 31), (90_000, 77)] {
            let (mut reception, start) = (ReceiveStatistics::new(rate), Instant::now());
            let mut sequence = 0_u16;
            for hours in (0..50).chain([100, 110, 125, 1_000]) {
                for n in 0..50 {
                    let sent = Duration::from_secs(hours * 3_600) + FRAME * n;
                    let ticks = (sent.as_millis() * u128::from(rate) / 1_000) as u32;
                    let late = Duration::from_millis(u64::from(n % 2) * 5);
                    reception.push(sequence, RtpTime(first.wrapping_add(ticks)), start + sent + late, 80);
                    sequence = sequence.wrapping_add(1);
                }
                let report = reception.report().unwrap();
                assert_eq!((report.lost, report.delay), (0, Duration::ZERO), "{rate} Hz, {first}, {hours} h");
                assert!(report.jitter < Duration::from_millis(6), "{rate} Hz, {first}, {hours} h: {report:?}");
            }
        }
    }

    /// Clocks go apart, by some 100 ms in a quarter of an hour: after a pause that is no queue. Nor
    /// is it one where a sender's timestamps jump.
    #[test]
    fn a_clock_that_goes_apart_in_a_pause_is_no_queue() {
        for ahead in [1, 200, 3_000, 100_000] {
            let (mut reception, start) = (ReceiveStatistics::new(48_000), Instant::now());
            receive(&mut reception, start, (0..50).map(|n| (n, 0)));
            assert_eq!(reception.report().unwrap().delay, Duration::ZERO);
            for n in 50..100 {
                let arrival = start + Duration::from_secs(900) + FRAME * n + Duration::from_millis(ahead);
                let timestamp = RtpTime((n * 960 + 900 * 48_000).wrapping_sub(99));
                reception.push(65_500_u16.wrapping_add(n as u16), timestamp, arrival, 80);
            }
            let report = reception.report().unwrap();
            assert_eq!((report.delay, report.lost), (Duration::ZERO, 0), "{ahead} ms");
            assert!(report.jitter < Duration::from_secs(1), "{ahead} ms: {report:?}");
        }
    }

    #[test]
    fn a_source_that_begins_anew_loses_nothing() {
        let (mut reception, start) = (ReceiveStatistics::new(48_000), Instant::now());
        receive(&mut reception, start, (0..50).map(|n| (n, 0)));
        receive(&mut reception, start, (20_000..20_050).map(|n| (n, 0)));
        let report = reception.report().unwrap();
        assert_eq!((report.lost, report.runs), (0, 0));
        receive(&mut reception, start, (20_050..30_000).step_by(2_900).map(|n| (n, 0)));
        assert!(reception.report().unwrap().expected <= REMEMBERED as u32, "what is too long ago is not known");
    }
}
