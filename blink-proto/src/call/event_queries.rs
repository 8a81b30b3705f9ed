//! Questions that every user of events asks: which call, who, whether it is a loss.

use blink_api::{CallId, DeviceId, Did, Endpoint};

use super::event::Event;
use super::reason::{EndReason, LeftReason};
use super::snapshot::ParticipantStatus;

impl Event {
    /// Call that the event is about; for [`CallReplaced`](Event::CallReplaced), the call that
    /// continues.
    pub fn call(&self) -> Option<CallId> {
        match self {
            Self::IncomingCall { call, .. }
            | Self::CallCancelled { call, .. }
            | Self::MissedCall { call, .. }
            | Self::ParticipantRinging { call, .. }
            | Self::ParticipantBusy { call, .. }
            | Self::ParticipantRejected { call, .. }
            | Self::ParticipantUnanswered { call, .. }
            | Self::ParticipantNamed { call, .. }
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
            | Self::QualityDegraded { call, .. }
            | Self::QualityRecovered { call, .. }
            | Self::MessageReceived { call, .. }
            | Self::MessageLost { call, .. }
            | Self::CallJoined { call }
            | Self::CallEnded { call, .. }
            | Self::CallHeld { call }
            | Self::CallResumed { call }
            | Self::CallReplaced { new: call, .. }
            | Self::MediaStarted { call, .. }
            | Self::SpeakingWhileMuted { call }
            | Self::NoMicrophone { call, .. }
            | Self::SourceEnded { call, .. }
            | Self::RecordingStarted { call, .. }
            | Self::RecordingIncomplete { call, .. }
            | Self::RecordingFailed { call, .. }
            | Self::RecordingStopped { call, .. } => Some(*call),
            Self::DeviceLost { .. }
            | Self::DeviceChanged { .. }
            | Self::DevicesChanged { .. }
            | Self::DeviceCloned
            | Self::PersistenceFailed { .. }
            | Self::SignalingChanged { .. }
            | Self::AddressesChanged => None,
        }
    }

    /// Person whom the event names; for events of streams and tracks, the one that they belong to.
    /// `None` for events that name no one.
    pub fn person(&self) -> Option<Did> {
        match self {
            Self::IncomingCall { from, .. } | Self::MissedCall { from, .. } => Some(*from),
            Self::ParticipantRinging { participant, .. }
            | Self::ParticipantBusy { participant, .. }
            | Self::ParticipantRejected { participant, .. }
            | Self::ParticipantUnanswered { participant, .. } => Some(*participant),
            event => event.endpoint().map(|endpoint| endpoint.did),
        }
    }

    /// Person and device that the event names; for events of streams and tracks, the one that they
    /// belong to. `None` for events that name no one, and where a device cannot be named: no one
    /// answered ([`ParticipantUnanswered`](Event::ParticipantUnanswered)), another member reports a
    /// rejection, or an earlier version stored a call without it.
    ///
    /// The device is what the named person signed. It is the same device in each call, and stays
    /// the same as long as its `data_dir` does.
    pub fn endpoint(&self) -> Option<Endpoint> {
        let of = |did: &Did, device: Option<DeviceId>| Some(Endpoint { did: *did, device: device? });
        match self {
            Self::IncomingCall { from, device, .. } => of(from, Some(*device)),
            Self::MissedCall { from, device, .. } => of(from, *device),
            Self::ParticipantRinging { participant, device, .. }
            | Self::ParticipantBusy { participant, device, .. } => of(participant, Some(*device)),
            Self::ParticipantRejected { participant, device, .. } => of(participant, *device),
            Self::ParticipantJoined { participant, .. }
            | Self::ParticipantReconnecting { participant, .. }
            | Self::ParticipantReconnected { participant, .. }
            | Self::ParticipantUnreachable { participant, .. }
            | Self::ParticipantLeft { participant, .. }
            | Self::ParticipantStateChanged { participant, .. }
            | Self::StreamOffered { participant, .. }
            | Self::SpeakingStarted { participant, .. }
            | Self::SpeakingStopped { participant, .. }
            | Self::QualityDegraded { participant, .. }
            | Self::QualityRecovered { participant, .. }
            | Self::MessageReceived { participant, .. }
            | Self::MessageLost { participant, .. }
            | Self::ParticipantNamed { participant, .. } => Some(*participant),
            Self::StreamEnded { track, .. } | Self::MediaStarted { track, .. } | Self::SourceEnded { track, .. } => {
                Some(track.endpoint)
            }
            _ => None,
        }
    }

    /// Whether the event says that something was lost or could not be reached that no one wanted to
    /// end: a path, a participant, a device, what should have been stored or recorded. Not where a
    /// person left, rejected or did not answer.
    pub fn is_loss(&self) -> bool {
        match self {
            Self::CallEnded { reason, .. } => reason.is_loss(),
            Self::ParticipantLeft { reason, .. } => reason.is_loss(),
            Self::ParticipantReconnecting { .. }
            | Self::ParticipantUnreachable { .. }
            | Self::NoMicrophone { .. }
            | Self::DeviceLost { .. }
            | Self::DeviceCloned
            | Self::RecordingIncomplete { .. }
            | Self::RecordingFailed { .. }
            | Self::PersistenceFailed { .. } => true,
            Self::SignalingChanged { nodes } => *nodes == 0,
            _ => false,
        }
    }

    /// Whether this device is no longer in the call of the event, or does not ring for it any
    /// longer.
    pub fn ends_call(&self) -> bool {
        matches!(self, Self::CallEnded { .. } | Self::CallCancelled { .. } | Self::MissedCall { .. })
    }

