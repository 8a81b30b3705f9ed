//! State of a session: everything but its tasks.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use blink_api::{
    Candidate, ChannelId, Clock, CodecName, Error, ErrorKind, Mid, Result, RtpIn, RtpOut, RtpSink, SessionConfig,
    SessionEvent, SessionStats, TrackId, TrackKind,
};
use blink_transport_kit::candidate::{self, CandidateUse};
use blink_transport_kit::events::EventSender;
use blink_transport_kit::negotiation::{Local, Negotiation};
use blink_transport_kit::remote_candidate_filter::RemoteCandidateFilter;
use blink_transport_kit::traffic::{SendSequence, TrafficCounters};
use bytes::Bytes;
use tokio::net::UdpSocket;
use x25519_dalek::{PublicKey, StaticSecret};

use super::datagram::{Datagram, Frame, RtpFrame};
use super::path::{Path, fingerprint};
use super::reliable::{Arrived, Incoming, Outgoing};

/// Longest message, as in the contract.
const MAX_MESSAGE: usize = 16 * 1024;
/// Pauses between the checks of a candidate: the first, and the longest.
const CHECK: [Duration; 2] = [Duration::from_millis(100), Duration::from_millis(1_600)];
const PING: Duration = Duration::from_millis(200);
/// Silence after which a path counts as lost.
const LOST: Duration = Duration::from_millis(1_500);

pub(super) struct State {
    clock: Arc<dyn Clock>,
    rtp: Arc<dyn RtpSink>,
    events: EventSender,
    pub(super) negotiation: Negotiation,
    traffic: TrafficCounters,
    sequences: BTreeMap<TrackId, SendSequence>,
    sockets: Vec<Arc<UdpSocket>>,
    filter: RemoteCandidateFilter,
    secret: StaticSecret,
    candidates: Vec<Check>,
    /// ICE username fragment that the candidates belong to.
    checked: Option<String>,
    /// The path in use, and one that replaces it after an ICE restart.
    paths: Vec<Path>,
    is_connected: bool,
    pinged: Option<Instant>,
    began: Instant,
    outgoing: Outgoing,
    incoming: Incoming,
    channels: BTreeSet<ChannelId>,
    next_channel: u32,
}

/// A remote candidate.
struct Check {
    address: SocketAddr,
    due: Instant,
    pause: Duration,
}

impl State {
    pub(super) fn new(
        config: SessionConfig,
        events: EventSender,
        sockets: Vec<Arc<UdpSocket>>,
        own: &[SocketAddr],
        random: [u8; 64],
    ) -> Self {
        let (secret, rest) = random.split_first_chunk::<32>().expect("64 bytes have 32");
        let secret = StaticSecret::from(*secret);
        let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        let local = Local {
            session: u64::from_be_bytes(*rest.first_chunk().expect("32 bytes have 8")) >> 2,
            ufrag: hex(&rest[8..14]),
            password: hex(&rest[14..28]),
            fingerprint: fingerprint(&PublicKey::from(&secret)),
            hosts: own.iter().map(|address| (address.ip().to_string(), address.port())).collect(),
        };
        let addresses: Vec<IpAddr> = own.iter().map(SocketAddr::ip).collect();
        Self {
            negotiation: Negotiation::new(local, &config.audio, &config.video),
            clock: config.clock,
            rtp: config.rtp,
            events,
            traffic: TrafficCounters::default(),
            sequences: BTreeMap::new(),
            sockets,
            filter: RemoteCandidateFilter::new(&addresses),
            secret,
            candidates: Vec::new(),
            checked: None,
            paths: Vec::new(),
            is_connected: false,
            pinged: None,
            began: Instant::now(),
            outgoing: Outgoing::default(),
            incoming: Incoming::default(),
            channels: BTreeSet::new(),
            next_channel: 0,
        }
    }

    /// Sends the events of the negotiation.
    pub(super) fn report(&mut self) {
        while let Some(event) = self.negotiation.poll_event() {
            self.events.send(event);
        }
    }

    pub(super) fn accept_offer(&mut self, sdp: &str) -> Result<String> {
        self.apply(sdp, Negotiation::accept_offer)
    }

    pub(super) fn accept_answer(&mut self, sdp: &str) -> Result<()> {
        self.apply(sdp, Negotiation::accept_answer)
    }

    /// Applies a description with those of its candidates that may be used.
    fn apply<T>(&mut self, sdp: &str, accept: impl FnOnce(&mut Negotiation, &str) -> Result<T>) -> Result<T> {
        let mut filter = self.filter.clone();
        let admitted = filter.description(sdp);
        let accepted = accept(&mut self.negotiation, &admitted.sdp)?;
        self.filter = filter;
        let Some(remote) = self.negotiation.remote().cloned() else { return Ok(accepted) };
        if self.checked.as_ref() != Some(&remote.ufrag) {
            self.checked = Some(remote.ufrag);
            self.candidates.clear();
        }
        let usable = admitted.candidates.iter().filter(|(_, usage)| *usage == CandidateUse::Check);
        let attributes = usable.map(|(candidate, _)| candidate.attribute.clone());
        remote.candidates.into_iter().chain(attributes).for_each(|attribute| self.check(&attribute));
        Ok(accepted)
    }

