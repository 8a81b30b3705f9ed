//! Facts about every event: its call and its name.

use std::fmt;

use blink_api::CallId;

use super::event::Event;

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

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
