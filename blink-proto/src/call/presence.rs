//! Presence of people, as far as it is known from their messages.

use blink_api::Did;
use serde::Serialize;
use web_time::{Duration, Instant};

use crate::shares::{Share, SharedMap};

/// A person heard within this time is online.
const RECENT: Duration = Duration::from_secs(60);
/// People remembered: known ones and strangers. Beyond, the one first heard is evicted.
const MAX_HEARD: (usize, usize) = (3_072, 1_024);

/// Presence of a person. A hint: people are not asked, and a subscriber of an inbox need not be its
/// owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Presence {
    /// No device is known to be online.
    Unknown,
    /// A device sent a message within the last minute, or the person's inbox has a subscriber.
    Online,
    /// In the current call of this device.
    InThisCall,
}

impl std::fmt::Display for Presence {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Unknown => "unknown",
            Self::Online => "online",
            Self::InThisCall => "in this call",
        })
    }
}

/// Times at which people were last heard.
#[derive(Debug, Clone)]
pub(super) struct Heard {
    last: SharedMap<Did, Instant>,
}

impl Default for Heard {
    fn default() -> Self {
        Self { last: SharedMap::new(MAX_HEARD.0, MAX_HEARD.1) }
    }
}

impl Heard {
    /// Records a message of a person.
    pub(super) fn record(&mut self, share: Share, did: Did, now: Instant) {
        self.last.insert(share, did, now);
    }

    /// Whether a person was heard within the last minute.
    pub(super) fn is_recent(&self, did: &Did, now: Instant) -> bool {
        self.last.get(did).is_some_and(|at| now < *at + RECENT)
    }
}
