//! Texts and JSON of events.

use std::time::Duration;

use blink_api::{DeviceDirection, Did, FailureReason, PathFailure, RejectReason, TrackKind, TrackSource};
use blink_engine::{CancelledReason, DeviceChangeReason, EndReason, Event, LeftReason};
use serde_json::{Value, json};

pub(crate) use crate::names::Names;

/// Text of an event; `None` for events that only programs need.
pub(crate) fn words(event: &Event, names: &Names) -> Option<String> {
    let name = |did: &Did| names.of(did);
    Some(match event {
        Event::IncomingCall { from, members, .. } if members.len() > 2 => {
            format!("{} calls, a group of {}", name(from), members.len())
        }
        Event::IncomingCall { from, .. } => format!("{} calls", name(from)),
        Event::CallCancelled { reason, .. } => format!("stopped ringing: {}", cancelled(*reason)),
        Event::MissedCall { from, .. } => format!("missed a call from {}", name(from)),
        Event::ParticipantRinging { participant, .. } => format!("ringing at {}", name(participant)),
        Event::ParticipantBusy { participant, .. } => format!("{} is in another call", name(participant)),
        Event::ParticipantRejected { participant, reason: RejectReason::Declined, .. } => {
            format!("{} rejected", name(participant))
        }
        Event::ParticipantRejected { participant, reason, .. } => format!("{} rejected: {reason}", name(participant)),
        Event::ParticipantUnanswered { participant, .. } => format!("{} did not answer", name(participant)),
        Event::ParticipantJoined { participant, .. } => format!("connected to {}", name(&participant.did)),
        Event::ParticipantReconnecting { participant, .. } => {
            format!("lost the path to {}, reconnecting", name(&participant.did))
        }
        Event::ParticipantReconnected { participant, .. } => format!("reconnected to {}", name(&participant.did)),
        Event::ParticipantUnreachable { participant, failure, .. } => {
            format!("no path to {}: {}", name(&participant.did), failure_text(failure))
        }
        Event::ParticipantLeft { participant, reason, .. } => {
            format!("{} {}", name(&participant.did), left(*reason))
        }
        Event::ParticipantStateChanged { participant, state, .. } => {
            let states = [
                (state.muted, "muted"),
                (state.deafened, "deafened"),
                (state.recording, "recording"),
                (state.held, "holding the call"),
            ];
            let states: Vec<_> = states.iter().filter(|(is, _)| *is).map(|(_, what)| *what).collect();
            match states.is_empty() {
                // The first state of a participant is told only where there is something to tell.
                true => format!("{} hears and is heard, and does not record", name(&participant.did)),
                false => format!("{} is {}", name(&participant.did), states.join(", ")),
            }
        }
        Event::MessageReceived { participant, message, .. } => match std::str::from_utf8(message) {
            Ok(text) => format!("message from {}: {text}", name(&participant.did)),
            Err(_) => format!("message from {}: {} bytes, not text", name(&participant.did), message.len()),
        },
        Event::MessageLost { participant, .. } => {
            format!("a message to {} may not have arrived", name(&participant.did))
        }
        Event::CallJoined { .. } => "joined the call".to_owned(),
        Event::CallEnded { reason, failure, .. } => {
            format!("the call ended: {}", ended_because(*reason, failure.as_ref()))
        }
        Event::CallHeld { .. } => "the call is on hold: you neither hear the others nor are heard".to_owned(),
        Event::CallResumed { .. } => "back in the call that was on hold".to_owned(),
        Event::CallReplaced { .. } => "both sides called at the same time (glare): merged into one call".to_owned(),
        Event::MediaStarted { track, kind: TrackKind::Audio, .. } => {
            format!("receiving audio from {}", name(&track.endpoint.did))
        }
        Event::MediaStarted { track, kind: TrackKind::Video, .. } => {
            format!("receiving video from {}", name(&track.endpoint.did))
        }
        Event::QualityDegraded { participant, reason, .. } => {
            format!("poor connection to {}: {reason}", name(&participant.did))
        }
        Event::QualityRecovered { participant, .. } => {
            format!("the connection to {} is good again", name(&participant.did))
        }
        Event::StreamOffered { participant, stream, .. } => {
            format!("{} offers {} `{}`", name(&participant.did), stream.codec, stream.name)
        }
        Event::StreamEnded { track, .. } => format!("a stream of {} ended", name(&track.endpoint.did)),
        Event::NoMicrophone { error, .. } => {
            format!(
                "no microphone, you are not heard: {error}; type `microphone NAME` to choose one, `devices` to list them"
            )
        }
        Event::SourceEnded { track, name, .. } if track.source == TrackSource::Microphone => {
            format!("the microphone `{name}` came to its end")
        }
        Event::SourceEnded { name, .. } => format!("the stream of `{name}` came to its end"),
        Event::DeviceLost { name } => {
            format!("the device `{name}` is not there; type `devices` to list those that are")
        }
        Event::DeviceChanged { direction, from, to, reason } => {
            changed(*direction, from.as_deref(), to.as_deref(), *reason)
        }
        Event::DevicesChanged { devices } => {
            format!("the audio and video devices changed, there are {} now: type `devices` to list them", devices.len())
        }
        Event::SpeakingWhileMuted { .. } => "you are speaking while you are muted".to_owned(),
        Event::DeviceCloned => {
            "the data directory was copied and is used by another running engine: this engine stops".to_owned()
        }
        Event::PersistenceFailed { error } => format!("cannot store the state: {error}"),
        Event::SignalingChanged { nodes: 0 } => "connected to no signaling node".to_owned(),
        Event::SignalingChanged { nodes: 1 } => "connected to 1 signaling node".to_owned(),
        Event::SignalingChanged { nodes } => format!("connected to {nodes} signaling nodes"),
        event => return crate::record::words(event),
    })
}