    pub(super) fn add_candidate(&mut self, candidate: &Candidate) -> Result<()> {
        if self.filter.trickle(candidate)? == CandidateUse::Check {
            self.check(&candidate.attribute);
        }
        Ok(())
    }

    fn check(&mut self, attribute: &str) {
        let Some(address) = candidate::address(attribute) else { return };
        if !self.candidates.iter().any(|known| known.address == address) {
            self.candidates.push(Check { address, due: Instant::now(), pause: CHECK[0] });
        }
    }

    pub(super) fn send_rtp(&mut self, track: TrackId, packet: RtpOut) -> Result<()> {
        let outgoing = self.negotiation.outgoing(track, &packet.codec)?;
        packet.check_length()?;
        let RtpOut { sequence, timestamp, marker, level, payload, .. } = packet;
        if self.active().is_none() || self.sequences.entry(track).or_default().advance(sequence).is_none() {
            return Ok(());
        }
        let Some((mid, payload_type)) = outgoing else { return Ok(()) };
        self.traffic.sent(payload.len());
        let source = track.0;
        self.send(&Frame::Rtp(RtpFrame { mid, payload_type, source, sequence, timestamp, marker, level, payload }));
        Ok(())
    }

    pub(super) fn request_keyframe(&mut self, mid: &Mid) -> Result<()> {
        if !self.negotiation.receives(mid) {
            return Err(Error::new(ErrorKind::NotFound, "no track is received on this section").with("mid", mid));
        }
        self.send(&Frame::RequestKeyframe(mid.clone()));
        Ok(())
    }

    pub(super) fn send_data(&mut self, channel: ChannelId, message: Bytes) -> Result<()> {
        if !self.channels.contains(&channel) {
            return Err(Error::new(ErrorKind::NotFound, "there is no such open channel"));
        }
        if message.len() > MAX_MESSAGE {
            return Err(Error::new(ErrorKind::TooLarge, "a message may have at most 16 KiB"));
        }
        if !self.outgoing.has_room(message.len()) {
            return Err(Error::new(ErrorKind::Full, "the message queue is full"));
        }
        self.outgoing.send(channel.0, message);
        self.send_chunks(Instant::now());
        Ok(())
    }

    pub(super) fn stats(&self) -> SessionStats {
        let mut stats = self.traffic.stats(self.paths.iter().rev().find_map(|path| path.round_trip));
        // It knows no relays.
        stats.path = self.is_connected.then_some(blink_api::MediaPath::Direct);
        stats
    }

    /// Tells the other side that the session is closed.
    pub(super) fn close(&mut self) {
        self.send(&Frame::Bye);
    }

    /// Does everything that is due.
    pub(super) fn tick(&mut self, now: Instant) {
        self.send_checks(now);
        if self.is_connected && self.active().is_none_or(|path| now >= path.heard + LOST) {
            self.is_connected = false;
            self.events.send(SessionEvent::Disconnected);
        }
        if self.pinged.is_none_or(|at| now >= at + PING) {
            self.pinged = Some(now);
            let time = (now - self.began).as_micros() as u64;
            self.send(&Frame::Ping(time));
        }
        self.open_channels();
        self.send_chunks(now);
    }

    /// Handles a datagram that came from an address on one of the sockets.
    pub(super) fn receive(&mut self, socket: usize, from: SocketAddr, datagram: &[u8], now: Instant) {
        match Datagram::parse(datagram) {
            Some(Datagram::Hello { is_request, to, from: user, key }) => {
                self.greet((socket, from), is_request, to, user, key, now);
            }
            Some(Datagram::Sealed { number, sealed }) => {
                let opened =
                    self.paths.iter_mut().enumerate().find_map(|(n, path)| Some((n, path.open(number, sealed)?)));
                let Some((place, frame)) = opened else { return };
                let path = &mut self.paths[place];
                (path.heard, path.at) = (now, (socket, from));
                if !std::mem::replace(&mut path.is_proven, true) {
                    // The newest path replaces older ones.
                    self.paths.drain(..place);
                    self.is_connected = false;
                }
                if frame != Frame::Bye && !std::mem::replace(&mut self.is_connected, true) {
                    self.events.send(SessionEvent::Connected);
                    self.open_channels();
                }
                self.handle(frame, now);
            }
            None => {}
        }
    }

    /// Handles the greeting of a peer: accepted only with the key whose fingerprint came through
    /// signaling.
    fn greet(&mut self, at: (usize, SocketAddr), is_request: bool, to: &str, from: &str, key: [u8; 32], now: Instant) {
        let (Some(local), Some(remote)) = (self.negotiation.local_ufrag(), self.negotiation.remote()) else { return };
        let key = PublicKey::from(key);
        if local != to || remote.ufrag != from || remote.fingerprint != fingerprint(&key) {
            return;
        }
        if !self.paths.iter().any(|path| path.local == local && path.remote == from) {
            let Some(path) = Path::new(&self.secret, &key, &local, from, at, now) else { return };
            // Of paths that were never proven only the newest can be.
            self.paths.retain(|path| path.is_proven);
            self.paths.push(path);
        }
        if is_request {
            self.send_to(at, &self.hello(false, from, &local));
        }
        let time = (now - self.began).as_micros() as u64;
        let datagram = self.paths.last_mut().map(|path| (path.at, path.seal(&Frame::Ping(time))));
        datagram.into_iter().for_each(|(at, datagram)| self.send_to(at, &datagram));
    }

