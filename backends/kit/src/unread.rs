//! The bytes of data-channel messages that a session's reader has not taken yet.

use std::collections::VecDeque;

/// Bytes of messages that may wait for a reader, beside the entries of its queue.
pub const MAX_UNREAD_BYTES: usize = 1024 * 1024;

/// Counts the bytes of messages in a queue whose reader cannot be asked how far it is.
///
/// The queue keeps its order. So what was taken are the oldest entries: as many as were ever put
/// in, less those that are in it now.
#[derive(Debug, Default)]
pub struct Unread {
    entries: u64,
    /// The messages among the entries: the number of each and its length.
    messages: VecDeque<(u64, usize)>,
    bytes: usize,
}

impl Unread {
    /// Whether a message of this length may be put into the queue, which has so many entries now.
    pub fn has_room(&mut self, entries: usize, length: usize) -> bool {
        let taken = self.entries.saturating_sub(entries as u64);
        while let Some((_, length)) = self.messages.pop_front_if(|(number, _)| *number < taken) {
            self.bytes -= length;
        }
        self.bytes + length <= MAX_UNREAD_BYTES
    }

    /// An entry was put into the queue: a message of this length, or `None` for any other.
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
    fn bytes_are_free_again_as_the_oldest_entries_are_taken() {
        let mut unread = Unread::default();
        let half = MAX_UNREAD_BYTES / 2;
        for (entries, message) in [(0, Some(half)), (1, None), (2, Some(half))] {
            assert!(unread.has_room(entries, message.unwrap_or_default()));
            unread.add(message);
        }
        assert!(!unread.has_room(3, 1), "two halves wait");
        assert!(unread.has_room(2, half), "the first was taken");
        assert!(!unread.has_room(2, half + 1));
        assert!(!unread.has_room(1, half + 1), "and what is no message");
        assert!(unread.has_room(0, MAX_UNREAD_BYTES));
        assert!(!unread.has_room(0, MAX_UNREAD_BYTES + 1));
    }
}
