//! State and streams that a participant announces about itself.

use blink_api::{StreamId, TrackKind};
use serde::Serialize;

use crate::wire::StreamOffer;

/// State that a participant announces about itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct ParticipantState {
    /// Sends no audio.
    pub muted: bool,
    /// Plays no audio.
    pub deafened: bool,
    /// Records the call.
    pub recording: bool,
    /// Holds the call: neither sends nor plays audio until it resumes.
    pub held: bool,
}

impl ParticipantState {
    /// Whether no audio comes from the participant's microphone.
    pub fn is_silent(self) -> bool {
        self.muted || self.held
    }
}

/// A stream that a participant offers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct StreamInfo {
    /// Identifier for requests.
    pub stream: StreamId,
    /// Audio or video.
    pub kind: TrackKind,
    /// Encoding name as in SDP: `VP8`, `H264`, `opus`.
    pub codec: String,
    /// Display name, such as `screen`. The offering participant chose the text: treat it as
    /// untrusted.
    pub name: String,
}

impl From<&StreamOffer> for StreamInfo {
    fn from(offer: &StreamOffer) -> Self {
        Self { stream: offer.id, kind: offer.kind, codec: offer.codec.clone(), name: offer.name.clone() }
    }
}
