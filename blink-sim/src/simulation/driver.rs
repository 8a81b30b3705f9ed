//! The driver's part: carries out each output of a call machine at once.

use std::time::Duration;

use blink_api::{TrackKey, TrackSource};
use blink_proto::call::{Event, JoinedTopic, Output, StreamDirection};
use blink_proto::wire::{Body, ChannelMessage, StreamRequest};

use super::delivery::Delivery;
use super::node::Subscription;
use super::{Simulation, trace};

/// Delay of what a session reports after a step of the negotiation.
const NEGOTIATION: Duration = Duration::from_micros(500);
/// Delay of a message on a data channel.
const CHANNEL: Duration = Duration::from_millis(1);

impl Simulation {
    pub(super) fn carry_out(&mut self, node: usize) {
        self.last_active = node;
        while let Some(output) = self.nodes[node].machine.poll() {
            self.handle_output(node, output);
        }
        self.deadlines[node] = self.nodes[node].machine.deadline();
    }

    fn handle_output(&mut self, node: usize, output: Output) {
        match output {
            Output::Send { channel, recipients, call, body } => self.send(node, channel, &recipients, call, *body),
            Output::Subscribe(joined) => self.subscribe(node, *joined),
            Output::RetireTopic(topic) => {
                let state = &mut self.nodes[node];
                state.subscriptions.values_mut().for_each(|subscription| subscription.old.retain(|old| *old != topic));
                if let Some(envelopes) = &mut state.envelopes {
                    envelopes.retire_topic(&topic);
                }
            }
            Output::Unsubscribe(call) => {
                let state = &mut self.nodes[node];
                let old = state.subscriptions.remove(&call).map(|subscription| subscription.old).unwrap_or_default();
                if let Some(envelopes) = &mut state.envelopes {
                    envelopes.leave(&call);
                }
                assert!(old.is_empty(), "earlier topics are retired first\n{}", self.transcript());
            }
            Output::OpenSession { session, call, remote, .. } => {
                let state = &mut self.nodes[node];
                state.sessions_opened += 1;
                state.sessions.insert(session, (call, remote));
                let remote = self.nodes.iter().position(|node| node.endpoint == remote);
                if let Some(failure) = self.paths.open(self.now, node, session, remote) {
                    self.deliver_after(NEGOTIATION, node, Delivery::Session(session, Box::new(failure)));
                }
            }
            Output::Negotiate { session, step } => {
                for (to, session, event) in self.paths.negotiate(self.now, node, session, step) {
                    self.deliver_after(NEGOTIATION, to, Delivery::Session(session, Box::new(event)));
                }
            }
            Output::SendChannelMessage { session, mut message } => {
                self.mutate_channel_message(node, &mut message);
                if let Some((to, session, event)) = self.paths.send(node, session, message) {
                    self.deliver_after(CHANNEL, to, Delivery::Session(session, Box::new(event)));
                }
            }
            Output::Admit { session } => drop(self.nodes[node].admitted.insert(session)),
            Output::SetStreamFlow { session, stream, direction, active } => {
                let flows = &mut self.nodes[node].flows;
                let flow = (session, stream, direction == StreamDirection::Send);
                let changed = if active { flows.insert(flow) } else { flows.remove(&flow) };
                assert!(changed, "a stream starts and stops in turn\n{}", self.transcript());
            }
            Output::EndStream(TrackKey { endpoint, source }) => {
                let TrackSource::Stream(stream) = source else { panic!("a microphone is no stream") };
                let state = &mut self.nodes[node];
                state.requested.remove(&StreamRequest { endpoint, stream });
                state.ended_streams.push(stream);
            }
            Output::CloseSession { session } => {
                let state = &mut self.nodes[node];
                state.flows.retain(|(on, ..)| *on != session);
                state.sessions.remove(&session);
                state.admitted.remove(&session);
                self.paths.close(node, session);
            }
            Output::SetActiveCall(call) => self.nodes[node].active_call = call,
            Output::HoldCall(call) => {
                let active = self.nodes[node].active_call.take();
                assert_eq!(active, Some(call), "the active call is held\n{}", self.transcript());
            }
            Output::ResumeCall(call) => {
                let active = self.nodes[node].active_call.replace(call);
                assert_eq!(active, None, "the call before was held or left\n{}", self.transcript());
            }
            Output::EndHeldCall(call) => {
                assert_ne!(self.nodes[node].active_call, Some(call), "a held call is not active");
            }
            Output::Persist(change) => self.nodes[node].memory.apply(change),
            Output::SetBoot(boot) => {
                self.trace(node, || format!("goes on as start {boot}"));
                let state = &mut self.nodes[node];
                state.boot = boot;
                if let Some(envelopes) = &mut state.envelopes {
                    envelopes.set_boot(boot);
                }
            }
            Output::Emit(event) => self.handle_event(node, event),
            Output::CountRefusal(refusal) => {
                self.trace(node, || format!("refuses: {refusal:?}"));
                let state = &mut self.nodes[node];
                if let Some(envelopes) = &mut state.envelopes {
                    envelopes.count(refusal);
                }
                state.refusals.push(refusal);
            }
        }
    }

    fn subscribe(&mut self, node: usize, joined: JoinedTopic) {
        let (id, topic, key) = (joined.keys.id, joined.keys.topic, *joined.key.public());
        self.call_keys.insert(key);
        let state = &mut self.nodes[node];
        let before = state.subscriptions.remove(&id);
        let previous_key = before.as_ref().map(|before| before.key);
        let is_new = before.as_ref().is_none_or(|before| before.topic != topic);
        let mut old: Vec<_> = before.into_iter().flat_map(|before| [vec![before.topic], before.old].concat()).collect();
        old.retain(|old| *old != topic);
        let keys = joined.keys.clone();
        state.subscriptions.insert(id, Subscription { topic, old, keys, key, previous_key });
        if let Some(envelopes) = &mut state.envelopes {
            envelopes.join(joined.keys, joined.key);
        }
        self.known_topics.insert((node, id, topic));
        if is_new {
            self.announce_subscriber(node, topic);
        }
    }

    fn mutate_channel_message(&mut self, node: usize, message: &mut ChannelMessage) {
        if let (Some(mutate), ChannelMessage::Member { member, .. }) = (self.mutations.get_mut(&node), message) {
            let mut body = Body::Member(member.clone());
            mutate(&mut body);
            if let Body::Member(mutated) = body {
                *member = mutated;
            }
        }
    }

    fn handle_event(&mut self, node: usize, event: Event) {
        self.trace(node, || format!("is told {}", trace::event(&event)));
        let state = &mut self.nodes[node];
        if let Event::CallReplaced { old, new } = &event
            && state.accepted.contains(old)
        {
            state.accepted.insert(*new);
        }
        state.events.push(event);
    }
}
