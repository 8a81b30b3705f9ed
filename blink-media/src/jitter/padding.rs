//! Packets without payload among those that wait in the jitter buffer.

use std::collections::VecDeque;

/// Most numbers that are remembered; the oldest are forgotten.
const MOST: usize = 128;

/// Sequence numbers, in order, of packets without payload (RFC 3550 §5.1) beyond the last packet
/// released: nothing is missing there.
#[derive(Debug, Default)]
pub(super) struct Padding(VecDeque<i64>);

impl Padding {
    pub(super) fn insert(&mut self, sequence: i64) {
        let at = self.0.partition_point(|other| *other < sequence);
        if self.0.get(at) != Some(&sequence) {
            self.0.insert(at, sequence);
        }
        if self.0.len() > MOST {
            self.0.pop_front();
        }
    }

    /// First number from `next` on that is none of these. Forgets those before it.
    pub(super) fn pass(&mut self, mut next: i64) -> i64 {
        while let Some(sequence) = self.0.pop_front_if(|sequence| *sequence <= next) {
            next += i64::from(sequence == next);
        }
        next
    }

    /// Whether all numbers from `next` up to `sequence` are of these.
    pub(super) fn reaches(&self, next: i64, sequence: i64) -> bool {
        let first = self.0.partition_point(|other| *other < next);
        let between = self.0.partition_point(|other| *other < sequence).saturating_sub(first);
        i64::try_from(between).is_ok_and(|between| next + between == sequence)
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lies_between_is_known_in_any_order_and_never_much_is_held() {
        let mut padding = Padding::default();
        [12, 11, 14, 11].into_iter().for_each(|sequence| padding.insert(sequence));
        assert!(padding.reaches(11, 13) && padding.reaches(11, 11) && padding.reaches(14, 15));
        assert!(!padding.reaches(11, 14) && !padding.reaches(10, 13) && !padding.reaches(12, 11));
        assert_eq!((padding.pass(10), padding.pass(11), padding.pass(14)), (10, 13, 15));
        assert!(padding.0.is_empty());
        (0..10_000).for_each(|sequence| padding.insert(sequence * 2));
        assert_eq!(padding.0.len(), MOST);
        padding.clear();
        assert_eq!(padding.pass(5), 5);
    }
}
