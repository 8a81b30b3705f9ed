//! What the user can ask at any time: the calls there are, and who is in them.

use blink_api::{CallId, Did, Endpoint};
use serde::Serialize;

use super::ParticipantState;
use super::invite::PersonState;
use super::lifecycle::{Call, Phase};
use super::link::LinkState;
use super::member::Peer;
use super::shared::Shared;
use super::streams::StreamInfo;

/// Everything at one moment.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Snapshot {
    /// All calls that are not over.
    pub calls: Vec<CallSnapshot>,
    /// This device sends no sound.
    pub muted: bool,
    /// This device plays no sound.
    pub deafened: bool,
    /// This device records the call it is in.
    pub recording: bool,
    /// What this device offers in the call it is in.
    pub streams: Vec<StreamInfo>,
}

/// One call at one moment.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CallSnapshot {
    /// The call.
    pub call: CallId,
    /// Where it stands here.
    pub state: CallState,
    /// Who called.
    pub from: Did,
    /// More than two people, now or ever.
    pub group: bool,
    /// What the caller's integrator passed along.
    pub conversation: Vec<u8>,
    /// Everybody on the roster but the own person.
    pub participants: Vec<ParticipantSnapshot>,
}

/// Where a call stands on this device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum CallState {
    /// This device calls; nobody has answered.
    Calling,
    /// Rings here.
    Ringing,
    /// Answered; nobody in it has heard that yet.
    Joining,
    /// This device is in it.
    Active,
    /// Goes on without this device, which may join.
    Open,
}

/// One person of a call at one moment.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ParticipantSnapshot {
    /// Who.
    pub did: Did,
    /// Its device, once one has joined.
    pub endpoint: Option<Endpoint>,
    /// How far it got.
    pub status: ParticipantStatus,
    /// What it announces about itself.
    pub state: ParticipantState,
    /// Its voice is heard now.
    pub speaking: bool,
    /// What it offers beside its microphone.
    pub streams: Vec<StreamInfo>,
}

/// How far a person got into a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ParticipantStatus {
    /// Asked, nothing heard.
    Invited,
    /// A device rings.
    Ringing,
    /// In another call.
    Busy,
    /// Will not come.
    Rejected,
    /// Did not answer in time.
    Unanswered,
    /// Is in the call, as far as is known here; this device is not.
    Joined,
    /// Has joined; the path is being made.
    Connecting,
    /// The path is up.
    Connected,
    /// The path is lost and being looked for.
    Reconnecting,
    /// Has joined, but no path could be made.
    Unreachable,
    /// Was in the call.
    Left,
}

impl Call {
    pub(super) fn snapshot(&self, shared: &Shared) -> Option<CallSnapshot> {
        let state = match self.phase {
            Phase::Out => CallState::Calling,
            Phase::In => CallState::Ringing,
            Phase::Joining => CallState::Joining,
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
        let status = match (present, self.people.get(did).map(|person| person.state)) {
            (Some(_), _) if !self.phase.is_current() => ParticipantStatus::Joined,
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
            endpoint: present.map(|(endpoint, _)| *endpoint),
            status,
            state: present.map(|(_, peer)| peer.state).unwrap_or_default(),
            speaking: present.is_some_and(|(_, peer)| peer.voice.speaking),
            streams: present.map(|(_, peer)| peer.streams.iter().map(StreamInfo::from).collect()).unwrap_or_default(),
        }
    }

    /// What the caller's integrator passed along.
    pub(super) fn conversation(&self) -> Vec<u8> {
        self.configuration.conversation.clone().map(Into::into).unwrap_or_default()
    }
}

fn link_status(peer: &Peer) -> ParticipantStatus {
    match peer.link.as_ref().map(|link| link.state) {
        None | Some(LinkState::Connecting(_)) => ParticipantStatus::Connecting,
        Some(LinkState::Up) => ParticipantStatus::Connected,
        Some(LinkState::Suspect(_)) => ParticipantStatus::Reconnecting,
        Some(LinkState::Failed(_)) => ParticipantStatus::Unreachable,
    }
}
