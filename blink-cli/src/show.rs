//! Events as lines for people and as JSON.

use std::collections::BTreeMap;
use std::time::Duration;

use blink_api::{Did, TrackKind};
use blink_engine::{CancelledReason, EndReason, Event, LeftReason};
use serde_json::{Value, json};

/// How people are called in what is shown.
#[derive(Debug, Clone, Default)]
pub(crate) struct Names(BTreeMap<Did, String>);

impl Names {
    /// Gives somebody a name.
    pub(crate) fn add(&mut self, did: Did, name: &str) {
        self.0.insert(did, name.to_owned());
    }

    /// Somebody's name, else the ends of the DID.
    pub(crate) fn of(&self, did: &Did) -> String {
        self.0.get(did).cloned().unwrap_or_else(|| {
            let text = did.to_string();
            let key = text.trim_start_matches("did:key:");
            format!("{}…{}", &key[..8], &key[key.len() - 6..])
        })
    }
}

/// What happened, in words; `None` for what only programs want to know.
pub(crate) fn words(event: &Event, names: &Names) -> Option<String> {
    let name = |did: &Did| names.of(did);
    Some(match event {
        Event::IncomingCall { from, members, .. } if members.len() > 2 => {
            format!("{} calls, a group of {}", name(from), members.len())
        }
        Event::IncomingCall { from, .. } => format!("{} calls", name(from)),
        Event::CallCancelled { reason, .. } => format!("rings no more: {}", cancelled(*reason)),
        Event::MissedCall { from, .. } => format!("missed a call of {}", name(from)),
        Event::ParticipantRinging { participant, .. } => format!("rings at {}", name(participant)),
        Event::ParticipantBusy { participant, .. } => format!("{} is in another call", name(participant)),
        Event::ParticipantRejected { participant, .. } => format!("{} rejected", name(participant)),
        Event::ParticipantUnanswered { participant, .. } => format!("{} did not answer", name(participant)),
        Event::ParticipantJoined { participant, .. } => format!("connected to {}", name(&participant.did)),
        Event::ParticipantReconnecting { participant, .. } => {
            format!("lost the path to {}, looking for it", name(&participant.did))
        }
        Event::ParticipantReconnected { participant, .. } => format!("found the path to {}", name(&participant.did)),
        Event::ParticipantUnreachable { participant, .. } => format!("no path to {}", name(&participant.did)),
        Event::ParticipantLeft { participant, reason, .. } => {
            format!("{} {}", name(&participant.did), left(*reason))
        }
        Event::ParticipantStateChanged { participant, state, .. } => {
            let states = [(state.muted, "muted"), (state.deafened, "deafened"), (state.recording, "recording")];
            let states: Vec<_> = states.iter().filter(|(is, _)| *is).map(|(_, what)| *what).collect();
            // Nothing to tell of a participant that just came.
            let states = if states.is_empty() { return None } else { states.join(", ") };
            format!("{} is {states}", name(&participant.did))
        }
        Event::CallJoined { .. } => "is in the call".to_owned(),
        Event::CallEnded { reason, .. } => format!("the call is over: {}", ended(*reason)),
        Event::CallReplaced { .. } => "called at the same time; both calls are one now".to_owned(),
        Event::MediaStarted { participant, kind: TrackKind::Audio, .. } => {
            format!("hears {}", name(&participant.did))
        }
        Event::MediaStarted { participant, kind: TrackKind::Video, .. } => format!("sees {}", name(&participant.did)),
        Event::StreamOffered { participant, stream, .. } => {
            format!("{} offers {} `{}`", name(&participant.did), stream.codec, stream.name)
        }
        Event::StreamEnded { participant, .. } => format!("a stream of {} is over", name(&participant.did)),
        Event::NoMicrophone { error, .. } => format!("has no microphone and only listens: {error}"),
        Event::DeviceLost { name } => format!("the device `{name}` is gone"),
        Event::DeviceCloned => {
            "this device runs elsewhere, too, since its data directory was copied: this one stops".to_owned()
        }
        Event::PersistenceFailed { error } => format!("what happens cannot be written down: {error}"),
        Event::SignalingChanged { nodes: 0 } => "no node of the network is connected".to_owned(),
        Event::SignalingChanged { nodes: 1 } => "1 node of the network is connected".to_owned(),
        Event::SignalingChanged { nodes } => format!("{nodes} nodes of the network are connected"),
        _ => return None,
    })
}

