//! Tracks that packets are sent on, and the numbers of these packets.

use std::sync::Arc;
use std::sync::atomic::{AtomicU16, AtomicU64, Ordering};

use blink_api::{RtpOut, TrackId};

/// A track of one session, whatever is sent on it. Clones share its numbers.
///
/// Sequence numbers go on from one stream to the next: the keystream of SRTP (RFC 3711 §4.1)
/// depends on them and must not repeat. They are shared between threads, because video is sent from
/// a thread of its own; one sender at a time uses a track.
#[derive(Debug, Clone)]
pub struct SendTrack {
    /// The session's name for it.
    pub track: TrackId,
    next: Arc<AtomicU16>,
    frames_sent: Arc<AtomicU64>,
    frames_dropped: Arc<AtomicU64>,
}

impl SendTrack {
    /// A track whose first packet has this number. Random (RFC 3550 §5.1).
    pub fn new(track: TrackId, first_sequence: u16) -> Self {
        let next = Arc::new(AtomicU16::new(first_sequence));
        Self { track, next, frames_sent: Arc::default(), frames_dropped: Arc::default() }
    }

    /// The sequence number of the next packet.
    pub(super) fn next_sequence(&self) -> u16 {
        self.next.load(Ordering::Relaxed)
    }

    /// The packet under the next sequence number.
    pub(super) fn number(&self, packet: &RtpOut) -> RtpOut {
        RtpOut { sequence: self.next.fetch_add(1, Ordering::Relaxed), ..packet.clone() }
    }

    /// Counts a video frame that was sent.
    pub(super) fn count_sent_frame(&self) {
        self.frames_sent.fetch_add(1, Ordering::Relaxed);
    }

    /// Video frames that were sent.
    pub(super) fn frames_sent(&self) -> u64 {
        self.frames_sent.load(Ordering::Relaxed)
    }

    /// Counts a video frame that the rate gate dropped.
    pub(super) fn count_dropped_frame(&self) {
        self.frames_dropped.fetch_add(1, Ordering::Relaxed);
    }

    /// Video frames that the rate gate dropped.
    pub(super) fn frames_dropped(&self) -> u64 {
        self.frames_dropped.load(Ordering::Relaxed)
    }
}
