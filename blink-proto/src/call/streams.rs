//! Streams beside the microphone: an *offer* announces, a *request* starts, *close* stops it for
//! one receiver, *revoke* for all.
//!
//! Offers and requests are part of the record, so that loss and order do not matter and a late
//! joiner needs no history. What flows on a path follows from both sides' records; it is worked out
//! again whenever one of them or the path changes.

use std::collections::BTreeSet;

use blink_api::{CallId, Endpoint, Error, ErrorKind, Result, StreamId, TrackKind};
use serde::Serialize;

use super::event::{Event, StreamEndReason};
use super::lifecycle::Call;
use super::machine::Machine;
use super::shared::Shared;
use super::{Now, Output, SessionId};
use crate::wire::{MAX_STREAM_NAME, Record, StreamOffer, StreamRequest};

/// Streams one device offers at a time.
pub(super) const MAX_OFFERED: usize = 8;
/// Streams one device wants at a time.
const MAX_WANTED: usize = 32;
/// Streams of each kind that one device receives from another at a time: there are so many media
/// sections for them.
pub const STREAM_SECTIONS: (usize, usize) = (1, 2);

/// A stream that a participant offers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct StreamInfo {
    /// Names it in requests.
    pub stream: StreamId,
    /// Sound or pictures.
    pub kind: TrackKind,
    /// What it is encoded with, as in SDP: `VP8`, `H264`, `opus`.
    pub codec: String,
    /// For people, such as `screen`. Whoever offers it chose the text: show it as such.
    pub name: String,
}

/// Which way a stream flows on a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StreamDirection {
    /// To the other end.
    Send,
    /// From the other end.
    Receive,
}

/// What flows on the path to one endpoint.
#[derive(Debug, Clone, Default)]
pub(super) struct Flows {
    sending: BTreeSet<StreamId>,
    receiving: BTreeSet<StreamId>,
}

impl From<&StreamOffer> for StreamInfo {
    fn from(offer: &StreamOffer) -> Self {
        Self { stream: offer.id, kind: offer.kind, codec: offer.codec.clone(), name: offer.name.clone() }
    }
}

impl Machine {
    /// Announces a stream in the call this device is in. It ends with the call.
    ///
    /// # Errors
    /// [`State`](ErrorKind::State) without a call or with 8 streams already,
    /// [`Invalid`](ErrorKind::Invalid) for a name over 64 bytes.
    pub fn offer_stream(&mut self, now: Now, info: StreamInfo) -> Result<()> {
        self.shared.now = now;
        self.check_stream(&info.name)?;
        let StreamInfo { stream, kind, codec, name } = info;
        self.shared.streams.push(StreamOffer { id: stream, kind, codec, name });
        self.change_current(true);
        Ok(())
    }

    /// Whether a stream could be offered; changes nothing.
    ///
    /// # Errors
    /// As [`offer_stream`](Machine::offer_stream).
    pub fn check_stream(&self, name: &str) -> Result<()> {
        if name.len() > MAX_STREAM_NAME {
            return Err(Error::new(ErrorKind::Invalid, "a stream's name has at most 64 bytes"));
        }
        self.current_or_refuse()?;
        if self.shared.streams.len() >= MAX_OFFERED {
            return Err(Error::new(ErrorKind::State, "a device offers at most 8 streams"));
        }
        Ok(())
    }

    /// Takes an announced stream back; it stops for everybody.
    ///
    /// # Errors
    /// [`NotFound`](ErrorKind::NotFound) for a stream that this device does not offer.
    pub fn revoke_stream(&mut self, now: Now, stream: StreamId) -> Result<()> {
        self.shared.now = now;
        let before = self.shared.streams.len();
        self.shared.streams.retain(|offer| offer.id != stream);
        if self.shared.streams.len() == before {
            return Err(no_such_stream(stream));
        }
        self.change_current(true);
        Ok(())
    }

