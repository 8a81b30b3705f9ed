//! Packet and loss counters, and extended sequence numbers.

use std::time::Duration;

use blink_api::SessionStats;

/// Limit of tracked SSRCs; with more, the oldest is folded into the total.
const MAX_SOURCES: usize = 16;
/// Jump in sequence numbers that counts as a restart of the source instead of loss (RFC 3550 §A.1).
const MAX_DROPOUT: u16 = 3000;

/// Counters of a session's sent and received packets.
#[derive(Debug, Default)]
pub struct TrafficCounters {
    packets_sent: u64,
    bytes_sent: u64,
    packets_received: u64,
    bytes_received: u64,
    sources: Vec<(u32, Source)>,
    lost_before: u64,
}

/// Sequence numbers of one SSRC since its last restart.
#[derive(Debug)]
struct Source {
    first: u64,
    highest: u64,
    received: u64,
}

impl TrafficCounters {
    /// Counts a sent packet with this payload size in bytes.
    pub fn sent(&mut self, payload: usize) {
        self.packets_sent += 1;
        self.bytes_sent += payload as u64;
    }

    /// Counts a received packet with this payload size in bytes.
    pub fn received(&mut self, ssrc: u32, sequence: u16, payload: usize) {
        self.packets_received += 1;
        self.bytes_received += payload as u64;
        if let Some((_, source)) = self.sources.iter_mut().find(|(known, _)| *known == ssrc) {
            let extended = nearest(source.highest, sequence);
            if extended.abs_diff(source.highest) <= u64::from(MAX_DROPOUT) {
                source.highest = source.highest.max(extended);
                source.first = source.first.min(extended);
                source.received += 1;
            } else {
                self.lost_before += source.lost();
                *source = Source::beginning(sequence);
            }
            return;
        }
        if self.sources.len() == MAX_SOURCES {
            let (_, oldest) = self.sources.remove(0);
            self.lost_before += oldest.lost();
        }
        self.sources.push((ssrc, Source::beginning(sequence)));
    }

    /// Statistics up to now.
    pub fn stats(&self, round_trip: Option<Duration>) -> SessionStats {
        let mut stats = SessionStats::default();
        stats.packets_sent = self.packets_sent;
        stats.packets_received = self.packets_received;
        stats.packets_lost = self.lost_before + self.sources.iter().map(|(_, source)| source.lost()).sum::<u64>();
        stats.bytes_sent = self.bytes_sent;
        stats.bytes_received = self.bytes_received;
        stats.round_trip = round_trip;
        stats
    }
}

impl Source {
    /// Starts one cycle up, so that packets before the first received one have a number too.
    fn beginning(sequence: u16) -> Self {
        let first = (1 << 16) | u64::from(sequence);
        Self { first, highest: first, received: 1 }
    }

    /// Number of lost packets (RFC 3550 §A.3); duplicates never make it negative.
    fn lost(&self) -> u64 {
        (self.highest - self.first + 1).saturating_sub(self.received)
    }
}

/// Extended sequence numbers of a sent stream.
#[derive(Debug, Default)]
pub struct SendSequence(Option<u64>);

impl SendSequence {
    /// Extends a sequence number; `None` if it is not greater than the last one. Such a packet must
    /// not be sent: SRTP would encrypt two packets with the same keystream (RFC 3711 §3.3.1).
    pub fn advance(&mut self, sequence: u16) -> Option<u64> {
        let next = match self.0 {
            None => u64::from(sequence),
            Some(last) => Some(nearest(last, sequence)).filter(|next| *next > last)?,
        };
        self.0 = Some(next);
        Some(next)
    }
}

/// Extended number with these low 16 bits that is nearest to `reference`.
fn nearest(reference: u64, sequence: u16) -> u64 {
    let distance = sequence.wrapping_sub(reference as u16).cast_signed();
    reference.saturating_add_signed(i64::from(distance))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lost(sequences: impl IntoIterator<Item = u16>) -> u64 {
        let mut traffic = TrafficCounters::default();
        sequences.into_iter().for_each(|sequence| traffic.received(1, sequence, 100));
        traffic.stats(None).packets_lost
    }

    #[test]
    fn loss_is_counted_between_the_first_and_the_highest_number() {
        assert_eq!(lost([]), 0);
        assert_eq!(lost([5, 6, 9, 10]), 2);
        assert_eq!(lost([5, 6, 9, 10, 7]), 1, "one is late");
        assert_eq!(lost([65_534, 65_535, 1]), 1, "around the wrap");
        assert_eq!(lost([3, 1, 2]), 0, "reordered from the start");
        assert_eq!(lost([7, 7, 7, 9]), 0, "duplicates count as packets, as in RFC 3550");
        assert_eq!(lost([10, 12, 40_000, 40_001]), 1, "a restart counts no loss and keeps earlier loss");
    }

    #[test]
    fn sources_are_counted_separately() {
        let mut traffic = TrafficCounters::default();
        for (ssrc, sequence) in [(1, 10), (2, 500), (1, 12), (2, 501)] {
            traffic.received(ssrc, sequence, 10);
        }
        let stats = traffic.stats(None);
        assert_eq!((stats.packets_received, stats.packets_lost, stats.bytes_received), (4, 1, 40));
    }

    #[test]
    fn evicted_sources_keep_their_loss() {
        let mut traffic = TrafficCounters::default();
        for ssrc in 0..100 {
            traffic.received(ssrc, 1, 1);
            traffic.received(ssrc, 3, 1);
        }
        assert_eq!(traffic.stats(None).packets_lost, 100);
        assert_eq!(traffic.sources.len(), MAX_SOURCES);
    }

    #[test]
    fn sent_numbers_only_increase_and_are_extended_across_the_wrap() {
        let mut sequence = SendSequence::default();
        let numbers = [65_534, 65_535, 65_535, 65_534, 0, 5].map(|number| sequence.advance(number));
        assert_eq!(numbers, [Some(65_534), Some(65_535), None, None, Some(65_536), Some(65_541)]);
    }
}
