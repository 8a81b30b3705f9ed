//! Deliveries by hand, for tests that choose their order.

use std::rc::Rc;

use blink_proto::wire::Content;

use super::Simulation;
use super::delivery::Delivery;

impl Simulation {
    /// Holds all deliveries back until [`deliver_next`](Self::deliver_next), and drops those beyond
    /// this number.
    pub fn hold_deliveries(&mut self, max_in_flight: usize) {
        self.holds_deliveries = true;
        self.queue.capacity = max_in_flight;
    }

    /// Number of deliveries on their way.
    pub fn in_flight(&self) -> usize {
        self.queue.len()
    }

    /// Drops the next delivery.
    pub fn drop_next(&mut self) {
        self.queue.pop();
    }

    /// Adds a copy of the next delivery behind all others.
    pub fn duplicate_next(&mut self) {
        if let Some((to, delivery)) = self.queue.first() {
            self.queue.push_last(self.now, to, delivery);
        }
    }

    /// Moves the next delivery behind all others.
    pub fn postpone_next(&mut self) {
        if let Some((to, delivery)) = self.queue.pop() {
            self.queue.push_last(self.now, to, delivery);
        }
    }

    /// Changes the encoded content of the next delivery, where that is a message in the open. The
    /// sender stays the same. A content that cannot be decoded any more changes nothing.
    pub fn mutate_next(&mut self, mutate: impl FnOnce(&mut Vec<u8>)) {
        let Some(Delivery::Signal(signal)) = self.queue.first_mut() else { return };
        let (from, boot, call) = (signal.from, signal.boot, signal.call);
        let mut bytes = Content { from, boot, seq: 1, unix_ms: 1, call, body: signal.body.clone() }.encode();
        mutate(&mut bytes);
        if let Ok(content) = Content::decode(&bytes) {
            let signal = Rc::make_mut(signal);
            (signal.boot, signal.call, signal.body) = (content.boot, content.call, content.body);
        }
    }
}
