//! Sending of RTP packets.

use blink_api::{ErrorKind, RtpOut, Session, TrackId};

/// Sends a packet; one that the session has no room for is dropped, as the network might have.
pub(super) fn send(session: &dyn Session, track: TrackId, packet: RtpOut) {
    match session.send_rtp(track, packet) {
        Ok(()) => {}
        Err(error) if error.kind() == ErrorKind::Closed => {}
        Err(error) => tracing::debug!(%error, "a packet was not sent"),
    }
}
