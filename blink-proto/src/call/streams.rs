//! Streams beside the microphone: an *offer* announces one, a *request* starts its frames, *close*
//! stops it for one receiver, *revoke* for all.
//!
//! Offers and requests are part of the record, so that loss and order do not matter and late
//! joiners need no history. Which streams flow on a path follows from the records of both sides; it
//! is computed again whenever one of them or the path changes.

use blink_api::{Endpoint, Error, ErrorKind, Result, StreamId, TrackKey, TrackKind};

use super::event::Event;
use super::io::{Output, StreamDirection};
use super::link::Link;
use super::participant::StreamInfo;
use super::reason::StreamEndReason;
use super::shared::Shared;
use super::state::Call;
use crate::wire::{MAX_STREAMS, Record, StreamOffer, StreamRequest};

/// Streams that one device requests at a time.
const MAX_WANTED: usize = 32;
/// Media sections for streams in one direction of a session, as (audio, video): one device receives
/// at most that many streams of another at a time.
pub const STREAM_SECTIONS: (usize, usize) = (1, 2);

impl Call {
    /// Checks whether a stream can be requested, and returns its description.
    ///
    /// # Errors
    /// [`NotFound`](ErrorKind::NotFound) for a stream that is not offered,
    /// [`State`](ErrorKind::State) for one that was already requested, or where no media section is
    /// free.
    pub(super) fn check_request(&self, participant: Endpoint, stream: StreamId) -> Result<StreamInfo> {
        let peer = self.peers.get(&participant).filter(|peer| peer.is_present());
        let offer = peer.and_then(|peer| peer.streams.iter().find(|offer| offer.id == stream));
        let info = offer.map(StreamInfo::from).ok_or_else(|| no_such_stream(stream))?;
        if self.wants(participant, stream) {
            return Err(Error::new(ErrorKind::State, "that stream was already requested").with("stream", stream));
        }
        let of_kind = |offer: &&StreamOffer| offer.kind == info.kind;
        let offered = peer.into_iter().flat_map(|peer| &peer.streams);
        let requested = offered.filter(of_kind).filter(|offer| self.wants(participant, offer.id)).count();
        let room = match info.kind {
            TrackKind::Audio => STREAM_SECTIONS.0,
            TrackKind::Video => STREAM_SECTIONS.1,
        };
        if requested >= room || self.wanted.len() >= MAX_WANTED {
            let error = Error::new(ErrorKind::State, "no more streams of this participant can be received at a time");
            return Err(error.with("stream", stream));
        }
        Ok(info)
    }

    /// Whether a stream was requested.
    pub(super) fn wants(&self, participant: Endpoint, stream: StreamId) -> bool {
        self.wanted.contains(&StreamRequest { endpoint: participant, stream })
    }

    /// Applies the offers and requests in another endpoint's record.
    pub(super) fn apply_streams(&mut self, from: Endpoint, record: &Record, shared: &mut Shared) {
        let Some(peer) = self.peers.get_mut(&from) else { return };
        let mut offered: Vec<StreamOffer> = Vec::new();
        for offer in record.streams.iter().take(MAX_STREAMS) {
            // Of two offers with one id, the first counts.
            if offered.iter().all(|other| other.id != offer.id) {
                offered.push(offer.clone());
            }
        }
        let before = std::mem::replace(&mut peer.streams, offered.clone());
        let own = shared.own;
        peer.wanted = record.wanted.iter().filter(|request| request.endpoint == own).map(|it| it.stream).collect();
        for gone in before.iter().filter(|offer| !offered.contains(offer)) {
            self.drop_stream(from, gone.id, shared);
        }
        self.emit_state_changes(from, shared);
        self.sync_flows(from, shared);
    }

