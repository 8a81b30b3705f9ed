//! Events as a scenario awaits them: `bob.sees(incoming_call(call, &alice))`.

use std::fmt;

use blink_api::{CallId, StreamId, TrackKey};
use blink_engine::{CancelledReason, EndReason, Event, LeftReason, ParticipantState, StreamEndReason};

use super::participant::Participant;

type Check = Box<dyn Fn(&Event) -> bool + Send + Sync>;

/// An event that is awaited, or must not come.
pub struct Sight {
    text: String,
    check: Check,
}

impl Sight {
    /// Whether this is it.
    pub(crate) fn is(&self, event: &Event) -> bool {
        (self.check)(event)
    }
}

impl fmt::Display for Sight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Any event of this name ([`Event::name`]).
pub fn any(name: &'static str) -> Sight {
    sight(format!("any {name}"), move |event| event.name() == name)
}

/// Any event of this name about a call.
pub fn any_of(name: &'static str, call: CallId) -> Sight {
    sight(format!("any {name} of {call}"), move |event| event.name() == name && event.call() == Some(call))
}

/// A call comes in.
pub fn incoming_call(call: CallId, from: &Participant) -> Sight {
    let who = from.did();
    sight(
        format!("IncomingCall {call} from {from}"),
        move |event| matches!(event, Event::IncomingCall { call: of, from, .. } if *of == call && *from == who),
    )
}

/// A call rings no more.
pub fn call_cancelled(call: CallId, reason: CancelledReason) -> Sight {
    sight(format!("CallCancelled({reason:?}) of {call}"), move |event| *event == Event::CallCancelled { call, reason })
}

/// A call was missed.
pub fn missed_call(call: CallId, from: &Participant) -> Sight {
    let who = from.did();
    sight(format!("MissedCall {call} from {from}"), move |event| *event == Event::MissedCall { call, from: who })
}

/// A device of somebody invited rings.
pub fn ringing(call: CallId, who: &Participant) -> Sight {
    let participant = who.did();
    sight(format!("ParticipantRinging({who}) of {call}"), move |event| {
        *event == Event::ParticipantRinging { call, participant }
    })
}

/// Somebody invited is in another call.
pub fn busy(call: CallId, who: &Participant) -> Sight {
    let participant = who.did();
    sight(format!("ParticipantBusy({who}) of {call}"), move |event| {
        *event == Event::ParticipantBusy { call, participant }
    })
}

/// Somebody invited will not come.
pub fn rejected(call: CallId, who: &Participant) -> Sight {
    let participant = who.did();
    sight(format!("ParticipantRejected({who}) of {call}"), move |event| {
        *event == Event::ParticipantRejected { call, participant }
    })
}

/// Somebody invited did not answer in time.
pub fn unanswered(call: CallId, who: &Participant) -> Sight {
    let participant = who.did();
    sight(format!("ParticipantUnanswered({who}) of {call}"), move |event| {
        *event == Event::ParticipantUnanswered { call, participant }
    })
}

/// The path to somebody is up.
pub fn joined(call: CallId, who: &Participant) -> Sight {
    let of = who.endpoint();
    sight(
        format!("ParticipantJoined({who}) of {call}"),
        move |event| matches!(event, Event::ParticipantJoined { call: c, participant } if *c == call && Some(*participant) == of),
    )
}

/// The path to somebody is silent.
pub fn reconnecting(call: CallId, who: &Participant) -> Sight {
    let of = who.endpoint();
    sight(
        format!("ParticipantReconnecting({who}) of {call}"),
        move |event| matches!(event, Event::ParticipantReconnecting { call: c, participant } if *c == call && Some(*participant) == of),
    )
}

/// The path to somebody was found again.
pub fn reconnected(call: CallId, who: &Participant) -> Sight {
    let of = who.endpoint();
    sight(
        format!("ParticipantReconnected({who}) of {call}"),
        move |event| matches!(event, Event::ParticipantReconnected { call: c, participant } if *c == call && Some(*participant) == of),
    )
}

/// No path to somebody could be made.
pub fn unreachable(call: CallId, who: &Participant) -> Sight {
    let of = who.endpoint();
    sight(
        format!("ParticipantUnreachable({who}) of {call}"),
        move |event| matches!(event, Event::ParticipantUnreachable { call: c, participant } if *c == call && Some(*participant) == of),
    )
}