/// JSON of an event, with the time since the start and the name of its engine, if there are
/// several.
pub(crate) fn json(event: &Event, at: Duration, whose: Option<&str>) -> Value {
    let mut value = serde_json::to_value(event).unwrap_or_else(|error| json!({ "error": error.to_string() }));
    value["at_ms"] = json!(milliseconds(at));
    if let Some(name) = whose {
        value["name"] = json!(name);
    }
    value
}

/// Text of an end reason, with the failure of the path where that was it.
pub(crate) fn ended_because(reason: EndReason, failure: Option<&PathFailure>) -> String {
    match failure {
        Some(failure) if failure.reason == FailureReason::PathLost => {
            format!("the media path was lost: {}", failure_text(failure))
        }
        Some(failure) => format!("no media path: {}", failure_text(failure)),
        None => ended(reason).to_owned(),
    }
}

/// Text of a failure, with what to do about it.
fn failure_text(failure: &PathFailure) -> String {
    let advice = match failure.reason {
        FailureReason::NoCommonCodec => "; compare `codec` of both configurations",
        FailureReason::DtlsVersion => "; compare `dtls` of both transports' configurations",
        FailureReason::Fingerprint | FailureReason::Identity => "; something on the way intercepts the call",
        FailureReason::NoCandidatePair => "; a firewall blocks UDP, or a relay is needed (`ice.servers`)",
        _ => "",
    };
    format!("{failure}{advice}")
}

/// Text of an end reason.
pub(crate) fn ended(reason: EndReason) -> &'static str {
    match reason {
        EndReason::Left => "left",
        EndReason::RemoteLeft => "the remote side left",
        EndReason::TimedOut => "connection lost",
        EndReason::Rejected => "rejected",
        EndReason::Busy => "busy, in another call",
        EndReason::Unanswered => "not answered",
        EndReason::Gone => "the call had already ended",
        EndReason::Unreachable => "no participant could be reached",
        EndReason::Failed => "no media path could be established or restored",
        EndReason::Removed => "removed by the creator of the call",
        EndReason::OtherDevice => "another device of yours joined",
        _ => "ended",
    }
}

/// Milliseconds with one decimal.
pub(crate) fn milliseconds(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 10_000.0).round() / 10.0
}

fn cancelled(reason: CancelledReason) -> &'static str {
    match reason {
        CancelledReason::CallerLeft => "the caller cancelled",
        CancelledReason::AnsweredElsewhere => "answered on another device",
        CancelledReason::RejectedElsewhere => "rejected on another device",
        CancelledReason::Displaced => "too many calls at once",
        _ => "cancelled",
    }
}

