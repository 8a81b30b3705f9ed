//! In-process network that connects all sessions.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use blink_api::{
    ChannelId, CodecName, DtlsState, Error, ErrorKind, FailureReason, IceState, Mid, Result, RtpIn, RtpOut,
    SessionConfig, SessionEvent, SessionEvents, TrackId,
};
use bytes::Bytes;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use crate::NAME;
use crate::outbox::Outbox;
use crate::peer::{Path, Peer};

/// Limit of messages queued for a cut path.
const MAX_UNSENT: usize = 256;
/// Maximum size of a message, as defined by the API.
const MAX_MESSAGE: usize = 16 * 1024;

/// In-process network. Clones refer to the same network.
#[derive(Clone, Default)]
pub struct Hub(Arc<Mutex<State>>);

impl fmt::Debug for Hub {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hub").finish_non_exhaustive()
    }
}

/// Transport of a hub, numbered in order of creation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TransportId(u32);

impl fmt::Display for TransportId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// Session of a hub, numbered in order of opening.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct SessionNumber(pub(crate) u64);

#[derive(Default)]
struct State {
    peers: BTreeMap<SessionNumber, Peer>,
    transports: u32,
    opened: u64,
    cut: BTreeSet<TransportId>,
    cut_pairs: BTreeSet<(TransportId, TransportId)>,
    loss: Option<Loss>,
}

struct Loss {
    share: f64,
    random: ChaCha8Rng,
}

/// Hooks for tests.
impl Hub {
    /// All transports that ever joined, in order of creation, including those created by a
    /// registry.
    pub fn transports(&self) -> Vec<TransportId> {
        (0..self.state().transports).map(TransportId).collect()
    }

    /// Number of open sessions of a transport.
    pub fn sessions(&self, transport: TransportId) -> usize {
        self.state().peers.values().filter(|peer| peer.transport == transport).count()
    }

    /// Cuts all paths of a transport: packets are dropped, messages are queued, no event is sent.
    pub fn cut(&self, transport: TransportId) {
        self.state().cut.insert(transport);
    }

    /// Reverts [`cut`](Hub::cut).
    pub fn heal(&self, transport: TransportId) {
        let mut state = self.state();
        state.cut.remove(&transport);
        state.progress_all();
    }

    /// Cuts the paths between two transports: packets are dropped, messages are queued, no event is
    /// sent.
    pub fn cut_between(&self, a: TransportId, b: TransportId) {
        self.state().cut_pairs.insert((a.min(b), a.max(b)));
    }

    /// Reverts [`cut_between`](Hub::cut_between).
    pub fn heal_between(&self, a: TransportId, b: TransportId) {
        let mut state = self.state();
        state.cut_pairs.remove(&(a.min(b), a.max(b)));
        state.progress_all();
    }

    /// Drops a share of all RTP packets from now on, 0.0 to 1.0; which ones depends only on the
    /// seed and the packets.
    pub fn lose(&self, share: f64, seed: u64) {
        self.state().loss = (share > 0.0).then(|| Loss { share, random: ChaCha8Rng::seed_from_u64(seed) });
    }
}

/// Operations of transports and sessions.
impl Hub {
    pub(crate) fn join(&self) -> TransportId {
        let mut state = self.state();
        state.transports += 1;
        TransportId(state.transports - 1)
    }

    pub(crate) fn open(&self, transport: TransportId, config: SessionConfig) -> (SessionNumber, SessionEvents) {
        let mut state = self.state();
        state.opened += 1;
        let number = SessionNumber(state.opened);
        let (outbox, events) = Outbox::new();
        state.peers.insert(number, Peer::new(number, transport, config, outbox));
        (number, events)
    }

    /// Runs a method on a session's state, then whatever it has made possible.
    pub(crate) fn with<T>(
        &self,
        number: SessionNumber,
        operation: &'static str,
        run: impl FnOnce(&mut Peer) -> Result<T>,
    ) -> Result<T> {
        let mut state = self.state();
        let result = state.peer(number).and_then(|peer| {
            let result = run(peer);
            peer.report();
            result
        });
        let result = result.map_err(|error| error.backend(NAME).operation(operation))?;
        state.progress(number);
        Ok(result)
    }

    pub(crate) fn mid(&self, number: SessionNumber, track: TrackId) -> Option<Mid> {
        self.state().peers.get(&number)?.negotiation.mid(track)
    }

    pub(crate) fn codecs(&self, number: SessionNumber, track: TrackId) -> Vec<CodecName> {
        self.state().peers.get(&number).map(|peer| peer.negotiation.codecs(track)).unwrap_or_default()
    }