/// The event with the time since the program began and, where there are several, whose it is.
pub(crate) fn json(event: &Event, at: Duration, whose: Option<&str>) -> Value {
    let mut value = serde_json::to_value(event).unwrap_or_else(|error| json!({ "error": error.to_string() }));
    value["at_ms"] = json!(milliseconds(at));
    if let Some(name) = whose {
        value["name"] = json!(name);
    }
    value
}

/// Why a call is over, in words.
pub(crate) fn ended(reason: EndReason) -> &'static str {
    match reason {
        EndReason::Left => "left",
        EndReason::RemoteLeft => "the other one left",
        EndReason::TimedOut => "no sign of the other one",
        EndReason::Rejected => "rejected",
        EndReason::Busy => "busy, in another call",
        EndReason::Unanswered => "not answered",
        EndReason::Gone => "it was over already",
        EndReason::Unreachable => "nobody in it could be reached",
        EndReason::Failed => "no path for sound could be made or found again",
        EndReason::Removed => "removed by whoever began it",
        EndReason::OtherDevice => "another device of yours joined",
    }
}

/// Milliseconds with one decimal.
pub(crate) fn milliseconds(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 10_000.0).round() / 10.0
}

fn cancelled(reason: CancelledReason) -> &'static str {
    match reason {
        CancelledReason::CallerLeft => "the caller gave up",
        CancelledReason::AnsweredElsewhere => "answered on another device",
        CancelledReason::RejectedElsewhere => "rejected on another device",
        CancelledReason::Displaced => "too many calls at once",
    }
}

fn left(reason: LeftReason) -> &'static str {
    match reason {
        LeftReason::Left => "left",
        LeftReason::TimedOut => "is gone without a word",
        LeftReason::Restarted => "started anew",
        LeftReason::Removed => "was removed",
    }
}

#[cfg(test)]
mod tests {
    use blink_api::{CallId, DeviceId, Endpoint, StreamId};
    use blink_engine::StreamInfo;

    use super::*;
    use crate::shown::tests::HOSTILE;
    use crate::shown::{Line, is_plain};

    /// Every event that has text of others in it.
    #[test]
    fn what_others_chose_is_shown_and_harmless() {
        let did: Did = "did:key:z6MkiTBz1ymuepAQ4HEHYSF1H8quG5GLVVQR3djdX3mDooWp".parse().unwrap();
        let call = CallId::from_bytes([1; 16]);
        let text = || HOSTILE.to_owned();
        let stream =
            StreamInfo { stream: StreamId::from_random([1; 16]), kind: TrackKind::Video, codec: text(), name: text() };
        let participant = Endpoint { did, device: DeviceId::from_random([1; 16]) };
        let events = [
            Event::StreamOffered { call, participant, stream },
            Event::NoMicrophone { call, error: text() },
            Event::DeviceLost { name: text() },
            Event::PersistenceFailed { error: text() },
        ];
        for event in &events {
            let line = Line::new(&words(event, &Names::default()).unwrap());
            assert!(line.as_str().contains(r"\u{1b}]52;c;Zm9v") && line.as_str().chars().all(is_plain), "{line:?}");
            let json = Line::json(&json(event, Duration::ZERO, None));
            assert!(json.as_str().contains("Zm9v") && json.as_str().chars().all(is_plain), "{json:?}");
        }
    }

    #[test]
    fn people_without_a_name_are_shown_by_the_ends_of_their_did() {
        let did: Did = "did:key:z6MkiTBz1ymuepAQ4HEHYSF1H8quG5GLVVQR3djdX3mDooWp".parse().unwrap();
        let mut names = Names::default();
        assert_eq!(names.of(&did), "z6MkiTBz…mDooWp");
        names.add(did, "Bob");
        let event = Event::ParticipantRinging { call: CallId::from_bytes([1; 16]), participant: did };
        assert_eq!(words(&event, &names).unwrap(), "rings at Bob");
    }

    #[test]
    fn json_has_the_event_its_time_and_whose_it_is() {
        let event = Event::CallEnded { call: CallId::from_bytes([0; 16]), reason: EndReason::RemoteLeft };
        assert_eq!(
            json(&event, Duration::from_micros(1_234_567), Some("Alice")),
            json!({
                "event": "call_ended", "call": "0".repeat(32), "reason": "remote_left", "at_ms": 1234.6, "name": "Alice"
            })
        );
    }
}
