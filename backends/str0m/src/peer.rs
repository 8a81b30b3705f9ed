//! State of a session around str0m, sans-IO: the driver feeds it and sends its output.

use std::collections::{HashMap, HashSet, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use blink_api::{
    Candidate, Clock, DtlsState, Error, ErrorKind, FailureReason, MediaPath, Result, RtpSink, SessionConfig,
    SessionEvent, TrackId, TrackKind,
};
use blink_transport_kit::candidate;
use blink_transport_kit::events::EventSender;
use blink_transport_kit::handshake::{Direction, HandshakeObserver};
use blink_transport_kit::state_reporter::StateReporter;
use blink_transport_kit::traffic::SendSequence;
use str0m::bwe::{Bitrate, BweKind};
use str0m::change::SdpPendingOffer;
use str0m::media::Mid;
use str0m::net::{Protocol, Receive, Transmit};
use str0m::rtp::{Extension, ExtensionMap};
use str0m::{Event, IceConnectionState, Input, Output, Rtc, RtcError};

use crate::channels::Channels;
use crate::codecs::{Codecs, tag};
use crate::config::{DtlsVersion, Str0mConfig};
use crate::handshake_packets::{self, EarlyPacket};
use crate::shared::Shared;
use crate::stack_time::StackTime;

/// Interval of str0m's statistics events.
const STATS_INTERVAL: Duration = Duration::from_millis(500);
/// Shortest pace of connectivity checks (Ta) that RFC 8445 §14.2 allows.
const CHECK_PACE: Duration = Duration::from_millis(5);
/// Initial retransmission timeout of a first check, doubled each time. The answerer starts checks
/// before the offerer has the answer, so its first checks are always lost, and the stack's default
/// of 250 ms would delay the first audio noticeably.
const INITIAL_RTO: Duration = Duration::from_millis(8);
/// Retransmissions until a pair fails: the stack's nine, plus the additional early ones.
const MAX_RETRANSMITS: usize = 13;
/// Delay before polling again after an error of the stack.
const ERROR_DELAY: Duration = Duration::from_millis(20);
/// Poll interval of a stack that has ended.
const IDLE: Duration = Duration::from_secs(60);
/// Initial bandwidth estimate in bits per second: audio and some video.
const FIRST_ESTIMATE: u64 = 1_000_000;
/// Limit of remembered relayed addresses.
const MAX_RELAYS: usize = 256;

/// One endpoint of a connection.
pub(crate) struct Peer {
    pub(crate) rtc: Rtc,
    pub(crate) clock: Arc<dyn Clock>,
    stack_time: StackTime,
    pub(crate) codecs: Codecs,
    pub(crate) events: EventSender,
    pub(crate) rtp: Arc<dyn RtpSink>,
    pub(crate) shared: Arc<Shared>,
    pub(crate) tracks: Vec<LocalTrack>,
    next_track: u32,
    /// Audio and video sections of the latest description.
    pub(crate) sections: Vec<(Mid, TrackKind)>,
    /// Sections whose stream was used by a removed track.
    pub(crate) used_streams: HashSet<Mid>,
    /// Labels of channels that wait for a negotiation.
    pub(crate) wanted_channels: Vec<String>,
    pub(crate) has_data: bool,
    pub(crate) channels: Channels,
    pub(crate) offer: Option<PendingOffer>,
    pub(crate) is_negotiated: bool,
    /// ICE username fragment of the latest remote description.
    pub(crate) remote_ufrag: Option<String>,
    /// DTLS packets from addresses that ICE has not validated yet.
    pub(crate) early: VecDeque<EarlyPacket>,
    /// Section of each received SSRC.
    pub(crate) sources: HashMap<u32, blink_api::Mid>,
    pub(crate) path: Path,
    pub(crate) reporter: StateReporter,
    pub(crate) handshake: HandshakeObserver,
    /// Relayed addresses of both sides.
    pub(crate) relays: HashSet<SocketAddr>,
    /// Time until which a first connection is checked at the fastest pace.
    pub(crate) fast_checks_until: Option<Instant>,
}

/// Sent track.
pub(crate) struct LocalTrack {
    pub(crate) id: TrackId,
    pub(crate) kind: TrackKind,
    /// Section of the track, once negotiated.
    pub(crate) section: Option<Mid>,
    pub(crate) sequence: SendSequence,
}

/// Local offer without an answer.
pub(crate) struct PendingOffer {
    pub(crate) pending: SdpPendingOffer,
    /// Planned section of each track that had none.
    pub(crate) planned: Vec<(TrackId, Mid)>,
    /// Number of wanted channels in the offer.
    pub(crate) channels: usize,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Path {
    /// ICE and DTLS are in progress.
    New,
    Up,
    Lost,
}

/// Next output.
pub(crate) enum Step {
    Send(Transmit),
    WaitUntil(Instant),
}

impl Peer {
    pub(crate) fn new(
        config: &Str0mConfig,
        session: &SessionConfig,
        codecs: Codecs,
        events: EventSender,
        shared: Arc<Shared>,
        stack_time: StackTime,
    ) -> Self {
        let mut builder = Rtc::builder().set_rtp_mode(true).set_stats_interval(Some(STATS_INTERVAL)).set_dtls_version(
            match config.dtls {
                DtlsVersion::V1_2 => str0m::config::DtlsVersion::Dtls12,
                DtlsVersion::V1_3 => str0m::config::DtlsVersion::Dtls13,
                DtlsVersion::Auto => str0m::config::DtlsVersion::Auto,
            },
        );
        // abs-send-time is not used here, and str0m panics when it reads one while the system clock
        // is in the first hour of 1970, as on devices without a clock battery.
        let mut omitted = vec![Extension::AbsoluteSendTime];
        if config.bandwidth_estimate && !session.video.is_empty() {
            builder = builder.enable_bwe(Some(Bitrate::bps(FIRST_ESTIMATE)));
        } else {
            // Without an estimate, transport-wide sequence numbers and their feedback are overhead.
            omitted.push(Extension::TransportSequenceNumber);
        }
        let (mut extensions, standard) = (ExtensionMap::empty(), ExtensionMap::standard());
        for (id, extension) in standard.iter().filter(|(_, extension)| !omitted.contains(extension)) {
            extensions.set(id, extension.clone());
        }
        builder = builder.set_extension_map(extensions);
        // SCTP's INIT goes with the description (draft-hancke-tsvwg-snap), because a lost INIT is
        // retransmitted only after 3 s (RFC 9260 §16).
        builder = builder.set_snap_enabled(true);
        builder.set_initial_stun_rto(INITIAL_RTO);
        builder.set_max_stun_rto(config.check_interval);
        builder.set_max_stun_retransmits(MAX_RETRANSMITS);
        builder = builder.set_crypto_provider(crate::dtls::crypto());
        codecs.configure(builder.codec_config());
        Self {
            rtc: builder.build(stack_time.of(session.clock.now())),
            clock: Arc::clone(&session.clock),
            stack_time,
            codecs,
            events,
            rtp: Arc::clone(&session.rtp),
            shared,
            tracks: Vec::new(),
            next_track: 1,
            sections: Vec::new(),
            used_streams: HashSet::new(),
            wanted_channels: Vec::new(),
            has_data: false,
            channels: Channels::default(),
            offer: None,
            is_negotiated: false,
            remote_ufrag: None,
            early: VecDeque::new(),
            sources: HashMap::new(),
            path: Path::New,
            reporter: StateReporter::default(),
            handshake: HandshakeObserver::new(config.dtls.versions()),
            relays: HashSet::new(),
            fast_checks_until: None,
        }
    }

    /// Returns the next output; call until it is [`Step::WaitUntil`].
    pub(crate) fn poll(&mut self) -> Step {
        loop {
            if !self.rtc.is_alive() {
                self.set_disconnected();
                return Step::WaitUntil(self.clock.now() + IDLE);
            }
            match self.rtc.poll_output() {
                Ok(Output::Timeout(at)) => return Step::WaitUntil(self.pace_checks(self.stack_time.back(at))),
                Ok(Output::Transmit(datagram)) => {
                    self.observe(Direction::Sent, &datagram.contents);
                    return Step::Send(datagram);
                }
                Ok(Output::Event(event)) => self.handle_event(event),
                Err(error) => {
                    tracing::debug!(%error, "str0m");
                    if matches!(error, RtcError::RemoteSdp(_)) && self.path == Path::New {
                        // The only such error after a negotiation: the certificate of the handshake
                        // is not that of the description.
                        self.fail(FailureReason::Fingerprint);
                    }
                    return Step::WaitUntil(self.clock.now() + ERROR_DELAY);
                }
            }
        }
    }

    /// Shortens a timeout while a first connection is being established. str0m checks one candidate
    /// pair per call and asks for a call every 50 ms; RFC 8445 allows a pace of 5 ms.
    fn pace_checks(&self, at: Instant) -> Instant {
        let Some(until) = self.fast_checks_until.filter(|_| self.path == Path::New) else { return at };
        let now = self.clock.now();
        if now < until { at.min(now + CHECK_PACE) } else { at }
    }

    /// Handles a datagram that came from `source` to `local`.
    ///
    /// STUN authenticates itself. Everything else is accepted only from addresses that ICE has
    /// validated: DTLS would respond to a ClientHello from anyone, and then not to the peer's.
    pub(crate) fn handle_datagram(&mut self, source: SocketAddr, local: SocketAddr, data: &[u8]) {
        let is_stun = is_stun(data);
        let now = self.stack_now();
        let Ok(datagram) = Receive::new(Protocol::Udp, source, local, data) else { return };
        let input = Input::Receive(now, datagram);
        // DTLS that arrives before the local check has succeeded is kept, or the peer would have to
        // retransmit its first flight after 100 ms and more.
        if !is_stun && !self.rtc.accepts(&input) {
            return self.keep_early(source, local, data);
        }
        self.handle_input(input);
        self.observe(Direction::Received, data);
        if is_stun && !self.early.is_empty() {
            self.release_early();
        }
    }

    pub(crate) fn handle_timeout(&mut self) {
        self.handle_input(Input::Timeout(self.stack_now()));
    }

    /// Current time for the stack.
    pub(crate) fn stack_now(&self) -> Instant {
        self.stack_time.of(self.clock.now())
    }

    /// Arrival time of a packet on the session's clock.
    pub(crate) fn arrival(&self, stack_time: Instant) -> Instant {
        self.stack_time.back(stack_time)
    }

    /// Passes input to the stack. Errors are ignored, since anyone may send an invalid datagram.
    pub(crate) fn handle_input(&mut self, input: Input<'_>) {
        if let Err(error) = self.rtc.handle_input(input) {
            tracing::debug!(%error, "str0m");
        }
    }

    fn handle_event(&mut self, event: Event) {
        // The stack counts as checking before there is anything to check.
        if let Event::IceConnectionStateChange(state) = &event
            && self.is_negotiated
        {
            self.reporter.set_ice(handshake_packets::ice_state(*state), &self.events);
        }
        match event {
            Event::Connected => self.set_connected(),
            Event::IceConnectionStateChange(IceConnectionState::Disconnected) => self.set_disconnected(),
            Event::IceConnectionStateChange(state) if state.is_connected() && self.path == Path::Lost => {
                self.set_connected();
            }
            Event::Closed => self.set_disconnected(),
            Event::ChannelOpen(id, label) => self.handle_channel_open(id, label),
            Event::ChannelData(data) => self.handle_message(data),
            Event::ChannelClose(id) => self.handle_channel_close(id),
            Event::ChannelBufferedAmountLow(_) => self.flush_backlog(),
            Event::RtpPacket(packet) => self.handle_packet(packet),
            Event::KeyframeRequest(request) => {
                self.events.send(SessionEvent::KeyframeRequested { mid: tag(request.mid) });
            }
            Event::EgressBitrateEstimate(BweKind::Twcc { estimate, can_probe: true }) => {
                let bits_per_second = estimate.as_u64();
                self.events.send(SessionEvent::BandwidthEstimate { bits_per_second });
            }
            Event::PeerStats(stats) => {
                let pair = stats.selected_candidate_pair;
                let measured = pair.as_ref().and_then(|pair| pair.current_round_trip_time).or(stats.rtt);
                let mut state = self.shared.lock();
                state.round_trip = measured.or(state.round_trip);
                if let Some(pair) = pair {
                    let is_relayed = [pair.local.addr, pair.remote.addr].iter().any(|it| self.relays.contains(it));
                    state.path = Some(if is_relayed { MediaPath::Relayed } else { MediaPath::Direct });
                }
            }
            _ => {}
        }
    }

    fn set_connected(&mut self) {
        self.path = Path::Up;
        self.reporter.set_dtls(DtlsState::Connected, &self.events);
        self.events.send(SessionEvent::Connected);
    }

    fn set_disconnected(&mut self) {
        if self.path == Path::Up {
            self.path = Path::Lost;
            self.events.send(SessionEvent::Disconnected);
        }
    }

    pub(crate) fn add_track(&mut self, kind: TrackKind) -> Result<TrackId> {
        if self.codecs.of(kind).is_empty() {
            return Err(Error::unsupported(crate::NAME, "add_track"));
        }
        let id = TrackId(self.next_track);
        self.next_track += 1;
        self.tracks.push(LocalTrack { id, kind, section: None, sequence: SendSequence::default() });
        self.shared.lock().tracks.insert(id, None);
        self.request_negotiation();
        Ok(id)
    }

    pub(crate) fn remove_track(&mut self, id: TrackId) -> Result<()> {
        let position = self.tracks.iter().position(|track| track.id == id);
        let position = position.ok_or_else(|| Error::new(ErrorKind::NotFound, "there is no such track"))?;
        self.used_streams.extend(self.tracks.remove(position).section);
        self.shared.lock().tracks.remove(&id);
        self.request_negotiation();
        Ok(())
    }

    pub(crate) fn open_channel(&mut self, label: &str) {
        self.wanted_channels.push(label.to_owned());
        if self.has_data {
            self.open_wanted_channels();
        } else {
            self.request_negotiation();
        }
    }

    /// Requests a negotiation, except before the first one, which the engine starts itself.
    fn request_negotiation(&self) {
        if self.is_negotiated || self.offer.is_some() {
            self.events.send(SessionEvent::NegotiationNeeded);
        }
    }

    /// Adds a remote candidate for checks.
    pub(crate) fn add_candidate(&mut self, candidate: &Candidate) -> Result<()> {
        let parsed = str0m::Candidate::from_sdp_string(&candidate::without_extensions(&candidate.attribute))
            .map_err(|_| Error::new(ErrorKind::Invalid, "this is not an ICE candidate"))?;
        self.note_relays(candidate::relay(&candidate.attribute));
        self.rtc.add_remote_candidate(parsed);
        Ok(())
    }

    /// Remembers relays, which tell what path a candidate pair is.
    pub(crate) fn note_relays(&mut self, relays: impl IntoIterator<Item = SocketAddr>) {
        let room = MAX_RELAYS.saturating_sub(self.relays.len());
        self.relays.extend(relays.into_iter().take(room));
    }
}

/// Returns whether a packet is STUN, by its first byte (RFC 7983 §7).
fn is_stun(data: &[u8]) -> bool {
    data.first().is_some_and(|first| *first < 4)
}

#[cfg(test)]
pub(crate) mod tests;
