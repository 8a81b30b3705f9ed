//! State of a simulation, for tests.

use blink_api::{CallId, Did, Endpoint, StreamId, Topic};
use blink_proto::call::Event;
use blink_proto::secure::{CallKeys, Identity, sign_call_key};
use blink_proto::wire::SignedKey;

use super::network::CallKeysOf;
use super::{Node, Simulation, trace};

impl Simulation {
    /// Identity of a node's person.
    pub fn did(&self, node: usize) -> Did {
        self.nodes[node].endpoint.did
    }

    /// Number of a node's events that fulfil a condition.
    pub fn count(&self, node: usize, is: impl Fn(&Event) -> bool) -> usize {
        self.nodes[node].events.iter().filter(|event| is(event)).count()
    }

    /// Whether a stream flows from one node to another: one sends it, the other receives it, and
    /// the path passes packets.
    pub fn flows(&self, from: usize, to: usize, stream: StreamId) -> bool {
        self.nodes[from].flows.iter().any(|(session, sent, sends)| {
            let carried = || self.paths.carry(from, *session);
            let taken = |(node, session)| node == to && self.nodes[to].flows.contains(&(session, stream, false));
            *sent == stream && *sends && carried().is_some_and(taken)
        })
    }

    /// Streams that a node sends, with the nodes that they reach.
    pub fn sending(&self, node: usize) -> Vec<(Option<usize>, StreamId)> {
        let sent = self.nodes[node].flows.iter().filter(|(.., sends)| *sends);
        sent.map(|(session, stream, _)| (self.paths.carry(node, *session).map(|(to, _)| to), *stream)).collect()
    }

    /// Number of streams that a node sends.
    pub fn sends(&self, node: usize) -> usize {
        self.nodes[node].flows.iter().filter(|(.., sends)| *sends).count()
    }

    /// The topic of a call that a node is in.
    ///
    /// # Panics
    /// Where it is in none.
    pub fn call_topic(&self, node: usize) -> Topic {
        self.nodes[node].subscriptions.values().next().expect("the node is in a call").topic
    }

    /// The keys that everybody has who was ever given the secret of a call that a node is in.
    ///
    /// # Panics
    /// Where it is in none.
    pub fn call_secrets(&self, node: usize) -> CallKeys {
        self.nodes[node].subscriptions.values().next().expect("the node is in a call").keys.clone()
    }

    /// A call that a node is in, with the call keys of all nodes in it, its own first.
    pub fn known_call_keys(&self, node: usize) -> Option<(CallId, CallKeysOf)> {
        let (call, _) = self.nodes[node].subscriptions.iter().next()?;
        let key_of = |other: &Node| Some((other.endpoint, other.subscriptions.get(call)?.key));
        let others = self.nodes.iter().enumerate().filter(|(other, _)| *other != node);
        let keys = others.filter_map(|(_, other)| key_of(other));
        Some((*call, key_of(&self.nodes[node]).into_iter().chain(keys).collect()))
    }

    /// A node's call key, signed by the node.
    ///
    /// # Panics
    /// Where the endpoint is no node's.
    pub fn signed_key(&self, endpoint: &Endpoint, call: &CallId, key: &[u8; 32]) -> SignedKey {
        let owner = self.nodes.iter().find(|node| node.endpoint.did == endpoint.did).expect("an endpoint of a node");
        sign_call_key(&Identity::from_seed(&[owner.seed.0; 32]), &endpoint.device, call, key)
    }

    /// The trace, and what all nodes believe in the end.
    pub fn transcript(&self) -> String {
        let beliefs = self.nodes.iter().enumerate().map(|(number, node)| {
            let calls: Vec<_> = node.machine.snapshot().calls.iter().map(trace::call).collect();
            format!(
                "node {number} believes {}",
                if calls.is_empty() { "in no call".to_owned() } else { calls.join("; ") }
            )
        });
        let beliefs: Vec<_> = beliefs.collect();
        format!("{}\n{}", self.trace.text(), self.trace.short(&beliefs.join("\n")))
    }

    /// The transcript, with a last line.
    pub fn transcript_with(&self, end: &str) -> String {
        format!("{}\n{}", self.transcript(), self.trace.short(end))
    }

    /// Adds a line to the trace.
    pub fn trace(&mut self, node: usize, text: impl FnOnce() -> String) {
        let at = self.elapsed();
        self.trace.push(at, node, text);
    }
}