    /// Name of the event as in its JSON form, without its content; for logs.
    pub fn name(&self) -> &'static str {
        match self {
            Self::IncomingCall { .. } => "incoming_call",
            Self::CallCancelled { .. } => "call_cancelled",
            Self::MissedCall { .. } => "missed_call",
            Self::ParticipantRinging { .. } => "participant_ringing",
            Self::ParticipantBusy { .. } => "participant_busy",
            Self::ParticipantRejected { .. } => "participant_rejected",
            Self::ParticipantUnanswered { .. } => "participant_unanswered",
            Self::ParticipantNamed { .. } => "participant_named",
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
            Self::QualityDegraded { .. } => "quality_degraded",
            Self::QualityRecovered { .. } => "quality_recovered",
            Self::MessageReceived { .. } => "message_received",
            Self::MessageLost { .. } => "message_lost",
            Self::CallJoined { .. } => "call_joined",
            Self::CallEnded { .. } => "call_ended",
            Self::CallHeld { .. } => "call_held",
            Self::CallResumed { .. } => "call_resumed",
            Self::CallReplaced { .. } => "call_replaced",
            Self::MediaStarted { .. } => "media_started",
            Self::NoMicrophone { .. } => "no_microphone",
            Self::SourceEnded { .. } => "source_ended",
            Self::DeviceLost { .. } => "device_lost",
            Self::DeviceChanged { .. } => "device_changed",
            Self::DevicesChanged { .. } => "devices_changed",
            Self::SpeakingWhileMuted { .. } => "speaking_while_muted",
            Self::RecordingStarted { .. } => "recording_started",
            Self::RecordingIncomplete { .. } => "recording_incomplete",
            Self::RecordingFailed { .. } => "recording_failed",
            Self::RecordingStopped { .. } => "recording_stopped",
            Self::DeviceCloned => "device_cloned",
            Self::PersistenceFailed { .. } => "persistence_failed",
            Self::SignalingChanged { .. } => "signaling_changed",
            Self::AddressesChanged => "addresses_changed",
        }
    }
}

impl EndReason {
    /// Whether the call ended though no one ended it: nothing was heard, or there was no path.
    pub fn is_loss(self) -> bool {
        matches!(self, Self::TimedOut | Self::Unreachable | Self::Failed)
    }
}

impl LeftReason {
    /// Whether the participant is gone though it did not leave and was not removed.
    pub fn is_loss(self) -> bool {
        matches!(self, Self::TimedOut | Self::Restarted)
    }
}

impl ParticipantStatus {
    /// Whether the participant is in the call, whatever the state of its path.
    pub fn is_present(self) -> bool {
        matches!(self, Self::Joined | Self::Connecting | Self::Connected | Self::Reconnecting | Self::Unreachable)
    }

    /// Whether the participant will not join by itself: it left, rejected, is busy or did not
    /// answer.
    pub fn is_gone(self) -> bool {
        matches!(self, Self::Left | Self::Rejected | Self::Unanswered | Self::Busy)
    }
}

#[cfg(test)]
mod tests {
    use blink_api::{FailureReason, PathFailure, RejectReason, TransportState};

    use super::*;

    #[test]
    fn losses_are_what_no_one_wanted() {
        let call = CallId::from_bytes([1; 16]);
        let participant = Endpoint { did: Did::from_public_key([1; 32]), device: DeviceId::from_random([2; 16]) };
        let failure = PathFailure::local(FailureReason::Timeout, TransportState::default());
        let ended = |reason, failure| Event::CallEnded { call, reason, failure };
        let left = |reason| Event::ParticipantLeft { call, participant, reason };
        for (event, is_loss) in [
            (ended(EndReason::Failed, Some(failure)), true),
            (ended(EndReason::TimedOut, None), true),
            (ended(EndReason::RemoteLeft, None), false),
            (ended(EndReason::Rejected, None), false),
            (left(LeftReason::TimedOut), true),
            (left(LeftReason::Left), false),
            (Event::ParticipantUnreachable { call, participant, failure }, true),
            (Event::ParticipantReconnected { call, participant }, false),
            (Event::SignalingChanged { nodes: 0 }, true),
            (Event::SignalingChanged { nodes: 1 }, false),
            (Event::CallJoined { call }, false),
        ] {
            assert_eq!(event.is_loss(), is_loss, "{event:?}");
            assert_eq!(event.ends_call(), matches!(event, Event::CallEnded { .. }), "{event:?}");
        }
    }

    #[test]
    fn an_event_names_a_device_where_one_is_known() {
        let call = CallId::from_bytes([1; 16]);
        let endpoint = Endpoint { did: Did::from_public_key([1; 32]), device: DeviceId::from_random([2; 16]) };
        let Endpoint { did, device } = endpoint;
        let missed = |device| Event::MissedCall { call, from: did, device };
        let rejected =
            |device| Event::ParticipantRejected { call, participant: did, device, reason: RejectReason::Declined };
        for (event, is_known) in [
            (Event::IncomingCall { call, from: did, device, members: Vec::new(), conversation: Vec::new() }, true),
            (missed(Some(device)), true),
            (missed(None), false),
            (Event::ParticipantRinging { call, participant: did, device }, true),
            (Event::ParticipantBusy { call, participant: did, device }, true),
            (rejected(Some(device)), true),
            (rejected(None), false),
            (Event::ParticipantUnanswered { call, participant: did }, false),
            (Event::ParticipantReconnected { call, participant: endpoint }, true),
        ] {
            assert_eq!((event.endpoint(), event.person()), (is_known.then_some(endpoint), Some(did)), "{event:?}");
        }
        assert_eq!((Event::CallJoined { call }.endpoint(), Event::CallJoined { call }.person()), (None, None));
    }
}
