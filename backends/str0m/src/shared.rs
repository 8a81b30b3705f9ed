//! State that the session's handle reads without its task.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use blink_api::{ChannelId, CodecName, MediaPath, Mid, TrackId};
use blink_transport_kit::traffic::TrafficCounters;

/// State written by the driver and read by the handle; locked only briefly.
#[derive(Default)]
pub(crate) struct Shared(Mutex<State>);

#[derive(Default)]
pub(crate) struct State {
    /// The session is closed and every method fails.
    pub(crate) is_closed: bool,
    /// Sent tracks with their sections; `None` before the negotiation, and if the peer rejected the
    /// section.
    pub(crate) tracks: HashMap<TrackId, Option<SendTarget>>,
    /// Sections that a track is received on.
    pub(crate) receiving: HashSet<Mid>,
    /// Open data channels.
    pub(crate) channels: HashSet<ChannelId>,
    /// Bytes of messages not written to the stack yet.
    pub(crate) queued_bytes: usize,
    /// Packet counters.
    pub(crate) traffic: TrafficCounters,
    /// Latest round-trip time.
    pub(crate) round_trip: Option<Duration>,
    /// Path of the selected candidate pair.
    pub(crate) path: Option<MediaPath>,
}

/// Negotiated section of a sent track.
pub(crate) struct SendTarget {
    pub(crate) section: Mid,
    /// Codecs that may be sent.
    pub(crate) codecs: Vec<CodecName>,
}

impl Shared {
    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
