//! Deliveries that reach a node, opened as the driver opens them.

use blink_api::{Delivery as SignalingDelivery, DeliveryId, Endpoint};
use blink_proto::call::{Input, Signal};
use blink_proto::secure::{BootRollback, Refusal};
use blink_proto::wire::Content;

use super::delivery::Delivery;
use super::{Envelope, Node, Simulation, trace};

impl Simulation {
    /// Delivers the next delivery on its way, whenever it is due.
    pub fn deliver_next(&mut self) {
        let Some((to, delivery)) = self.queue.pop() else { return };
        self.last_active = to;
        match &delivery {
            Delivery::Session(session, event) => self.session_input(to, *session, (**event).clone()),
            Delivery::Envelope(envelope) => self.deliver_to(to, envelope),
            _ if !self.nodes[to].online => {}
            Delivery::Subscriber(topic) => self.input(to, Input::SubscriberJoined(*topic)),
            Delivery::Signal(signal) => match self.nodes[to].newer_boot(&signal.from, signal.boot) {
                Some(boot) => {
                    self.handle_boot_rollback(to, BootRollback { endpoint: signal.from, boot, call: signal.call });
                }
                None => {
                    let signal = (**signal).clone();
                    self.delivered.push((to, delivery));
                    self.receive(to, signal);
                }
            },
        }
    }

    /// Delivers every message in the open once more that was ever delivered.
    pub fn replay_all(&mut self) {
        for (to, delivery) in self.delivered.clone() {
            if let Delivery::Signal(signal) = delivery {
                self.input(to, Input::Signal((*signal).clone()));
            }
        }
    }

    /// Delivers an envelope to one node at once. A refusal is counted by the node.
    pub fn deliver_to(&mut self, to: usize, envelope: &Envelope) {
        // The refusal is counted where the envelope is opened.
        self.open_envelope(to, envelope).ok();
    }

    /// Delivers an envelope to one node at once, which opens it as its driver does. Returns its
    /// sender.
    ///
    /// # Errors
    /// The refusal of the envelope.
    pub fn open_envelope(&mut self, to: usize, envelope: &Envelope) -> Result<Endpoint, Refusal> {
        if !self.nodes[to].online || !self.nodes[to].subscribes(&envelope.topic) {
            return Err(Refusal::NotForUs);
        }
        let now = self.now;
        let delivery =
            SignalingDelivery { id: DeliveryId(0), origin: Some(envelope.origin), message: envelope.bytes.clone() };
        let Node { envelopes, machine, .. } = &mut self.nodes[to];
        let envelopes = envelopes.as_mut().expect("envelopes travel in sealed simulations only");
        let (result, _) = envelopes.open_expecting(now, &envelope.topic, &delivery, &|did| machine.is_expected(did));
        if let Some(boot_rollback) = envelopes.take_boot_rollback() {
            self.handle_boot_rollback(to, boot_rollback);
        }
        let (channel, Content { from, boot, call, body, .. }) = result.inspect_err(|_| self.last_active = to)?;
        let lasts = !body.is_from_throwaway();
        self.receive(to, Signal { channel, from, boot, call, body });
        let Node { envelopes, machine, .. } = &mut self.nodes[to];
        let envelopes = envelopes.as_mut().expect("it opened the envelope");
        envelopes.set_expected(now, &delivery, &from, machine.is_expected(&from.did), lasts);
        Ok(from)
    }

    fn handle_boot_rollback(&mut self, to: usize, boot_rollback: BootRollback) {
        self.trace(to, || {
            format!("hears {}, which counts below {}", boot_rollback.endpoint.device, boot_rollback.boot)
        });
        self.input(to, Input::BootRollback(boot_rollback));
    }

    fn receive(&mut self, to: usize, signal: Signal) {
        self.trace(to, || format!("hears {} of {}", trace::body(&signal.body), signal.from.device));
        self.input(to, Input::Signal(signal));
    }
}
