//! User commands about streams: offer, revoke, request, close.

use blink_api::{CallId, Endpoint, Error, ErrorKind, Result, StreamId};

use super::io::Now;
use super::machine::Machine;
use super::participant::StreamInfo;
use super::streams::no_such_stream;
use crate::wire::{MAX_STREAM_NAME, MAX_STREAMS, StreamOffer, StreamRequest};

impl Machine {
    /// Offers a stream in the current call. The offer ends with the call.
    ///
    /// # Errors
    /// [`State`](ErrorKind::State) without a call or with 8 streams already,
    /// [`Invalid`](ErrorKind::Invalid) for a name over 64 bytes.
    pub fn offer_stream(&mut self, now: Now, info: StreamInfo) -> Result<()> {
        self.begin_input(now);
        self.check_stream(&info.name)?;
        let StreamInfo { stream, kind, codec, name } = info;
        self.shared.streams.push(StreamOffer { id: stream, kind, codec, name });
        self.change_current(true);
        Ok(())
    }

    /// Checks whether a stream can be offered; changes nothing.
    ///
    /// # Errors
    /// As [`offer_stream`](Machine::offer_stream).
    pub fn check_stream(&self, name: &str) -> Result<()> {
        if name.len() > MAX_STREAM_NAME {
            return Err(Error::new(ErrorKind::Invalid, "a stream's name has at most 64 bytes"));
        }
        self.current_or_error()?;
        if self.shared.streams.len() >= MAX_STREAMS {
            return Err(Error::new(ErrorKind::State, "a device offers at most 8 streams"));
        }
        Ok(())
    }

    /// Revokes an offered stream; it stops for all receivers.
    ///
    /// # Errors
    /// [`NotFound`](ErrorKind::NotFound) for a stream that this device does not offer.
    pub fn revoke_stream(&mut self, now: Now, stream: StreamId) -> Result<()> {
        self.begin_input(now);
        let before = self.shared.streams.len();
        self.shared.streams.retain(|offer| offer.id != stream);
        if self.shared.streams.len() == before {
            return Err(no_such_stream(stream));
        }
        self.change_current(true);
        Ok(())
    }

    /// Requests a stream that a participant offers; returns its description.
    ///
    /// # Errors
    /// [`NotFound`](ErrorKind::NotFound) for a stream that is not offered,
    /// [`State`](ErrorKind::State) without a call, for a stream that was already requested, and
    /// where as many streams of that participant are received as possible: one of audio, two of
    /// video.
    pub fn request_stream(&mut self, now: Now, participant: Endpoint, stream: StreamId) -> Result<StreamInfo> {
        self.begin_input(now);
        let id = self.current_or_error()?;
        let call = self.calls.get(&id).ok_or_else(|| no_such_stream(stream))?;
        let info = call.check_request(participant, stream)?;
        self.with_call(id, |call, shared| {
            call.wanted.insert(StreamRequest { endpoint: participant, stream });
            call.change_record(shared, true);
            call.sync_flows(participant, shared);
        });
        Ok(info)
    }

    /// Closes a requested stream; it stops for this device only.
    ///
    /// # Errors
    /// [`NotFound`](ErrorKind::NotFound) for a stream that was not requested.
    pub fn close_stream(&mut self, now: Now, participant: Endpoint, stream: StreamId) -> Result<()> {
        self.begin_input(now);
        let id = self.current_or_error()?;
        if !self.calls.get(&id).is_some_and(|call| call.wants(participant, stream)) {
            return Err(no_such_stream(stream));
        }
        self.with_call(id, |call, shared| {
            call.forget_request(&StreamRequest { endpoint: participant, stream }, shared);
            call.change_record(shared, true);
            call.sync_flows(participant, shared);
        });
        Ok(())
    }

    fn current_or_error(&self) -> Result<CallId> {
        self.current().ok_or_else(|| Error::new(ErrorKind::State, "not in a call"))
    }
}
