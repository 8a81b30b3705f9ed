//! What must hold at every moment, and what everybody must agree on once the faults have stopped.

use std::collections::BTreeSet;

use blink_api::{CallId, Did, Topic};
use blink_proto::call::{
    CallOutcome, CallSnapshot, CallState, Event, ParticipantSnapshot, ParticipantState, ParticipantStatus,
};
use blink_sim::simulation::Simulation;

use crate::actions::current;
use crate::told::Told;

/// A fault that was found.
#[derive(Debug, Clone)]
pub(crate) struct Fault {
    pub(crate) kind: FaultKind,
    pub(crate) text: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FaultKind {
    /// Something that should go on or end does neither.
    Stuck,
    /// Somebody is believed to be in a call who is not.
    Ghost,
    /// Two calls or two devices where there may be one.
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

/// What must hold on a device whenever it has done something.
pub(crate) fn check_moment(world: &Simulation, node: usize, told: &mut Told) -> Check {
    let state = &world.nodes[node];
    let current = state.machine.current();
    let other = FaultKind::Other;
    hold(state.active_call == current, other, || {
        format!("node {node}'s microphone is open for {:?}, and its call is {current:?}", state.active_call)
    })?;
    hold(!world.unknown_recipients.iter().any(|(sealer, _)| *sealer == node), other, || {
        format!("node {node} seals for a key that is no device's: {:?}", world.unknown_recipients)
    })?;
    hold(current.is_none_or(|call| state.accepted.contains(&call)), other, || {
        format!("node {node} is in {current:?}, which its user did not accept")
    })?;
    hold(state.sessions.values().all(|(call, _)| Some(*call) == current), other, || {
        format!("node {node} has sessions {:?}, and its call is {current:?}", state.sessions)
    })?;
    let remotes: BTreeSet<_> = state.sessions.values().map(|(_, remote)| remote).collect();
    hold(remotes.len() == state.sessions.len(), FaultKind::Double, || {
        format!("node {node} has two sessions to one device: {:?}", state.sessions)
    })?;
    told.read(&state.events).or_else(|text| fault(other, format!("node {node} {text}")))
}

/// What these devices believe once nothing was lost for 40 s.
pub(crate) struct Agreement<'a> {
    pub(crate) world: &'a Simulation,
    pub(crate) honest: &'a [usize],
    pub(crate) told: &'a [Told],
    /// Somebody attacks still: what others claim of who is not there is believed until its own word
    /// or the lease says otherwise.
    pub(crate) attacked: bool,
}

impl Agreement<'_> {
    /// They believe the same of each other.
    pub(crate) fn check(&self) -> Check {
        check_rung_once(self.world, self.honest)?;
        let calls: Vec<Option<CallSnapshot>> =
            (0..self.world.nodes.len()).map(|node| current(self.world, node)).collect();
        for node in self.honest.iter().copied() {
            check_ringing(self.world, self.honest, node)?;
            if let Some(call) = &calls[node] {
                self.check_call(&calls, node, call)?;
                check_streams(self.world, &calls, node, call)?;
            }
        }
        Ok(())
    }

    fn check_call(&self, calls: &[Option<CallSnapshot>], node: usize, call: &CallSnapshot) -> Check {
        let (world, honest) = (self.world, self.honest);
        hold(call.state != CallState::Joining, FaultKind::Stuck, || format!("node {node} still joins {call:?}"))?;
        let is_in = |other: &usize| calls[*other].as_ref().is_some_and(|there| there.call == call.call);
        let own = world.did(node);
        let twin = honest.iter().find(|other| **other != node && world.did(**other) == own && is_in(other));
        hold(twin.is_none(), FaultKind::Double, || {
            format!("nodes {node} and {twin:?} of one person are both in {call:?}")
        })?;
        let honest_people: BTreeSet<Did> = honest.iter().map(|node| world.did(*node)).collect();
        let mut others = 0;
        for participant in call.participants.iter().filter(|other| honest_people.contains(&other.did)) {
            let there = honest.iter().copied().find(|other| world.did(*other) == participant.did && is_in(other));
            self.check_participant(node, call, participant, there)?;
            if let (Some(there), Some(endpoint)) = (there, participant.endpoint) {
                others += 1;
                check_state(world, node, call.call, participant, there)?;
                let known = self.told[node].of(&call.call, &endpoint);
                hold(known == (true, participant.state), FaultKind::Other, || {
                    format!("node {node}'s user was told {known:?} of {participant:?}")
                })?;
                let topics = [node, there].map(|node| world.nodes[node].topic_of(&call.call));
                hold(topics[0] == topics[1], FaultKind::Stuck, || {
                    format!("nodes {node} and {there} speak on {topics:?} in {call:?}")
                })?;
                check_roster(world, honest, node, call, there, calls[there].as_ref().expect("it is in that call"))?;
            }
        }
        self.check_removals(calls, node, call)?;
        let alone = others == 0 && !call.group && call.state == CallState::Active;
        let with_strangers = call.participants.iter().any(|other| !honest_people.contains(&other.did));
        hold(!alone || with_strangers, FaultKind::Ghost, || format!("node {node} is alone in a call of two: {call:?}"))
    }

