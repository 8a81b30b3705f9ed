//! Handle of a session: calls go to its task, media and queries take a short path.

use std::sync::Arc;

use blink_api::macros::async_trait;
use blink_api::{
    Candidate, ChannelId, CodecName, Error, ErrorKind, Mid, Result, RtpOut, Session, SessionStats, TrackId, TrackKind,
};
use bytes::Bytes;
use tokio::sync::{mpsc, oneshot, watch};

use crate::NAME;
use crate::driver::{Call, Driver, Resolved};
use crate::rtp::Outgoing;
use crate::shared::{Shared, State};
use crate::shared_session::{Inbox, SharedSession};

/// Limit of queued calls, which run one after the other.
const CALLS: usize = 8;
/// Maximum size of a message, as defined by the API.
const MAX_MESSAGE: usize = 16 * 1024;
/// Limit of message bytes queued for the stack.
const MAX_QUEUED_BYTES: usize = 1024 * 1024;

/// Session of the str0m transport. Dropping it closes it.
pub(crate) struct Str0mSession {
    calls: mpsc::Sender<Call>,
    shared_session: Arc<SharedSession>,
    shared: Arc<Shared>,
    /// Completes when the sockets are closed.
    ended: watch::Receiver<()>,
}

impl Str0mSession {
    /// Starts the session's task. The driver gets the sender for results of lookups.
    pub(crate) fn start(driver: impl FnOnce(mpsc::UnboundedSender<Resolved>) -> Driver, shared: Arc<Shared>) -> Self {
        let (calls, call_receiver) = mpsc::channel(CALLS);
        // Bounded by the number of lookups, which is limited.
        let (finds, found) = mpsc::unbounded_channel();
        let (end, ended) = watch::channel(());
        let driver = driver(finds);
        let (events, clock) = (driver.peer.events.clone(), Arc::clone(&driver.peer.clock));
        let shared_session = Arc::new(SharedSession::new(driver));
        let (working, closing) = (Arc::clone(&shared_session), Arc::clone(&shared));
        tokio::spawn(async move {
            working.run(&events, &*clock, Inbox { calls: call_receiver, found }).await;
            closing.lock().is_closed = true;
            drop(end);
            events.finish().await;
        });
        Self { calls, shared_session, shared, ended }
    }

    /// Runs a method on the session's task.
    async fn call<T: Send + 'static>(
        &self,
        operation: &'static str,
        run: impl FnOnce(&mut Driver) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        drop(self.check_open(operation)?);
        let (reply, result) = oneshot::channel();
        let call: Call = Box::new(move |driver| {
            // The caller may have stopped waiting.
            let _ = reply.send(run(driver));
        });
        self.calls.send(call).await.map_err(|_| closed(operation))?;
        result.await.map_err(|_| closed(operation))?.map_err(|error| error.backend(NAME).operation(operation))
    }

    fn check_open(&self, operation: &'static str) -> Result<std::sync::MutexGuard<'_, State>> {
        let state = self.shared.lock();
        if state.is_closed { Err(closed(operation)) } else { Ok(state) }
    }

    fn send(&self, operation: &'static str, outgoing: Outgoing) -> Result<()> {
        if self.shared_session.send(outgoing) { Ok(()) } else { Err(full(operation)) }
    }
}

#[async_trait]
impl Session for Str0mSession {
    async fn create_offer(&self, ice_restart: bool) -> Result<String> {
        self.call("create_offer", move |driver| driver.create_offer(ice_restart)).await
    }

    async fn accept_offer(&self, sdp: &str) -> Result<String> {
        let sdp = sdp.to_owned();
        self.call("accept_offer", move |driver| driver.accept_offer(&sdp)).await
    }

    async fn accept_answer(&self, sdp: &str) -> Result<()> {
        let sdp = sdp.to_owned();
        self.call("accept_answer", move |driver| driver.accept_answer(&sdp)).await
    }

    async fn add_candidate(&self, candidate: &Candidate) -> Result<()> {
        let candidate = candidate.clone();
        self.call("add_candidate", move |driver| driver.add_remote_candidate(&candidate)).await
    }

