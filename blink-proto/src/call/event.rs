//! What the user of the engine is told.

use blink_api::{CallId, Did, Endpoint, StreamId, TrackKind};
use serde::Serialize;

use super::streams::StreamInfo;

/// Something happened. Events of one call come in the order in which they happened.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Event {
    /// Somebody calls. Once per call. Until `answer_call` nothing of this device is touched or
    /// shown.
    IncomingCall {
        /// The call.
        call: CallId,
        /// Who signed the offer.
        from: Did,
        /// Everybody on the roster.
        members: Vec<Did>,
        /// What the caller's integrator passed along.
        conversation: Vec<u8>,
    },
    /// A call that rang here rings no more. After `IncomingCall`, once, instead of `MissedCall`.
    CallCancelled {
        /// The call.
        call: CallId,
        /// Why.
        reason: CancelledReason,
    },
    /// A call was not answered here in time.
    MissedCall {
        /// The call.
        call: CallId,
        /// Who called.
        from: Did,
    },
    /// An invited person's device rings. At most once per person and call.
    ParticipantRinging {
        /// The call.
        call: CallId,
        /// Whose device.
        participant: Did,
    },
    /// An invited person is in another call and has no other device that rings.
    ParticipantBusy {
        /// The call.
        call: CallId,
        /// Who.
        participant: Did,
    },
    /// An invited person will not come.
    ParticipantRejected {
        /// The call.
        call: CallId,
        /// Who.
        participant: Did,
    },
    /// An invited person did not answer in time.
    ParticipantUnanswered {
        /// The call.
        call: CallId,
        /// Who.
        participant: Did,
    },
    /// The path to a participant is up and verified; media flows. Once for each time it joins.
    ParticipantJoined {
        /// The call.
        call: CallId,
        /// Who, on which device.
        participant: Endpoint,
    },
    /// The path to a participant is silent; it is being looked for. Before `ParticipantReconnected`
    /// or `ParticipantLeft`.
    ParticipantReconnecting {
        /// The call.
        call: CallId,
        /// Who.
        participant: Endpoint,
    },
    /// The path was found again.
    ParticipantReconnected {
        /// The call.
        call: CallId,
        /// Who.
        participant: Endpoint,
    },
    /// No path to a member of a group could be made; it is tried again. Once for each time it
    /// joins.
    ParticipantUnreachable {
        /// The call.
        call: CallId,
        /// Who.
        participant: Endpoint,
    },
    /// A participant is gone. After `ParticipantJoined` or `ParticipantUnreachable`, once.
    ParticipantLeft {
        /// The call.
        call: CallId,
        /// Who.
        participant: Endpoint,
        /// Why.
        reason: LeftReason,
    },
    /// A participant's announced state changed, or is known for the first time.
    ParticipantStateChanged {
        /// The call.
        call: CallId,
        /// Who.
        participant: Endpoint,
        /// Its state.
        state: ParticipantState,
    },
    /// A participant offers a stream, to be asked for with `request_stream`. Once for each stream;
    /// for streams that were there before, right after the participant is known.
    StreamOffered {
        /// The call.
        call: CallId,
        /// Who.
        participant: Endpoint,
        /// What.
        stream: StreamInfo,
    },
    /// A stream is offered no more, or could not be sent. Once, after `StreamOffered`; what was
    /// asked for of it comes no more. After `Refused` it is still offered.
    StreamEnded {
        /// The call.
        call: CallId,
        /// Whose.
        participant: Endpoint,
        /// Which.
        stream: StreamId,
        /// Why.
        reason: StreamEndReason,
    },
    /// Somebody in the call, or this device, began to speak. Once per utterance.
    SpeakingStarted {
        /// The call.
        call: CallId,
        /// Who.
        participant: Endpoint,
    },
    /// It is silent again, was muted or left. Once, after `SpeakingStarted`; not told at the end of
    /// the call.
    SpeakingStopped {
        /// The call.
        call: CallId,
        /// Who.
        participant: Endpoint,
    },
    /// This device is in the call: somebody of it has heard that. Once for each time it joins.
    CallJoined {
        /// The call.
        call: CallId,
    },
    /// This device is no longer in the call, or its offer is over. The last event of a call of two.
    CallEnded {
        /// The call.
        call: CallId,
        /// Why.
        reason: EndReason,
    },
    /// Glare: two people called each other at the same time; both are in `new` now, and neither
    /// rings. The old id is still understood, and a `Call` of the engine is the same call under
    /// both.
    CallReplaced {
        /// The call that was given up.
        old: CallId,
        /// The call that goes on.
        new: CallId,
    },
    /// The first sound of a participant was decoded from a packet, loud or not, or the first frame
    /// of a stream that was asked for is whole. Once for each path: again where one was made anew.
    MediaStarted {
        /// The call.
        call: CallId,
        /// Who.
        participant: Endpoint,
        /// Audio or video.
        kind: TrackKind,
        /// Which stream; `None` for the microphone.
        stream: Option<StreamId>,
    },
    /// There is no microphone; this device only listens. After answering or offering.
    NoMicrophone {
        /// The call.
        call: CallId,
        /// What the media host said.
        error: String,
    },
    /// A device is gone; the call goes on without it.
    DeviceLost {
        /// Its name.
        name: String,
    },
    /// This device's identity speaks from somewhere else, too: its data directory was copied. The
    /// engine stops; it is the last event.
    DeviceCloned,
    /// What happens cannot be written down under `data_dir`: a restart may not know of it. Once,
    /// until writing works again.
    PersistenceFailed {
        /// Why.
        error: String,
    },
    /// The signaling network was lost (no node connected) or found.
    SignalingChanged {
        /// Connected nodes.
        nodes: usize,
    },
    /// [`Blink::addresses`](crate::Blink::addresses) are others than before.
    AddressesChanged,
}

