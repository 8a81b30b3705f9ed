//! `[quality]`: what matters more where the network lets one have only one of two.

use serde::{Deserialize, Serialize};

/// `[quality]`: what calls sound like on networks that lose and delay.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct QualitySettings {
    /// What others are heard with.
    pub prefer: Preference,
}

/// Whether to wait for sound that comes late or is restored from later packets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Preference {
    /// A short delay, for conversations: wait for nearly all packets, and for what makes up for
    /// most losses.
    #[default]
    Delay,
    /// Whole speech, for listening: wait for all but the latest packets.
    Speech,
}
