//! Inputs from the engine: events, snapshots, levels, statistics, and results of actions.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use blink_api::{AudioLevel, CallId, DeviceDirection, Endpoint};
use blink_engine::{CallSnapshot, CallState, Event, Levels, ParticipantSnapshot, ParticipantStatus, Snapshot};

use super::action::{Action, Outcome};
use super::keys::direction_name;
use super::state::{Alert, CallView, Page, PathView, PersonView, Ringing, State};
use crate::event_text::words;

/// Time for which a call that takes the place of another alert cannot be answered: keys on their
/// way were meant for the other one.
const GUARD: Duration = Duration::from_millis(500);

impl State {
    /// Handles an event. The caller passes a snapshot afterwards.
    pub(super) fn on_event(&mut self, event: &Event) -> Vec<Action> {
        self.names.on_event(event);
        match (event, words(event, &self.names)) {
            // Two equal messages are two.
            (Event::MessageReceived { .. }, Some(words)) => self.add_notice(words),
            (_, Some(words)) => self.notice(words),
            (_, None) => {}
        }
        match event {
            Event::MissedCall { .. } => {
                self.missed += 1;
                return vec![Action::ReadHistory];
            }
            // One that was on hold ends nothing of the current one.
            Event::CallEnded { call, .. } if self.held.iter().any(|held| held.call == *call) => {
                return vec![Action::ReadHistory];
            }
            Event::CallHeld { .. } => self.watched.clear(),
            Event::CallEnded { .. } => {
                // Both end with the call in which they were chosen.
                let muted = self.muted.then_some(Action::Mute(false));
                let deafened = self.deafened.then_some(Action::Deafen(false));
                return [Some(Action::ReadHistory), muted, deafened].into_iter().flatten().collect();
            }
            Event::CallCancelled { .. } => return vec![Action::ReadHistory],
            Event::QualityDegraded { participant, reason, .. } => {
                let reasons = self.quality.entry(*participant).or_default();
                reasons.retain(|known| known.name() != reason.name());
                reasons.push(*reason);
            }
            Event::QualityRecovered { participant, .. } | Event::ParticipantLeft { participant, .. } => {
                self.quality.remove(participant);
            }
            Event::StreamEnded { track, .. } => {
                self.watched.retain(|(endpoint, stream), _| {
                    *endpoint != track.endpoint || track.source != blink_api::TrackSource::Stream(*stream)
                });
            }
            Event::DevicesChanged { devices } => self.devices.clone_from(devices),
            Event::DeviceChanged { .. } if self.page == Page::Devices => return vec![Action::ListDevices],
            Event::SignalingChanged { nodes } => self.nodes = *nodes,
            Event::AddressesChanged => return vec![Action::MakeInvite],
            _ => {}
        }
        Vec::new()
    }

    /// Takes the engine's state.
    pub(super) fn on_snapshot(&mut self, snapshot: &Snapshot, now: Instant) -> Vec<Action> {
        self.names.on_snapshot(snapshot);
        let calls: Vec<_> = snapshot.calls.iter().map(CallView::from).collect();
        self.take(calls, now, (snapshot.muted, snapshot.deafened, snapshot.recording));
        self.streams.clone_from(&snapshot.streams);
        self.renew_alert(now)
    }

    /// Takes all calls, and this device's flags.
    pub(super) fn take(&mut self, calls: Vec<CallView>, now: Instant, flags: (bool, bool, bool)) {
        (self.muted, self.deafened, self.recording) = flags;
        let rings = |call: &&CallView| call.state == CallState::Ringing;
        let ringing: Vec<_> = calls.iter().filter(rings).map(Ringing::from).collect();
        self.ringing.retain(|known| ringing.iter().any(|ringing| ringing.call == known.call));
        self.ringing.extend(
            ringing
                .into_iter()
                .filter(|new| self.ringing.iter().all(|known| known.call != new.call))
                .collect::<Vec<_>>(),
        );
        self.handled = self.handled.filter(|handled| self.ringing.iter().any(|ringing| ringing.call == *handled));
        self.open = calls.iter().filter(|call| call.state == CallState::Open).cloned().collect();
        let is_current =
            |call: &CallView| matches!(call.state, CallState::Calling | CallState::Joining | CallState::Active);
        let previous = self.call.take();
        let was_alone = previous.as_ref().is_none_or(CallView::is_alone);
        let since = self.take_held(&calls, previous.as_ref());
        self.call = calls.into_iter().find(is_current);
        match &mut self.call {
            Some(call) => {
                // Glare may change the id of a call.
                let previous = previous.filter(|previous| self.held.iter().all(|held| held.call != previous.call));
                let known = since.get(&call.call).copied();
                let since = known.or(previous.as_ref().and_then(|previous| previous.since));
                let is_connected = call.people.iter().any(|person| person.status == ParticipantStatus::Connected);
                call.since = since.or(is_connected.then_some(now));
                self.selected.person = self.selected.person.min(call.people.len().saturating_sub(1));
                let is_same = previous.as_ref().is_some_and(|previous| previous.call == call.call);
                let is_left_alone = is_same && !was_alone && call.state == CallState::Active && call.is_alone();
                if previous.is_none() {
                    self.page = Page::Main;
                }
                if is_left_alone {
                    self.notice("you are alone in the call, and the others may come back: h leaves it");
                }
            }
            None => {
                self.levels.clear();
                self.paths.clear();
                self.quality.clear();
                self.watched.clear();
                self.selected.person = 0;
                if self.page == Page::Streams {
                    self.page = Page::Main;
                }
            }
        }
        self.selected.stream = self.selected.stream.min(self.stream_rows().len().saturating_sub(1));
    }

