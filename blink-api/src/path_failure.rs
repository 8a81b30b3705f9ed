//! Reasons why the path to a participant failed, and why a person rejected a call.

use std::fmt;

use serde::{Serialize, Serializer};

/// Failure of the path to a participant: why, how far it had come, and which side found out. Both
/// sides of a path report the same reason.
///
/// As JSON an object with `reason`, `ice`, `dtls` and `found_by`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[non_exhaustive]
pub struct PathFailure {
    /// The reason.
    pub reason: FailureReason,
    /// Last state of ICE on the side that found the failure.
    pub ice: IceState,
    /// Last state of DTLS on the side that found the failure.
    pub dtls: DtlsState,
    /// The side that found the failure.
    pub found_by: FailureSide,
}

impl PathFailure {
    /// Failure that this device found.
    pub fn local(reason: FailureReason, state: TransportState) -> Self {
        Self { reason, ice: state.ice, dtls: state.dtls, found_by: FailureSide::Local }
    }

    /// Failure that the participant reported.
    pub fn remote(reason: FailureReason, state: TransportState) -> Self {
        Self { found_by: FailureSide::Remote, ..Self::local(reason, state) }
    }
}

/// `no common codec`, for a timeout with the states, and `(as the other side reports)` where it
/// found the failure.
impl fmt::Display for PathFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.reason, f)?;
        if matches!(self.reason, FailureReason::Timeout | FailureReason::PathLost) {
            write!(f, " (ICE {}, DTLS {})", self.ice, self.dtls)?;
        }
        match self.found_by {
            FailureSide::Local => Ok(()),
            FailureSide::Remote => f.write_str(" (as the other side reports)"),
        }
    }
}

/// Reason why a path could not be established or was lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FailureReason {
    /// The two devices have no audio codec in common: compare `codec` of both configurations.
    NoCommonCodec,
    /// The DTLS versions of the two devices do not overlap: compare `dtls` of both transports.
    DtlsVersion,
    /// The certificate of the other end is not the one of its signed description: a middlebox
    /// terminates DTLS, or a transport is faulty.
    Fingerprint,
    /// The DTLS handshake failed for another reason, such as cipher suites without overlap.
    DtlsHandshake,
    /// No pair of ICE candidates carried packets: firewalls, or no relay where one is needed.
    NoCandidatePair,
    /// The path was not established within `call.timers.connect_limit`; the states tell how far it
    /// came.
    Timeout,
    /// The path was up and stayed silent, while signaling still worked.
    PathLost,
    /// The device at the other end of the path is not the one that signaling names.
    Identity,
    /// A description could not be used: malformed, too long, or one that does not fit the session.
    Description,
    /// The transport could open no session, such as without a network interface.
    NoSession,
    /// The session ended by itself.
    SessionEnded,
    /// A reason of a later version; the number is that of the protocol. The other side reported a
    /// failure without a reason where it is 0.
    Other(u64),
}

impl FailureReason {
    /// All known reasons, in the order of their numbers in the protocol.
    pub const ALL: [Self; 11] = [
        Self::NoCommonCodec,
        Self::DtlsVersion,
        Self::Fingerprint,
        Self::DtlsHandshake,
        Self::NoCandidatePair,
        Self::Timeout,
        Self::PathLost,
        Self::Identity,
        Self::Description,
        Self::NoSession,
        Self::SessionEnded,
    ];

    /// Name in JSON and configuration.
    pub fn name(self) -> &'static str {
        match self {
            Self::NoCommonCodec => "no_common_codec",
            Self::DtlsVersion => "dtls_version",
            Self::Fingerprint => "fingerprint",
            Self::DtlsHandshake => "dtls_handshake",
            Self::NoCandidatePair => "no_candidate_pair",
            Self::Timeout => "timeout",
            Self::PathLost => "path_lost",
            Self::Identity => "identity",
            Self::Description => "description",
            Self::NoSession => "no_session",
            Self::SessionEnded => "session_ended",
            Self::Other(_) => "other",
        }
    }

    /// Whether trying again with unchanged configuration on both sides cannot help.
    pub fn is_permanent(self) -> bool {
        matches!(self, Self::NoCommonCodec | Self::DtlsVersion)
    }
}

