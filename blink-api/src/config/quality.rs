//! `[quality]`: which property of received audio matters more where the network allows only one.

use serde::{Deserialize, Serialize};

/// `[quality]`: how calls behave on networks that lose and delay packets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct QualitySettings {
    /// The preferred property of received audio.
    pub prefer: Preference,
}

/// Whether the jitter buffer waits for audio that comes late or is restored from later packets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Preference {
    /// A short delay, for conversations: waits for nearly all packets, and for the redundancy that
    /// covers most losses.
    #[default]
    Latency,
    /// Complete speech, for listening: waits for all but the latest packets and the furthest
    /// redundancy.
    Quality,
}
