//! Signaling: messages that are sent, and the links over which nodes receive them.

use std::rc::Rc;
use std::time::Duration;

use blink_api::{CallId, Endpoint, Topic};
use blink_proto::call::Signal;
use blink_proto::secure::Channel;
use blink_proto::wire::Body;

use super::delivery::Delivery;
use super::{Envelope, Simulation, trace};

/// Call keys and the endpoints that they belong to.
pub type CallKeysOf = Vec<(Endpoint, [u8; 32])>;

impl Simulation {
    /// Sends a message of a machine, or what its node sends instead.
    pub(super) fn send(&mut self, node: usize, channel: Channel, recipients: &[[u8; 32]], call: CallId, body: Body) {
        if matches!(channel, Channel::Call(_)) {
            let unknown = recipients.iter().filter(|key| !self.call_keys.contains(*key));
            self.unknown_recipients.extend(unknown.map(|key| (node, *key)));
        }
        let mut body = body;
        if let Some(mutate) = self.mutations.get_mut(&node) {
            mutate(&mut body);
        }
        self.send_raw(node, channel, recipients, call, body);
    }

    /// Sends exactly this message from a node.
    ///
    /// # Panics
    /// Where a node without mutation cannot seal it.
    pub fn send_raw(&mut self, node: usize, channel: Channel, recipients: &[[u8; 32]], call: CallId, body: Body) {
        self.trace(node, || format!("sends {} on {}", trace::body(&body), trace::channel(&channel)));
        self.sent.push((node, body.kind()));
        let unix_ms = self.time(node).unix_ms;
        let state = &mut self.nodes[node];
        let Some(envelopes) = &mut state.envelopes else {
            let signal = Signal { channel, from: state.endpoint, boot: state.boot, call, body };
            return self.send_opened(node, recipients, signal);
        };
        match envelopes.seal(&channel, recipients, call, body, unix_ms) {
            Ok((topic, bytes)) => {
                let envelope = Envelope { topic, bytes: bytes.into(), origin: state.origin() };
                self.publish(Some(node), matches!(channel, Channel::Inbox(_)), Rc::new(envelope));
            }
            Err(refusal) => {
                // A mutated message may be none at all.
                let is_mutated = self.mutations.contains_key(&node);
                assert!(is_mutated, "node {node} could not seal: {refusal:?}\n{}", self.transcript());
            }
        }
    }

    fn send_opened(&mut self, node: usize, recipients: &[[u8; 32]], signal: Signal) {
        let signal = Rc::new(signal);
        for to in (0..self.nodes.len()).filter(|to| *to != node) {
            let reads = match signal.channel {
                Channel::Inbox(did) => did == self.did(to) && !self.cut_inboxes.contains(&(node, to)),
                Channel::Call(id) => self.nodes[to].reads(&id, self.nodes[node].topic_of(&id), recipients),
            };
            if reads && !self.cut_signaling.contains(&(node, to)) {
                self.transmit(to, &Delivery::Signal(signal.clone()));
            }
        }
    }

    /// Publishes an envelope to all subscribers of its topic, and keeps it in
    /// [`published`](Self::published). No cut stops an envelope from outside.
    pub fn publish(&mut self, from: Option<usize>, inbox: bool, envelope: Rc<Envelope>) {
        self.published.push(envelope.clone());
        self.spread(from, inbox, envelope);
    }

    /// Publishes an envelope from outside, and does not keep it.
    pub fn inject(&mut self, envelope: Envelope) {
        self.spread(None, false, Rc::new(envelope));
    }

    fn spread(&mut self, from: Option<usize>, inbox: bool, envelope: Rc<Envelope>) {
        for to in (0..self.nodes.len()).filter(|to| Some(*to) != from) {
            let cut = from.is_some_and(|from| {
                self.cut_signaling.contains(&(from, to)) || (inbox && self.cut_inboxes.contains(&(from, to)))
            });
            if !cut && self.nodes[to].subscribes(&envelope.topic) {
                self.transmit(to, &Delivery::Envelope(envelope.clone()));
            }
        }
    }

    /// Announces a new subscriber of a topic to the other nodes.
    pub(super) fn announce_subscriber(&mut self, node: usize, topic: Topic) {
        if self.network.announces_subscribers {
            for to in (0..self.nodes.len()).filter(|to| *to != node) {
                if !self.cut_signaling.contains(&(node, to)) {
                    self.transmit(to, &Delivery::Subscriber(topic));
                }
            }
        }
    }

    /// Sends a delivery over the link of its receiver.
    fn transmit(&mut self, to: usize, delivery: &Delivery) {
        self.links[to].set_impairments(self.network.impairments);
        let mut arrivals = self.links[to].transmit(self.now, delivery.size()).peekable();
        if arrivals.peek().is_none() {
            self.trace(to, || format!("never gets {}", delivery.name()));
        }
        for at in arrivals {
            self.queue.push(at, to, delivery.clone());
        }
    }

    pub(super) fn deliver_after(&mut self, delay: Duration, to: usize, delivery: Delivery) {
        self.queue.push(self.now + delay, to, delivery);
    }
}