/// Somebody is gone.
pub fn left(call: CallId, who: &Participant, reason: LeftReason) -> Sight {
    let of = who.endpoint();
    sight(format!("ParticipantLeft({who}, {reason:?}) of {call}"), move |event| {
        let Event::ParticipantLeft { call: c, participant, reason: r } = event else { return false };
        *c == call && Some(*participant) == of && *r == reason
    })
}

/// Somebody announced this about itself.
pub fn state_of(call: CallId, who: &Participant, state: ParticipantState) -> Sight {
    let of = who.endpoint();
    sight(format!("ParticipantStateChanged({who}, {state:?}) of {call}"), move |event| {
        let Event::ParticipantStateChanged { call: c, participant, state: s } = event else { return false };
        *c == call && Some(*participant) == of && *s == state
    })
}

/// The first sound of somebody was decoded.
pub fn media_started(call: CallId, who: &Participant) -> Sight {
    let of = who.endpoint();
    sight(format!("MediaStarted({who}) of {call}"), move |event| {
        let Event::MediaStarted { call: c, track, .. } = event else { return false };
        *c == call && Some(*track) == of.map(TrackKey::microphone)
    })
}

/// The first picture of a stream of somebody came.
pub fn video_started(call: CallId, who: &Participant, stream: StreamId) -> Sight {
    let of = who.endpoint();
    sight(format!("MediaStarted({who}, {stream}) of {call}"), move |event| {
        let Event::MediaStarted { call: c, track, .. } = event else { return false };
        *c == call && Some(*track) == of.map(|endpoint| TrackKey::stream(endpoint, stream))
    })
}

/// Somebody offers a stream.
pub fn stream_offered(call: CallId, who: &Participant, stream: StreamId) -> Sight {
    let of = who.endpoint();
    sight(format!("StreamOffered({who}, {stream}) of {call}"), move |event| {
        let Event::StreamOffered { call: c, participant, stream: s } = event else { return false };
        *c == call && Some(*participant) == of && s.stream == stream
    })
}

/// A stream comes no more.
pub fn stream_ended(call: CallId, who: &Participant, stream: StreamId, reason: StreamEndReason) -> Sight {
    let of = who.endpoint();
    sight(format!("StreamEnded({who}, {stream}, {reason:?}) of {call}"), move |event| {
        let Event::StreamEnded { call: c, track, reason: r } = event else { return false };
        *c == call && Some(*track) == of.map(|endpoint| TrackKey::stream(endpoint, stream)) && *r == reason
    })
}

/// Somebody begins to speak.
pub fn speaking_started(call: CallId, who: &Participant) -> Sight {
    let of = who.endpoint();
    sight(
        format!("SpeakingStarted({who}) of {call}"),
        move |event| matches!(event, Event::SpeakingStarted { call: c, participant } if *c == call && Some(*participant) == of),
    )
}

/// Somebody is silent again.
pub fn speaking_stopped(call: CallId, who: &Participant) -> Sight {
    let of = who.endpoint();
    sight(
        format!("SpeakingStopped({who}) of {call}"),
        move |event| matches!(event, Event::SpeakingStopped { call: c, participant } if *c == call && Some(*participant) == of),
    )
}

/// This device is in the call.
pub fn call_joined(call: CallId) -> Sight {
    sight(format!("CallJoined {call}"), move |event| *event == Event::CallJoined { call })
}

/// This device is no longer in the call.
pub fn call_ended(call: CallId, reason: EndReason) -> Sight {
    sight(format!("CallEnded({reason:?}) of {call}"), move |event| *event == Event::CallEnded { call, reason })
}

/// One call took the place of another.
pub fn call_replaced(old: CallId, new: CallId) -> Sight {
    sight(format!("CallReplaced({old} by {new})"), move |event| *event == Event::CallReplaced { old, new })
}

/// There is no microphone.
pub fn no_microphone(call: CallId) -> Sight {
    sight(
        format!("NoMicrophone in {call}"),
        move |event| matches!(event, Event::NoMicrophone { call: of, .. } if *of == call),
    )
}

fn sight(text: String, check: impl Fn(&Event) -> bool + Send + Sync + 'static) -> Sight {
    Sight { text, check: Box::new(check) }
}
