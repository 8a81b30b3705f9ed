//! Expected events: `bob.sees(incoming_call(call, &alice))`.

use std::fmt;

use blink_api::{CallId, DeviceDirection, Endpoint, FailureReason, RejectReason, StreamId, TrackKey};
use blink_engine::{
    CancelledReason, DeviceChangeReason, EndReason, Event, LeftReason, ParticipantState, StreamEndReason,
};

use super::participant::Participant;

type Check = Box<dyn Fn(&Event) -> bool + Send + Sync>;

/// An event that a scenario waits for, or that must not occur.
pub struct ExpectedEvent {
    text: String,
    check: Check,
}

impl fmt::Debug for ExpectedEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ExpectedEvent").finish_non_exhaustive()
    }
}

impl ExpectedEvent {
    /// Whether an event matches.
    pub(crate) fn is(&self, event: &Event) -> bool {
        (self.check)(event)
    }
}

impl fmt::Display for ExpectedEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Whether the device that an event names is the one of a participant, where both are known.
fn names_device(event: &Event, own: Option<Endpoint>) -> bool {
    event.endpoint().zip(own).is_none_or(|(named, own)| named == own)
}

/// Any event with this name ([`Event::name`]).
pub fn any(name: &'static str) -> ExpectedEvent {
    expected_event(format!("any {name}"), move |event| event.name() == name)
}

/// Any event with this name about a call.
pub fn any_of(name: &'static str, call: CallId) -> ExpectedEvent {
    expected_event(format!("any {name} of {call}"), move |event| event.name() == name && event.call() == Some(call))
}

/// An incoming call rings.
pub fn incoming_call(call: CallId, from: &Participant) -> ExpectedEvent {
    let (who, device) = (from.did(), from.endpoint());
    expected_event(format!("IncomingCall {call} from {from}"), move |event| {
        matches!(event, Event::IncomingCall { call: of, from, .. } if *of == call && *from == who)
            && names_device(event, device)
    })
}

/// A call stops ringing.
pub fn call_cancelled(call: CallId, reason: CancelledReason) -> ExpectedEvent {
    expected_event(format!("CallCancelled({reason:?}) of {call}"), move |event| {
        *event == Event::CallCancelled { call, reason }
    })
}

/// A call was missed.
pub fn missed_call(call: CallId, from: &Participant) -> ExpectedEvent {
    let (who, device) = (from.did(), from.endpoint());
    expected_event(format!("MissedCall {call} from {from}"), move |event| {
        matches!(event, Event::MissedCall { call: of, from, .. } if *of == call && *from == who)
            && names_device(event, device)
    })
}

/// A device of an invited participant rings.
pub fn ringing(call: CallId, who: &Participant) -> ExpectedEvent {
    let person = who.did();
    expected_event(
        format!("ParticipantRinging({who}) of {call}"),
        move |event| matches!(event, Event::ParticipantRinging { call: of, participant, .. } if *of == call && *participant == person),
    )
}

/// An invited participant is in another call.
pub fn busy(call: CallId, who: &Participant) -> ExpectedEvent {
    let person = who.did();
    expected_event(
        format!("ParticipantBusy({who}) of {call}"),
        move |event| matches!(event, Event::ParticipantBusy { call: of, participant, .. } if *of == call && *participant == person),
    )
}

/// An invited participant rejected the call.
pub fn rejected(call: CallId, who: &Participant) -> ExpectedEvent {
    let (participant, own) = (who.did(), who.endpoint());
    expected_event(format!("ParticipantRejected({who}) of {call}"), move |event| {
        let device = event.endpoint().map(|endpoint| endpoint.device);
        *event == Event::ParticipantRejected { call, participant, device, reason: RejectReason::Declined }
            && names_device(event, own)
    })
}

/// An invited participant did not answer in time.
pub fn unanswered(call: CallId, who: &Participant) -> ExpectedEvent {
    let participant = who.did();
    expected_event(format!("ParticipantUnanswered({who}) of {call}"), move |event| {
        *event == Event::ParticipantUnanswered { call, participant }
    })
}

/// The path to a participant is up.
pub fn joined(call: CallId, who: &Participant) -> ExpectedEvent {
    let of = who.endpoint();
    expected_event(
        format!("ParticipantJoined({who}) of {call}"),
        move |event| matches!(event, Event::ParticipantJoined { call: c, participant } if *c == call && Some(*participant) == of),
    )
}

