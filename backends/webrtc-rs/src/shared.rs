//! What the handle, the handler and the tasks of a session have in common.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};

use blink_api::{ChannelId, Clock, Mid, RtpCodec, SessionEvent, TrackId, TrackKind};
use blink_transport_kit::events::EventSender;
use blink_transport_kit::sdp::Section;
use blink_transport_kit::traffic::{SendSequence, Traffic};
use bytes::Bytes;
use rtc::rtcp;
use rtc::rtcp::payload_feedbacks::full_intra_request::FullIntraRequest;
use rtc::rtcp::payload_feedbacks::picture_loss_indication::PictureLossIndication;
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinSet;
use webrtc::media_stream::track_local::static_rtp::TrackLocalStaticRTP;
use webrtc::media_stream::track_remote::TrackRemote;
use webrtc::peer_connection::PeerConnection;
use webrtc::rtp_transceiver::RtpSender;

/// A session's common ground.
pub(crate) struct Shared {
    pub(crate) events: EventSender,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) audio: Vec<RtpCodec>,
    pub(crate) video: Vec<RtpCodec>,
    /// Set once, right after the connection that the handler belongs to is made.
    pub(crate) connection: OnceLock<Weak<dyn PeerConnection>>,
    /// Told of each event of gathering.
    pub(crate) gathered: Notify,
    state: Mutex<State>,
}

/// What changes; locked for moments only.
#[derive(Default)]
pub(crate) struct State {
    /// Every method fails from now on.
    pub(crate) is_closed: bool,
    pub(crate) path: Path,
    /// Events of gathering that wait for the description which may say the same.
    pub(crate) held: Option<Vec<SessionEvent>>,
    pub(crate) tracks: HashMap<TrackId, LocalTrack>,
    pub(crate) next_track: u32,
    /// The sections of the newest answer that something comes in on.
    pub(crate) receiving: HashMap<Mid, Section>,
    pub(crate) incoming: HashMap<Mid, Arc<dyn TrackRemote>>,
    /// Payload types of retransmissions in the newest answer, each with the one whose packets it repeats (RFC 4588).
    pub(crate) repeats: Vec<(u8, u8)>,
    pub(crate) channels: HashMap<ChannelId, mpsc::Sender<Bytes>>,
    pub(crate) next_channel: u32,
    pub(crate) traffic: Traffic,
    /// Readers and the sender: they end with the session.
    pub(crate) tasks: JoinSet<()>,
}

/// A track that is sent.
pub(crate) struct LocalTrack {
    pub(crate) kind: TrackKind,
    pub(crate) local: Arc<TrackLocalStaticRTP>,
    pub(crate) sender: Arc<dyn RtpSender>,
    pub(crate) ssrc: u32,
    /// The section of the newest answer it is sent on.
    pub(crate) section: Option<Section>,
    pub(crate) sequence: SendSequence,
}

impl LocalTrack {
    pub(crate) fn mid(&self) -> Option<Mid> {
        Some(self.section.as_ref()?.mid.clone())
    }
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Path {
    /// ICE and DTLS are on the way.
    #[default]
    New,
    Up,
    Lost,
}

impl Shared {
    pub(crate) fn new(events: EventSender, clock: Arc<dyn Clock>, audio: Vec<RtpCodec>, video: Vec<RtpCodec>) -> Self {
        Self {
            events,
            clock,
            audio,
            video,
            connection: OnceLock::new(),
            gathered: Notify::new(),
            state: Mutex::default(),
        }
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Codecs of a kind.
    pub(crate) fn codecs(&self, kind: TrackKind) -> &[RtpCodec] {
        match kind {
            TrackKind::Audio => &self.audio,
            TrackKind::Video => &self.video,
        }
    }

    /// Reports the RTCP that came, and who wants a key frame of which track.
    pub(crate) fn handle_rtcp(&self, packets: &[Box<dyn rtcp::Packet>]) {
        for packet in packets {
            let (any, mut wanted) = (packet.as_any(), Vec::new());
            if let Some(request) = any.downcast_ref::<PictureLossIndication>() {
                wanted.push(request.media_ssrc);
            } else if let Some(request) = any.downcast_ref::<FullIntraRequest>() {
                wanted.extend(request.fir.iter().map(|entry| entry.ssrc));
            }
            for ssrc in wanted {
                let section = self.lock().tracks.values().find(|track| track.ssrc == ssrc).and_then(LocalTrack::mid);
                if let Some(mid) = section {
                    self.events.send(SessionEvent::KeyframeRequested { mid });
                }
            }
            match packet.marshal() {
                Ok(bytes) => self.events.send(SessionEvent::Rtcp(bytes.freeze())),
                Err(error) => tracing::debug!(%error, "an RTCP packet cannot be shown"),
            }
        }
    }

    /// The connection, while the session lasts.
    pub(crate) fn connection(&self) -> Option<Arc<dyn PeerConnection>> {
        self.connection.get()?.upgrade()
    }

    /// Runs a task for as long as the session lasts.
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let mut state = self.lock();
        if !state.is_closed {
            state.tasks.spawn(task);
        }
    }

    /// Reports an event of gathering, or keeps it while a description is being made.
    pub(crate) fn report_gathering(&self, event: SessionEvent) {
        match &mut self.lock().held {
            Some(held) => held.push(event),
            None => self.events.send(event),
        }
        self.gathered.notify_one();
    }

    pub(crate) fn find_path(&self) {
        if std::mem::replace(&mut self.lock().path, Path::Up) != Path::Up {
            self.events.send(SessionEvent::Connected);
        }
    }

    pub(crate) fn lose_path(&self) {
        let mut state = self.lock();
        if state.path == Path::Up {
            state.path = Path::Lost;
            self.events.send(SessionEvent::Disconnected);
        }
    }
}