    /// Whoever was removed from a call is in it for nobody, as long as the remover is still there
    /// to say so.
    fn check_removals(&self, calls: &[Option<CallSnapshot>], node: usize, call: &CallSnapshot) -> Check {
        for (removed_from, did, remover, starts) in &self.world.removals {
            let there = calls[*remover].as_ref().is_some_and(|there| there.call == call.call);
            let counts = *removed_from == call.call && there && self.world.nodes[*remover].starts == *starts;
            let member = call.participants.iter().any(|other| other.did == *did);
            if !counts || !self.honest.contains(remover) {
                continue;
            }
            hold(!member, FaultKind::Ghost, || {
                format!("node {node} has {did} in {call:?}, whom node {remover} removed")
            })?;
            let topic = self.world.nodes[node].topic_of(&call.call);
            let known = |(of, id, known): &(usize, CallId, Topic)| {
                self.world.did(*of) == *did && *id == call.call && Some(*known) == topic
            };
            hold(!self.world.known_topics.iter().any(known), FaultKind::Ghost, || {
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
            Some(there) if participant.endpoint != Some(self.world.nodes[there].endpoint) => {
                believed(FaultKind::Double)
            }
            _ => Ok(()),
        }
    }
}

/// What somebody says about itself is what others know of it.
fn check_state(
    world: &Simulation,
    node: usize,
    call: CallId,
    participant: &ParticipantSnapshot,
    there: usize,
) -> Check {
    let snapshot = world.nodes[there].machine.snapshot();
    let state = ParticipantState { muted: snapshot.muted, deafened: snapshot.deafened, recording: snapshot.recording };
    let same = participant.state == state && participant.streams == snapshot.streams;
    hold(same, FaultKind::Other, || {
        format!("in {call}, node {node} believes {participant:?}, but node {there} is {state:?} {:?}", snapshot.streams)
    })
}

fn check_roster(
    world: &Simulation,
    honest: &[usize],
    node: usize,
    call: &CallSnapshot,
    there: usize,
    same: &CallSnapshot,
) -> Check {
    let people = |node: usize, call: &CallSnapshot| -> BTreeSet<Did> {
        call.participants.iter().map(|other| other.did).chain([world.did(node)]).collect()
    };
    // Who lies may add somebody at the last moment.
    let all_honest = honest.len() == world.nodes.len();
    let (one, other) = (people(node, call), people(there, same));
    hold(!all_honest || one == other, FaultKind::Other, || {
        format!("nodes {node} and {there} know another roster of {}: {one:?} and {other:?}", call.call)
    })
}

/// What rings here is a call with somebody in it. What only liars are said to be in rings until its
/// ring time or the lease of their last Offer is over.
fn check_ringing(world: &Simulation, honest: &[usize], node: usize) -> Check {
    let snapshot = world.nodes[node].machine.snapshot();
    let is_liar = |did: &Did| honest.iter().all(|other| world.did(*other) != *did);
    for call in world.nodes[node].machine.pending() {
        let in_it = world.nodes.iter().any(|other| other.machine.current() == Some(call));
        let said_in_it = snapshot.calls.iter().filter(|known| known.call == call).flat_map(|known| &known.participants);
        let mut said_in_it = said_in_it.filter(|other| other.endpoint.is_some()).peekable();
        let made_up = said_in_it.peek().is_some() && said_in_it.all(|other| is_liar(&other.did));
        hold(in_it || made_up, FaultKind::Ghost, || format!("{call} rings at node {node}, and nobody is in it"))?;
    }
    Ok(())
}

/// What was asked for flows, and nothing else.
fn check_streams(world: &Simulation, calls: &[Option<CallSnapshot>], node: usize, call: &CallSnapshot) -> Check {
    for request in &world.nodes[node].requested {
        let there = world.nodes.iter().position(|other| other.endpoint == request.endpoint);
        let in_it = |there: &usize| calls[*there].as_ref().is_some_and(|other| other.call == call.call);
        let flows = there.filter(in_it).is_some_and(|there| world.flows(there, node, request.stream));
        hold(flows, FaultKind::Stuck, || format!("node {node} asked for {request:?}, which does not come"))?;
    }
    for (to, stream) in world.sending(node) {
        let wanted = to.is_some_and(|to| {
            let endpoint = world.nodes[node].endpoint;
            world.nodes[to].requested.iter().any(|it| it.endpoint == endpoint && it.stream == stream)
        });
        hold(wanted, FaultKind::Ghost, || format!("node {node} sends {stream} to node {to:?}, which did not ask"))?;
    }
    Ok(())
}

/// Who remembers is told once that a call comes, however often it starts anew.
fn check_rung_once(world: &Simulation, honest: &[usize]) -> Check {
    for node in honest.iter().filter(|node| !world.forgetful.contains(node)) {
        let mut rung = BTreeSet::new();
        for event in &world.nodes[*node].events {
            if let Event::IncomingCall { call, .. } = event {
                hold(rung.insert(*call), FaultKind::Double, || format!("{call} rang twice at node {node}"))?;
            }
        }
    }
    Ok(())
}

/// Two minutes after everybody left: nothing goes on, nothing is listened to, nothing is left to
/// say.
pub(crate) fn check_idle(world: &Simulation, node: usize) -> Check {
    let state = &world.nodes[node];
    let snapshot = state.machine.snapshot();
    let open = snapshot.calls.iter().all(|call| call.state == CallState::Open);
    hold(open, FaultKind::Stuck, || format!("node {node} left, and is not idle: {snapshot:?}"))?;
    let quiet = state.sessions.is_empty() && world.paths.open_at(node) == 0 && state.active_call.is_none();
    hold(quiet, FaultKind::Stuck, || format!("node {node} has sessions without a call"))?;
    hold(state.subscribed_calls() == 0, FaultKind::Stuck, || {
        format!("node {node} still reads {} calls", state.subscribed_calls())
    })?;
    hold(!state.machine.has_pending_farewells(), FaultKind::Stuck, || {
        format!("node {node} never stops repeating itself")
    })?;
    let history = state.machine.history();
    let ongoing = history.iter().find(|entry| entry.outcome == CallOutcome::Ongoing);
    hold(ongoing.is_none(), FaultKind::Stuck, || format!("node {node}'s history says that {ongoing:?} goes on"))
}
