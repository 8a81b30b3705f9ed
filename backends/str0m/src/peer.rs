//! A session's state around str0m, without input, output or clock: the driver feeds it and sends
//! what it says.

use std::collections::{HashMap, HashSet, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use blink_api::{Candidate, Clock, Error, ErrorKind, Result, RtpSink, SessionConfig, SessionEvent, TrackId, TrackKind};
use blink_transport_kit::candidate;
use blink_transport_kit::events::EventSender;
use blink_transport_kit::traffic::SendSequence;
use str0m::bwe::{Bitrate, BweKind};
use str0m::change::SdpPendingOffer;
use str0m::media::Mid;
use str0m::net::{Protocol, Receive, Transmit};
use str0m::rtp::{Extension, ExtensionMap};
use str0m::{Event, IceConnectionState, Input, Output, Rtc};

use crate::channels::Channels;
use crate::codecs::{Codecs, tag};
use crate::config::{DtlsVersion, Str0mConfig};
use crate::shared::Shared;
use crate::stack_time::StackTime;

/// How often str0m hands out its measurements.
const STATS_INTERVAL: Duration = Duration::from_millis(500);
/// The shortest pace of connectivity checks that RFC 8445 §14.2 allows.
const CHECK_PACE: Duration = Duration::from_millis(5);
/// When a first check is repeated, and from then on after twice the time each. The answering side
/// checks before the answer has come to the offering one, so its first checks are always in vain,
/// and the stack's own 250 ms would be heard.
const FIRST_REPETITION: Duration = Duration::from_millis(20);
/// Repetitions until a pair is given up: the stack's nine, and those that come earlier.
const MOST_REPETITIONS: usize = 12;
/// When to look again after the stack reported a fault.
const FAULT_PAUSE: Duration = Duration::from_millis(20);
/// When to look again at a stack that has ended.
const IDLE: Duration = Duration::from_secs(60);
/// What a path is taken to carry before anything is known of it, in bits per second: sound and a
/// little picture.
const FIRST_ESTIMATE: u64 = 1_000_000;
/// Handshake packets kept from addresses that ICE has not checked yet, in all and of one address: a
/// flight of DTLS. What comes then is dropped, and repeated by its sender.
const MAX_EARLY: usize = 16;
const MAX_EARLY_PER_SOURCE: usize = 4;

/// One side of a connection.
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
    /// Audio and video sections of the newest description.
    pub(crate) sections: Vec<(Mid, TrackKind)>,
    /// Sections whose stream belonged to a track that was removed.
    pub(crate) spent: HashSet<Mid>,
    /// Labels of channels that wait for a negotiation.
    pub(crate) wanted_channels: Vec<String>,
    pub(crate) has_data: bool,
    pub(crate) channels: Channels,
    pub(crate) offer: Option<OpenOffer>,
    pub(crate) is_negotiated: bool,
    /// ICE user name fragment of the newest remote description.
    pub(crate) remote_user: Option<String>,
    /// Handshake packets from addresses that ICE has not checked yet.
    early: VecDeque<EarlyPacket>,
    /// The section each source sends on.
    pub(crate) sources: HashMap<u32, blink_api::Mid>,
    pub(crate) path: Path,
    /// When a first connection that is still being looked for becomes a matter of patience.
    pub(crate) hurry_until: Option<Instant>,
}

/// A track that is sent.
pub(crate) struct LocalTrack {
    pub(crate) id: TrackId,
    pub(crate) kind: TrackKind,
    /// The section it is sent on, once negotiated.
    pub(crate) section: Option<Mid>,
    pub(crate) sequence: SendSequence,
}