/// A message of a participant arrives.
pub fn message_received(call: CallId, from: &Participant, message: Vec<u8>) -> ExpectedEvent {
    let of = from.endpoint();
    let end = String::from_utf8_lossy(&message[message.len().saturating_sub(8)..]).into_owned();
    expected_event(
        format!("MessageReceived(…{end:?}) from {from}"),
        move |event| matches!(event, Event::MessageReceived { call: c, participant, message: m } if *c == call && Some(*participant) == of && *m == message),
    )
}

/// The path to a participant is interrupted.
pub fn reconnecting(call: CallId, who: &Participant) -> ExpectedEvent {
    let of = who.endpoint();
    expected_event(
        format!("ParticipantReconnecting({who}) of {call}"),
        move |event| matches!(event, Event::ParticipantReconnecting { call: c, participant } if *c == call && Some(*participant) == of),
    )
}

/// The path to a participant is restored.
pub fn reconnected(call: CallId, who: &Participant) -> ExpectedEvent {
    let of = who.endpoint();
    expected_event(
        format!("ParticipantReconnected({who}) of {call}"),
        move |event| matches!(event, Event::ParticipantReconnected { call: c, participant } if *c == call && Some(*participant) == of),
    )
}

/// No path to a participant was found.
pub fn unreachable(call: CallId, who: &Participant) -> ExpectedEvent {
    let of = who.endpoint();
    expected_event(
        format!("ParticipantUnreachable({who}) of {call}"),
        move |event| matches!(event, Event::ParticipantUnreachable { call: c, participant, .. } if *c == call && Some(*participant) == of),
    )
}

/// A participant left.
pub fn left(call: CallId, who: &Participant, reason: LeftReason) -> ExpectedEvent {
    let of = who.endpoint();
    expected_event(format!("ParticipantLeft({who}, {reason:?}) of {call}"), move |event| {
        let Event::ParticipantLeft { call: c, participant, reason: r } = event else { return false };
        *c == call && Some(*participant) == of && *r == reason
    })
}

/// A participant announced this state.
pub fn state_of(call: CallId, who: &Participant, state: ParticipantState) -> ExpectedEvent {
    let of = who.endpoint();
    expected_event(format!("ParticipantStateChanged({who}, {state:?}) of {call}"), move |event| {
        let Event::ParticipantStateChanged { call: c, participant, state: s } = event else { return false };
        *c == call && Some(*participant) == of && *s == state
    })
}

/// The first audio of a participant was decoded.
pub fn media_started(call: CallId, who: &Participant) -> ExpectedEvent {
    let of = who.endpoint();
    expected_event(format!("MediaStarted({who}) of {call}"), move |event| {
        let Event::MediaStarted { call: c, track, .. } = event else { return false };
        *c == call && Some(*track) == of.map(TrackKey::microphone)
    })
}

/// The first frame of a participant's stream arrived.
pub fn video_started(call: CallId, who: &Participant, stream: StreamId) -> ExpectedEvent {
    let of = who.endpoint();
    expected_event(format!("MediaStarted({who}, {stream}) of {call}"), move |event| {
        let Event::MediaStarted { call: c, track, .. } = event else { return false };
        *c == call && Some(*track) == of.map(|endpoint| TrackKey::stream(endpoint, stream))
    })
}

/// A participant offers a stream.
pub fn stream_offered(call: CallId, who: &Participant, stream: StreamId) -> ExpectedEvent {
    let of = who.endpoint();
    expected_event(format!("StreamOffered({who}, {stream}) of {call}"), move |event| {
        let Event::StreamOffered { call: c, participant, stream: s } = event else { return false };
        *c == call && Some(*participant) == of && s.stream == stream
    })
}

/// A stream ended.
pub fn stream_ended(call: CallId, who: &Participant, stream: StreamId, reason: StreamEndReason) -> ExpectedEvent {
    let of = who.endpoint();
    expected_event(format!("StreamEnded({who}, {stream}, {reason:?}) of {call}"), move |event| {
        let Event::StreamEnded { call: c, track, reason: r } = event else { return false };
        *c == call && Some(*track) == of.map(|endpoint| TrackKey::stream(endpoint, stream)) && *r == reason
    })
}

