//! Devices that are being opened, in the background: opening may take its time.

use blink_api::{AudioProcessor, AudioSink, AudioSource, CallId, Did, Result, StreamId, VideoSource};
use blink_media::{CallAudio, OpenId};
use tokio::sync::oneshot;
use tokio::task::JoinSet;

use super::device_requests::NamedChoice;
use super::epoch::Epoch;
use super::worker_host::WorkerHost;
use crate::call_config::StreamConfig;
use crate::handle::Call;

/// A device that was opened, or not, with what it is for.
pub(super) enum Opened {
    /// The processors of a call's microphone.
    Processors(Epoch, Result<Vec<Box<dyn AudioProcessor>>>),
    /// The microphone of a call.
    Microphone(OpenId, Result<Box<dyn AudioSource>>),
    /// The speaker of a call.
    Speaker(OpenId, Result<Box<dyn AudioSink>>),
    /// The microphone that a call must not be offered or answered without.
    RequiredMicrophone(Result<PreparedMicrophone>, PendingCall),
    /// A name that the user chose is known, or not.
    Name(Result<()>, NamedChoice),
    /// The source of a stream.
    Stream(Result<StreamSource>, PendingStream),
}

/// A microphone that is open before its call, with the index of its media host.
pub(super) type PreparedMicrophone = (usize, Box<dyn AudioSource>);

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
    /// The call that it is to be offered in ([`Streams::call`](super::streams::Streams::call)).
    pub(super) call: u64,
    pub(super) reply: oneshot::Sender<Result<StreamId>>,
}

/// The openings that are under way.
#[derive(Default)]
pub(super) struct Openings {
    /// `None` where an opening panicked.
    running: JoinSet<Option<Opened>>,
}

impl Openings {
    /// Opens a device where it keeps no other task from running: on a thread of its own, as it may
    /// never return, and a runtime that ends would wait for a thread of its pool. Where media runs
    /// as tasks it is such a thread, for whose end a paused clock waits.
    pub(super) fn spawn_device_open(
        &mut self,
        workers: &WorkerHost,
        opening: impl Future<Output = Opened> + Send + 'static,
    ) {
        let runtime = tokio::runtime::Handle::current();
        let work = move || runtime.block_on(opening);
        if let WorkerHost::Tasks = workers {
            self.running.spawn_blocking(move || Some(work()));
            return;
        }
        let (done, opened) = oneshot::channel();
        // Where the driver has ended, the device closes with its thread.
        let work = move || drop(done.send(work()));
        if let Err(error) = std::thread::Builder::new().name("blink-open".to_owned()).spawn(work) {
            tracing::error!(%error, "no thread to open a device on");
        }
        self.running.spawn(async move { opened.await.ok() });
    }

    /// Waits for the next opening to end; `None` without any. Cancel safe.
    pub(super) async fn next(&mut self) -> Option<Opened> {
        loop {
            match self.running.join_next().await? {
                Ok(Some(opened)) => return Some(opened),
                // What waited for it is dropped with it, and its caller sees that.
                Ok(None) | Err(_) => tracing::error!("the opening of a device panicked, or had no thread"),
            }
        }
    }
}