    /// Takes the calls on hold, new ones last. Returns the times at which calls on hold before were
    /// connected.
    fn take_held(&mut self, calls: &[CallView], previous: Option<&CallView>) -> BTreeMap<CallId, Instant> {
        let known = self.held.iter().chain(previous);
        let since: BTreeMap<_, _> = known.filter_map(|call| Some((call.call, call.since?))).collect();
        let place = |call: &CallView| self.held.iter().position(|held| held.call == call.call).unwrap_or(usize::MAX);
        let mut held: Vec<_> = calls.iter().filter(|call| call.state == CallState::Held).cloned().collect();
        held.sort_by_key(place);
        held.iter_mut().for_each(|call| call.since = since.get(&call.call).copied());
        self.held = held;
        since
    }

    /// Names the oldest ringing call on the screen.
    pub(super) fn renew_alert(&mut self, now: Instant) -> Vec<Action> {
        let shown = self.alert;
        self.alert = self.ringing.first().map(|ringing| match shown {
            Some(alert) if alert.ringing.call == ringing.call => Alert { ringing: *ringing, ..alert },
            Some(_) => Alert { ringing: *ringing, answerable_from: now + GUARD },
            None => Alert { ringing: *ringing, answerable_from: now },
        });
        let is_new = self.alert.is_some_and(|alert| shown.is_none_or(|shown| shown.ringing.call != alert.ringing.call));
        if is_new { vec![Action::Bell] } else { Vec::new() }
    }

    /// Takes the levels of all participants, and of this device.
    pub(super) fn on_levels(&mut self, levels: &Levels) {
        self.levels = levels.iter().collect::<BTreeMap<Endpoint, AudioLevel>>();
    }

    /// Takes the measures of all paths.
    pub(super) fn on_paths(&mut self, paths: BTreeMap<Endpoint, PathView>) {
        self.paths = paths;
    }

    /// Takes the result of an action.
    pub(super) fn on_outcome(&mut self, outcome: Outcome) {
        match outcome {
            Outcome::Done => {}
            Outcome::Failed(text) => {
                // The call may still be answered.
                self.handled = None;
                self.notice(text);
            }
            Outcome::Devices(devices) => self.devices = devices,
            Outcome::Chosen(direction, name) => {
                self.notice(format!("{}: {name}", direction_name(direction)));
                match direction {
                    DeviceDirection::Source => self.microphone = name,
                    DeviceDirection::Sink => self.speaker = name,
                }
            }
            Outcome::History(entries) => {
                self.history = entries;
                self.selected.past_call = self.selected.past_call.min(self.history.len().saturating_sub(1));
            }
            Outcome::Presence(presence) => self.presence = presence.into_iter().collect(),
            Outcome::Invite(lines) => self.invite = lines,
            Outcome::Contacts(contacts) => self.set_contacts(contacts),
            Outcome::Watched(endpoint, stream, Some(counts)) => {
                self.watched.insert((endpoint, stream), counts);
            }
            Outcome::Watched(endpoint, stream, None) => {
                self.watched.remove(&(endpoint, stream));
            }
        }
    }
}

impl From<&CallView> for Ringing {
    fn from(call: &CallView) -> Self {
        Self { call: call.call, from: call.from, people: call.people.len() + 1 }
    }
}

impl From<&CallSnapshot> for CallView {
    fn from(call: &CallSnapshot) -> Self {
        let people = call.participants.iter().map(PersonView::from).collect();
        Self { call: call.call, state: call.state, from: call.from, people, since: None }
    }
}

impl From<&ParticipantSnapshot> for PersonView {
    fn from(person: &ParticipantSnapshot) -> Self {
        Self {
            did: person.did,
            endpoint: person.endpoint,
            status: person.status,
            state: person.state,
            speaking: person.speaking,
            streams: person.streams.clone(),
        }
    }
}
