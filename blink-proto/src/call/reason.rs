//! Reasons that events give.

use std::fmt;

use serde::Serialize;

/// Reason why a ringing call stopped ringing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum CancelledReason {
    /// Every participant left.
    CallerLeft,
    /// Another device of this person answered.
    AnsweredElsewhere,
    /// Another device of this person rejected.
    RejectedElsewhere,
    /// A newer offer replaced it, because the number of pending calls is limited.
    Displaced,
}

impl fmt::Display for CancelledReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::CallerLeft => "caller left",
            Self::AnsweredElsewhere => "answered on another device",
            Self::RejectedElsewhere => "rejected on another device",
            Self::Displaced => "displaced by a newer call",
        })
    }
}

/// Reason why a participant is no longer in the call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum LeftReason {
    /// It left.
    Left,
    /// Nothing was heard of it for longer than its lease.
    TimedOut,
    /// It restarted, or joined again.
    Restarted,
    /// The creator of the call removed it.
    Removed,
}

impl fmt::Display for LeftReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Left => "left",
            Self::TimedOut => "timed out",
            Self::Restarted => "restarted",
            Self::Removed => "removed",
        })
    }
}

/// Reason why a stream ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum StreamEndReason {
    /// The participant revoked its offer.
    Revoked,
    /// The participant left the call.
    ParticipantLeft,
    /// The participant cannot send it to this device, for example video on a transport without
    /// video.
    Refused,
}

impl fmt::Display for StreamEndReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Revoked => "revoked",
            Self::ParticipantLeft => "participant left",
            Self::Refused => "refused",
        })
    }
}

/// Reason why a call ended on this device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum EndReason {
    /// This device left.
    Left,
    /// The other participant left.
    RemoteLeft,
    /// Nothing was heard of the other participant for longer than its lease.
    TimedOut,
    /// All invited people rejected.
    Rejected,
    /// All invited people are in another call.
    Busy,
    /// None of the invited people answered within the ring time.
    Unanswered,
    /// The call was already over when this device joined.
    Gone,
    /// None of the participants acknowledged this device within the join limit.
    Unreachable,
    /// A media path could not be established or restored.
    Failed,
    /// The creator of the call removed this person.
    Removed,
    /// Another device of this person joined.
    OtherDevice,
}

impl fmt::Display for EndReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Left => "left",
            Self::RemoteLeft => "remote left",
            Self::TimedOut => "timed out",
            Self::Rejected => "rejected",
            Self::Busy => "busy",
            Self::Unanswered => "unanswered",
            Self::Gone => "call was over",
            Self::Unreachable => "unreachable",
            Self::Failed => "media path failed",
            Self::Removed => "removed",
            Self::OtherDevice => "joined on another device",
        })
    }
}
