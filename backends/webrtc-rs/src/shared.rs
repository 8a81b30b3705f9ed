//! State shared by the handle, the handler and the tasks of a session.

use std::collections::HashMap;
use std::fmt;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::Duration;

use blink_api::{
    Candidate, ChannelId, Clock, DtlsState, HostCandidates, IceState, Mid, Result, RtpCodec, RtpSink, SessionConfig,
    SessionEvent, TrackId, TrackKind,
};
use blink_transport_kit::check_budget::CheckBudget;
use blink_transport_kit::events::EventSender;
use blink_transport_kit::handshake::{Direction, DtlsVersion, HandshakeObserver};
use blink_transport_kit::local_candidate_filter::LocalCandidateFilter;
use blink_transport_kit::mdns::MdnsResponder;
use blink_transport_kit::sdp::Section;
use blink_transport_kit::state_reporter::StateReporter;
use blink_transport_kit::traffic::{SendSequence, TrafficCounters};
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
use crate::packet_filter::PacketFilter;
use crate::{NAME, channels};

/// Time to wait for servers to respond.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(3);

/// Observer of handshakes: the stack negotiates DTLS 1.2 only.
static HANDSHAKES: HandshakeObserver = HandshakeObserver::new(&[DtlsVersion::V1_2]);

/// Shared state of a session.
pub(crate) struct Shared {
    pub(crate) events: EventSender,
    pub(crate) rtp: Arc<dyn RtpSink>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) audio: Vec<RtpCodec>,
    pub(crate) video: Vec<RtpCodec>,
    /// Connection, set once right after it is created with its handler.
    pub(crate) connection: OnceLock<Weak<dyn PeerConnection>>,
    /// Notified of each gathering event.
    pub(crate) gathered: Notify,
    pub(crate) packet_filter: Arc<PacketFilter>,
    /// Bytes that can still be queued for sending, one permit each.
    pub(crate) send_capacity: Arc<Semaphore>,
    host_candidates: HostCandidates,
    state: Mutex<State>,
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").finish_non_exhaustive()
    }
}

/// Mutable state; locked only briefly.
#[derive(Default)]
pub(crate) struct State {
    /// The session is closed and every method fails.
    pub(crate) is_closed: bool,
    pub(crate) path: Path,
    reporter: StateReporter,
    /// Gathering events deferred while a description is created, which may contain the same.
    pub(crate) deferred: Option<Vec<Gathered>>,
    pub(crate) local_candidate_filter: LocalCandidateFilter,
    /// mDNS responder with [`HostCandidates::Mdns`], created at the first gathering.
    pub(crate) mdns: Option<MdnsResponder>,
    /// Number of mDNS lookups in progress.
    pub(crate) lookups: usize,
    /// Number of gatherings started.
    pub(crate) gatherings: u64,
    /// The end of the latest gathering was reported.
    pub(crate) is_gathered: bool,
    pub(crate) tracks: HashMap<TrackId, LocalTrack>,
    pub(crate) next_track: u32,
    /// Sections of the latest answer that a track is received on.
    pub(crate) receiving: HashMap<Mid, Section>,
    pub(crate) incoming: HashMap<Mid, Arc<dyn TrackRemote>>,
    /// RTX payload types of the latest answer, each with the payload type that it retransmits (RFC
    /// 4588).
    pub(crate) rtx_payload_types: Vec<(u8, u8)>,
    /// Data channels with a task, open or opening.
    pub(crate) served_channels: usize,
    /// Open data channels.
    pub(crate) channels: HashMap<ChannelId, mpsc::Sender<Queued>>,
    pub(crate) next_channel: u32,
    pub(crate) traffic: TrafficCounters,
    /// Reader and sender tasks, which end with the session.
    pub(crate) tasks: JoinSet<()>,
}

/// Sent track.
pub(crate) struct LocalTrack {
    pub(crate) kind: TrackKind,
    pub(crate) local: Arc<TrackLocalStaticRTP>,
    pub(crate) sender: Arc<dyn RtpSender>,
    pub(crate) ssrc: u32,
    /// Section of the latest answer that it is sent on.
    pub(crate) section: Option<Section>,
    pub(crate) sequence: SendSequence,
}

impl LocalTrack {
    pub(crate) fn mid(&self) -> Option<Mid> {
        Some(self.section.as_ref()?.mid.clone())
    }
}

