//! Signaling: messages and envelopes on their way, lost, doubled, late, cut off.

use std::cmp::Reverse;
use std::rc::Rc;
use std::time::{Duration, Instant};

use blink_api::{CallId, Delivery as Brought, DeliveryId, Endpoint, Topic};
use blink_proto::call::{Input, Signal};
use blink_proto::secure::{BootRollback, CallKeys, Channel, Identity, Refusal, sign_call_key};
use blink_proto::wire::{Body, Content, SignedKey};
use rand::RngExt;

use super::delivery::{Delivery, What};
use super::{Letter, Node, World, is_inbox, trace};

/// Whose call keys are which.
pub(crate) type CallKeysOf = Vec<(Endpoint, [u8; 32])>;

impl World {
    /// What a machine wants said goes out, or what its device says instead.
    pub(super) fn send(&mut self, node: usize, channel: Channel, recipients: &[[u8; 32]], call: CallId, body: Body) {
        if matches!(channel, Channel::Call(_)) {
            let unknown = recipients.iter().filter(|key| !self.call_keys.contains(*key));
            self.sealed_for_nobody.extend(unknown.map(|key| (node, *key)));
        }
        let mut body = body;
        if let Some(lie) = self.lies.get_mut(&node) {
            lie(&mut body);
        }
        self.send_raw(node, channel, recipients, call, body);
    }

    /// A device says exactly this.
    pub(crate) fn send_raw(
        &mut self,
        node: usize,
        channel: Channel,
        recipients: &[[u8; 32]],
        call: CallId,
        body: Body,
    ) {
        self.note(node, || format!("sends {} on {}", trace::said(&body), trace::place(&channel)));
        self.sent.push((node, body.kind()));
        let unix_ms = self.time(node).unix_ms;
        let state = &mut self.nodes[node];
        let Some(door) = &mut state.door else {
            let signal = Signal { channel, from: state.endpoint, boot: state.boot, call, body };
            return self.send_opened(node, recipients, signal);
        };
        match door.seal(&channel, recipients, call, body, unix_ms) {
            Ok((topic, bytes)) => {
                let letter = Letter { topic, bytes: bytes.into(), origin: state.origin() };
                self.publish(Some(node), is_inbox(&channel), Rc::new(letter));
            }
            Err(refusal) => {
                // What a liar says may be no message at all.
                let lies = self.lies.contains_key(&node);
                assert!(lies, "node {node} could not seal: {refusal:?}\n{}", self.story());
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
                self.transmit(to, What::Signal(signal.clone()));
            }
        }
    }

    /// An envelope on the network, for everybody who listens there. Nothing cuts off who is no
    /// device of this world.
    pub(crate) fn publish(&mut self, from: Option<usize>, inbox: bool, letter: Rc<Letter>) {
        self.wire.push(letter.clone());
        self.spread(from, inbox, letter);
    }

    /// An envelope from outside, of which nothing more is kept.
    pub(crate) fn inject(&mut self, letter: Letter) {
        self.spread(None, false, Rc::new(letter));
    }

    /// An envelope reaches one device at once, whatever becomes of it.
    pub(crate) fn bring_to(&mut self, to: usize, letter: &Letter) {
        self.bring(to, letter).ok();
    }

    /// The topic of a call that a device reads.
    pub(crate) fn topic_of_a_call(&self, node: usize) -> Topic {
        self.nodes[node].topics.values().next().expect("it is in a call").topic
    }

    /// What everybody has who was ever given the secret of a call that a device reads.
    pub(crate) fn secrets_of_a_call(&self, node: usize) -> CallKeys {
        self.nodes[node].topics.values().next().expect("it is in a call").keys.clone()
    }

    /// Whoever is in a call knows its keys: those of everybody who reads its topic, the own first.
    pub(crate) fn keys_of_a_call(&self, node: usize) -> Option<(CallId, CallKeysOf)> {
        let (call, _) = self.nodes[node].topics.iter().next()?;
        let key_of = |other: &super::Node| Some((other.endpoint, other.topics.get(call)?.key));
        let others = self.nodes.iter().enumerate().filter(|(other, _)| *other != node);
        let keys = others.filter_map(|(_, other)| key_of(other));
        Some((*call, key_of(&self.nodes[node]).into_iter().chain(keys).collect()))
    }

    /// A device's call key, as it signed it.
    pub(crate) fn signed_key(&self, endpoint: &Endpoint, call: &CallId, key: &[u8; 32]) -> SignedKey {
        let owner = self.nodes.iter().find(|node| node.endpoint.did == endpoint.did).expect("a device of this world");
        sign_call_key(&Identity::from_seed(&[owner.seed.0; 32]), &endpoint.device, call, key)
    }

