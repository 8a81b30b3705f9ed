//! Events as one line of text, for logs and first programs.

use std::fmt;

use super::event::Event;

/// The name of the event, who it is about, and why: `call_ended: the other side left`. Names and
/// messages of others are left out, which are not to be trusted on a terminal.
impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())?;
        if let Some(person) = self.person() {
            write!(f, " {person}")?;
        }
        match self {
            Self::CallCancelled { reason, .. } => write!(f, ": {reason}"),
            Self::CallEnded { reason, failure: None, .. } => write!(f, ": {reason}"),
            Self::CallEnded { reason, failure: Some(failure), .. } => write!(f, ": {reason}, {failure}"),
            Self::ParticipantLeft { reason, .. } => write!(f, ": {reason}"),
            Self::ParticipantRejected { reason, .. } => write!(f, ": {reason}"),
            Self::ParticipantUnreachable { failure, .. } => write!(f, ": {failure}"),
            Self::StreamEnded { reason, .. } => write!(f, ": {reason}"),
            Self::QualityDegraded { reason, .. } => write!(f, ": {reason}"),
            Self::MessageReceived { message, .. } => write!(f, ": {} bytes", message.len()),
            Self::NoMicrophone { error, .. }
            | Self::RecordingFailed { error, .. }
            | Self::PersistenceFailed { error } => write!(f, ": {error}"),
            Self::DeviceLost { name } => write!(f, ": {name}"),
            Self::SignalingChanged { nodes } => write!(f, ": {nodes} nodes"),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use blink_api::{CallId, DeviceId, Did, Endpoint};

    use super::*;
    use crate::call::{EndReason, LeftReason};

    #[test]
    fn an_event_says_who_and_why_in_one_line() {
        let call = CallId::from_bytes([1; 16]);
        let did = Did::from_public_key([2; 32]);
        let participant = Endpoint { did, device: DeviceId::from_random([3; 16]) };
        let texts = [
            Event::CallEnded { call, reason: EndReason::Busy, failure: None }.to_string(),
            Event::ParticipantLeft { call, participant, reason: LeftReason::TimedOut }.to_string(),
            Event::MessageReceived { call, participant, message: b"\x1b[2J".to_vec() }.to_string(),
            Event::CallJoined { call }.to_string(),
        ];
        let expected = [
            format!("call_ended: {}", EndReason::Busy),
            format!("participant_left {did}: {}", LeftReason::TimedOut),
            format!("message_received {did}: 4 bytes"),
            "call_joined".to_owned(),
        ];
        assert_eq!(texts, expected);
    }
}
