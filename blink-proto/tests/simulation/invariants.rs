//! Invariants of each device at every step, and agreement of all after the last fault.

use std::collections::BTreeSet;

use blink_api::{CallId, Did, Topic};
use blink_proto::call::{
    CallOutcome, CallSnapshot, CallState, Event, ParticipantSnapshot, ParticipantState, ParticipantStatus,
};
use blink_sim::simulation::Simulation;

use crate::actions::{calls_of, current};
use crate::user_view::UserView;

/// A fault that was found.
#[derive(Debug, Clone)]
pub(crate) struct Fault {
    pub(crate) kind: FaultKind,
    pub(crate) text: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FaultKind {
    /// A call, path or stream that neither progresses nor ends.
    Stuck,
    /// A participant that is not in the call.
    Ghost,
    /// Two calls or two devices instead of one.
    Double,
    /// Anything else.
    Other,
}

type Check = Result<(), Fault>;

fn fault<T>(kind: FaultKind, text: String) -> Result<T, Fault> {
    Err(Fault { kind, text })
}

fn hold(holds: bool, kind: FaultKind, text: impl FnOnce() -> String) -> Check {
    if holds { Ok(()) } else { fault(kind, text()) }
}

/// Checks the invariants of one device after a step.
pub(crate) fn check_step(simulation: &Simulation, node: usize, view: &mut UserView) -> Check {
    let state = &simulation.nodes[node];
    let current = state.machine.current();
    let other = FaultKind::Other;
    hold(state.active_call == current, other, || {
        format!("node {node}'s microphone is open for {:?}, and its call is {current:?}", state.active_call)
    })?;
    hold(!simulation.unknown_recipients.iter().any(|(sealer, _)| *sealer == node), other, || {
        format!("node {node} seals for a key that is no device's: {:?}", simulation.unknown_recipients)
    })?;
    let calls: BTreeSet<CallId> = calls_of(simulation, node).iter().map(|call| call.call).collect();
    hold(calls.is_subset(&state.accepted), other, || {
        format!("node {node} is in {calls:?}, and its user accepted {:?}", state.accepted)
    })?;
    hold(state.sessions.values().all(|(call, _)| calls.contains(call)), other, || {
        format!("node {node} has sessions {:?}, and its calls are {calls:?}", state.sessions)
    })?;
    let remotes: BTreeSet<_> = state.sessions.values().collect();
    hold(remotes.len() == state.sessions.len(), FaultKind::Double, || {
        format!("node {node} has two sessions to one device in a call: {:?}", state.sessions)
    })?;
    view.read(&state.events).or_else(|text| fault(other, format!("node {node} {text}")))
}

/// Agreement of the honest devices 40 s after the last fault.
pub(crate) struct Agreement<'a> {
    pub(crate) simulation: &'a Simulation,
    pub(crate) honest: &'a [usize],
    pub(crate) views: &'a [UserView],
    /// Whether attacks continue: third-party state about absent devices is accepted until
    /// self-reported state or the lease ends it.
    pub(crate) attacked: bool,
}

