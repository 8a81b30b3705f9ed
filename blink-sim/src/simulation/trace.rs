//! Trace of all commands, messages and events, for people to read. It can be switched off: a seed
//! that fails is run once more for its trace.

use std::fmt::Write;
use std::time::Duration;

use blink_api::{CallId, Endpoint};
use blink_proto::call::{CallSnapshot, Event};
use blink_proto::secure::Channel;
use blink_proto::wire::{Body, JoinedClaim, Member};

use super::Node;

/// Trace of a simulation.
#[derive(Debug)]
pub struct Trace {
    on: bool,
    lines: Vec<String>,
    /// Long names of devices and people, and the short ones that replace them.
    names: Vec<(String, String)>,
}

impl Trace {
    pub(super) fn of(nodes: &[Node]) -> Self {
        let mut names = Vec::new();
        for (number, node) in nodes.iter().enumerate() {
            names.push((node.endpoint.device.to_string(), format!("#{number}")));
            names.push((node.endpoint.did.to_string(), format!("person {}", node.seed.0)));
        }
        Self { on: true, lines: Vec::new(), names }
    }

    /// Stops recording.
    pub fn disable(&mut self) {
        self.on = false;
    }

    pub(super) fn push(&mut self, at: Duration, node: usize, what: impl FnOnce() -> String) {
        if self.on {
            self.lines.push(format!("{:9.3} node {node} {}", at.as_secs_f64(), what()));
        }
    }

    /// All lines, with short names.
    pub(super) fn text(&self) -> String {
        self.short(&self.lines.join("\n"))
    }

    pub(super) fn short(&self, text: &str) -> String {
        self.names.iter().fold(text.to_owned(), |text, (long, short)| text.replace(long, short))
    }
}

/// Summary of a message.
pub(super) fn body(body: &Body) -> String {
    match body {
        Body::Offer(offer) => format!("{offer:?} joined [{}]", claims(&offer.joined)),
        Body::Member(member) => format!("Member {}", record(member)),
        Body::Cancel(cancel) => format!(
            "Cancel {:?} v{}{} joined [{}]{}",
            cancel.reason,
            cancel.version,
            if cancel.acknowledged { " acknowledged" } else { "" },
            claims(&cancel.joined),
            cancel.replaced_by.map(|call| format!(" replaced by {}", short(&call))).unwrap_or_default(),
        ),
        Body::Reject(reject) => format!("Reject{}", if reject.acknowledged { " acknowledged" } else { "" }),
        Body::Ringing(ringing) => format!("Ringing rings {}", ringing.rings),
        Body::Busy(_) => "Busy".to_owned(),
        Body::StaleBoot(behind) => format!("StaleBoot {} boot {}", name(&behind.endpoint.0), behind.boot),
        Body::Link(link) => format!("{link:?}"),
    }
}

/// Summary of a record.
fn record(member: &Member) -> String {
    let record = &member.record;
    let seen: Vec<_> = record
        .seen
        .iter()
        .map(|seen| format!("{} v{} key {:02x}", name(&seen.endpoint), seen.version, seen.call_key.key[0]))
        .collect();
    let mut text = format!(
        "{:?} v{} seat {} key {:02x} seen [{}] links {} entries {}",
        record.status,
        record.version,
        record.seat,
        record.call_key.key[0],
        seen.join(", "),
        record.links.len(),
        member.entries.len(),
    );
    let state = [(record.muted, "muted"), (record.deafened, "deafened"), (record.recording, "recording")];
    let extra = state.into_iter().filter(|(is, _)| *is).map(|(_, what)| what.to_owned());
    let streams = (!record.streams.is_empty()).then(|| format!("offers {}", record.streams.len()));
    let wanted = (!record.wanted.is_empty()).then(|| format!("wants {}", record.wanted.len()));
    for what in extra.chain(streams).chain(wanted) {
        write!(text, " {what}").expect("writing to a String does not fail");
    }
    text
}

fn claims(claims: &[JoinedClaim]) -> String {
    let claims: Vec<_> = claims
        .iter()
        .map(|claim| format!("{} v{} boot {}", name(&claim.endpoint), claim.version, claim.boot))
        .collect();
    claims.join(", ")
}

pub(super) fn channel(channel: &Channel) -> String {
    match channel {
        Channel::Inbox(did) => format!("the inbox of {did}"),
        Channel::Call(call) => format!("call {}", short(call)),
    }
}

/// Summary of an event.
pub(super) fn event(event: &Event) -> String {
    format!("{event:?}")
}

fn name(endpoint: &Endpoint) -> String {
    endpoint.device.to_string()
}

/// First eight digits of a call id.
pub fn short(call: &CallId) -> String {
    call.to_string()[..8].to_owned()
}

/// Summary of one node's state of a call.
pub(super) fn call(call: &CallSnapshot) -> String {
    let others: Vec<_> = call
        .participants
        .iter()
        .map(|other| {
            let device = other.endpoint.map(|endpoint| format!(" {}", endpoint.device)).unwrap_or_default();
            format!("{}{device} {:?}", other.did, other.status)
        })
        .collect();
    format!("{} {:?}: {}", short(&call.call), call.state, others.join(", "))
}