/// An own offer without an answer yet.
pub(crate) struct OpenOffer {
    pub(crate) pending: SdpPendingOffer,
    /// The section meant for each track that had none.
    pub(crate) planned: Vec<(TrackId, Mid)>,
    /// How many of the wanted channels it opens.
    pub(crate) channels: usize,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Path {
    /// ICE and DTLS are on the way.
    New,
    Up,
    Lost,
}

/// A packet of the handshake that waits for its address to be checked.
struct EarlyPacket {
    source: SocketAddr,
    local: SocketAddr,
    data: Vec<u8>,
}

/// What the driver must do before the next input.
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
        // Nothing here uses the time of sending, and str0m panics when it reads one while the
        // system's clock is in the first hour of 1970, as on devices without a clock battery.
        let mut left_out = vec![Extension::AbsoluteSendTime];
        if config.bandwidth_estimate && !session.video.is_empty() {
            builder = builder.enable_bwe(Some(Bitrate::bps(FIRST_ESTIMATE)));
        } else {
            // Without an estimate nobody needs the numbers of all packets, nor to be told which of
            // them came.
            left_out.push(Extension::TransportSequenceNumber);
        }
        let (mut extensions, standard) = (ExtensionMap::empty(), ExtensionMap::standard());
        for (id, extension) in standard.iter().filter(|(_, extension)| !left_out.contains(extension)) {
            extensions.set(id, extension.clone());
        }
        builder = builder.set_extension_map(extensions);
        // The first messages of SCTP go with the description (draft-hancke-tsvwg-snap): where
        // packets are lost, the first repetition of one takes 3 s (RFC 9260 §16).
        builder = builder.set_snap_enabled(true);
        builder.set_initial_stun_rto(FIRST_REPETITION);
        builder.set_max_stun_rto(config.check_interval);
        builder.set_max_stun_retransmits(MOST_REPETITIONS);
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
            spent: HashSet::new(),
            wanted_channels: Vec::new(),
            has_data: false,
            channels: Channels::default(),
            offer: None,
            is_negotiated: false,
            remote_user: None,
            early: VecDeque::new(),
            sources: HashMap::new(),
            path: Path::New,
            hurry_until: None,
        }
    }

    /// Says what to do next; ask until it is [`Step::WaitUntil`].
    pub(crate) fn poll(&mut self) -> Step {
        loop {
            if !self.rtc.is_alive() {
                self.lose_path();
                return Step::WaitUntil(self.clock.now() + IDLE);
            }
            match self.rtc.poll_output() {
                Ok(Output::Timeout(at)) => return Step::WaitUntil(self.hurry(self.stack_time.back(at))),
                Ok(Output::Transmit(datagram)) => return Step::Send(datagram),
                Ok(Output::Event(event)) => self.handle_event(event),
                Err(error) => {
                    tracing::debug!(%error, "str0m");
                    return Step::WaitUntil(self.clock.now() + FAULT_PAUSE);
                }
            }
        }
    }

    /// str0m checks one pair of addresses each time it is called and asks for a call every 50 ms. A
    /// first connection has it hurry.
    fn hurry(&self, at: Instant) -> Instant {
        let Some(until) = self.hurry_until.filter(|_| self.path == Path::New) else { return at };
        let now = self.clock.now();
        if now < until { at.min(now + CHECK_PACE) } else { at }
    }

    /// Takes a datagram that came from `source` to `local`.
    ///
    /// STUN authenticates itself. Everything else counts only from addresses that ICE has checked:
    /// DTLS would answer a ClientHello of anybody, and then not the peer's.
    pub(crate) fn handle_datagram(&mut self, source: SocketAddr, local: SocketAddr, data: &[u8]) {
        let is_stun = is_stun(data);
        let now = self.stack_now();
        let Ok(datagram) = Receive::new(Protocol::Udp, source, local, data) else { return };
        let input = Input::Receive(now, datagram);
        if !is_stun && !self.rtc.accepts(&input) {
            return self.keep_early(source, local, data);
        }
        self.handle_input(input);
        if is_stun && !self.early.is_empty() {
            self.release_early();
        }
    }

    /// Keeps the first flight of a peer whose own check was answered earlier than ours.
    fn keep_early(&mut self, source: SocketAddr, local: SocketAddr, data: &[u8]) {
        let of_source = self.early.iter().filter(|packet| packet.source == source).count();
        if is_dtls(data) && self.early.len() < MAX_EARLY && of_source < MAX_EARLY_PER_SOURCE {
            self.early.push_back(EarlyPacket { source, local, data: data.to_vec() });
        }
    }

    /// Hands over what came from addresses that have been checked by now.
    fn release_early(&mut self) {
        for packet in std::mem::take(&mut self.early) {
            let EarlyPacket { source, local, data } = &packet;
            let Ok(datagram) = Receive::new(Protocol::Udp, *source, *local, data) else { continue };
            let input = Input::Receive(self.stack_now(), datagram);
            if self.rtc.accepts(&input) {
                self.handle_input(input);
            } else {
                self.early.push_back(packet);
            }
        }
    }

    pub(crate) fn handle_timeout(&mut self) {
        self.handle_input(Input::Timeout(self.stack_now()));
    }

    /// Now, as the stack has it.
    pub(crate) fn stack_now(&self) -> Instant {
        self.stack_time.of(self.clock.now())
    }

    /// When a packet came, in the session's time.
    pub(crate) fn arrival(&self, stack_time: Instant) -> Instant {
        self.stack_time.back(stack_time)
    }

    /// A datagram that the stack finds fault with is one that anybody may have sent: it changes
    /// nothing.
    fn handle_input(&mut self, input: Input<'_>) {
        if let Err(error) = self.rtc.handle_input(input) {
            tracing::debug!(%error, "str0m");
        }
    }

    fn handle_event(&mut self, event: Event) {
        match event {
            Event::Connected => self.find_path(),
            Event::IceConnectionStateChange(IceConnectionState::Disconnected) => self.lose_path(),
            Event::IceConnectionStateChange(state) if state.is_connected() && self.path == Path::Lost => {
                self.find_path();
            }
            Event::Closed => self.lose_path(),
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
                let measured = stats.selected_candidate_pair.and_then(|pair| pair.current_round_trip_time);
                if let Some(round_trip) = measured.or(stats.rtt) {
                    self.shared.lock().round_trip = Some(round_trip);
                }
            }
            _ => {}
        }
    }

    fn find_path(&mut self) {
        self.path = Path::Up;
        self.events.send(SessionEvent::Connected);
    }

    fn lose_path(&mut self) {
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
        self.ask_for_negotiation();
        Ok(id)
    }

    pub(crate) fn remove_track(&mut self, id: TrackId) -> Result<()> {
        let position = self.tracks.iter().position(|track| track.id == id);
        let position = position.ok_or_else(|| Error::new(ErrorKind::NotFound, "there is no such track"))?;
        self.spent.extend(self.tracks.remove(position).section);
        self.shared.lock().tracks.remove(&id);
        self.ask_for_negotiation();
        Ok(())
    }

    pub(crate) fn open_channel(&mut self, label: &str) {
        self.wanted_channels.push(label.to_owned());
        if self.has_data {
            self.open_wanted_channels();
        } else {
            self.ask_for_negotiation();
        }
    }

    /// Only changes after the first negotiation are news to the engine.
    fn ask_for_negotiation(&self) {
        if self.is_negotiated || self.offer.is_some() {
            self.events.send(SessionEvent::NegotiationNeeded);
        }
    }

    /// Has a remote candidate checked.
    pub(crate) fn add_candidate(&mut self, candidate: &Candidate) -> Result<()> {
        let parsed = str0m::Candidate::from_sdp_string(&candidate::bare(&candidate.attribute))
            .map_err(|_| Error::new(ErrorKind::Invalid, "this is no ICE candidate"))?;
        self.rtc.add_remote_candidate(parsed);
        Ok(())
    }
}

/// STUN by its first byte (RFC 7983 §7).
fn is_stun(data: &[u8]) -> bool {
    data.first().is_some_and(|first| *first < 4)
}

/// DTLS by its first byte (RFC 7983 §7).
fn is_dtls(data: &[u8]) -> bool {
    data.first().is_some_and(|first| (20..64).contains(first))
}

#[cfg(test)]
pub(crate) mod tests;