impl Agreement<'_> {
    /// Checks agreement.
    pub(crate) fn check(&self) -> Check {
        check_rung_once(self.simulation, self.honest)?;
        let calls: Vec<_> = (0..self.simulation.nodes.len()).map(|node| calls_of(self.simulation, node)).collect();
        for node in self.honest.iter().copied() {
            check_ringing(self.simulation, self.honest, node)?;
            for call in &calls[node] {
                self.check_call(&calls, node, call)?;
            }
            if let Some(call) = current(self.simulation, node) {
                check_streams(self.simulation, &calls, node, &call)?;
            }
        }
        Ok(())
    }

    fn check_call(&self, calls: &[Vec<CallSnapshot>], node: usize, call: &CallSnapshot) -> Check {
        let (simulation, honest) = (self.simulation, self.honest);
        hold(call.state != CallState::Joining, FaultKind::Stuck, || format!("node {node} still joins {call:?}"))?;
        let is_in = |other: &usize| same_call(calls, *other, call).is_some();
        let own = simulation.did(node);
        let twin = honest.iter().find(|other| **other != node && simulation.did(**other) == own && is_in(other));
        hold(twin.is_none(), FaultKind::Double, || {
            format!("nodes {node} and {twin:?} of one person are both in {call:?}")
        })?;
        let honest_people: BTreeSet<Did> = honest.iter().map(|node| simulation.did(*node)).collect();
        let mut others = 0;
        for participant in call.participants.iter().filter(|other| honest_people.contains(&other.did)) {
            let there = honest.iter().copied().find(|other| simulation.did(*other) == participant.did && is_in(other));
            self.check_participant(node, call, participant, there)?;
            if let (Some(there), Some(endpoint)) = (there, participant.endpoint) {
                others += 1;
                check_state(simulation, node, call.call, participant, there)?;
                let known = self.views[node].of(&call.call, &endpoint);
                hold(known == (true, participant.state), FaultKind::Other, || {
                    format!("the events of node {node} say {known:?} of {participant:?}")
                })?;
                let topics = [node, there].map(|node| simulation.nodes[node].topic_of(&call.call));
                hold(topics[0] == topics[1], FaultKind::Stuck, || {
                    format!("nodes {node} and {there} speak on {topics:?} in {call:?}")
                })?;
                check_roster(
                    simulation,
                    honest,
                    node,
                    call,
                    there,
                    same_call(calls, there, call).expect("it is in that call"),
                )?;
            }
        }
        self.check_removals(calls, node, call)?;
        let joined = matches!(call.state, CallState::Active | CallState::Held);
        let alone = others == 0 && !call.group && joined;
        let with_strangers = call.participants.iter().any(|other| !honest_people.contains(&other.did));
        hold(!alone || with_strangers, FaultKind::Ghost, || format!("node {node} is alone in a call of two: {call:?}"))
    }

    /// Checks that a removed identity is in the call for no member, as long as its remover is in
    /// the call and can report the removal.
    fn check_removals(&self, calls: &[Vec<CallSnapshot>], node: usize, call: &CallSnapshot) -> Check {
        for (removed_from, did, remover, starts) in &self.simulation.removals {
            let there = same_call(calls, *remover, call).is_some();
            let counts = *removed_from == call.call && there && self.simulation.nodes[*remover].starts == *starts;
            let member = call.participants.iter().any(|other| other.did == *did);
            if !counts || !self.honest.contains(remover) {
                continue;
            }
            hold(!member, FaultKind::Ghost, || {
                format!("node {node} has {did} in {call:?}, whom node {remover} removed")
            })?;
            let topic = self.simulation.nodes[node].topic_of(&call.call);
            let known = |(of, id, known): &(usize, CallId, Topic)| {
                self.simulation.did(*of) == *did && *id == call.call && Some(*known) == topic
            };
            hold(!self.simulation.known_topics.iter().any(known), FaultKind::Ghost, || {
                format!("node {node} speaks on a topic of {call:?} that {did} knows, whom node {remover} removed")
            })?;
        }
        Ok(())
    }

    fn check_participant(
        &self,
        node: usize,
        call: &CallSnapshot,
        participant: &ParticipantSnapshot,
        there: Option<usize>,
    ) -> Check {
        let connected = participant.status == ParticipantStatus::Connected;
        let believed = |kind| {
            let text = format!("node {node} believes {participant:?}, which is node {there:?} in {call:?}");
            fault(kind, text)
        };
        match there {
            None if connected || (participant.endpoint.is_some() && !self.attacked) => believed(FaultKind::Ghost),
            Some(_) if !connected => believed(FaultKind::Stuck),
            Some(there) if participant.endpoint != Some(self.simulation.nodes[there].endpoint) => {
                believed(FaultKind::Double)
            }
            _ => Ok(()),
        }
    }
}

/// A call as another node that is in it sees it.
fn same_call<'a>(calls: &'a [Vec<CallSnapshot>], node: usize, call: &CallSnapshot) -> Option<&'a CallSnapshot> {
    calls[node].iter().find(|there| there.call == call.call)
}

/// Checks that the state of a participant is its self-reported state.
fn check_state(
    simulation: &Simulation,
    node: usize,
    call: CallId,
    participant: &ParticipantSnapshot,
    there: usize,
) -> Check {
    let snapshot = simulation.nodes[there].machine.snapshot();
    let held = simulation.nodes[there].machine.current() != Some(call);
    let recording = snapshot.recording && !held;
    let state = ParticipantState { muted: snapshot.muted, deafened: snapshot.deafened, recording, held };
    let streams = if held { Vec::new() } else { snapshot.streams };
    hold(participant.state == state && participant.streams == streams, FaultKind::Other, || {
        format!("in {call}, node {node} believes {participant:?}, but node {there} is {state:?} {streams:?}")
    })
}