/// Gathering event of the stack.
pub(crate) enum Gathered {
    Candidate(Candidate),
    /// Gathering is complete (RFC 8838 §13).
    EndOfCandidates,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Path {
    /// ICE and DTLS are in progress.
    #[default]
    New,
    Up,
    Lost,
}

impl Shared {
    /// Creates the state.
    ///
    /// # Errors
    /// [`Invalid`](blink_api::ErrorKind::Invalid) for an invalid server URL.
    pub(crate) fn new(events: EventSender, session: &SessionConfig, budget: CheckBudget) -> Result<Self> {
        let local_candidate_filter = LocalCandidateFilter::new(&session.ice);
        Ok(Self {
            events,
            rtp: Arc::clone(&session.rtp),
            clock: Arc::clone(&session.clock),
            audio: session.audio.clone(),
            video: session.video.clone(),
            connection: OnceLock::new(),
            gathered: Notify::new(),
            packet_filter: Arc::new(PacketFilter::new(&session.ice, budget)?),
            send_capacity: Arc::new(Semaphore::new(channels::QUEUED_BYTES)),
            host_candidates: session.ice.host_candidates,
            state: Mutex::new(State { local_candidate_filter, ..State::default() }),
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

    /// Reports received RTCP and key frame requests in it.
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
                Err(error) => tracing::debug!(%error, "the RTCP packet cannot be serialised"),
            }
        }
    }

    /// Connection, while the session is open.
    pub(crate) fn connection(&self) -> Option<Arc<dyn PeerConnection>> {
        self.connection.get()?.upgrade()
    }

    /// Spawns a task that ends with the session.
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let mut state = self.lock();
        if !state.is_closed {
            // Finished tasks stay in the set until joined.
            while state.tasks.try_join_next().is_some() {}
            state.tasks.spawn(task);
        }
    }

    /// Announces mDNS names of local addresses if configured. On failure, host candidates are not
    /// signaled.
    pub(crate) fn announce_mdns_names(&self, hosts: &[IpAddr]) {
        if self.host_candidates != HostCandidates::Mdns || hosts.is_empty() {
            return;
        }
        match MdnsResponder::announce(hosts) {
            Ok(mdns) => {
                let mut state = self.lock();
                state.local_candidate_filter.set_names(mdns.names().to_vec());
                state.mdns = Some(mdns);
            }
            Err(error) => tracing::warn!(%error, "mDNS is not available: host candidates are not signaled"),
        }
    }

    /// Starts a gathering. If a server does not respond, it is reported as complete after
    /// [`RESPONSE_TIMEOUT`].
    pub(crate) fn begin_gathering(self: &Arc<Self>) {
        self.packet_filter.begin();
        let gathering = {
            let mut state = self.lock();
            state.gatherings += 1;
            state.is_gathered = false;
            state.gatherings
        };
        let shared = Arc::downgrade(self);
        self.spawn(async move {
            tokio::time::sleep(RESPONSE_TIMEOUT).await;
            let Some(shared) = shared.upgrade() else { return };
            let is_newest = shared.lock().gatherings == gathering;
            if is_newest {
                shared.report_gathering(Gathered::EndOfCandidates);
            }
        });
    }

    /// Reports a gathering event, or defers it while a description is created.
    pub(crate) fn report_gathering(&self, gathered: Gathered) {
        let now = match &mut self.lock().deferred {
            Some(deferred) => {
                deferred.push(gathered);
                None
            }
            None => Some(gathered),
        };
        if let Some(gathered) = now {
            self.emit_gathered(gathered);
        }
        self.gathered.notify_one();
    }

    /// Sends a filtered gathering event to the reader, and the end only once.
    pub(crate) fn emit_gathered(&self, gathered: Gathered) {
        let mut state = self.lock();
        if state.is_gathered {
            return;
        }
        match gathered {
            Gathered::Candidate(candidate) => {
                if let Some(attribute) = state.local_candidate_filter.candidate(&candidate.attribute) {
                    self.events.send(SessionEvent::LocalCandidate(Candidate { attribute, ..candidate }));
                }
            }
            Gathered::EndOfCandidates => {
                state.is_gathered = true;
                for (url, error) in self.packet_filter.failures() {
                    self.events.send(SessionEvent::ServerFailed { url, error: error.backend(NAME) });
                }
                self.events.send(SessionEvent::CandidatesDone);
            }
        }
    }

    pub(crate) fn set_ice_state(&self, ice: IceState) {
        self.lock().reporter.set_ice(ice, &self.events);
    }

    /// Looks for the reason why a handshake cannot succeed in a datagram of it.
    pub(crate) fn observe(&self, direction: Direction, datagram: &[u8]) {
        let mut state = self.lock();
        if state.path != Path::New {
            return;
        }
        let found = HANDSHAKES.observe(direction, datagram);
        let dtls = if found.is_some() { DtlsState::Failed } else { DtlsState::Connecting };
        if found.is_some() || state.reporter.dtls() == DtlsState::New {
            state.reporter.set_dtls(dtls, &self.events);
        }
        if let Some(reason) = found {
            state.reporter.fail(reason, &self.events);
        }
    }

    pub(crate) fn set_connected(&self) {
        let mut state = self.lock();
        state.reporter.set_dtls(DtlsState::Connected, &self.events);
        if std::mem::replace(&mut state.path, Path::Up) != Path::Up {
            self.events.send(SessionEvent::Connected);
        }
    }

    pub(crate) fn set_disconnected(&self) {
        let mut state = self.lock();
        if state.path == Path::Up {
            state.path = Path::Lost;
            self.events.send(SessionEvent::Disconnected);
        }
    }
}
