//! Replay protection: a sliding window of 1,024 sequence numbers for each sender, under its newest
//! boot (as RFC 4303 §3.4.3 for IPsec).

use blink_api::Endpoint;

use super::counters::Refusal;
use crate::shares::{Share, SharedMap};

const WINDOW: u64 = 1_024;
const WORDS: usize = WINDOW as usize / 64;
/// Endpoints kept of expected people, and of others. Beyond, the one of the same share that was
/// first heard longest ago is evicted. Its messages can then be replayed, which is harmless: bodies
/// are idempotent, and an offer rings only with a fresh nonce.
const MAX_ENDPOINTS: (usize, usize) = (2_048, 2_048);

/// Replay windows of all senders.
#[derive(Debug)]
pub struct ReplayWindows {
    windows: SharedMap<Endpoint, Window>,
}

impl Default for ReplayWindows {
    fn default() -> Self {
        Self { windows: SharedMap::new(MAX_ENDPOINTS.0, MAX_ENDPOINTS.1) }
    }
}

/// Window of one sender under its newest boot. Bit `seq % WINDOW` of `seen` belongs to the newest
/// sequence number with that remainder, within `WINDOW` of `highest`.
#[derive(Debug)]
struct Window {
    boot: u64,
    highest: u64,
    seen: [u64; WORDS],
}

impl ReplayWindows {
    /// Checks that a message is new; changes nothing.
    ///
    /// # Errors
    /// [`Refusal::Replayed`] for a message received before, below the window, or sent before the
    /// sender's newest boot.
    pub fn check(&self, from: &Endpoint, boot: u64, seq: u64) -> Result<(), Refusal> {
        let Some(window) = self.windows.get(from) else { return Ok(()) };
        if boot > window.boot || (boot == window.boot && window.is_new(seq)) { Ok(()) } else { Err(Refusal::Replayed) }
    }

    /// Newest boot of an endpoint.
    pub fn newest(&self, from: &Endpoint) -> Option<u64> {
        self.windows.get(from).map(|window| window.boot)
    }

    /// Records a message that passed every check.
    pub fn commit(&mut self, from: &Endpoint, boot: u64, seq: u64) {
        if let Some(window) = self.windows.get_mut(from) {
            return window.commit(boot, seq);
        }
        let mut window = Window { boot, highest: seq, seen: [0; WORDS] };
        window.commit(boot, seq);
        self.windows.insert(Share::Strangers, *from, window);
    }

    /// Moves the window of an expected person's endpoint to the share that strangers cannot evict.
    pub fn keep(&mut self, endpoint: &Endpoint) {
        self.windows.make_familiar(endpoint);
    }
}

impl Window {
    fn is_new(&self, seq: u64) -> bool {
        seq > self.highest || (self.highest - seq < WINDOW && self.seen[word(seq)] & bit(seq) == 0)
    }

    fn commit(&mut self, boot: u64, seq: u64) {
        if boot > self.boot {
            *self = Self { boot, highest: seq, seen: [0; WORDS] };
        }
        if seq > self.highest {
            // The window slides: bits of the sequence numbers in between belonged to older ones.
            if seq - self.highest >= WINDOW {
                self.seen = [0; WORDS];
            } else {
                (self.highest + 1..seq).for_each(|skipped| self.seen[word(skipped)] &= !bit(skipped));
            }
            self.highest = seq;
        }
        self.seen[word(seq)] |= bit(seq);
    }
}

fn word(seq: u64) -> usize {
    (seq % WINDOW / 64) as usize
}

fn bit(seq: u64) -> u64 {
    1 << (seq % 64)
}

#[cfg(test)]
mod tests {
    use blink_api::{DeviceId, Did};

    use super::*;

    fn endpoint(n: u8) -> Endpoint {
        Endpoint { did: Did::from_public_key([n; 32]), device: DeviceId::from_bytes([n; 16]) }
    }

    #[test]
    fn each_number_passes_once_in_any_order_within_the_window() {
        let (mut windows, from) = (ReplayWindows::default(), endpoint(1));
        let mut passes = |boot, seq| {
            let new = windows.check(&from, boot, seq).is_ok();
            if new {
                windows.commit(&from, boot, seq);
            }
            new
        };
        for (boot, seq, new) in [
            (5, 10, true),
            (5, 10, false),
            (5, 12, true),
            (5, 11, true),
            (5, 11, false),
            (5, 12, false),
            (5, 9, true),
            (5, 1_033, true),
            (5, 10, false),
            (5, 9, false),
            (5, 13, true),
            (5, 5_000, true),
            (5, 1_034, false),
            (5, 4_000, true),
            (5, 3_976, false),
            (5, 3_977, true),
            (4, 6_000, false),
            (6, 1, true),
            (5, 7_000, false),
            (6, 1, false),
            (6, u64::MAX, true),
            (6, u64::MAX, false),
            (6, 2, false),
        ] {
            assert_eq!(passes(boot, seq), new, "boot {boot} seq {seq}");
        }
    }

    #[test]
    fn strangers_by_the_thousand_do_not_let_an_expected_endpoint_be_played_back() {
        let mut windows = ReplayWindows::default();
        let friend = endpoint(1);
        windows.commit(&friend, 1, 1);
        windows.keep(&friend);
        for n in 0..10_000_u32 {
            let mut key = [0; 32];
            key[..4].copy_from_slice(&n.to_be_bytes());
            let from = Endpoint { did: Did::from_public_key(key), device: DeviceId::from_bytes([0; 16]) };
            windows.commit(&from, 1, 1);
        }
        assert_eq!(windows.check(&friend, 1, 1), Err(Refusal::Replayed));
    }

    #[test]
    fn strangers_by_the_thousand_do_not_grow_it_beyond_its_size() {
        let mut windows = ReplayWindows::default();
        for n in 0..10_000_u32 {
            let mut key = [0; 32];
            key[..4].copy_from_slice(&n.to_be_bytes());
            let from = Endpoint { did: Did::from_public_key(key), device: DeviceId::from_bytes([0; 16]) };
            windows.commit(&from, 1, 1);
            if n < 3_000 {
                windows.keep(&from);
            }
        }
        assert_eq!(windows.windows.len(), MAX_ENDPOINTS.0 + MAX_ENDPOINTS.1);
    }
}
