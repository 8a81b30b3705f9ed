//! Tracks that are sent, and what is heard.

use std::sync::Arc;
use std::sync::atomic::{AtomicU16, AtomicU64, Ordering};

use blink_api::{CodecName, Endpoint, ErrorKind, Mid, RtpOut, Session, StreamId, TrackId};

/// What is heard of a participant: its microphone, or an audio stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::driver) struct Voice {
    pub(in crate::driver) participant: Endpoint,
    /// `None` for the microphone.
    pub(in crate::driver) stream: Option<StreamId>,
}

/// A track of one session, whatever is sent on it.
///
/// Its sequence numbers go on from one stream to the next: the keystream of SRTP (RFC 3711 §4.1)
/// depends on them, and must not repeat.
pub(in crate::driver) struct SendTrack {
    session: Arc<dyn Session>,
    track: TrackId,
    next: AtomicU16,
    /// Frames that were not sent because there was no room for them.
    left_out: AtomicU64,
}

impl SendTrack {
    pub(in crate::driver) fn new(session: Arc<dyn Session>, track: TrackId, first_sequence: u16) -> Self {
        Self { session, track, next: AtomicU16::new(first_sequence), left_out: AtomicU64::new(0) }
    }

    /// The media section it is in; `None` while that is not negotiated, or where the other side
    /// refused it.
    pub(in crate::driver) fn mid(&self) -> Option<Mid> {
        self.session.mid(self.track)
    }

    /// The codec to send on it with: the most preferred one of those that both sides have. `None`
    /// as for [`mid`](Self::mid).
    pub(in crate::driver) fn codec(&self) -> Option<CodecName> {
        self.session.codecs(self.track).into_iter().next()
    }

    /// Whether packets on it may carry copies of earlier ones (RFC 2198): both sides can.
    pub(super) fn has_copies(&self) -> bool {
        self.session.codecs(self.track).iter().any(CodecName::is_red)
    }

    /// The sequence number that the next packet will have.
    pub(in crate::driver) fn next_sequence(&self) -> u16 {
        self.next.load(Ordering::Relaxed)
    }

    /// Counts a frame that there is no room for.
    pub(super) fn leave_out(&self) {
        self.left_out.fetch_add(1, Ordering::Relaxed);
    }

    /// Frames that there was no room for.
    pub(in crate::driver) fn left_out(&self) -> u64 {
        self.left_out.load(Ordering::Relaxed)
    }

    /// Sends a packet under the track's own next sequence number. One worker at a time sends on a
    /// track.
    pub(super) fn send(&self, packet: &RtpOut) {
        let sequence = self.next.fetch_add(1, Ordering::Relaxed);
        match self.session.send_rtp(self.track, RtpOut { sequence, ..packet.clone() }) {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::Closed => {}
            Err(error) => tracing::debug!(%error, "a packet was not sent"),
        }
    }
}
