//! State of the full-screen program: no IO, no clock, no terminal.
//!
//! Inputs are keys and pasted text ([`keys`](super::keys)), and events, snapshots, levels,
//! statistics and results of the engine ([`engine_input`](super::engine_input)). Each returns the
//! [`Action`](super::action::Action)s to carry out. A snapshot of the engine is the truth about
//! calls and participants; events only add what no snapshot tells: notices, reasons, alerts.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant, SystemTime};

use blink_api::{
    AudioLevel, CallId, DeviceDirection, Did, EffectiveValue, Endpoint, MediaPath, QualityReason, StreamId,
};
use blink_engine::{CallState, Device, HistoryEntry, ParticipantState, ParticipantStatus, Presence, StreamInfo};

use super::prompt::Prompt;
use crate::contacts::{Contact, Contacts};
use crate::event_text::Names;

/// Notices that are kept.
const NOTICES: usize = 200;

/// Everything that the screen shows.
#[derive(Debug)]
pub(super) struct State {
    pub(super) own: Own,
    pub(super) names: Names,
    pub(super) contacts: Vec<Contact>,
    /// The same, by which texts are resolved.
    pub(super) book: Contacts,
    /// Wall clock, for the expiry of invites.
    pub(super) wall: SystemTime,
    pub(super) presence: BTreeMap<Did, Presence>,
    pub(super) history: Vec<HistoryEntry>,
    /// Missed calls since the calls were last looked at.
    pub(super) missed: usize,
    /// Ringing calls, the oldest first.
    pub(super) ringing: Vec<Ringing>,
    /// The ringing call that the screen names: the only one that keys answer or reject.
    pub(super) alert: Option<Alert>,
    /// The ringing call that a key has answered or rejected, until it stops ringing.
    pub(super) handled: Option<CallId>,
    /// The call that this device is in or offers.
    pub(super) call: Option<CallView>,
    /// Calls on hold, the one that was held first before the others.
    pub(super) held: Vec<CallView>,
    /// Ongoing calls without this device.
    pub(super) open: Vec<CallView>,
    pub(super) muted: bool,
    pub(super) deafened: bool,
    pub(super) recording: bool,
    /// Streams that this device offers.
    pub(super) streams: Vec<StreamInfo>,
    /// Streams that this device requested: frames and bytes so far.
    pub(super) watched: BTreeMap<(Endpoint, StreamId), (u64, u64)>,
    pub(super) levels: BTreeMap<Endpoint, AudioLevel>,
    pub(super) paths: BTreeMap<Endpoint, PathView>,
    pub(super) quality: BTreeMap<Endpoint, Vec<QualityReason>>,
    pub(super) volumes: BTreeMap<Endpoint, f32>,
    pub(super) devices: Vec<Device>,
    pub(super) microphone: String,
    pub(super) speaker: String,
    pub(super) settings: Vec<EffectiveValue>,
    /// Connected signaling nodes.
    pub(super) nodes: usize,
    /// Lines that others call this device by, the invite first.
    pub(super) invite: Vec<String>,
    pub(super) notices: VecDeque<String>,
    pub(super) page: Page,
    pub(super) focus: Focus,
    pub(super) selected: Selected,
    pub(super) prompt: Option<Prompt>,
    /// The person whose safety words are compared.
    pub(super) compared: Option<Did>,
}

/// This device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Own {
    pub(super) endpoint: Endpoint,
    /// Whether the identity is stored.
    pub(super) is_kept: bool,
}

/// A ringing call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ringing {
    pub(super) call: CallId,
    pub(super) from: Did,
    /// People on the roster.
    pub(super) people: usize,
}

/// The ringing call on the screen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Alert {
    pub(super) ringing: Ringing,
    /// Keys pressed earlier are not meant for this call.
    pub(super) answerable_from: Instant,
}

/// A call at one moment.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct CallView {
    pub(super) call: CallId,
    pub(super) state: CallState,
    pub(super) from: Did,
    pub(super) people: Vec<PersonView>,
    /// Time at which the first participant was connected.
    pub(super) since: Option<Instant>,
}

impl CallView {
    /// Whether no one else is in the call.
    pub(super) fn is_alone(&self) -> bool {
        self.people.iter().all(|person| !person.status.is_present())
    }
}

/// A person in a call.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct PersonView {
    pub(super) did: Did,
    pub(super) endpoint: Option<Endpoint>,
    pub(super) status: ParticipantStatus,
    pub(super) state: ParticipantState,
    pub(super) speaking: bool,
    pub(super) streams: Vec<StreamInfo>,
}

/// Measures of the path to a participant.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(super) struct PathView {
    /// Direct or relayed, once known.
    pub(super) kind: Option<MediaPath>,
    pub(super) round_trip: Option<Duration>,
    /// Share of its packets that were lost within the last seconds, 0.0 to 1.0.
    pub(super) loss: f32,
}

/// Subject of the screen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Page {
    /// The call, or without one contacts and past calls.
    Main,
    Devices,
    Settings,
    Streams,
    Invite,
    Messages,
    Help,
}

/// List that the arrow keys move in, without a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Focus {
    Contacts,
    Calls,
}

/// Position in each list.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Selected {
    pub(super) contact: usize,
    pub(super) past_call: usize,
    pub(super) person: usize,
    pub(super) device: usize,
    pub(super) setting: usize,
    pub(super) stream: usize,
    pub(super) message: usize,
    /// First line of the page of the invite.
    pub(super) invite: usize,
}

/// A row of the page of devices.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct DeviceRow {
    pub(super) direction: DeviceDirection,
    /// The name that chooses it; a pattern such as `wav:PATH` asks for its parameter.
    pub(super) name: String,
    pub(super) summary: String,
    pub(super) chosen: bool,
    pub(super) in_use: bool,
}