    fn spread(&mut self, from: Option<usize>, inbox: bool, letter: Rc<Letter>) {
        for to in (0..self.nodes.len()).filter(|to| Some(*to) != from) {
            let cut = from.is_some_and(|from| {
                self.cut_signaling.contains(&(from, to)) || (inbox && self.cut_inboxes.contains(&(from, to)))
            });
            if !cut && self.nodes[to].subscribes(&letter.topic) {
                self.transmit(to, What::Letter(letter.clone()));
            }
        }
    }

    /// Somebody listens on a topic from now on, of which others hear.
    pub(super) fn tell_subscriber(&mut self, node: usize, topic: Topic) {
        if self.network.tells_subscribers {
            for to in (0..self.nodes.len()).filter(|to| *to != node) {
                if !self.cut_signaling.contains(&(node, to)) {
                    self.transmit(to, What::Subscriber(topic));
                }
            }
        }
    }

    fn transmit(&mut self, to: usize, what: What) {
        let copies = 1 + usize::from(self.random.random_bool(self.network.duplication));
        for _ in 0..copies {
            if self.random.random_bool(self.network.loss) {
                self.note(to, || format!("never gets {}", name(&what)));
            } else {
                let (shortest, longest) = self.network.delay;
                let delay = shortest + (longest - shortest).mul_f64(self.random.random_range(0.0..=1.0));
                self.later(delay, to, what.clone());
            }
        }
    }

    pub(super) fn later(&mut self, delay: Duration, to: usize, what: What) {
        self.order += 1;
        self.queue.push(Reverse(Delivery { at: self.now + delay, order: self.order, to, what }));
    }

    pub(super) fn deliver_next(&mut self) {
        let Some(Reverse(delivery)) = self.queue.pop() else { return };
        let to = delivery.to;
        self.turn = to;
        match delivery.what.clone() {
            What::Signal(signal) => {
                if self.nodes[to].online {
                    match self.nodes[to].newer_start(&signal.from, signal.boot) {
                        Some(boot) => {
                            self.boot_rollback(to, BootRollback { endpoint: signal.from, boot, call: signal.call });
                        }
                        None => {
                            self.captured.push(delivery);
                            self.receive(to, (*signal).clone());
                        }
                    }
                }
            }
            What::Letter(letter) => drop(self.bring(to, &letter)),
            What::Session(session, event) => self.session_input(to, session, *event),
            What::Subscriber(topic) => {
                if self.nodes[to].online {
                    self.input(to, Input::SubscriberJoined(topic));
                }
            }
        }
    }

    /// An envelope reaches a device, which opens it as its driver does. What it says, unless it is
    /// refused at the door.
    ///
    /// # Errors
    /// Why it is refused.
    pub(crate) fn bring(&mut self, to: usize, letter: &Letter) -> Result<Endpoint, Refusal> {
        if !self.nodes[to].online || !self.nodes[to].subscribes(&letter.topic) {
            return Err(Refusal::NotForUs);
        }
        let now: Instant = self.now;
        let delivery = Brought { id: DeliveryId(0), origin: Some(letter.origin), message: letter.bytes.clone() };
        let Node { door, machine, .. } = &mut self.nodes[to];
        let door = door.as_mut().expect("envelopes travel in sealed worlds only");
        let (result, _) = door.open_expecting(now, &letter.topic, &delivery, &|did| machine.is_expected(did));
        if let Some(boot_rollback) = door.take_boot_rollback() {
            self.boot_rollback(to, boot_rollback);
        }
        let (channel, Content { from, boot, call, body, .. }) = result.inspect_err(|_| self.turn = to)?;
        let lasts = !body.is_from_throwaway();
        self.receive(to, Signal { channel, from, boot, call, body });
        let node = &mut self.nodes[to];
        let expected = node.machine.is_expected(&from.did);
        node.door.as_mut().expect("it opened the envelope").set_expected(now, &delivery, &from, expected, lasts);
        Ok(from)
    }

    fn boot_rollback(&mut self, to: usize, boot_rollback: BootRollback) {
        self.note(to, || format!("hears {}, which counts below {}", boot_rollback.endpoint.device, boot_rollback.boot));
        self.input(to, Input::BootRollback(boot_rollback));
    }

    fn receive(&mut self, to: usize, signal: Signal) {
        self.note(to, || format!("hears {} of {}", trace::said(&signal.body), signal.from.device));
        self.input(to, Input::Signal(signal));
    }
}

fn name(what: &What) -> String {
    match what {
        What::Signal(signal) => format!("{:?} of {}", signal.body.kind(), signal.from.device),
        What::Letter(letter) => format!("an envelope of {} bytes", letter.bytes.len()),
        What::Session(_, event) => format!("{event:?}"),
        What::Subscriber(_) => "word of a subscriber".to_owned(),
    }
}
