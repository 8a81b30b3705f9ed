//! Messages that were delivered and not judged yet.

use std::collections::BTreeMap;
use std::time::Duration;

use blink_api::DeliveryId;
use tokio::time::Instant;

/// Deliveries that wait for a verdict; beyond, the oldest is given up.
const CAPACITY: usize = 4096;

/// What the network has to be told about a delivery: the message's and the passing node's names,
/// `M` and `P`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pending<M, P> {
    /// The message.
    pub message: M,
    /// The node it came from, which need not be its author.
    pub sender: P,
    since: Instant,
}

/// A bounded table of deliveries. What leaves it unjudged was ignored.
pub struct Deliveries<M, P> {
    ttl: Duration,
    next: u64,
    pending: BTreeMap<u64, Pending<M, P>>,
}

impl<M, P> Deliveries<M, P> {
    /// Deliveries are kept for at most `ttl`.
    pub fn new(ttl: Duration) -> Self {
        Self { ttl, next: 0, pending: BTreeMap::new() }
    }

    /// Enters a delivery; where the table is full the oldest comes out.
    pub fn enter(&mut self, message: M, sender: P, now: Instant) -> (DeliveryId, Option<Pending<M, P>>) {
        let id = self.next;
        self.next += 1;
        self.pending.insert(id, Pending { message, sender, since: now });
        let evicted = (self.pending.len() > CAPACITY).then(|| self.pending.pop_first()).flatten();
        (DeliveryId(id), evicted.map(|(_, pending)| pending))
    }

    /// Takes a delivery out; `None` for one that was never made, is judged already or has been
    /// given up.
    pub fn take(&mut self, id: DeliveryId) -> Option<Pending<M, P>> {
        self.pending.remove(&id.0)
    }

    /// Takes out one that has waited too long; call until `None`.
    pub fn take_expired(&mut self, now: Instant) -> Option<Pending<M, P>> {
        let oldest = self.pending.first_entry()?;
        (now.duration_since(oldest.get().since) >= self.ttl).then(|| oldest.remove())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TTL: Duration = Duration::from_secs(5);

    #[test]
    fn a_delivery_is_judged_once() {
        let mut deliveries = Deliveries::new(TTL);
        let (id, evicted) = deliveries.enter(1, 'p', Instant::now());
        assert_eq!(evicted, None);
        assert_eq!(deliveries.take(id).unwrap().message, 1);
        assert_eq!(deliveries.take(id), None);
    }

    #[test]
    fn what_nobody_judges_is_given_up_after_its_time() {
        let mut deliveries = Deliveries::new(TTL);
        let start = Instant::now();
        deliveries.enter(1, 'p', start);
        deliveries.enter(2, 'p', start + TTL / 2);
        assert_eq!(deliveries.take_expired(start + TTL / 2), None);
        assert_eq!(deliveries.take_expired(start + TTL).unwrap().message, 1);
        assert_eq!(deliveries.take_expired(start + TTL), None);
    }

    #[test]
    fn a_full_table_gives_up_the_oldest() {
        let mut deliveries = Deliveries::new(TTL);
        let now = Instant::now();
        let evicted: Vec<_> = (0..CAPACITY + 2).filter_map(|n| deliveries.enter(n, 'p', now).1).collect();
        assert_eq!(evicted.into_iter().map(|pending| pending.message).collect::<Vec<_>>(), [0, 1]);
    }
}