    pub(crate) fn send_rtp(&self, number: SessionNumber, track: TrackId, packet: RtpOut) -> Result<()> {
        let sent = self.state().send_rtp(number, track, packet);
        sent.map_err(|error| error.backend(NAME).operation("send_rtp"))
    }

    pub(crate) fn send_data(&self, number: SessionNumber, channel: ChannelId, message: Bytes) -> Result<()> {
        let sent = self.state().send_data(number, channel, message);
        sent.map_err(|error| error.backend(NAME).operation("send_data"))
    }

    pub(crate) fn request_keyframe(&self, number: SessionNumber, mid: &Mid) -> Result<()> {
        let asked = self.state().request_keyframe(number, mid);
        asked.map_err(|error| error.backend(NAME).operation("request_keyframe"))
    }

    /// Closes a session; idempotent. Unless the path is cut, the peer is notified, as by a DTLS
    /// alert.
    pub(crate) fn close(&self, number: SessionNumber) {
        let mut state = self.state();
        state.report_end(number);
        if let Some(peer) = state.peers.remove(&number) {
            peer.outbox.finish();
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn peer(&mut self, number: SessionNumber) -> Result<&mut Peer> {
        self.peers.get_mut(&number).ok_or_else(|| Error::new(ErrorKind::Closed, "the session is closed"))
    }

    fn is_cut(&self, a: SessionNumber, b: SessionNumber) -> bool {
        let (Some(a), Some(b)) = (self.peers.get(&a), self.peers.get(&b)) else { return true };
        let (a, b) = (a.transport, b.transport);
        self.cut.contains(&a) || self.cut.contains(&b) || self.cut_pairs.contains(&(a.min(b), a.max(b)))
    }

    fn progress_all(&mut self) {
        let numbers: Vec<_> = self.peers.keys().copied().collect();
        numbers.into_iter().for_each(|number| self.progress(number));
    }

    /// Connects a session if all prerequisites are met, opens its channels, and sends queued
    /// messages.
    fn progress(&mut self, number: SessionNumber) {
        self.report_checks(number);
        self.set_connected(number);
        let Some(to) = self.peers.get(&number).and_then(|peer| peer.path.as_ref()).map(|path| path.to) else { return };
        if self.is_cut(number, to) {
            return;
        }
        for (from, to) in [(number, to), (to, number)] {
            self.open_channels(from, to);
            self.send_waiting(from, to);
        }
    }

    /// Reports that checks began, and whether the peer's key is the announced one.
    fn report_checks(&mut self, number: SessionNumber) {
        let Some(peer) = self.peers.get(&number).filter(|peer| !peer.has_newest_path()) else { return };
        if peer.negotiation.remote().is_none() {
            return;
        }
        let impostor = self.peers.values().find(|other| peer.knows_but_key(other) && other.knows_but_key(peer));
        let impostor = impostor.filter(|other| !(peer.knows(other) && other.knows(peer))).map(|other| other.number);
        let is_cut = impostor.is_some_and(|other| self.is_cut(number, other));
        if let Some(peer) = self.peers.get_mut(&number) {
            peer.report_state(IceState::Checking, DtlsState::New);
        }
        for number in [Some(number), impostor].into_iter().flatten().filter(|_| impostor.is_some() && !is_cut) {
            if let Some(peer) = self.peers.get_mut(&number)
                && peer.report_state(IceState::Connected, DtlsState::Failed)
            {
                peer.outbox.send(SessionEvent::Failed(FailureReason::Fingerprint));
            }
        }
    }

    fn set_connected(&mut self, number: SessionNumber) {
        let Some(peer) = self.peers.get(&number).filter(|peer| !peer.has_newest_path()) else { return };
        let Some(other) = self.peers.values().find(|other| peer.knows(other) && other.knows(peer)) else { return };
        let (Some(ufrag), Some(other_ufrag)) = (peer.negotiation.local_ufrag(), other.negotiation.local_ufrag()) else {
            return;
        };
        let to = other.number;
        let path = Path { to, local_ufrag: ufrag.clone(), remote_ufrag: other_ufrag.clone() };
        if self.is_cut(number, to) {
            return;
        }
        let back = Path { to: number, local_ufrag: other_ufrag, remote_ufrag: ufrag };
        for (number, path) in [(number, path), (to, back)] {
            if let Some(peer) = self.peers.get_mut(&number) {
                peer.path = Some(path);
                peer.report_state(IceState::Connected, DtlsState::Connected);
                peer.outbox.send(SessionEvent::Connected);
            }
        }
    }

    fn open_channels(&mut self, from: SessionNumber, to: SessionNumber) {
        let both_have_data =
            [from, to].iter().all(|number| self.peers.get(number).is_some_and(|peer| peer.negotiation.has_data()));
        if !both_have_data {
            return;
        }
        loop {
            let Some(peer) = self.peers.get_mut(&from) else { return };
            let Some(label) = peer.negotiation.next_channel() else { return };
            let here = peer.next_channel();
            let Some(there) = self.peers.get_mut(&to).map(Peer::next_channel) else { return };
            for (number, own, others) in [(from, here, there), (to, there, here)] {
                if let Some(peer) = self.peers.get_mut(&number) {
                    peer.channels.insert(own, others);
                    peer.outbox.send(SessionEvent::ChannelOpen { channel: own, label: label.clone() });
                }
            }
        }
    }

    fn send_waiting(&mut self, from: SessionNumber, to: SessionNumber) {
        let waiting = self.peers.get_mut(&from).map(|peer| std::mem::take(&mut peer.unsent)).unwrap_or_default();
        let Some(peer) = self.peers.get_mut(&to) else { return };
        waiting.into_iter().for_each(|(channel, message)| peer.outbox.send(SessionEvent::Data { channel, message }));
    }

    fn report_end(&mut self, number: SessionNumber) {
        let path = self.peers.get(&number).and_then(|peer| peer.path.as_ref());
        let Some(to) = path.map(|path| path.to).filter(|to| !self.is_cut(number, *to)) else { return };
        if let Some(peer) = self.peers.get_mut(&to) {
            peer.outbox.send(SessionEvent::Disconnected);
        }
    }

    fn send_rtp(&mut self, number: SessionNumber, id: TrackId, packet: RtpOut) -> Result<()> {
        let peer = self.peer(number)?;
        let outgoing = peer.negotiation.outgoing(id, &packet.codec);
        if !matches!(&outgoing, Err(error) if error.kind() == ErrorKind::NotFound) {
            packet.check_length()?;
        }
        let (Some((mid, payload_type)), Some(to)) = (outgoing?, peer.path.as_ref().map(|path| path.to)) else {
            return Ok(());
        };
        peer.traffic.sent(packet.payload.len());
        if !self.is_cut(number, to) && !self.is_lost() {
            self.receive_rtp(to, mid, payload_type, id, packet);
        }
        Ok(())
    }

    /// Decides whether a packet is lost. Draws a number even if unused, so that loss depends only
    /// on the packets.
    fn is_lost(&mut self) -> bool {
        let Some(loss) = &mut self.loss else { return false };
        f64::from(loss.random.next_u32()) < loss.share * f64::from(u32::MAX)
    }

    /// Delivers a packet. `source` distinguishes the sender's tracks, as an SSRC does.
    fn receive_rtp(&mut self, to: SessionNumber, mid: Mid, payload_type: u8, source: TrackId, packet: RtpOut) {
        let Some(peer) = self.peers.get_mut(&to) else { return };
        let Some(codec) = peer.negotiation.incoming(&mid, payload_type) else { return };
        let RtpOut { sequence, timestamp, marker, level, payload, .. } = packet;
        peer.traffic.received(source.0, sequence, payload.len());
        let arrival = peer.clock.now();
        peer.rtp.deliver(RtpIn { mid, payload_type, codec, sequence, timestamp, marker, level, payload, arrival });
    }

    fn send_data(&mut self, number: SessionNumber, channel: ChannelId, message: Bytes) -> Result<()> {
        let peer = self.peer(number)?;
        let (Some(there), Some(path)) = (peer.channels.get(&channel).copied(), &peer.path) else {
            return Err(Error::new(ErrorKind::NotFound, "there is no such open channel"));
        };
        if message.len() > MAX_MESSAGE {
            return Err(Error::new(ErrorKind::TooLarge, "a message may have at most 16 KiB"));
        }
        let to = path.to;
        if !self.is_cut(number, to) {
            if let Some(peer) = self.peers.get_mut(&to) {
                peer.outbox.send(SessionEvent::Data { channel: there, message });
            }
            return Ok(());
        }
        let peer = self.peer(number)?;
        if peer.unsent.len() == MAX_UNSENT {
            return Err(Error::new(ErrorKind::Full, "the message queue is full"));
        }
        peer.unsent.push_back((there, message));
        Ok(())
    }

    fn request_keyframe(&mut self, number: SessionNumber, mid: &Mid) -> Result<()> {
        let peer = self.peer(number)?;
        if !peer.negotiation.receives(mid) {
            return Err(Error::new(ErrorKind::NotFound, "no track is received on this section").with("mid", mid));
        }
        let Some(to) = peer.path.as_ref().map(|path| path.to) else { return Ok(()) };
        if !self.is_cut(number, to)
            && let Some(peer) = self.peers.get_mut(&to)
        {
            peer.outbox.send(SessionEvent::KeyframeRequested { mid: mid.clone() });
        }
        Ok(())
    }
}