fn check_roster(
    simulation: &Simulation,
    honest: &[usize],
    node: usize,
    call: &CallSnapshot,
    there: usize,
    same: &CallSnapshot,
) -> Check {
    let people = |node: usize, call: &CallSnapshot| -> BTreeSet<Did> {
        call.participants.iter().map(|other| other.did).chain([simulation.did(node)]).collect()
    };
    // A malicious member may add an identity at the last moment.
    let all_honest = honest.len() == simulation.nodes.len();
    let (one, other) = (people(node, call), people(there, same));
    hold(!all_honest || one == other, FaultKind::Other, || {
        format!("nodes {node} and {there} know another roster of {}: {one:?} and {other:?}", call.call)
    })
}

/// Checks that a ringing call has members. A call with malicious members only rings until the end
/// of its ring time or of the lease of their last Offer.
fn check_ringing(simulation: &Simulation, honest: &[usize], node: usize) -> Check {
    let snapshot = simulation.nodes[node].machine.snapshot();
    let is_malicious = |did: &Did| honest.iter().all(|other| simulation.did(*other) != *did);
    for call in simulation.nodes[node].machine.pending() {
        let in_it =
            (0..simulation.nodes.len()).any(|other| calls_of(simulation, other).iter().any(|other| other.call == call));
        let claimed = snapshot.calls.iter().filter(|known| known.call == call).flat_map(|known| &known.participants);
        let mut claimed = claimed.filter(|other| other.endpoint.is_some()).peekable();
        let by_malicious_only = claimed.peek().is_some() && claimed.all(|other| is_malicious(&other.did));
        hold(in_it || by_malicious_only, FaultKind::Ghost, || format!("{call} rings at node {node} without members"))?;
    }
    Ok(())
}

/// Checks that requested streams are received, and that no others are sent.
fn check_streams(simulation: &Simulation, calls: &[Vec<CallSnapshot>], node: usize, call: &CallSnapshot) -> Check {
    for request in &simulation.nodes[node].requested {
        let there = simulation.nodes.iter().position(|other| other.endpoint == request.endpoint);
        let in_it = |there: &usize| same_call(calls, *there, call).is_some();
        let flows = there.filter(in_it).is_some_and(|there| simulation.flows(there, node, request.stream));
        hold(flows, FaultKind::Stuck, || format!("node {node} requested {request:?}, which it does not receive"))?;
    }
    for (to, stream) in simulation.sending(node) {
        let wanted = to.is_some_and(|to| {
            let endpoint = simulation.nodes[node].endpoint;
            simulation.nodes[to].requested.iter().any(|it| it.endpoint == endpoint && it.stream == stream)
        });
        hold(wanted, FaultKind::Ghost, || {
            format!("node {node} sends {stream} to node {to:?}, which did not request it")
        })?;
    }
    Ok(())
}

/// Checks that a device with memory rings once for a call, across restarts.
fn check_rung_once(simulation: &Simulation, honest: &[usize]) -> Check {
    for node in honest.iter().filter(|node| !simulation.forgetful.contains(node)) {
        let mut rung = BTreeSet::new();
        for event in &simulation.nodes[*node].events {
            if let Event::IncomingCall { call, .. } = event {
                hold(rung.insert(*call), FaultKind::Double, || format!("{call} rang twice at node {node}"))?;
            }
        }
    }
    Ok(())
}

/// Checks that two minutes after the end of all calls no call, session, subscription or
/// retransmission is left.
pub(crate) fn check_idle(simulation: &Simulation, node: usize) -> Check {
    let state = &simulation.nodes[node];
    let snapshot = state.machine.snapshot();
    let open = snapshot.calls.iter().all(|call| call.state == CallState::Open);
    hold(open, FaultKind::Stuck, || format!("node {node} left, and is not idle: {snapshot:?}"))?;
    let quiet = state.sessions.is_empty() && simulation.paths.open_at(node) == 0 && state.active_call.is_none();
    hold(quiet, FaultKind::Stuck, || format!("node {node} has sessions without a call"))?;
    hold(state.subscribed_calls() == 0, FaultKind::Stuck, || {
        format!("node {node} still reads {} calls", state.subscribed_calls())
    })?;
    hold(!state.machine.has_pending_farewells(), FaultKind::Stuck, || format!("node {node} still retransmits"))?;
    let history = state.machine.history();
    let ongoing = history.iter().find(|entry| entry.outcome == CallOutcome::Ongoing);
    hold(ongoing.is_none(), FaultKind::Stuck, || format!("node {node}'s history says that {ongoing:?} goes on"))
}