    /// Ends all streams of an endpoint that left the call.
    pub(super) fn end_streams_of(&mut self, participant: Endpoint, shared: &mut Shared) {
        let Some(peer) = self.peers.get_mut(&participant) else { return };
        peer.wanted.clear();
        let announced = peer.throttle.take_streams();
        for stream in std::mem::take(&mut peer.streams) {
            self.drop_stream(participant, stream.id, shared);
        }
        if self.takes_part() {
            for stream in announced {
                let (call, track) = (self.id(), TrackKey::stream(participant, stream));
                shared.emit(Event::StreamEnded { call, track, reason: StreamEndReason::ParticipantLeft });
            }
        }
    }

    /// Handles that the remote endpoint cannot send a requested stream.
    pub(super) fn handle_stream_refused(&mut self, participant: Endpoint, stream: StreamId, shared: &mut Shared) {
        let request = StreamRequest { endpoint: participant, stream };
        if self.wanted.contains(&request) {
            self.forget_request(&request, shared);
            self.change_record(shared, true);
            let (call, track) = (self.id(), TrackKey::stream(participant, stream));
            shared.emit(Event::StreamEnded { call, track, reason: StreamEndReason::Refused });
            self.sync_flows(participant, shared);
        }
    }

    /// Drops the request for a stream that is no longer offered.
    fn drop_stream(&mut self, participant: Endpoint, stream: StreamId, shared: &mut Shared) {
        let request = StreamRequest { endpoint: participant, stream };
        if self.wanted.contains(&request) {
            if let Some(peer) = self.peers.get_mut(&participant) {
                peer.throttle.end_stream(stream);
            }
            self.forget_request(&request, shared);
            self.change_record(shared, false);
        }
    }

    /// Drops a request.
    pub(super) fn forget_request(&mut self, request: &StreamRequest, shared: &mut Shared) {
        if self.wanted.remove(request) {
            shared.output(Output::EndStream(TrackKey::stream(request.endpoint, request.stream)));
        }
    }

    /// Drops all requests, because this endpoint left the call or holds it.
    pub(super) fn forget_requests(&mut self, shared: &mut Shared) {
        for request in std::mem::take(&mut self.wanted) {
            shared.output(Output::EndStream(TrackKey::stream(request.endpoint, request.stream)));
        }
        self.peers.values_mut().for_each(|peer| peer.wanted.clear());
    }

    /// Streams that this endpoint offers: those of the device, in the call that is not held.
    pub(super) fn offered<'shared>(&self, shared: &'shared Shared) -> &'shared [StreamOffer] {
        if self.is_held() { &[] } else { &shared.streams }
    }

    /// Starts and stops streams on a verified path: what one side offers and the other requests
    /// flows.
    pub(super) fn sync_flows(&mut self, endpoint: Endpoint, shared: &mut Shared) {
        let offered = self.offered(shared);
        let Some(peer) = self.peers.get_mut(&endpoint) else { return };
        let Some(session) = peer.link().filter(|link| link.is_admitted()).map(Link::session) else { return };
        let sending = offered.iter().map(|offer| offer.id).filter(|id| peer.wanted.contains(id)).collect();
        let receiving = self.wanted.iter().filter(|request| request.endpoint == endpoint).map(|it| it.stream).collect();
        let sends = peer.flows.set(StreamDirection::Send, sending);
        let receives = peer.flows.set(StreamDirection::Receive, receiving);
        for change in sends.into_iter().chain(receives) {
            let (stream, direction, active) = (change.stream, change.direction, change.active);
            shared.output(Output::SetStreamFlow { session, stream, direction, active });
        }
    }

    /// As [`sync_flows`](Self::sync_flows), on all paths.
    pub(super) fn sync_all_flows(&mut self, shared: &mut Shared) {
        let endpoints: Vec<_> = self.peers.keys().copied().collect();
        endpoints.into_iter().for_each(|endpoint| self.sync_flows(endpoint, shared));
    }
}

/// Error for a stream that is unknown in this call.
pub(super) fn no_such_stream(stream: StreamId) -> Error {
    Error::new(ErrorKind::NotFound, "no such stream").with("stream", stream)
}
