//! Validity of the sequence of events of one user, as documented at [`Event`].

use std::collections::{BTreeMap, BTreeSet};

use blink_api::{CallId, Did, Endpoint, StreamId, TrackSource};
use blink_proto::call::{Event, ParticipantState, StreamEndReason};

/// State of calls as one user knows it from events.
#[derive(Default)]
pub(crate) struct UserView {
    read: usize,
    rang: BTreeMap<CallId, bool>,
    calls: BTreeMap<CallId, InCall>,
}

#[derive(Default)]
struct InCall {
    joined: bool,
    ended: bool,
    held: bool,
    others: BTreeMap<Endpoint, Other>,
    ringing: BTreeSet<Did>,
    speaking: BTreeSet<Endpoint>,
}

#[derive(Default)]
struct Other {
    joined: bool,
    reconnecting: bool,
    unreachable: bool,
    /// `None` before the first event, which means that no flag is set.
    state: Option<ParticipantState>,
    streams: BTreeSet<StreamId>,
    degraded: bool,
    named: bool,
    /// Number in the last application message.
    message: Option<u64>,
}

impl UserView {
    /// Resets the view after a restart of the device; with memory, calls that rang are kept.
    pub(crate) fn restart(&mut self, remembers: bool) {
        self.calls.clear();
        if !remembers {
            self.rang.clear();
        }
    }

    /// Reads new events.
    ///
    /// # Errors
    /// The first event that is not valid at its position.
    pub(crate) fn read(&mut self, events: &[Event]) -> Result<(), String> {
        let new = &events[self.read.min(events.len())..];
        self.read = events.len();
        new.iter().try_for_each(|event| self.apply(event))
    }

    /// Whether a participant has joined, and its state.
    pub(crate) fn of(&self, call: &CallId, participant: &Endpoint) -> (bool, ParticipantState) {
        let other = self.calls.get(call).and_then(|known| known.others.get(participant));
        other.map(|other| (other.joined, other.state.unwrap_or_default())).unwrap_or_default()
    }

    fn apply(&mut self, event: &Event) -> Result<(), String> {
        let fits = match event {
            Event::IncomingCall { call, .. } => self.rang.insert(*call, true).is_none(),
            Event::CallCancelled { call, .. } => self.rang.insert(*call, false) == Some(true),
            Event::MissedCall { call, .. } => self.rang.insert(*call, false) != Some(false),
            Event::CallReplaced { old, new } => {
                self.calls.remove(old);
                self.rang.insert(*new, false);
                true
            }
            Event::CallJoined { call } => {
                self.rang.entry(*call).and_modify(|rings| *rings = false);
                let known = self.call(call);
                let again = std::mem::take(&mut known.ended);
                !std::mem::replace(&mut known.joined, true) || again
            }
            Event::CallEnded { call, .. } => {
                self.rang.entry(*call).and_modify(|rings| *rings = false);
                let fresh = InCall { ended: true, ..InCall::default() };
                // A call may be offered or accepted again before any other event.
                drop(self.calls.insert(*call, fresh));
                true
            }
            Event::CallHeld { call } => {
                let known = self.call(call);
                known.joined && known.speaking.is_empty() && !std::mem::replace(&mut known.held, true)
            }
            Event::CallResumed { call } => std::mem::take(&mut self.call(call).held),
            Event::ParticipantRinging { call, participant, .. } => self.call(call).ringing.insert(*participant),
            Event::ParticipantJoined { call, participant } => self.other(call, participant, |other| {
                other.unreachable = false;
                !std::mem::replace(&mut other.joined, true)
            }),
            Event::ParticipantNamed { call, participant, .. } => {
                self.other(call, participant, |other| !std::mem::replace(&mut other.named, true))
            }
            Event::MessageReceived { call, participant, message } => {
                let Some(number) = message.first_chunk().map(|number| u64::from_be_bytes(*number)) else {
                    return Err(format!("got {event:?}, which no one sent"));
                };
                self.other(call, participant, |other| other.joined && other.message.replace(number) < Some(number))
            }
            Event::MessageLost { call, participant, .. } => self.other(call, participant, |other| other.joined),
            Event::ParticipantReconnecting { call, participant } => {
                self.other(call, participant, |other| other.joined && !std::mem::replace(&mut other.reconnecting, true))
            }
            Event::ParticipantReconnected { call, participant } => self.other(call, participant, |other| {
                let lost = std::mem::take(&mut other.reconnecting) | std::mem::take(&mut other.unreachable);
                other.joined && lost
            }),
            Event::ParticipantUnreachable { call, participant, .. } => self.other(call, participant, |other| {
                other.reconnecting = false;
                !std::mem::replace(&mut other.unreachable, true)
            }),
            Event::ParticipantLeft { call, participant, .. } => {
                let known = self.call(call);
                known.speaking.remove(participant);
                let other = known.others.remove(participant).unwrap_or_default();
                if !other.streams.is_empty() {
                    return Err(format!("{event:?}, and its streams did not end"));
                }
                other.joined || other.unreachable
            }
            Event::ParticipantStateChanged { call, participant, state } => {
                self.other(call, participant, |other| other.state.replace(*state) != Some(*state))
            }
            Event::StreamOffered { call, participant, stream } => {
                self.other(call, participant, |other| other.streams.insert(stream.stream))
            }
            Event::StreamEnded { call, track, reason } => {
                let TrackSource::Stream(stream) = track.source else { return Err(format!("got {event:?}")) };
                self.other(call, &track.endpoint, |other| match reason {
                    StreamEndReason::Refused => other.streams.contains(&stream),
                    _ => other.streams.remove(&stream),
                })
            }
            Event::SpeakingStarted { call, participant } => {
                let known = self.call(call);
                !known.held && known.speaking.insert(*participant)
            }
            Event::SpeakingStopped { call, participant } => self.call(call).speaking.remove(participant),
            Event::QualityDegraded { call, participant, .. } => self.other(call, participant, |other| {
                other.degraded = true;
                other.joined
            }),
            Event::QualityRecovered { call, participant } => {
                self.other(call, participant, |other| std::mem::take(&mut other.degraded))
            }
            _ => true,
        };
        if fits { Ok(()) } else { Err(format!("got {event:?} out of order")) }
    }

    fn call(&mut self, call: &CallId) -> &mut InCall {
        self.calls.entry(*call).or_default()
    }

    fn other(&mut self, call: &CallId, endpoint: &Endpoint, change: impl FnOnce(&mut Other) -> bool) -> bool {
        change(self.call(call).others.entry(*endpoint).or_default())
    }
}
