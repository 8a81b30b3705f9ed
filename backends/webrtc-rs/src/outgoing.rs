//! Packets on their way out: checked and written by the caller's thread. What the stack has no room for at once is left to the session's sender task.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Waker};

use blink_api::{Error, ErrorKind, RtpOut, TrackId};
use bytes::Bytes;
use rtc::rtcp::payload_feedbacks::picture_loss_indication::PictureLossIndication;
use rtc::rtp;
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;
use webrtc::media_stream::track_local::TrackLocal;
use webrtc::media_stream::track_local::static_rtp::TrackLocalStaticRTP;
use webrtc::media_stream::track_remote::TrackRemote;

use crate::shared::{Path, Shared};

/// Packets that wait for the sender task: a few hundred milliseconds of everything.
const PACKETS: usize = 512;

/// Something that is being written.
type Writing = Pin<Box<dyn Future<Output = ()> + Send>>;

/// What is written.
pub(crate) enum Outgoing {
    Packet(Arc<TrackLocalStaticRTP>, rtp::Packet),
    KeyframeRequest(Arc<dyn TrackRemote>),
}

/// Makes the packet of a track; `None` where there is no path to send it on yet.
pub(crate) fn packet(shared: &Shared, id: TrackId, packet: RtpOut) -> blink_api::Result<Option<Outgoing>> {
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
        // An id that does not fit a header is the other side's fault; the packet goes without its level.
        if let Err(error) = header.set_extension(id, byte) {
            tracing::debug!(%error, "the level cannot be sent");
        }
    }
    Ok(Some(Outgoing::Packet(Arc::clone(&track.local), rtp::Packet { header, payload: packet.payload })))
}

/// Writes what the handle gives.
pub(crate) struct Writer {
    shared: Arc<Shared>,
    queue: mpsc::Sender<Writing>,
    /// What the sender task has not written yet.
    waiting: Arc<AtomicUsize>,
}

impl Writer {
    /// Starts the sender task, which ends with the session.
    pub(crate) fn start(shared: &Arc<Shared>) -> Self {
        let (queue, writings) = mpsc::channel(PACKETS);
        let waiting = Arc::new(AtomicUsize::new(0));
        shared.spawn(go_on(writings, Arc::clone(&waiting)));
        Self { shared: Arc::clone(shared), queue, waiting }
    }

    /// Writes at once where nothing waits and the stack has room; never waits itself.
    ///
    /// # Errors
    /// [`Full`](TrySendError::Full) where too much waits, [`Closed`](TrySendError::Closed) after the session's end.
    pub(crate) fn write(&self, outgoing: Outgoing) -> Result<(), TrySendError<()>> {
        let mut writing: Writing = Box::pin(write(Arc::clone(&self.shared), outgoing));
        let is_first = self.waiting.load(Ordering::Acquire) == 0;
        if is_first && writing.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready() {
            return Ok(());
        }
        self.waiting.fetch_add(1, Ordering::AcqRel);
        self.queue.try_send(writing).map_err(|error| {
            self.waiting.fetch_sub(1, Ordering::AcqRel);
            match error {
                TrySendError::Full(_) => TrySendError::Full(()),
                TrySendError::Closed(_) => TrySendError::Closed(()),
            }
        })
    }
}

/// Goes on with what was begun.
async fn go_on(mut writings: mpsc::Receiver<Writing>, waiting: Arc<AtomicUsize>) {
    while let Some(writing) = writings.recv().await {
        writing.await;
        waiting.fetch_sub(1, Ordering::AcqRel);
    }
}

async fn write(shared: Arc<Shared>, outgoing: Outgoing) {
    match outgoing {
        Outgoing::Packet(track, packet) => {
            let length = packet.payload.len();
            match track.write_rtp(packet).await {
                Ok(()) => shared.lock().traffic.sent(length),
                Err(error) => tracing::debug!(%error, "a packet cannot be sent"),
            }
        }
        Outgoing::KeyframeRequest(track) => {
            let media_ssrc = track.ssrcs().await.first().copied().unwrap_or_default();
            let request = PictureLossIndication { sender_ssrc: 0, media_ssrc };
            if let Err(error) = track.write_rtcp(vec![Box::new(request)]).await {
                tracing::debug!(%error, "a key frame cannot be asked for");
            }
        }
    }
}