    fn handle(&mut self, frame: Frame, now: Instant) {
        match frame {
            Frame::Ping(time) => self.send(&Frame::Pong(time)),
            Frame::Pong(time) => {
                let sent = self.began + Duration::from_micros(time);
                if let Some(path) = self.paths.last_mut() {
                    path.round_trip = now.checked_duration_since(sent);
                }
            }
            Frame::Rtp(rtp) => self.receive_rtp(rtp),
            Frame::RequestKeyframe(mid) => self.events.send(SessionEvent::KeyframeRequested { mid }),
            Frame::Chunk { number, channel, kind, bytes } => {
                // A reader that is behind gets no more: what it does not take is repeated.
                if self.events.is_behind() {
                    return;
                }
                let arrived = self.incoming.receive(number, channel, kind, &bytes);
                self.send(&Frame::Acknowledge(self.incoming.next()));
                match arrived {
                    Some(Arrived::Opened { channel, label }) => self.opened(channel, label),
                    Some(Arrived::Message { channel, message }) => {
                        let channel = ChannelId(channel);
                        self.events.send(SessionEvent::Data { channel, message });
                    }
                    None => {}
                }
            }
            Frame::Acknowledge(next) => {
                for (channel, label) in self.outgoing.acknowledged(next, now) {
                    self.opened(channel, label);
                }
                self.send_chunks(now);
            }
            Frame::Bye => {
                if std::mem::take(&mut self.is_connected) {
                    self.events.send(SessionEvent::Disconnected);
                }
                self.paths.clear();
            }
        }
    }

    fn receive_rtp(&mut self, packet: RtpFrame) {
        let RtpFrame { mid, payload_type, source, sequence, timestamp, marker, level, payload } = packet;
        let Some(codec) = self.negotiation.incoming(&mid, payload_type) else { return };
        self.traffic.received(source, sequence, payload.len());
        let arrival = self.clock.now();
        self.rtp.deliver(RtpIn { mid, payload_type, codec, sequence, timestamp, marker, level, payload, arrival });
    }

    fn opened(&mut self, channel: u32, label: String) {
        let channel = ChannelId(channel);
        if self.channels.insert(channel) {
            self.events.send(SessionEvent::ChannelOpen { channel, label });
        }
    }

    fn open_channels(&mut self) {
        while self.is_connected
            && let Some(label) = self.negotiation.next_channel()
        {
            self.next_channel += 1;
            self.outgoing.open(self.next_channel, &label);
        }
    }

    fn send_chunks(&mut self, now: Instant) {
        if self.active().is_some() {
            self.outgoing.due(now).iter().for_each(|frame| self.send(frame));
        }
    }

    /// Checks the candidates while the newest descriptions have no path.
    fn send_checks(&mut self, now: Instant) {
        let (Some(local), Some(remote)) = (self.negotiation.local_ufrag(), self.negotiation.remote()) else { return };
        if self.paths.iter().any(|path| path.is_proven && path.local == local && path.remote == remote.ufrag) {
            return;
        }
        let hello = self.hello(true, &remote.ufrag, &local);
        let mut due = Vec::new();
        for check in self.candidates.iter_mut().filter(|check| now >= check.due) {
            (check.due, check.pause) = (now + check.pause, (check.pause * 2).min(CHECK[1]));
            due.push(check.address);
        }
        for address in due {
            (0..self.sockets.len()).for_each(|socket| self.send_to((socket, address), &hello));
        }
    }

    fn hello(&self, is_request: bool, to: &str, from: &str) -> Vec<u8> {
        let key = PublicKey::from(&self.secret).to_bytes();
        Datagram::Hello { is_request, to, from, key }.encode()
    }

    fn active(&self) -> Option<&Path> {
        self.paths.iter().rev().find(|path| path.is_proven)
    }

    /// Sends a frame on the path, if there is one.
    fn send(&mut self, frame: &Frame) {
        let path = self.paths.iter_mut().rev().find(|path| path.is_proven);
        let Some((at, datagram)) = path.map(|path| (path.at, path.seal(frame))) else { return };
        self.send_to(at, &datagram);
    }

    fn send_to(&self, (socket, address): (usize, SocketAddr), datagram: &[u8]) {
        // Lost like any other datagram: the socket's buffer is full, or the address has no route.
        self.sockets[socket].try_send_to(datagram, address).ok();
    }

    pub(super) fn codecs(&self, track: TrackId) -> Vec<CodecName> {
        self.negotiation.codecs(track)
    }

    pub(super) fn add_track(&mut self, kind: TrackKind) -> Result<TrackId> {
        self.negotiation.add_track(kind)
    }
}
