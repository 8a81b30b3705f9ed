//! What the handle, the handler and the tasks of a session have in common.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::Duration;

use blink_api::{
    Candidate, ChannelId, Clock, HostCandidates, Mid, Result, RtpCodec, RtpSink, SessionConfig, SessionEvent, TrackId,
    TrackKind,
};
use blink_transport_kit::check_budget::CheckBudget;
use blink_transport_kit::disclosure::Disclosure;
use blink_transport_kit::events::EventSender;
use blink_transport_kit::names::Names;
use blink_transport_kit::sdp::Section;
use blink_transport_kit::traffic::{SendSequence, Traffic};
use rtc::rtcp;
use rtc::rtcp::payload_feedbacks::full_intra_request::FullIntraRequest;
use rtc::rtcp::payload_feedbacks::picture_loss_indication::PictureLossIndication;
use tokio::sync::{Notify, Semaphore, mpsc};
use tokio::task::JoinSet;
use webrtc::media_stream::track_local::static_rtp::TrackLocalStaticRTP;
use webrtc::media_stream::track_remote::TrackRemote;
use webrtc::peer_connection::PeerConnection;
use webrtc::rtp_transceiver::RtpSender;

use crate::channels::Queued;
use crate::guard::Guard;
use crate::{NAME, channels};

/// Servers that have not answered by then are not waited for.
const PATIENCE: Duration = Duration::from_secs(3);

/// A session's common ground.
pub(crate) struct Shared {
    pub(crate) events: EventSender,
    pub(crate) rtp: Arc<dyn RtpSink>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) audio: Vec<RtpCodec>,
    pub(crate) video: Vec<RtpCodec>,
    /// Set once, right after the connection that the handler belongs to is made.
    pub(crate) connection: OnceLock<Weak<dyn PeerConnection>>,
    /// Told of each event of gathering.
    pub(crate) gathered: Notify,
    pub(crate) guard: Arc<Guard>,
    /// Bytes of messages that may still be queued.
    pub(crate) send_room: Arc<Semaphore>,
    hosts: HostCandidates,
    state: Mutex<State>,
}

/// What changes; locked for moments only.
#[derive(Default)]
pub(crate) struct State {
    /// Every method fails from now on.
    pub(crate) is_closed: bool,
    pub(crate) path: Path,
    /// Events of gathering that wait for the description which may say the same.
    pub(crate) held: Option<Vec<Gathered>>,
    pub(crate) disclosure: Disclosure,
    /// With [`HostCandidates::Mdns`], from the first gathering on.
    pub(crate) names: Option<Names>,
    /// Names of the peer that are looked for.
    pub(crate) resolving: usize,
    /// Counts the times that gathering began.
    pub(crate) gatherings: u64,
    /// All that the newest gathering may bring was told.
    pub(crate) is_gathered: bool,
    pub(crate) tracks: HashMap<TrackId, LocalTrack>,
    pub(crate) next_track: u32,
    /// The sections of the newest answer that something comes in on.
    pub(crate) receiving: HashMap<Mid, Section>,
    pub(crate) incoming: HashMap<Mid, Arc<dyn TrackRemote>>,
    /// Payload types of retransmissions in the newest answer, each with the one whose packets it
    /// repeats (RFC 4588).
    pub(crate) repeats: Vec<(u8, u8)>,
    /// Data channels that have a task: open ones, and those on the way to it.
    pub(crate) served_channels: usize,
    /// The open ones.
    pub(crate) channels: HashMap<ChannelId, mpsc::Sender<Queued>>,
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

/// What gathering brought, as the stack has it.
pub(crate) enum Gathered {
    Candidate(Candidate),
    /// There is no more.
    All,
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
    /// # Errors
    /// [`Invalid`](blink_api::ErrorKind::Invalid) for servers that are none.
    pub(crate) fn new(events: EventSender, session: &SessionConfig, budget: CheckBudget) -> Result<Self> {
        let disclosure = Disclosure::new(&session.ice);
        Ok(Self {
            events,
            rtp: Arc::clone(&session.rtp),
            clock: Arc::clone(&session.clock),
            audio: session.audio.clone(),
            video: session.video.clone(),
            connection: OnceLock::new(),
            gathered: Notify::new(),
            guard: Arc::new(Guard::new(&session.ice, budget)?),
            send_room: Arc::new(Semaphore::new(channels::QUEUED_BYTES)),
            hosts: session.ice.host_candidates,
            state: Mutex::new(State { disclosure, ..State::default() }),
        })
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
            // Tasks that have ended are kept until they are asked for.
            while state.tasks.try_join_next().is_some() {}
            state.tasks.spawn(task);
        }
    }

    /// Names host candidates where they are told by names; hosts without names are not told.
    pub(crate) fn name_hosts(&self, hosts: &[IpAddr]) {
        if self.hosts != HostCandidates::Mdns || hosts.is_empty() {
            return;
        }
        match Names::announce(hosts) {
            Ok(names) => {
                let mut state = self.lock();
                state.disclosure.set_names(names.names().to_vec());
                state.names = Some(names);
            }
            Err(error) => tracing::warn!(%error, "host candidates cannot be named by multicast DNS, and are not told"),
        }
    }

    /// Gathering begins. Where it has not ended after a while, because a server does not answer, it
    /// is over for the reader all the same.
    pub(crate) fn begin_gathering(self: &Arc<Self>) {
        self.guard.begin();
        let gathering = {
            let mut state = self.lock();
            state.gatherings += 1;
            state.is_gathered = false;
            state.gatherings
        };
        let shared = Arc::downgrade(self);
        self.spawn(async move {
            tokio::time::sleep(PATIENCE).await;
            let Some(shared) = shared.upgrade() else { return };
            let is_newest = shared.lock().gatherings == gathering;
            if is_newest {
                shared.report_gathering(Gathered::All);
            }
        });
    }

    /// Reports what gathering brought, or keeps it while a description is being made.
    pub(crate) fn report_gathering(&self, gathered: Gathered) {
        let now = match &mut self.lock().held {
            Some(held) => {
                held.push(gathered);
                None
            }
            None => Some(gathered),
        };
        if let Some(gathered) = now {
            self.tell_gathered(gathered);
        }
        self.gathered.notify_one();
    }

    /// Tells the reader what it may be told, and that there is no more once.
    pub(crate) fn tell_gathered(&self, gathered: Gathered) {
        let mut state = self.lock();
        if state.is_gathered {
            return;
        }
        match gathered {
            Gathered::Candidate(candidate) => {
                if let Some(attribute) = state.disclosure.candidate(&candidate.attribute) {
                    self.events.send(SessionEvent::LocalCandidate(Candidate { attribute, ..candidate }));
                }
            }
            Gathered::All => {
                state.is_gathered = true;
                for (url, error) in self.guard.failures() {
                    self.events.send(SessionEvent::ServerFailed { url, error: error.backend(NAME) });
                }
                self.events.send(SessionEvent::CandidatesDone);
            }
        }
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
