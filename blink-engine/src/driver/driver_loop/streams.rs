//! What the user does with streams, and what the machine wants done with them.

use blink_api::{Endpoint, Error, Result, StreamId, TrackKind};
use tokio::sync::oneshot;

use super::super::Command;
use super::super::frames::Frames;
use super::super::media::stream::OpenedSource;
use super::super::session::StreamChange;
use super::{Driver, now};
use crate::blink::{RequestedStream, StreamConfig};
use blink_proto::call::{Event, SessionId, StreamDirection};

impl Driver {
    /// A stream is to be offered: its source first, which may take its time.
    pub(super) fn open_stream(&mut self, config: StreamConfig, reply: oneshot::Sender<Result<StreamId>>) {
        match self.check_stream(&config) {
            Ok(()) => self.streams.open(self.media.audio(), &config.clone(), Command::OfferStream { config, reply }),
            // Nobody may wait for the reply any more, as with every command.
            Err(error) => drop(reply.send(Err(error))),
        }
    }

    fn check_stream(&self, config: &StreamConfig) -> Result<()> {
        self.machine.check_stream(&config.name)?;
        if config.kind == TrackKind::Video && !self.parts.transport.capabilities().video {
            return Err(Error::unsupported("transport", "offer_stream").with("kind", "video"));
        }
        Ok(())
    }

    /// The source is open.
    pub(super) fn offer_stream(&mut self, source: OpenedSource, config: &StreamConfig) -> Result<StreamId> {
        let (info, offered) = self.streams.prepare(source, self.media.audio(), config)?;
        let stream = info.stream;
        self.streams.keep_offered(stream, config.source.clone(), offered);
        self.machine.offer_stream(now(&self.parts), info).inspect_err(|_| drop(self.streams.drop_offered(&stream)))?;
        Ok(stream)
    }

    pub(super) fn revoke_stream(&mut self, stream: StreamId) -> Result<()> {
        self.machine.revoke_stream(now(&self.parts), stream)?;
        self.streams.drop_offered(&stream);
        Ok(())
    }

    pub(super) fn handle_source_lost(&mut self, stream: StreamId) {
        if let Some(name) = self.streams.drop_offered(&stream) {
            // The call it was offered in may be over by now.
            self.machine.revoke_stream(now(&self.parts), stream).ok();
            self.emit(Event::DeviceLost { name });
        }
    }

    pub(super) fn request_stream(&mut self, participant: Endpoint, stream: StreamId) -> Result<RequestedStream> {
        let info = self.machine.request_stream(now(&self.parts), participant, stream)?;
        Ok(match self.streams.request(participant, &info) {
            Some(receiver) => RequestedStream::Video(Frames::new(receiver)),
            None => RequestedStream::Audio,
        })
    }

    /// A stream flows on a session, or no more.
    pub(super) fn change_stream(&mut self, session: SessionId, stream: StreamId, flow: StreamDirection, on: bool) {
        let Some(handle) = self.sessions.get(&session) else { return };
        let change = match (flow, on) {
            (StreamDirection::Send, true) => self.streams.offered(&stream).map(StreamChange::Send),
            (StreamDirection::Receive, true) => {
                self.streams.requested(handle.remote, stream).map(StreamChange::Receive)
            }
            (StreamDirection::Send, false) => Some(StreamChange::StopSending),
            (StreamDirection::Receive, false) => Some(StreamChange::StopReceiving),
        };
        if let Some(change) = change {
            handle.change_stream(stream, change);
        }
    }
}
