//! The configuration of a transport's session.

use std::fmt;
use std::sync::Arc;

use crate::{Clock, Did, IceConfig, RtpCodec, RtpSink};

/// The configuration of a session.
#[derive(Clone)]
#[non_exhaustive]
pub struct SessionConfig {
    /// Servers, interfaces and the relay-only rule. Without servers by default.
    pub ice: IceConfig,
    /// Codecs to negotiate for audio, the preferred one first. An empty list means no audio.
    ///
    /// `red` (RFC 2198) among them is a codec like any other to a transport: it is negotiated
    /// where both sides list it, its payloads are carried unchanged, and it never counts as the
    /// common codec that a section needs, because its packets contain those of another one.
    pub audio: Vec<RtpCodec>,
    /// Codecs to negotiate for video, as for `audio`. A section carries each codec that both sides
    /// have, under a payload type of its own.
    pub video: Vec<RtpCodec>,
    /// The clock of arrival times.
    pub clock: Arc<dyn Clock>,
    /// The receiver of all RTP packets.
    pub rtp: Arc<dyn RtpSink>,
    /// The identity at the other end, as far as it is known. Over all sessions with a participant,
    /// a transport bounds how many checks it sends to addresses that do not answer.
    pub participant: Option<Did>,
}

impl fmt::Debug for SessionConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionConfig").finish_non_exhaustive()
    }
}

impl SessionConfig {
    /// A configuration without media, servers or a known participant.
    pub fn new(clock: Arc<dyn Clock>, rtp: Arc<dyn RtpSink>) -> Self {
        Self { ice: IceConfig::default(), audio: Vec::new(), video: Vec::new(), clock, rtp, participant: None }
    }

    /// With these servers.
    #[must_use]
    pub fn with_ice(self, ice: IceConfig) -> Self {
        Self { ice, ..self }
    }

    /// With these codecs for audio.
    #[must_use]
    pub fn with_audio(self, audio: Vec<RtpCodec>) -> Self {
        Self { audio, ..self }
    }

    /// With these codecs for video.
    #[must_use]
    pub fn with_video(self, video: Vec<RtpCodec>) -> Self {
        Self { video, ..self }
    }

    /// With another receiver of RTP packets.
    #[must_use]
    pub fn with_rtp(self, rtp: Arc<dyn RtpSink>) -> Self {
        Self { rtp, ..self }
    }

    /// With this identity at the other end.
    #[must_use]
    pub fn with_participant(self, participant: Did) -> Self {
        Self { participant: Some(participant), ..self }
    }
}