/// A row of the page of streams.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct StreamRow {
    /// Participant that offers it; `None` for this device.
    pub(super) from: Option<Endpoint>,
    pub(super) stream: StreamInfo,
    /// Frames and bytes received, where it was requested.
    pub(super) watched: Option<(u64, u64)>,
}

impl State {
    /// State at the start.
    pub(super) fn new(own: Own, settings: Vec<EffectiveValue>, (microphone, speaker): (&str, &str)) -> Self {
        Self {
            own,
            names: Names::default(),
            contacts: Vec::new(),
            book: Contacts::default(),
            wall: SystemTime::UNIX_EPOCH,
            presence: BTreeMap::new(),
            history: Vec::new(),
            missed: 0,
            ringing: Vec::new(),
            alert: None,
            handled: None,
            call: None,
            held: Vec::new(),
            open: Vec::new(),
            muted: false,
            deafened: false,
            recording: false,
            streams: Vec::new(),
            watched: BTreeMap::new(),
            levels: BTreeMap::new(),
            paths: BTreeMap::new(),
            quality: BTreeMap::new(),
            volumes: BTreeMap::new(),
            devices: Vec::new(),
            microphone: microphone.to_owned(),
            speaker: speaker.to_owned(),
            settings,
            nodes: 0,
            invite: Vec::new(),
            notices: VecDeque::new(),
            page: Page::Main,
            focus: Focus::Contacts,
            selected: Selected::default(),
            prompt: None,
            compared: None,
        }
    }

    /// Adds a notice for the user, unless it repeats the last one.
    pub(super) fn notice(&mut self, text: impl Into<String>) {
        let text = text.into();
        if self.notices.back() != Some(&text) {
            self.add_notice(text);
        }
    }

    /// Adds a notice for the user, also one that repeats the last one.
    pub(super) fn add_notice(&mut self, text: String) {
        self.notices.push_back(text);
        while self.notices.len() > NOTICES {
            self.notices.pop_front();
        }
    }

    /// Replaces the contacts, and the names that all texts use.
    pub(super) fn set_contacts(&mut self, contacts: Contacts) {
        self.names = Names::default().with_claims_of(&self.names);
        for contact in contacts.iter() {
            self.names.add(contact.did, &contact.name);
        }
        self.contacts = contacts.iter().cloned().collect();
        self.book = contacts;
        self.selected.contact = self.selected.contact.min(self.contacts.len().saturating_sub(1));
    }

    /// Whether a ring tone is due: a call rings, and no call would be disturbed.
    pub(super) fn rings_aloud(&self) -> bool {
        self.alert.is_some_and(|alert| self.handled != Some(alert.ringing.call)) && self.call.is_none()
    }

    /// Whether this device is in a call that it could hold.
    pub(super) fn is_in_call(&self) -> bool {
        self.call.as_ref().is_some_and(|call| call.state == CallState::Active)
    }

    /// Title of the terminal window.
    pub(super) fn title(&self) -> String {
        match (&self.alert, &self.call) {
            (Some(alert), _) => format!("Blink: {} calls", self.names.of(&alert.ringing.from)),
            (None, Some(_)) if self.muted => "Blink: in a call, muted".to_owned(),
            (None, Some(_)) => "Blink: in a call".to_owned(),
            (None, None) if !self.held.is_empty() => "Blink: a call is on hold".to_owned(),
            (None, None) if self.missed > 0 => format!("Blink: {} missed", self.missed),
            (None, None) => "Blink".to_owned(),
        }
    }

    /// Volume of a participant as a linear gain.
    pub(super) fn volume(&self, endpoint: &Endpoint) -> f32 {
        self.volumes.get(endpoint).copied().unwrap_or(1.0)
    }

    /// The selected person of the call.
    pub(super) fn selected_person(&self) -> Option<&PersonView> {
        self.call.as_ref()?.people.get(self.selected.person)
    }

    /// Rows of the page of devices: microphones, then speakers.
    pub(super) fn device_rows(&self) -> Vec<DeviceRow> {
        let mut rows = Vec::new();
        for direction in [DeviceDirection::Source, DeviceDirection::Sink] {
            let chosen = if direction == DeviceDirection::Source { &self.microphone } else { &self.speaker };
            let fixed = [("default", "the default device"), ("none", "no device")];
            let fixed = fixed.map(|(name, summary)| (name.to_owned(), summary.to_owned(), false));
            let audio = |device: &&Device| device.direction == direction && device.kind == blink_api::TrackKind::Audio;
            let listed = self.devices.iter().filter(audio);
            let listed = listed.map(|device| (device.full_name(), device.summary.clone(), device.in_use));
            rows.extend(fixed.into_iter().chain(listed).map(|(name, summary, in_use)| DeviceRow {
                direction,
                chosen: name == *chosen,
                name,
                summary,
                in_use,
            }));
        }
        rows
    }

    /// Rows of the page of streams: those of others, then own ones.
    pub(super) fn stream_rows(&self) -> Vec<StreamRow> {
        let people = self.call.iter().flat_map(|call| &call.people);
        let others = people.filter_map(|person| Some((person.endpoint?, &person.streams)));
        let others = others.flat_map(|(endpoint, streams)| {
            streams.iter().map(move |stream| StreamRow {
                from: Some(endpoint),
                stream: stream.clone(),
                watched: self.watched.get(&(endpoint, stream.stream)).copied(),
            })
        });
        let own = self.streams.iter().map(|stream| StreamRow { from: None, stream: stream.clone(), watched: None });
        others.chain(own).collect()
    }
}