/// A participant started to speak.
pub fn speaking_started(call: CallId, who: &Participant) -> ExpectedEvent {
    let of = who.endpoint();
    expected_event(
        format!("SpeakingStarted({who}) of {call}"),
        move |event| matches!(event, Event::SpeakingStarted { call: c, participant } if *c == call && Some(*participant) == of),
    )
}

/// A participant stopped speaking.
pub fn speaking_stopped(call: CallId, who: &Participant) -> ExpectedEvent {
    let of = who.endpoint();
    expected_event(
        format!("SpeakingStopped({who}) of {call}"),
        move |event| matches!(event, Event::SpeakingStopped { call: c, participant } if *c == call && Some(*participant) == of),
    )
}

/// The media of a participant is degraded, by the name of its reason
/// ([`QualityReason::name`](blink_api::QualityReason::name)).
pub fn quality_degraded(call: CallId, who: &Participant, by: &'static str) -> ExpectedEvent {
    let of = who.endpoint();
    expected_event(format!("QualityDegraded({who}, {by}) of {call}"), move |event| {
        let Event::QualityDegraded { call: c, participant, reason } = event else { return false };
        *c == call && Some(*participant) == of && reason.name() == by
    })
}

/// The media of a participant has recovered.
pub fn quality_recovered(call: CallId, who: &Participant) -> ExpectedEvent {
    let of = who.endpoint();
    expected_event(
        format!("QualityRecovered({who}) of {call}"),
        move |event| matches!(event, Event::QualityRecovered { call: c, participant } if *c == call && Some(*participant) == of),
    )
}

/// This device joined the call.
pub fn call_joined(call: CallId) -> ExpectedEvent {
    expected_event(format!("CallJoined {call}"), move |event| *event == Event::CallJoined { call })
}

/// This device holds the call.
pub fn call_held(call: CallId) -> ExpectedEvent {
    expected_event(format!("CallHeld {call}"), move |event| *event == Event::CallHeld { call })
}

/// This device is back in a call that it held.
pub fn call_resumed(call: CallId) -> ExpectedEvent {
    expected_event(format!("CallResumed {call}"), move |event| *event == Event::CallResumed { call })
}

/// This device is no longer in the call.
pub fn call_ended(call: CallId, reason: EndReason) -> ExpectedEvent {
    expected_event(format!("CallEnded({reason:?}) of {call}"), move |event| {
        matches!(event, Event::CallEnded { call: c, reason: r, failure }
            if *c == call && *r == reason && failure.is_some() == (reason == EndReason::Failed))
    })
}

/// This device is no longer in the call, because its path failed for this reason.
pub fn call_failed(call: CallId, because: FailureReason) -> ExpectedEvent {
    expected_event(format!("CallEnded(Failed: {because:?}) of {call}"), move |event| {
        matches!(event, Event::CallEnded { call: c, reason: EndReason::Failed, failure: Some(failure) }
            if *c == call && failure.reason == because)
    })
}

/// One call replaced another.
pub fn call_replaced_by(new: CallId) -> ExpectedEvent {
    expected_event(
        format!("CallReplaced by {new}"),
        move |event| matches!(event, Event::CallReplaced { old, new: by } if *by == new && *old != new),
    )
}

/// No microphone could be opened.
pub fn no_microphone(call: CallId) -> ExpectedEvent {
    expected_event(
        format!("NoMicrophone in {call}"),
        move |event| matches!(event, Event::NoMicrophone { call: of, .. } if *of == call),
    )
}

/// A device was lost.
pub fn device_lost(name: &'static str) -> ExpectedEvent {
    expected_event(
        format!("DeviceLost of {name}"),
        move |event| matches!(event, Event::DeviceLost { name: of } if of == name),
    )
}

/// Another device is in use.
pub fn device_changed(of: DeviceDirection, name: &'static str, why: DeviceChangeReason) -> ExpectedEvent {
    expected_event(format!("DeviceChanged({of:?}) to {name}, {why:?}"), move |event| {
        matches!(event, Event::DeviceChanged { direction, to, reason, .. }
            if *direction == of && to.as_deref() == Some(name) && *reason == why)
    })
}

fn expected_event(text: String, check: impl Fn(&Event) -> bool + Send + Sync + 'static) -> ExpectedEvent {
    ExpectedEvent { text, check: Box::new(check) }
}
