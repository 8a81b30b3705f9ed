//! What a driver would do: everything that a machine wants done, at once.

use std::time::Duration;

use blink_proto::call::{Event, Output, StreamDirection};
use blink_proto::wire::{Body, ChannelMessage, StreamRequest};

use super::delivery::What;
use super::node::Listening;
use super::{World, trace};

impl World {
    pub(crate) fn carry_out(&mut self, node: usize) {
        self.turn = node;
        while let Some(output) = self.nodes[node].machine.poll() {
            self.obey(node, output);
        }
        self.deadlines[node] = self.nodes[node].deadline();
    }

    fn obey(&mut self, node: usize, output: Output) {
        match output {
            Output::Send { channel, recipients, call, body } => self.send(node, channel, &recipients, call, *body),
            Output::Subscribe(joined) => {
                let (id, topic, key) = (joined.keys.id, joined.keys.topic, *joined.key.public());
                self.call_keys.insert(key);
                let state = &mut self.nodes[node];
                let before = state.topics.remove(&id);
                let previous = before.as_ref().map(|before| before.key);
                let is_new = before.as_ref().is_none_or(|before| before.topic != topic);
                let mut old: Vec<_> =
                    before.into_iter().flat_map(|before| [vec![before.topic], before.old].concat()).collect();
                old.retain(|old| *old != topic);
                let keys = joined.keys.clone();
                state.topics.insert(id, Listening { topic, old, keys, key, previous });
                if let Some(door) = &mut state.door {
                    door.join(joined.keys, joined.key);
                }
                self.known_topics.insert((node, id, topic));
                if is_new {
                    self.tell_subscriber(node, topic);
                }
            }
            Output::RetireTopic(topic) => {
                let state = &mut self.nodes[node];
                state.topics.values_mut().for_each(|listening| listening.old.retain(|old| *old != topic));
                if let Some(door) = &mut state.door {
                    door.retire_topic(&topic);
                }
            }
            Output::Unsubscribe(call) => {
                let state = &mut self.nodes[node];
                let listening = state.topics.remove(&call);
                let old = listening.map(|listening| listening.old).unwrap_or_default();
                assert!(old.is_empty(), "earlier topics are retired first\n{}", self.story());
                let state = &mut self.nodes[node];
                if let Some(door) = &mut state.door {
                    door.leave(&call);
                }
            }
            Output::OpenSession { session, call, remote, .. } => {
                let state = &mut self.nodes[node];
                state.sessions_opened += 1;
                state.sessions.insert(session, (call, remote));
                let remote = self.nodes.iter().position(|node| node.endpoint == remote);
                self.paths.open(self.now, node, session, remote);
            }
            Output::Negotiate { session, step } => {
                for (to, session, event) in self.paths.negotiate(self.now, node, session, step) {
                    self.later(Duration::from_micros(500), to, What::Session(session, Box::new(event)));
                }
            }
            Output::SendChannelMessage { session, mut message } => {
                if let (Some(lie), ChannelMessage::Member { member, .. }) = (self.lies.get_mut(&node), &mut message) {
                    let mut body = Body::Member(member.clone());
                    lie(&mut body);
                    if let Body::Member(lied) = body {
                        *member = lied;
                    }
                }
                if let Some((to, session, event)) = self.paths.send(node, session, message) {
                    self.later(Duration::from_millis(1), to, What::Session(session, Box::new(event)));
                }
            }
            Output::Admit { session } => drop(self.nodes[node].admitted.insert(session)),
            Output::SetStreamFlow { session, stream, direction, active } => {
                let flows = &mut self.nodes[node].flows;
                let flow = (session, stream, direction == StreamDirection::Send);
                let changed = if active { flows.insert(flow) } else { flows.remove(&flow) };
                assert!(changed, "a stream starts and stops in turn\n{}", self.story());
            }
            Output::EndStream { participant, stream } => {
                let state = &mut self.nodes[node];
                state.requested.remove(&StreamRequest { endpoint: participant, stream });
                state.ended_streams.push(stream);
            }
            Output::CloseSession { session } => {
                let state = &mut self.nodes[node];
                state.flows.retain(|(on, ..)| *on != session);
                state.sessions.remove(&session);
                state.admitted.remove(&session);
                self.paths.close(node, session);
            }
            Output::SetActiveCall(gate) => self.nodes[node].gate = gate,
            Output::Persist(memo) => self.nodes[node].memory.apply(memo),
            Output::SetBoot(boot) => {
                self.note(node, || format!("goes on as start {boot}"));
                let state = &mut self.nodes[node];
                state.boot = boot;
                if let Some(door) = &mut state.door {
                    door.set_boot(boot);
                }
            }
            Output::Emit(event) => {
                self.note(node, || format!("is told {}", trace::told(&event)));
                let state = &mut self.nodes[node];
                if let Event::CallReplaced { old, new } = &event
                    && state.accepted.contains(old)
                {
                    state.accepted.insert(*new);
                }
                state.events.push(event);
            }
            Output::CountRefusal(refusal) => {
                self.note(node, || format!("refuses: {refusal:?}"));
                let state = &mut self.nodes[node];
                if let Some(door) = &mut state.door {
                    door.count(refusal);
                }
                state.refusals.push(refusal);
            }
        }
    }
}
