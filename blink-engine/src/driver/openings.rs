//! Devices that are being opened, in the background: opening may take its time.

use blink_api::{AudioSink, AudioSource, CallId, Did, Result, StreamId, VideoSource};
use blink_media::{CallAudio, OpenId};
use tokio::sync::oneshot;
use tokio::task::JoinSet;

use crate::call_config::StreamConfig;
use crate::handle::Call;

/// A device that was opened, or not, with what it is for.
pub(super) enum Opened {
    /// The microphone of a call.
    Microphone(OpenId, Result<Box<dyn AudioSource>>),
    /// The speaker of a call.
    Speaker(OpenId, Result<Box<dyn AudioSink>>),
    /// The microphone that a call must not be offered or answered without.
    RequiredMicrophone(Result<Box<dyn AudioSource>>, PendingCall),
    /// The source of a stream.
    Stream(Result<StreamSource>, PendingStream),
}

/// The source of a stream.
pub(super) enum StreamSource {
    Audio(Box<dyn AudioSource>),
    Video(Box<dyn VideoSource>),
}

/// A call that waits for its microphone.
pub(super) struct PendingCall {
    pub(super) action: CallAction,
    pub(super) audio: CallAudio,
    pub(super) reply: oneshot::Sender<Result<Call>>,
}

/// How a call begins.
pub(super) enum CallAction {
    Offer { people: Vec<Did>, conversation: Vec<u8> },
    Answer(CallId),
}

/// A stream that waits for its source.
pub(super) struct PendingStream {
    pub(super) config: StreamConfig,
    pub(super) reply: oneshot::Sender<Result<StreamId>>,
}

/// The openings that are under way.
#[derive(Default)]
pub(super) struct Openings {
    running: JoinSet<Opened>,
}

impl Openings {
    /// Opens a device where it keeps no other task from running.
    pub(super) fn spawn_device_open(&mut self, opening: impl Future<Output = Opened> + Send + 'static) {
        let runtime = tokio::runtime::Handle::current();
        self.running.spawn_blocking(move || runtime.block_on(opening));
    }

    /// Waits for the next opening to end; `None` without any. Cancel safe.
    pub(super) async fn next(&mut self) -> Option<Opened> {
        loop {
            match self.running.join_next().await? {
                Ok(opened) => return Some(opened),
                // What waited for it is dropped with it, and its caller sees that.
                Err(error) => tracing::error!(%error, "the opening of a device panicked"),
            }
        }
    }
}