    /// Asks a participant for a stream that it offers; the stream is told.
    ///
    /// # Errors
    /// [`NotFound`](ErrorKind::NotFound) for a stream that is not offered,
    /// [`State`](ErrorKind::State) without a call, for one that was asked for already, and where as
    /// many streams come from that participant as can: one of audio, two of video.
    pub fn request_stream(&mut self, now: Now, participant: Endpoint, stream: StreamId) -> Result<StreamInfo> {
        self.shared.now = now;
        let id = self.current_or_refuse()?;
        let call = self.calls.get(&id).ok_or_else(|| no_such_stream(stream))?;
        let info = call.check_request(participant, stream)?;
        self.with_call(id, |call, shared| {
            call.wanted.insert(StreamRequest { endpoint: participant, stream });
            call.change_record(shared, true);
            call.sync_flows(participant, shared);
        });
        Ok(info)
    }

    /// Asks for a stream no more.
    ///
    /// # Errors
    /// [`NotFound`](ErrorKind::NotFound) for one that was not asked for.
    pub fn close_stream(&mut self, now: Now, participant: Endpoint, stream: StreamId) -> Result<()> {
        self.shared.now = now;
        let id = self.current_or_refuse()?;
        let request = StreamRequest { endpoint: participant, stream };
        let wanted = self.calls.get(&id).is_some_and(|call| call.wanted.contains(&request));
        if !wanted {
            return Err(no_such_stream(stream));
        }
        self.with_call(id, |call, shared| {
            call.forget_request(&request, shared);
            call.change_record(shared, true);
            call.sync_flows(participant, shared);
        });
        Ok(())
    }

    fn current_or_refuse(&self) -> Result<CallId> {
        self.current().ok_or_else(|| Error::new(ErrorKind::State, "not in a call"))
    }
}

impl Call {
    fn check_request(&self, participant: Endpoint, stream: StreamId) -> Result<StreamInfo> {
        let peer = self.peers.get(&participant).filter(|peer| peer.is_present());
        let offer = peer.and_then(|peer| peer.streams.iter().find(|offer| offer.id == stream));
        let info = offer.map(StreamInfo::from).ok_or_else(|| no_such_stream(stream))?;
        if self.wanted.contains(&StreamRequest { endpoint: participant, stream }) {
            return Err(Error::new(ErrorKind::State, "that stream was asked for already").with("stream", stream));
        }
        let of_kind = |offer: &&StreamOffer| offer.kind == info.kind;
        let offered = peer.into_iter().flat_map(|peer| &peer.streams);
        let coming = offered.filter(of_kind).filter(|offer| self.wants(participant, offer.id)).count();
        let room = match info.kind {
            TrackKind::Audio => STREAM_SECTIONS.0,
            TrackKind::Video => STREAM_SECTIONS.1,
        };
        if coming >= room || self.wanted.len() >= MAX_WANTED {
            return Err(Error::new(ErrorKind::State, "as many streams come from there as can").with("stream", stream));
        }
        Ok(info)
    }

    pub(super) fn wants(&self, participant: Endpoint, stream: StreamId) -> bool {
        self.wanted.contains(&StreamRequest { endpoint: participant, stream })
    }

