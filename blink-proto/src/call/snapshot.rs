//! Snapshots: the calls of this device and their participants at one moment.

use blink_api::{CallId, Did, Endpoint};
use serde::Serialize;

use super::link::{Link, LinkState};
use super::participant::{ParticipantState, StreamInfo};
use super::peer::Peer;
use super::person::{Person, PersonState};
use super::shared::Shared;
use super::state::{Call, Phase};

/// State of all calls at one moment.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Snapshot {
    /// All calls that have not ended.
    pub calls: Vec<CallSnapshot>,
    /// This device sends no audio.
    pub muted: bool,
    /// This device plays no audio.
    pub deafened: bool,
    /// This device records the current call.
    pub recording: bool,
    /// Streams that this device offers in the current call.
    pub streams: Vec<StreamInfo>,
}

/// One call at one moment.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct CallSnapshot {
    /// The call.
    pub call: CallId,
    /// State on this device.
    pub state: CallState,
    /// Caller.
    pub from: Did,
    /// Whether it is a group: it has, or once had, more than two people.
    pub group: bool,
    /// Opaque bytes of the caller's integrator.
    pub conversation: Vec<u8>,
    /// Everyone on the roster except the own person.
    pub participants: Vec<ParticipantSnapshot>,
}

/// State of a call on this device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum CallState {
    /// Offered by this device, not yet answered.
    Calling,
    /// Rings on this device.
    Ringing,
    /// Answered, not yet acknowledged by a participant.
    Joining,
    /// This device is in it.
    Active,
    /// This device is in it and holds it.
    Held,
    /// Continues without this device, which may join.
    Open,
}

/// One person of a call at one moment.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct ParticipantSnapshot {
    /// The person.
    pub did: Did,
    /// Name that the person gives itself, without characters that are not seen; `None` before it
    /// joined, and without one. It proves nothing: show it beside the DID.
    pub name: Option<String>,
    /// Device that joined, if any.
    pub endpoint: Option<Endpoint>,
    /// Progress of the invitation or connection.
    pub status: ParticipantStatus,
    /// Announced state.
    pub state: ParticipantState,
    /// Whether it speaks now.
    pub speaking: bool,
    /// Offered streams.
    pub streams: Vec<StreamInfo>,
}

/// Progress of a person's invitation or connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ParticipantStatus {
    /// Invited, no reply yet.
    Invited,
    /// A device rings.
    Ringing,
    /// In another call.
    Busy,
    /// Rejected.
    Rejected,
    /// Not answered in time.
    Unanswered,
    /// In the call, as far as is known; this device is not.
    Joined,
    /// Joined; the path is being established.
    Connecting,
    /// Joined; the path is connected.
    Connected,
    /// Joined; the path is silent and ICE is restarted.
    Reconnecting,
    /// Joined, but no path could be established.
    Unreachable,
    /// Left the call.
    Left,
}

impl Call {
    pub(super) fn snapshot(&self, shared: &Shared) -> Option<CallSnapshot> {
        let state = match self.phase() {
            Phase::Out => CallState::Calling,
            Phase::In => CallState::Ringing,
            Phase::Joining => CallState::Joining,
            Phase::Active if self.is_held() => CallState::Held,
            Phase::Active => CallState::Active,
            Phase::Open => CallState::Open,
            Phase::Over => return None,
        };
        let others = self.roster.valid().iter().filter(|did| **did != shared.own.did);
        Some(CallSnapshot {
            call: self.id(),
            state,
            from: self.from,
            group: self.roster.is_group(),
            conversation: self.conversation(),
            participants: others.map(|did| self.participant(did)).collect(),
        })
    }

    fn participant(&self, did: &Did) -> ParticipantSnapshot {
        let present = self.present().find(|(endpoint, _)| endpoint.did == *did);
        let status = match (present, self.people.get(did).map(Person::state)) {
            (Some(_), _) if !self.takes_part() => ParticipantStatus::Joined,
            (Some((_, peer)), _) => link_status(peer),
            (None, Some(PersonState::Ringing)) => ParticipantStatus::Ringing,
            (None, Some(PersonState::Busy { .. })) => ParticipantStatus::Busy,
            (None, Some(PersonState::Rejected)) => ParticipantStatus::Rejected,
            (None, Some(PersonState::Missed)) => ParticipantStatus::Unanswered,
            (None, Some(PersonState::Joined | PersonState::Gone)) => ParticipantStatus::Left,
            (None, Some(PersonState::Invited) | None) => ParticipantStatus::Invited,
        };
        ParticipantSnapshot {
            did: *did,
            name: present.and_then(|(_, peer)| peer.name.clone()),
            endpoint: present.map(|(endpoint, _)| *endpoint),
            status,
            state: present.map(|(_, peer)| peer.state).unwrap_or_default(),
            speaking: present.is_some_and(|(_, peer)| peer.voice.is_speaking()),
            streams: present.map(|(_, peer)| peer.streams.iter().map(StreamInfo::from).collect()).unwrap_or_default(),
        }
    }
}

fn link_status(peer: &Peer) -> ParticipantStatus {
    match peer.link().map(Link::state) {
        None | Some(LinkState::Connecting(_)) => ParticipantStatus::Connecting,
        Some(LinkState::Up) => ParticipantStatus::Connected,
        Some(LinkState::Suspect(_)) => ParticipantStatus::Reconnecting,
        Some(LinkState::Failed(_)) => ParticipantStatus::Unreachable,
    }
}
