//! A session's state around str0m, without input, output or clock: the driver feeds it and sends what it says.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use blink_api::{Candidate, Clock, Error, ErrorKind, Result, SessionConfig, SessionEvent, TrackId, TrackKind};
use blink_transport_kit::events::EventSender;
use blink_transport_kit::traffic::SendSequence;
use str0m::bwe::{Bitrate, BweKind};
use str0m::change::SdpPendingOffer;
use str0m::media::Mid;
use str0m::net::{Receive, Transmit};
use str0m::rtp::{Extension, ExtensionMap};
use str0m::{Event, IceConnectionState, Input, Output, Rtc};

use crate::channels::Channels;
use crate::codecs::{Codecs, tag};
use crate::config::{DtlsVersion, Str0mConfig};
use crate::shared::Shared;

/// How often str0m hands out its measurements.
const STATS_INTERVAL: Duration = Duration::from_millis(500);
/// The shortest pace of connectivity checks that RFC 8445 §14.2 allows.
const CHECK_PACE: Duration = Duration::from_millis(5);
/// When a first check is repeated, and from then on after twice the time each. The answering side checks before the answer has come to the
/// offering one, so its first checks are always in vain, and the stack's own 250 ms would be heard.
const FIRST_REPETITION: Duration = Duration::from_millis(20);
/// Repetitions until a pair is given up: the stack's nine, and those that come earlier.
const MOST_REPETITIONS: usize = 12;
/// When to look again after the stack reported a fault.
const FAULT_PAUSE: Duration = Duration::from_millis(20);
/// When to look again at a stack that has ended.
const IDLE: Duration = Duration::from_secs(60);
/// What a path is taken to carry before anything is known of it, in bits per second: sound and a little picture.
const FIRST_ESTIMATE: u64 = 1_000_000;
/// Remote candidates kept for the next ICE generation.
const MOST_CANDIDATES: usize = 64;

/// One side of a connection.
pub(crate) struct Peer {
    pub(crate) rtc: Rtc,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) codecs: Codecs,
    pub(crate) events: EventSender,
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
    /// The newest remote candidates, and the ICE user name they were given to the stack for.
    pub(crate) candidates: VecDeque<str0m::Candidate>,
    pub(crate) remote_user: Option<String>,
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
    ) -> Self {
        let mut builder = Rtc::builder().set_rtp_mode(true).set_stats_interval(Some(STATS_INTERVAL)).set_dtls_version(
            match config.dtls {
                DtlsVersion::V1_2 => str0m::config::DtlsVersion::Dtls12,
                DtlsVersion::V1_3 => str0m::config::DtlsVersion::Dtls13,
                DtlsVersion::Auto => str0m::config::DtlsVersion::Auto,
            },
        );
        if config.bandwidth_estimate && !session.video.is_empty() {
            builder = builder.enable_bwe(Some(Bitrate::bps(FIRST_ESTIMATE)));
        } else {
            // Without an estimate nobody needs the numbers of all packets, nor to be told which of them came.
            let mut extensions = ExtensionMap::empty();
            let standard = ExtensionMap::standard();
            for (id, extension) in standard.iter() {
                if *extension != Extension::TransportSequenceNumber {
                    extensions.set(id, extension.clone());
                }
            }
            builder = builder.set_extension_map(extensions);
        }
        // The first messages of SCTP go with the description (draft-hancke-tsvwg-snap): where packets are lost, the first repetition of one takes 3 s (RFC 9260 §16).
        builder = builder.set_snap_enabled(true);
        builder.set_initial_stun_rto(FIRST_REPETITION);
        builder.set_max_stun_rto(config.check_interval);
        builder.set_max_stun_retransmits(MOST_REPETITIONS);
        builder = builder.set_crypto_provider(crate::dtls::crypto());
        codecs.configure(builder.codec_config());
        Self {
            rtc: builder.build(session.clock.now()),
            clock: Arc::clone(&session.clock),
            codecs,
            events,
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
            candidates: VecDeque::new(),
            remote_user: None,
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
                Ok(Output::Timeout(at)) => return Step::WaitUntil(self.hurry(at)),
                Ok(Output::Transmit(datagram)) => return Step::Send(datagram),
                Ok(Output::Event(event)) => self.handle_event(event),
                Err(error) => {
                    tracing::debug!(%error, "str0m");
                    return Step::WaitUntil(self.clock.now() + FAULT_PAUSE);
                }
            }
        }
    }

    /// str0m checks one pair of addresses each time it is called and asks for a call every 50 ms. A first connection has it hurry.
    fn hurry(&self, at: Instant) -> Instant {
        let Some(until) = self.hurry_until.filter(|_| self.path == Path::New) else { return at };
        let now = self.clock.now();
        if now < until { at.min(now + CHECK_PACE) } else { at }
    }

    pub(crate) fn handle_datagram(&mut self, datagram: Receive<'_>) {
        self.handle_input(Input::Receive(self.clock.now(), datagram));
    }

    pub(crate) fn handle_timeout(&mut self) {
        self.handle_input(Input::Timeout(self.clock.now()));
    }

    /// A datagram that the stack finds fault with is one that anybody may have sent: it changes nothing.
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

    /// Keeps a candidate for the description that may come later, and checks it now where there is one.
    pub(crate) fn add_candidate(&mut self, candidate: &Candidate) -> Result<()> {
        let parsed = str0m::Candidate::from_sdp_string(&candidate.attribute)
            .map_err(|_| Error::new(ErrorKind::Invalid, "this is no ICE candidate"))?;
        if self.remote_user.is_some() {
            self.rtc.add_remote_candidate(parsed.clone());
        }
        if self.candidates.len() == MOST_CANDIDATES {
            self.candidates.pop_front();
        }
        self.candidates.push_back(parsed);
        Ok(())
    }
}

#[cfg(test)]
pub(crate) mod tests;