fn changed(direction: DeviceDirection, from: Option<&str>, to: Option<&str>, reason: DeviceChangeReason) -> String {
    let device = if direction == DeviceDirection::Source { "microphone" } else { "speaker" };
    let to = to.map_or_else(|| "none".to_owned(), |to| format!("`{to}`"));
    match (reason, from) {
        (DeviceChangeReason::FellBack, Some(from)) => format!("the {device} is now {to}, in place of `{from}`"),
        (DeviceChangeReason::FellBack, None) => format!("the {device} is now {to}, in place of the chosen one"),
        (DeviceChangeReason::Returned, _) => format!("the {device} is {to} again"),
        _ => format!("the {device} is now {to}"),
    }
}

fn left(reason: LeftReason) -> &'static str {
    match reason {
        LeftReason::Left => "left",
        LeftReason::TimedOut => "lost the connection",
        LeftReason::Restarted => "restarted",
        LeftReason::Removed => "was removed",
        _ => "left",
    }
}

#[cfg(test)]
mod tests {
    use blink_api::{CallId, DeviceId, Endpoint, QualityReason, StreamId};
    use blink_engine::StreamInfo;

    use super::*;
    use crate::terminal_text::tests::HOSTILE;
    use crate::terminal_text::{Line, is_plain};

    /// Every event with untrusted text.
    #[test]
    fn untrusted_text_is_escaped_and_readable() {
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
            Event::DeviceChanged {
                direction: DeviceDirection::Source,
                from: Some(text()),
                to: Some(text()),
                reason: DeviceChangeReason::FellBack,
            },
            Event::PersistenceFailed { error: text() },
            Event::MessageReceived { call, participant, message: text().into_bytes() },
            Event::SourceEnded { call, track: blink_api::TrackKey::microphone(participant), name: text() },
        ];
        for event in &events {
            let line = Line::new(&words(event, &Names::default()).unwrap());
            assert!(line.as_str().contains(r"\u{1b}]52;c;Zm9v") && line.as_str().chars().all(is_plain), "{line:?}");
            let json = Line::json(&json(event, Duration::ZERO, None));
            assert!(json.as_str().contains("Zm9v") && json.as_str().chars().all(is_plain), "{json:?}");
        }
    }

    #[test]
    fn dids_without_a_name_are_shortened() {
        let did: Did = "did:key:z6MkiTBz1ymuepAQ4HEHYSF1H8quG5GLVVQR3djdX3mDooWp".parse().unwrap();
        let mut names = Names::default();
        assert_eq!(names.of(&did), "z6MkiTBz…mDooWp");
        names.add(did, "Bob");
        let (call, device) = (CallId::from_bytes([1; 16]), DeviceId::from_random([1; 16]));
        let event = Event::ParticipantRinging { call, participant: did, device };
        assert_eq!(words(&event, &names).unwrap(), "ringing at Bob");
    }

    #[test]
    fn degraded_quality_is_told_with_its_reason() {
        let did: Did = "did:key:z6MkiTBz1ymuepAQ4HEHYSF1H8quG5GLVVQR3djdX3mDooWp".parse().unwrap();
        let call = CallId::from_bytes([1; 16]);
        let participant = Endpoint { did, device: DeviceId::from_random([1; 16]) };
        let reason = QualityReason::Loss { measured: 0.125, threshold: 0.05 };
        let event = Event::QualityDegraded { call, participant, reason };
        let text = words(&event, &Names::default()).unwrap();
        assert_eq!(text, "poor connection to z6MkiTBz…mDooWp: 12.5 % of packets lost, over 5 %");
        let json = json(&event, Duration::ZERO, None);
        assert_eq!((&json["event"], &json["reason"]["kind"]), (&json!("quality_degraded"), &json!("loss")));
        assert_eq!(json["reason"]["measured"], json!(0.125));
    }

    #[test]
    fn json_contains_event_time_and_engine_name() {
        let event =
            Event::CallEnded { call: CallId::from_bytes([0; 16]), reason: EndReason::RemoteLeft, failure: None };
        assert_eq!(
            json(&event, Duration::from_micros(1_234_567), Some("Alice")),
            json!({
                "event": "call_ended", "call": "0".repeat(32), "reason": "remote_left", "at_ms": 1234.6, "name": "Alice"
            })
        );
    }
}