impl fmt::Display for FailureReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoCommonCodec => "no common audio codec",
            Self::DtlsVersion => "the DTLS versions do not overlap",
            Self::Fingerprint => "the certificate is not the announced one",
            Self::DtlsHandshake => "the DTLS handshake failed",
            Self::NoCandidatePair => "no ICE candidate pair works",
            Self::Timeout => "not connected in time",
            Self::PathLost => "no packets arrived any more",
            Self::Identity => "another device is at the end of the path",
            Self::Description => "a session description could not be used",
            Self::NoSession => "the transport could not open a session",
            Self::SessionEnded => "the session ended by itself",
            Self::Other(0) => "no reason given",
            Self::Other(number) => return write!(f, "reason {number} of a later version"),
        })
    }
}

impl Serialize for FailureReason {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

/// Side of a path that found a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum FailureSide {
    /// This device.
    Local,
    /// The participant's device.
    Remote,
}

/// How far a session has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub struct TransportState {
    /// ICE.
    pub ice: IceState,
    /// DTLS.
    pub dtls: DtlsState,
}

impl TransportState {
    /// The state of both.
    pub fn new(ice: IceState, dtls: DtlsState) -> Self {
        Self { ice, dtls }
    }
}

/// State of ICE; the names are those of `RTCIceTransportState` of W3C WebRTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum IceState {
    /// The transport does not tell.
    #[default]
    Unknown,
    /// No connectivity check was sent yet.
    New,
    /// Connectivity checks are sent, none has succeeded.
    Checking,
    /// A pair carries packets.
    Connected,
    /// The selected pair no longer carries packets.
    Disconnected,
    /// All pairs failed.
    Failed,
}

impl fmt::Display for IceState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unknown => "unknown",
            Self::New => "new",
            Self::Checking => "checking",
            Self::Connected => "connected",
            Self::Disconnected => "disconnected",
            Self::Failed => "failed",
        })
    }
}

/// State of DTLS; the names are those of `RTCDtlsTransportState` of W3C WebRTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum DtlsState {
    /// The transport does not tell.
    #[default]
    Unknown,
    /// The handshake has not begun.
    New,
    /// The handshake is in progress.
    Connecting,
    /// The handshake is complete.
    Connected,
    /// The handshake failed.
    Failed,
}

impl fmt::Display for DtlsState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unknown => "unknown",
            Self::New => "new",
            Self::Connecting => "connecting",
            Self::Connected => "connected",
            Self::Failed => "failed",
        })
    }
}

/// Reason why a person rejected a call, as it says itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum RejectReason {
    /// The user declined.
    #[default]
    Declined,
    /// The configuration or program of the person does not take this call.
    Policy,
    /// The person has no device for the call, such as no microphone.
    NoDevice,
    /// A reason of a later version; the number is that of the protocol.
    Other(u64),
}

impl RejectReason {
    /// Name in JSON and commands.
    pub fn name(self) -> &'static str {
        match self {
            Self::Declined => "declined",
            Self::Policy => "policy",
            Self::NoDevice => "no_device",
            Self::Other(_) => "other",
        }
    }
}

impl fmt::Display for RejectReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Declined => "declined",
            Self::Policy => "refused by policy",
            Self::NoDevice => "no device for the call",
            Self::Other(number) => return write!(f, "reason {number} of a later version"),
        })
    }
}

impl Serialize for RejectReason {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_have_one_name_in_json_and_a_text_that_tells_the_states_of_a_timeout() {
        let state = TransportState::new(IceState::Connected, DtlsState::Connecting);
        let timeout = PathFailure::local(FailureReason::Timeout, state);
        assert_eq!(timeout.to_string(), "not connected in time (ICE connected, DTLS connecting)");
        let json = r#"{"reason":"timeout","ice":"connected","dtls":"connecting","found_by":"local"}"#;
        assert_eq!(serde_json::to_string(&timeout).unwrap(), json);
        let codec = PathFailure::remote(FailureReason::NoCommonCodec, TransportState::default());
        assert_eq!(codec.to_string(), "no common audio codec (as the other side reports)");
        let unknown = PathFailure::remote(FailureReason::Other(99), TransportState::default());
        let json = r#"{"reason":"other","ice":"unknown","dtls":"unknown","found_by":"remote"}"#;
        assert_eq!(serde_json::to_string(&unknown).unwrap(), json);
    }

    #[test]
    fn names_of_reasons_are_unique() {
        let mut names: Vec<_> = FailureReason::ALL.iter().map(|reason| reason.name()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), FailureReason::ALL.len());
    }
}
