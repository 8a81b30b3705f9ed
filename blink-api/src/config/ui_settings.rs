//! Settings of an interactive program.

use serde::{Deserialize, Serialize};

/// `[ui]`: alerts of an interactive program. The engine and backends do not depend on it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct UiSettings {
    /// Whether the terminal's bell sounds when a call rings.
    pub bell: bool,
    /// Audio sink of the ring tone, in the form of `speaker`; `"none"` for no ring tone. By default
    /// that of calls, if it is hardware.
    pub ring_speaker: Option<String>,
}

impl Default for UiSettings {
    fn default() -> Self {
        Self { bell: true, ring_speaker: None }
    }
}
