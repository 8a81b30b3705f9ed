//! Who can be reached, as far as is known here.

use web_time::{Duration, Instant};

use blink_api::Did;
use serde::Serialize;

use super::Now;
use super::machine::Machine;
use crate::shares::{Share, SharedMap};

/// Whoever was heard within this time is online.
const RECENT: Duration = Duration::from_secs(60);
/// Known people and strangers remembered; beyond, the one of its sort that was first heard goes.
const MAX_HEARD: (usize, usize) = (3_072, 1_024);

/// Whether somebody can be reached. A hint: nobody is asked for it, and whoever watches an inbox
/// looks like its owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Presence {
    /// Nothing is known of a device that is online.
    Unknown,
    /// A device said something in the last minute, or somebody listens on the person's inbox.
    Online,
    /// In the call this device is in.
    InThisCall,
}

/// When somebody was last heard.
#[derive(Clone)]
pub(super) struct Heard {
    last: SharedMap<Did, Instant>,
}

impl Default for Heard {
    fn default() -> Self {
        Self { last: SharedMap::new(MAX_HEARD.0, MAX_HEARD.1) }
    }
}

impl Heard {
    pub(super) fn note(&mut self, share: Share, did: Did, now: Instant) {
        self.last.insert(share, did, now);
    }
}

impl Machine {
    /// What is known of somebody from what was heard. Signaling may know more.
    pub fn presence(&self, now: Now, did: &Did) -> Presence {
        let in_call = |id| self.calls.get(&id).is_some_and(|call| call.present().any(|(other, _)| other.did == *did));
        if self.current().is_some_and(in_call) {
            Presence::InThisCall
        } else if self.heard.last.get(did).is_some_and(|at| now.mono < *at + RECENT) {
            Presence::Online
        } else {
            Presence::Unknown
        }
    }
}
