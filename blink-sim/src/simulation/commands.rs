//! Commands of users, and starts of devices.

use blink_api::{CallId, Did, Endpoint, FailureReason, StreamId};
use blink_proto::call::{Input, Machine, Memory, Now, SessionInput};
use blink_proto::secure::inbox_topic;
use blink_proto::wire::StreamRequest;

use super::Simulation;
use super::node::{Node, Start};

impl Simulation {
    /// Runs a command on a node's machine, and carries out its outputs.
    pub fn act<T>(&mut self, node: usize, action: impl FnOnce(&mut Machine, Now) -> T) -> T {
        let now = self.time(node);
        let result = action(&mut self.nodes[node].machine, now);
        self.carry_out(node);
        result
    }

    /// Offers a call to the people of other nodes.
    ///
    /// # Panics
    /// Where the machine refuses.
    pub fn offer(&mut self, from: usize, to: &[usize]) -> CallId {
        let people: Vec<_> = to.iter().map(|node| self.did(*node)).collect();
        self.try_offer(from, &people).expect("the offer is accepted")
    }

    /// Offers a call. That the user did is noted before its outputs are carried out.
    ///
    /// # Errors
    /// Where the machine refuses.
    pub fn try_offer(&mut self, from: usize, people: &[Did]) -> blink_api::Result<CallId> {
        let now = self.time(from);
        let offered = self.nodes[from].machine.offer(now, people, b"");
        self.nodes[from].accepted.extend(offered.as_ref().ok());
        self.carry_out(from);
        offered
    }

    /// Answers a call.
    ///
    /// # Panics
    /// Where the machine refuses.
    pub fn answer(&mut self, node: usize, call: CallId) {
        self.try_answer(node, call).expect("the answer is accepted");
    }

    /// Answers a call.
    ///
    /// # Errors
    /// Where the machine refuses.
    pub fn try_answer(&mut self, node: usize, call: CallId) -> blink_api::Result<CallId> {
        let now = self.time(node);
        let answered = self.nodes[node].machine.answer(now, call);
        self.nodes[node].accepted.extend(answered.as_ref().ok());
        self.carry_out(node);
        answered
    }

    /// Rejects a call.
    ///
    /// # Panics
    /// Where the machine refuses.
    pub fn reject(&mut self, node: usize, call: CallId) {
        self.act(node, |machine, now| machine.reject(now, call)).expect("the rejection is accepted");
    }

    /// Leaves the current call.
    ///
    /// # Panics
    /// Where there is none.
    pub fn leave(&mut self, node: usize) {
        self.act(node, Machine::leave).expect("the node is in a call");
    }

    /// Requests a stream.
    ///
    /// # Errors
    /// Where the machine refuses.
    pub fn try_request(&mut self, node: usize, endpoint: Endpoint, stream: StreamId) -> blink_api::Result<()> {
        let now = self.time(node);
        let requested = self.nodes[node].machine.request_stream(now, endpoint, stream);
        if requested.is_ok() {
            self.nodes[node].requested.insert(StreamRequest { endpoint, stream });
        }
        self.carry_out(node);
        requested.map(drop)
    }

    /// Removes a person from the current call.
    ///
    /// # Errors
    /// Where the machine refuses.
    pub fn try_remove(&mut self, node: usize, did: Did) -> blink_api::Result<()> {
        let removed = self.act(node, |machine, now| machine.remove(now, did));
        if let (Ok(()), Some(call)) = (&removed, self.nodes[node].machine.current()) {
            self.removals.push((call, did, node, self.nodes[node].starts));
        }
        removed
    }

    /// Crashes a node, and starts it again without its persisted state.
    pub fn restart(&mut self, node: usize) {
        self.restart_as(node, self.nodes[node].boot + 1, false);
    }

    /// Crashes a node, and starts it again with its persisted state.
    pub fn restart_with_memory(&mut self, node: usize) {
        self.restart_as(node, self.nodes[node].boot + 1, true);
    }

    /// Crashes a node, and starts it again with this boot.
    pub fn restart_as(&mut self, node: usize, boot: u64, remembers: bool) {
        self.trace(node, || format!("starts anew{}", if remembers { "" } else { " without memory" }));
        let memory = if remembers { self.nodes[node].memory.clone() } else { Memory::default() };
        if !remembers {
            self.forgetful.insert(node);
        }
        let (old, now) = (&self.nodes[node], self.time(node));
        let (simulation, settings, sealed) = (self.seed, &self.settings, self.sealed);
        let mut fresh = Node::new(Start { seed: old.seed, boot, simulation, now, settings, memory, sealed });
        fresh.events.clone_from(&old.events);
        fresh.clock_error_ms = old.clock_error_ms;
        fresh.starts = old.starts + 1;
        fresh.remembers = remembers;
        self.paths.forget(node);
        self.nodes[node] = fresh;
        self.carry_out(node);
        self.announce_subscriber(node, inbox_topic(&self.did(node)));
    }

    /// Fails a node's session with another one.
    pub fn break_session(&mut self, node: usize, other: usize) {
        let session = self.paths.break_session(node, other);
        self.session_input(node, session, SessionInput::Failed(FailureReason::SessionEnded));
    }

    /// Brings a node on line. All others are told of the new subscriber of its inbox.
    pub fn go_online(&mut self, node: usize) {
        self.nodes[node].online = true;
        let topic = inbox_topic(&self.did(node));
        for other in (0..self.nodes.len()).filter(|other| *other != node) {
            self.act(other, |machine, now| machine.handle(now, Input::SubscriberJoined(topic)));
        }
    }
}
