//! Decisions for single packets, and a link that carries packets by them.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::{Impairments, Rate};

/// Packets that a link carries at once. More are dropped.
const MAX_IN_FLIGHT: usize = 16_384;

/// Decides for each packet whether and when it arrives.
///
/// The same seed and the same packets give the same decisions. Losses, delays and duplicates are
/// drawn from separate sequences: the same packets are lost whatever the jitter is.
#[derive(Debug, Clone)]
pub struct LinkModel {
    impairments: Impairments,
    losses: ChaCha8Rng,
    delays: ChaCha8Rng,
    duplicates: ChaCha8Rng,
    /// The Gilbert-Elliott model is in its bad state.
    bad: bool,
    /// When the bottleneck has sent all that waits for it.
    busy_until: Option<Instant>,
    /// Arrival of the packet before, as far as it was not reordered.
    last: Option<Instant>,
    /// Packets since one was reordered.
    since_reordered: u32,
}

impl LinkModel {
    /// Creates the model of one direction of a network.
    pub fn new(impairments: Impairments, seed: u64) -> Self {
        let sequence = |number: u64| {
            let mut random = ChaCha8Rng::seed_from_u64(seed);
            random.set_stream(number);
            random
        };
        Self {
            impairments,
            delays: sequence(0),
            losses: sequence(1),
            duplicates: sequence(2),
            bad: false,
            busy_until: None,
            last: None,
            since_reordered: 0,
        }
    }

    /// Returns the impairments.
    pub fn impairments(&self) -> &Impairments {
        &self.impairments
    }

    /// Replaces the impairments for the packets that are sent from now on.
    pub fn set_impairments(&mut self, impairments: Impairments) {
        self.impairments = impairments;
    }

    /// Decides when a packet that is sent now arrives: not at all, once or twice.
    pub fn transmit(&mut self, now: Instant, bytes: usize) -> impl Iterator<Item = Instant> + use<> {
        // Each packet draws the same number of values, so that a decision does not depend on those
        // before it.
        let (lost, jitter): (bool, f64) = (self.draw_loss(), self.delays.random());
        let (duplicate, jitter_of_copy): (f64, f64) = (self.duplicates.random(), self.duplicates.random());
        let arrivals = if lost {
            [None, None]
        } else {
            let first = self.arrival(now, bytes, jitter);
            let is_duplicated = duplicate < self.impairments.duplicate;
            [first, if is_duplicated { self.arrival(now, bytes, jitter_of_copy) } else { None }]
        };
        arrivals.into_iter().flatten()
    }

    fn draw_loss(&mut self) -> bool {
        let chance: f64 = self.losses.random();
        let Impairments { loss, burst, .. } = self.impairments;
        self.bad = match burst {
            None => chance < loss,
            Some(_) if loss >= 1.0 => true,
            Some(mean) => {
                // Shorter bursts could not have this share: the good state lasts a packet at least.
                let mean = mean.max(1.0).max(loss / (1.0 - loss));
                if self.bad { chance >= 1.0 / mean } else { chance < loss / (1.0 - loss) / mean }
            }
        };
        self.bad
    }

    /// The arrival of one copy; `None` where the bottleneck's queue is full.
    fn arrival(&mut self, now: Instant, bytes: usize, jitter: f64) -> Option<Instant> {
        let Impairments { delay, jitter: spread, in_order, reorder, rate, .. } = self.impairments;
        let leaves = match rate {
            Some(rate) => self.queue(now, bytes, rate)?,
            None => now,
        };
        let at = leaves + delay + spread.mul_f64(jitter);
        if self.is_reordered(reorder)
            && let Some(last) = self.last.filter(|last| *last > leaves)
        {
            return Some(at.min(last - Duration::from_nanos(1)));
        }
        let at = if in_order { self.last.map_or(at, |last| at.max(last)) } else { at };
        self.last = Some(at);
        Some(at)
    }

    /// When the packet has left the bottleneck.
    fn queue(&mut self, now: Instant, bytes: usize, rate: Rate) -> Option<Instant> {
        let bits_per_second = rate.bits_per_second as f64;
        let free = self.busy_until.map_or(now, |busy| busy.max(now));
        let waiting = free.duration_since(now).as_secs_f64() * bits_per_second / 8.0;
        if rate.bits_per_second == 0 || waiting + bytes as f64 > rate.queue as f64 {
            return None;
        }
        let leaves = free + Duration::from_secs_f64(bytes as f64 * 8.0 / bits_per_second);
        self.busy_until = Some(leaves);
        Some(leaves)
    }

    fn is_reordered(&mut self, every: Option<u32>) -> bool {
        let Some(every) = every.filter(|every| *every > 0) else { return false };
        self.since_reordered += 1;
        let is_reordered = self.since_reordered >= every;
        if is_reordered {
            self.since_reordered = 0;
        }
        is_reordered
    }
}

/// One direction of a network with the packets on their way, on virtual time.
///
/// It holds at most 16,384 packets. Those beyond are dropped.
#[derive(Debug, Clone)]
pub struct Link<T> {
    model: LinkModel,
    /// By their arrivals, and among those of the same time in the order of sending.
    in_flight: BTreeMap<(Instant, u64), T>,
    sent: u64,
}

impl<T> Link<T> {
    /// Creates a link on which nothing is on its way.
    pub fn new(impairments: Impairments, seed: u64) -> Self {
        Self { model: LinkModel::new(impairments, seed), in_flight: BTreeMap::new(), sent: 0 }
    }

    /// Returns the impairments.
    pub fn impairments(&self) -> &Impairments {
        self.model.impairments()
    }

    /// Replaces the impairments. Packets on their way arrive as they would have.
    pub fn set_impairments(&mut self, impairments: Impairments) {
        self.model.set_impairments(impairments);
    }

    /// Sends a packet of this size.
    pub fn send(&mut self, now: Instant, bytes: usize, packet: T)
    where
        T: Clone,
    {
        for arrival in self.model.transmit(now, bytes) {
            if self.in_flight.len() < MAX_IN_FLIGHT {
                self.sent += 1;
                self.in_flight.insert((arrival, self.sent), packet.clone());
            }
        }
    }

    /// Returns when the next packet arrives; `None` where none is on its way.
    pub fn next_arrival(&self) -> Option<Instant> {
        self.in_flight.first_key_value().map(|((at, _), _)| *at)
    }

    /// Takes the next packet that has arrived by now, with the time of its arrival.
    pub fn receive(&mut self, now: Instant) -> Option<(Instant, T)> {
        let next = self.in_flight.first_entry().filter(|next| next.key().0 <= now)?;
        let ((at, _), packet) = next.remove_entry();
        Some((at, packet))
    }

    /// Drops all packets on their way.
    pub fn clear(&mut self) {
        self.in_flight.clear();
    }

    /// Returns the number of packets on their way.
    pub fn len(&self) -> usize {
        self.in_flight.len()
    }

    /// Whether nothing is on its way.
    pub fn is_empty(&self) -> bool {
        self.in_flight.is_empty()
    }
}