impl Event {
    /// The call that it is about; the one that goes on, of [`CallReplaced`](Event::CallReplaced).
    pub fn call(&self) -> Option<CallId> {
        match self {
            Self::IncomingCall { call, .. }
            | Self::CallCancelled { call, .. }
            | Self::MissedCall { call, .. }
            | Self::ParticipantRinging { call, .. }
            | Self::ParticipantBusy { call, .. }
            | Self::ParticipantRejected { call, .. }
            | Self::ParticipantUnanswered { call, .. }
            | Self::ParticipantJoined { call, .. }
            | Self::ParticipantReconnecting { call, .. }
            | Self::ParticipantReconnected { call, .. }
            | Self::ParticipantUnreachable { call, .. }
            | Self::ParticipantLeft { call, .. }
            | Self::ParticipantStateChanged { call, .. }
            | Self::StreamOffered { call, .. }
            | Self::StreamEnded { call, .. }
            | Self::SpeakingStarted { call, .. }
            | Self::SpeakingStopped { call, .. }
            | Self::CallJoined { call }
            | Self::CallEnded { call, .. }
            | Self::CallReplaced { new: call, .. }
            | Self::MediaStarted { call, .. }
            | Self::NoMicrophone { call, .. } => Some(*call),
            Self::DeviceLost { .. }
            | Self::DeviceCloned
            | Self::PersistenceFailed { .. }
            | Self::SignalingChanged { .. }
            | Self::AddressesChanged => None,
        }
    }

    /// What happened, without whom it happened to; for logs.
    pub fn name(&self) -> &'static str {
        match self {
            Self::IncomingCall { .. } => "incoming_call",
            Self::CallCancelled { .. } => "call_cancelled",
            Self::MissedCall { .. } => "missed_call",
            Self::ParticipantRinging { .. } => "participant_ringing",
            Self::ParticipantBusy { .. } => "participant_busy",
            Self::ParticipantRejected { .. } => "participant_rejected",
            Self::ParticipantUnanswered { .. } => "participant_unanswered",
            Self::ParticipantJoined { .. } => "participant_joined",
            Self::ParticipantReconnecting { .. } => "participant_reconnecting",
            Self::ParticipantReconnected { .. } => "participant_reconnected",
            Self::ParticipantUnreachable { .. } => "participant_unreachable",
            Self::ParticipantLeft { .. } => "participant_left",
            Self::ParticipantStateChanged { .. } => "participant_state_changed",
            Self::StreamOffered { .. } => "stream_offered",
            Self::StreamEnded { .. } => "stream_ended",
            Self::SpeakingStarted { .. } => "speaking_started",
            Self::SpeakingStopped { .. } => "speaking_stopped",
            Self::CallJoined { .. } => "call_joined",
            Self::CallEnded { .. } => "call_ended",
            Self::CallReplaced { .. } => "call_replaced",
            Self::MediaStarted { .. } => "media_started",
            Self::NoMicrophone { .. } => "no_microphone",
            Self::DeviceLost { .. } => "device_lost",
            Self::DeviceCloned => "device_cloned",
            Self::PersistenceFailed { .. } => "persistence_failed",
            Self::SignalingChanged { .. } => "signaling_changed",
            Self::AddressesChanged => "addresses_changed",
        }
    }
}

/// Why a call rings no more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum CancelledReason {
    /// Everybody who was in it left.
    CallerLeft,
    /// Another device of this person answered.
    AnsweredElsewhere,
    /// Another device of this person rejected.
    RejectedElsewhere,
    /// Another offer took its place, since only so many may be pending.
    Displaced,
}

/// Why a participant is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum LeftReason {
    /// It said so.
    Left,
    /// No sign of it for too long.
    TimedOut,
    /// It started anew or joined again.
    Restarted,
    /// Whoever began the call removed it.
    Removed,
}

/// Why a stream comes no more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum StreamEndReason {
    /// Whoever offered it revoked it.
    Revoked,
    /// Whoever offered it is not in the call any more.
    ParticipantLeft,
    /// It cannot be sent here, such as video to a transport without it.
    Refused,
}

/// Why a call is over for this device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum EndReason {
    /// This device left.
    Left,
    /// The other one left.
    RemoteLeft,
    /// The other one gave no sign for too long.
    TimedOut,
    /// Everybody invited rejected.
    Rejected,
    /// Everybody invited is in another call.
    Busy,
    /// Nobody answered in time.
    Unanswered,
    /// The call was over when this device wanted to join.
    Gone,
    /// Nobody in the call heard this device in time.
    Unreachable,
    /// No path for media could be made or found again.
    Failed,
    /// Whoever began the call removed this person.
    Removed,
    /// Another device of this person joined.
    OtherDevice,
}

/// What a participant announces about itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct ParticipantState {
    /// Sends no sound.
    pub muted: bool,
    /// Plays no sound.
    pub deafened: bool,
    /// Records the call.
    pub recording: bool,
}
