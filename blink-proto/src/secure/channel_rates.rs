//! Rate limits of one participant's data-channel messages.

use web_time::Instant;

use super::buckets::Bucket;
use super::counters::Refusal;
use crate::wire::ChannelKind;

/// Messages per second and burst, by kind. After an outage, the messages sent during it arrive at
/// once: a burst is what an honest participant sends in a minute.
const LIMITS: [(ChannelKind, f64, f64); ChannelKind::COUNT] = [
    (ChannelKind::Hello, 4.0, 16.0),
    (ChannelKind::Ping, 8.0, 128.0),
    (ChannelKind::Pong, 8.0, 128.0),
    (ChannelKind::Member, 10.0, 64.0),
    (ChannelKind::Section, 10.0, 64.0),
    (ChannelKind::Refused, 10.0, 64.0),
    (ChannelKind::Report, 4.0, 64.0),
    (ChannelKind::Message, 32.0, 256.0),
    (ChannelKind::MessageAck, 32.0, 256.0),
    (ChannelKind::Unknown, 4.0, 16.0),
];

/// Token buckets of one participant, one for each kind of message.
#[derive(Debug, Clone)]
pub struct ChannelRates {
    buckets: [Bucket; ChannelKind::COUNT],
}

impl ChannelRates {
    /// Full buckets.
    pub fn new(now: Instant) -> Self {
        Self { buckets: LIMITS.map(|(_, per_second, burst)| Bucket::new(per_second, burst, now)) }
    }

    /// Takes a token for a message.
    ///
    /// # Errors
    /// [`Refusal::RateLimited`].
    pub fn admit(&mut self, now: Instant, kind: ChannelKind) -> Result<(), Refusal> {
        self.buckets[kind as usize].take(now)
    }
}

#[cfg(test)]
mod tests {
    use web_time::Duration;

    use super::*;

    #[test]
    fn each_kind_has_its_own_bucket() {
        let start = Instant::now();
        let mut rates = ChannelRates::new(start);
        for (kind, per_second, burst) in LIMITS {
            let mut passed = |at| (0..1_000).filter(|_| rates.admit(at, kind).is_ok()).count();
            assert_eq!(passed(start) as f64, burst, "{kind:?}");
            assert_eq!(passed(start + Duration::from_secs(1)) as f64, per_second, "{kind:?}");
        }
    }

    #[test]
    fn the_table_is_in_the_order_of_the_kinds() {
        assert!(LIMITS.iter().enumerate().all(|(at, (kind, ..))| *kind as usize == at));
    }
}
