//! 16-bit sequence numbers and 32-bit timestamps as counts without wraps.
//!
//! A difference to a number of long ago is wrong from half a wrap on: 2¹⁵ packets are 11 minutes of
//! audio, 2³¹ ticks 12.4 hours of audio and 6.6 hours of video. Everything that compares such
//! numbers over time therefore extends them first, here.

use web_time::Instant;

use blink_api::RtpTime;

use super::relative_delay::ticks_between;

/// Extends sequence numbers to the count that lies nearest to the highest one so far (RFC 3550
/// §A.1).
#[derive(Debug, Clone, Copy)]
pub struct SequenceUnwrapper {
    highest: i64,
}

impl SequenceUnwrapper {
    /// Creates an unwrapper whose counts begin with this number.
    pub fn new(first: u16) -> Self {
        Self { highest: i64::from(first) }
    }

    /// Count of a packet, without advancing to it.
    pub fn extend(&self, sequence: u16) -> i64 {
        self.highest + i64::from(sequence.wrapping_sub(self.highest as u16).cast_signed())
    }

    /// Count of a packet. The highest one so far is the reference of later packets.
    pub fn advance(&mut self, sequence: u16) -> i64 {
        let count = self.extend(sequence);
        self.highest = self.highest.max(count);
        count
    }

    /// Highest count so far.
    pub fn highest(&self) -> i64 {
        self.highest
    }
}

/// Extends one sender's RTP timestamps to a count of ticks.
///
/// Of all counts with the same lower 32 bits it takes the one nearest to where the sender's clock
/// must be by the time that has passed, so that a pause may last longer than 2³¹ ticks, or several
/// wraps.
#[derive(Debug, Clone, Copy)]
pub struct TimestampUnwrapper {
    clock_rate: u32,
    ticks: i64,
    arrival: Instant,
}

impl TimestampUnwrapper {
    /// Creates an unwrapper for a clock of so many ticks per second, whose counts begin with this
    /// packet's timestamp.
    pub fn new(clock_rate: u32, first: RtpTime, arrival: Instant) -> Self {
        Self { clock_rate, ticks: i64::from(first.0), arrival }
    }

    /// Count at which the sender's clock must be by the time that has passed.
    pub fn expected(&self, arrival: Instant) -> i64 {
        self.ticks + ticks_between(self.arrival, arrival, self.clock_rate)
    }

    /// Count of a packet, without advancing to it.
    pub fn extend(&self, timestamp: RtpTime, arrival: Instant) -> i64 {
        let expected = self.expected(arrival);
        // The upper bits are those of the expected count.
        expected + i64::from(timestamp.since(RtpTime(expected as u32)))
    }

    /// Count of a packet, which is the reference of later ones.
    pub fn advance(&mut self, timestamp: RtpTime, arrival: Instant) -> i64 {
        self.ticks = self.extend(timestamp, arrival);
        self.arrival = arrival;
        self.ticks
    }

    /// Count of the packet that is the reference.
    pub fn newest(&self) -> i64 {
        self.ticks
    }
}

#[cfg(test)]
mod tests {
    use web_time::Duration;

    use super::*;

    #[test]
    fn sequence_numbers_are_counted_through_any_number_of_wraps_and_backwards() {
        let mut numbers = SequenceUnwrapper::new(65_000);
        for n in 0..300_000_i64 {
            assert_eq!(numbers.advance((65_000 + n) as u16), 65_000 + n);
            assert_eq!(numbers.advance((65_000 + n - 100) as u16), 65_000 + n - 100);
        }
        assert_eq!(numbers.highest(), 364_999);
    }

    #[test]
    fn timestamps_are_counted_through_pauses_of_any_length() {
        for (rate, first) in [(48_000, 0), (48_000, u32::MAX), (90_000, 1 << 31), (8_000, (1 << 31) - 1)] {
            let start = Instant::now();
            let mut unwrapper = TimestampUnwrapper::new(rate, RtpTime(first), start);
            let mut elapsed = Duration::ZERO;
            for pause in [0, 20, 3_600_000, 24_000_000, 44_739_240, 44_739_300, 89_478_400, 200_000_000, 20] {
                elapsed += Duration::from_millis(pause);
                let ticks = elapsed.as_millis() as i64 * i64::from(rate) / 1_000;
                let timestamp = RtpTime((i64::from(first) + ticks) as u32);
                // It may come sooner or later than the one before, by as much as networks delay
                // packets.
                for late in [0, 5_000] {
                    let arrival = start + elapsed + Duration::from_millis(late);
                    assert_eq!(unwrapper.extend(timestamp, arrival), i64::from(first) + ticks);
                }
                assert_eq!(unwrapper.advance(timestamp, start + elapsed), i64::from(first) + ticks);
                let before = RtpTime(timestamp.0.wrapping_sub(960));
                assert_eq!(unwrapper.extend(before, start + elapsed), unwrapper.newest() - 960);
            }
        }
    }
}
