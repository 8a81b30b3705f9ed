//! Outgoing packets: validated on the caller's thread, written by the session's sender task.

use std::sync::Arc;

use blink_api::{Error, ErrorKind, Result, RtpOut, TrackId};
use bytes::Bytes;
use rtc::rtcp::payload_feedbacks::picture_loss_indication::PictureLossIndication;
use rtc::rtp;
use tokio::sync::mpsc;
use webrtc::media_stream::track_local::TrackLocal;
use webrtc::media_stream::track_local::static_rtp::TrackLocalStaticRTP;
use webrtc::media_stream::track_remote::TrackRemote;

use crate::shared::{Path, Shared};

/// Outgoing data passed to the sender task.
pub(crate) enum Outgoing {
    Packet(Arc<TrackLocalStaticRTP>, rtp::Packet),
    KeyframeRequest(Arc<dyn TrackRemote>),
}

/// Creates the packet of a track; `None` if there is no path yet.
pub(crate) fn packet(shared: &Shared, id: TrackId, packet: RtpOut) -> Result<Option<Outgoing>> {
    let mut state = shared.lock();
    let has_path = state.path != Path::New;
    let Some(track) = state.tracks.get_mut(&id) else {
        return Err(Error::new(ErrorKind::NotFound, "there is no such track"));
    };
    let Some(section) = &track.section else { return Ok(None) };
    let is_configured = shared.codecs(track.kind).iter().any(|codec| codec.name == packet.codec);
    let payload_type = section.payload_type(&packet.codec).filter(|_| is_configured).ok_or_else(|| {
        Error::new(ErrorKind::Incompatible, "this codec was not negotiated").with("codec", &packet.codec)
    })?;
    if !has_path || track.sequence.advance(packet.sequence).is_none() {
        return Ok(None);
    }
    let mut header = rtp::Header {
        version: 2,
        marker: packet.marker,
        payload_type,
        sequence_number: packet.sequence,
        timestamp: packet.timestamp.0,
        ssrc: track.ssrc,
        ..rtp::Header::default()
    };
    if let (Some(id), Some(level)) = (section.level_extension, packet.level) {
        let byte = Bytes::copy_from_slice(&[level.to_byte()]);
        // The peer chose an id that does not fit the header; the packet is sent without its level.
        if let Err(error) = header.set_extension(id, byte) {
            tracing::debug!(%error, "the audio level cannot be sent");
        }
    }
    Ok(Some(Outgoing::Packet(Arc::clone(&track.local), rtp::Packet { header, payload: packet.payload })))
}

/// Writes queued packets until the session ends.
pub(crate) async fn run(shared: Arc<Shared>, mut queue: mpsc::Receiver<Outgoing>) {
    while let Some(outgoing) = queue.recv().await {
        match outgoing {
            Outgoing::Packet(track, packet) => {
                let length = packet.payload.len();
                match track.write_rtp(packet).await {
                    Ok(()) => shared.lock().traffic.sent(length),
                    Err(error) => tracing::debug!(%error, "the packet cannot be sent"),
                }
            }
            Outgoing::KeyframeRequest(track) => {
                let media_ssrc = track.ssrcs().await.first().copied().unwrap_or_default();
                let request = PictureLossIndication { sender_ssrc: 0, media_ssrc };
                if let Err(error) = track.write_rtcp(vec![Box::new(request)]).await {
                    tracing::debug!(%error, "the key frame request cannot be sent");
                }
            }
        }
    }
}
