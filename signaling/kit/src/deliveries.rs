//! Delivered messages that await a verdict.

use std::collections::BTreeMap;
use std::time::Duration;

use blink_api::DeliveryId;
use tokio::time::Instant;

/// PendingDeliveries awaiting a verdict. When full, the oldest is evicted and counts as ignored.
const CAPACITY: usize = 4096;

/// Delivery to validate: message id `M` and forwarding node `P`, as gossipsub wants them back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PendingDelivery<M, P> {
    /// Message id.
    pub message: M,
    /// Node that forwarded the message, not necessarily its author.
    pub sender: P,
    since: Instant,
}

/// Bounded table of deliveries awaiting a verdict. Evicted and expired entries count as ignored.
#[derive(Debug)]
pub struct PendingDeliveries<M, P> {
    ttl: Duration,
    next: u64,
    pending: BTreeMap<u64, PendingDelivery<M, P>>,
}

impl<M, P> PendingDeliveries<M, P> {
    /// Creates a table whose entries expire after `ttl`.
    pub fn new(ttl: Duration) -> Self {
        Self { ttl, next: 0, pending: BTreeMap::new() }
    }

    /// Inserts a delivery and returns its id, with the entry it evicted if the table was full.
    pub fn insert(&mut self, message: M, sender: P, now: Instant) -> (DeliveryId, Option<PendingDelivery<M, P>>) {
        let id = self.next;
        self.next += 1;
        self.pending.insert(id, PendingDelivery { message, sender, since: now });
        let evicted = (self.pending.len() > CAPACITY).then(|| self.pending.pop_first()).flatten();
        (DeliveryId(id), evicted.map(|(_, pending)| pending))
    }

    /// Removes a delivery; `None` if it is unknown, already judged, evicted or expired.
    pub fn take(&mut self, id: DeliveryId) -> Option<PendingDelivery<M, P>> {
        self.pending.remove(&id.0)
    }

    /// Removes one expired delivery. Call until it returns `None`.
    pub fn take_expired(&mut self, now: Instant) -> Option<PendingDelivery<M, P>> {
        let oldest = self.pending.first_entry()?;
        (now.duration_since(oldest.get().since) >= self.ttl).then(|| oldest.remove())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TTL: Duration = Duration::from_secs(5);

    #[test]
    fn a_delivery_can_be_taken_only_once() {
        let mut deliveries = PendingDeliveries::new(TTL);
        let (id, evicted) = deliveries.insert(1, 'p', Instant::now());
        assert_eq!(evicted, None);
        assert_eq!(deliveries.take(id).unwrap().message, 1);
        assert_eq!(deliveries.take(id), None);
    }

    #[test]
    fn deliveries_expire_after_the_ttl_in_order() {
        let mut deliveries = PendingDeliveries::new(TTL);
        let start = Instant::now();
        deliveries.insert(1, 'p', start);
        deliveries.insert(2, 'p', start + TTL / 2);
        assert_eq!(deliveries.take_expired(start + TTL / 2), None);
        assert_eq!(deliveries.take_expired(start + TTL).unwrap().message, 1);
        assert_eq!(deliveries.take_expired(start + TTL), None);
    }

    #[test]
    fn a_full_table_evicts_the_oldest_delivery() {
        let mut deliveries = PendingDeliveries::new(TTL);
        let now = Instant::now();
        let evicted: Vec<_> = (0..CAPACITY + 2).filter_map(|n| deliveries.insert(n, 'p', now).1).collect();
        assert_eq!(evicted.into_iter().map(|pending| pending.message).collect::<Vec<_>>(), [0, 1]);
    }
}