    async fn add_track(&self, kind: TrackKind) -> Result<TrackId> {
        self.call("add_track", move |driver| driver.peer.add_track(kind)).await
    }

    async fn remove_track(&self, track: TrackId) -> Result<()> {
        self.call("remove_track", move |driver| driver.peer.remove_track(track)).await
    }

    fn mid(&self, track: TrackId) -> Option<Mid> {
        let state = self.shared.lock();
        let target = state.tracks.get(&track)?.as_ref().filter(|_| !state.is_closed)?;
        Some(target.section.clone())
    }

    fn codecs(&self, track: TrackId) -> Vec<CodecName> {
        let state = self.shared.lock();
        let target = state.tracks.get(&track).and_then(Option::as_ref).filter(|_| !state.is_closed);
        target.map(|target| target.codecs.clone()).unwrap_or_default()
    }

    fn send_rtp(&self, track: TrackId, packet: RtpOut) -> Result<()> {
        packet.check_length().map_err(|error| error.backend(NAME).operation("send_rtp"))?;
        match self.check_open("send_rtp")?.tracks.get(&track) {
            None => return Err(not_found("send_rtp", "there is no such track")),
            Some(Some(target)) if !target.codecs.contains(&packet.codec) => {
                return Err(Error::new(ErrorKind::Incompatible, "this codec was not negotiated")
                    .backend(NAME)
                    .operation("send_rtp")
                    .with("codec", &packet.codec));
            }
            Some(_) => {}
        }
        self.send("send_rtp", Outgoing::Packet(track, packet))
    }

    fn request_keyframe(&self, mid: &Mid) -> Result<()> {
        if !self.check_open("request_keyframe")?.receiving.contains(mid) {
            return Err(not_found("request_keyframe", "no track is received on this section"));
        }
        self.send("request_keyframe", Outgoing::KeyframeRequest(mid.clone()))
    }

    async fn open_channel(&self, label: &str) -> Result<()> {
        let label = label.to_owned();
        self.call("open_channel", move |driver| {
            driver.peer.open_channel(&label);
            Ok(())
        })
        .await
    }

    fn send_data(&self, channel: ChannelId, message: Bytes) -> Result<()> {
        let length = message.len();
        let mut state = self.check_open("send_data")?;
        if !state.channels.contains(&channel) {
            return Err(not_found("send_data", "there is no such open channel"));
        }
        if length > MAX_MESSAGE {
            return Err(Error::new(ErrorKind::TooLarge, "a message may have at most 16 KiB")
                .backend(NAME)
                .operation("send_data"));
        }
        if state.queued_bytes + length > MAX_QUEUED_BYTES {
            return Err(full("send_data"));
        }
        state.queued_bytes += length;
        // Sending drives the session, which needs this lock.
        drop(state);
        self.send("send_data", Outgoing::Message(channel, message))
            .inspect_err(|_| self.shared.lock().queued_bytes -= length)
    }

    async fn stats(&self) -> Result<SessionStats> {
        let state = self.check_open("stats")?;
        let mut stats = state.traffic.stats(state.round_trip);
        stats.path = state.path;
        Ok(stats)
    }

    async fn close(&self) {
        self.shared.lock().is_closed = true;
        // If the task has ended, the session is closed already.
        let _ = self.calls.send(Box::new(Driver::close)).await;
        let mut ended = self.ended.clone();
        while ended.changed().await.is_ok() {}
    }
}

fn closed(operation: &'static str) -> Error {
    Error::new(ErrorKind::Closed, "the session is closed").backend(NAME).operation(operation)
}

fn full(operation: &'static str) -> Error {
    Error::new(ErrorKind::Full, "the session cannot keep up").backend(NAME).operation(operation)
}

fn not_found(operation: &'static str, message: &'static str) -> Error {
    Error::new(ErrorKind::NotFound, message).backend(NAME).operation(operation)
}

#[cfg(test)]
mod tests;
