//! Count of data-channel bytes that a session's reader has not received yet.

use std::collections::VecDeque;

/// Limit of unread message bytes, besides the limit of queue entries.
pub const MAX_UNREAD_BYTES: usize = 1024 * 1024;

/// Counter of unread message bytes in a queue that cannot be inspected.
///
/// The queue is in order, so the entries received are the oldest ones: as many as were ever added,
/// minus those that are in it now.
#[derive(Debug, Default)]
pub struct UnreadBytes {
    entries: u64,
    /// Messages among the entries: entry number and length.
    messages: VecDeque<(u64, usize)>,
    bytes: usize,
}

impl UnreadBytes {
    /// Returns whether a message of this length fits, given the current number of queue entries.
    pub fn has_room(&mut self, entries: usize, length: usize) -> bool {
        let taken = self.entries.saturating_sub(entries as u64);
        while let Some((_, length)) = self.messages.pop_front_if(|(number, _)| *number < taken) {
            self.bytes -= length;
        }
        self.bytes + length <= MAX_UNREAD_BYTES
    }

    /// Records an entry added to the queue: a message of this length, or `None` for any other.
    pub fn add(&mut self, message: Option<usize>) {
        if let Some(length) = message {
            self.messages.push_back((self.entries, length));
            self.bytes += length;
        }
        self.entries += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_freed_as_the_oldest_entries_are_received() {
        let mut unread = UnreadBytes::default();
        let half = MAX_UNREAD_BYTES / 2;
        for (entries, message) in [(0, Some(half)), (1, None), (2, Some(half))] {
            assert!(unread.has_room(entries, message.unwrap_or_default()));
            unread.add(message);
        }
        assert!(!unread.has_room(3, 1), "two halves are unread");
        assert!(unread.has_room(2, half), "the first was received");
        assert!(!unread.has_room(2, half + 1));
        assert!(!unread.has_room(1, half + 1), "the other entry was received");
        assert!(unread.has_room(0, MAX_UNREAD_BYTES));
        assert!(!unread.has_room(0, MAX_UNREAD_BYTES + 1));
    }
}