    /// What another endpoint offers and wants now, by its record.
    pub(super) fn take_streams(&mut self, from: Endpoint, record: &Record, shared: &mut Shared) {
        let Some(peer) = self.peers.get_mut(&from) else { return };
        let mut offered: Vec<StreamOffer> = Vec::new();
        for offer in record.streams.iter().take(MAX_OFFERED) {
            // Of two with one id the first counts.
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
        self.tell_state(from, shared);
        self.sync_flows(from, shared);
    }

    /// An endpoint is not in the call any more: neither are its streams.
    pub(super) fn end_streams_of(&mut self, participant: Endpoint, shared: &mut Shared) {
        let Some(peer) = self.peers.get_mut(&participant) else { return };
        peer.wanted.clear();
        let told = peer.told.take_streams();
        for stream in std::mem::take(&mut peer.streams) {
            self.drop_stream(participant, stream.id, shared);
        }
        let (call, reason) = (self.id(), StreamEndReason::ParticipantLeft);
        if self.phase.is_current() {
            told.into_iter().for_each(|stream| {
                shared.emit(Event::StreamEnded { call, participant, stream, reason });
            });
        }
    }

    /// The other end cannot send a stream that was asked for.
    pub(super) fn handle_stream_refused(&mut self, participant: Endpoint, stream: StreamId, shared: &mut Shared) {
        let request = StreamRequest { endpoint: participant, stream };
        if self.wanted.contains(&request) {
            let call = self.id();
            self.forget_request(&request, shared);
            self.change_record(shared, true);
            shared.emit(Event::StreamEnded { call, participant, stream, reason: StreamEndReason::Refused });
            self.sync_flows(participant, shared);
        }
    }

    /// A stream is not offered any more: a request for it is dropped.
    fn drop_stream(&mut self, participant: Endpoint, stream: StreamId, shared: &mut Shared) {
        let request = StreamRequest { endpoint: participant, stream };
        if self.wanted.contains(&request) {
            if let Some(peer) = self.peers.get_mut(&participant) {
                peer.told.end_stream(stream);
            }
            self.forget_request(&request, shared);
            self.change_record(shared, false);
        }
    }

    fn forget_request(&mut self, request: &StreamRequest, shared: &mut Shared) {
        if self.wanted.remove(request) {
            shared.out.push_back(Output::EndStream { participant: request.endpoint, stream: request.stream });
        }
    }

    /// This endpoint is in the call no more: it wants nothing, and nobody anything of it.
    pub(super) fn forget_requests(&mut self, shared: &mut Shared) {
        for request in std::mem::take(&mut self.wanted) {
            shared.out.push_back(Output::EndStream { participant: request.endpoint, stream: request.stream });
        }
        self.peers.values_mut().for_each(|peer| peer.wanted.clear());
    }

    /// Lets flow what is offered on one side and wanted on the other, on a path that is verified.
    pub(super) fn sync_flows(&mut self, endpoint: Endpoint, shared: &mut Shared) {
        let Some(peer) = self.peers.get_mut(&endpoint) else { return };
        let Some(session) = peer.link.as_ref().filter(|link| link.is_admitted()).map(|link| link.session) else {
            return;
        };
        let sending = shared.streams.iter().map(|offer| offer.id).filter(|id| peer.wanted.contains(id)).collect();
        let receiving = self.wanted.iter().filter(|request| request.endpoint == endpoint).map(|it| it.stream).collect();
        let flows = &mut peer.flows;
        change_flow(&mut flows.sending, sending, session, StreamDirection::Send, shared);
        change_flow(&mut flows.receiving, receiving, session, StreamDirection::Receive, shared);
    }

    /// As [`sync_flows`](Self::sync_flows), on all paths.
    pub(super) fn sync_all_flows(&mut self, shared: &mut Shared) {
        let endpoints: Vec<_> = self.peers.keys().copied().collect();
        endpoints.into_iter().for_each(|endpoint| self.sync_flows(endpoint, shared));
    }
}

/// What stops is told before what starts, so that its section is free.
fn change_flow(
    now: &mut BTreeSet<StreamId>,
    wanted: BTreeSet<StreamId>,
    session: SessionId,
    direction: StreamDirection,
    shared: &mut Shared,
) {
    let stops = now.difference(&wanted).map(|stream| (*stream, false));
    let starts = wanted.difference(now).map(|stream| (*stream, true));
    let changes = stops.chain(starts);
    shared.out.extend(changes.map(|(stream, active)| Output::SetStreamFlow { session, stream, direction, active }));
    *now = wanted;
}

fn no_such_stream(stream: StreamId) -> Error {
    Error::new(ErrorKind::NotFound, "no such stream").with("stream", stream)
}
