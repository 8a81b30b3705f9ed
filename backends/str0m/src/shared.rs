//! What the session's handle answers without asking its task.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use blink_api::{ChannelId, CodecName, Mid, TrackId};
use blink_transport_kit::traffic::Traffic;

/// State that the driver writes and the handle reads; locked for moments only.
#[derive(Default)]
pub(crate) struct Shared(Mutex<State>);

#[derive(Default)]
pub(crate) struct State {
    /// Every method fails from now on.
    pub(crate) is_closed: bool,
    /// The tracks sent, and where; `None` before the negotiation, and where the other side refused
    /// the section.
    pub(crate) tracks: HashMap<TrackId, Option<Place>>,
    /// The sections something comes in on.
    pub(crate) receiving: HashSet<Mid>,
    /// The data channels that are open.
    pub(crate) channels: HashSet<ChannelId>,
    /// Bytes of messages that the driver has not handed to the stack.
    pub(crate) queued_bytes: usize,
    /// Packets sent and received.
    pub(crate) traffic: Traffic,
    /// The newest round trip time.
    pub(crate) round_trip: Option<Duration>,
}

/// Where a track is sent.
pub(crate) struct Place {
    pub(crate) section: Mid,
    /// What it may be sent with.
    pub(crate) codecs: Vec<CodecName>,
}

impl Shared {
    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
