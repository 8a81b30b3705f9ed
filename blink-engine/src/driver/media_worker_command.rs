//! Commands for the media worker.

use std::sync::Arc;

use blink_api::{Endpoint, Session, StreamId, TrackKey};
use tokio::sync::{mpsc, oneshot};

use super::epoch::Epoch;
use super::session_command::SessionCommand;
use super::video_worker::VideoWorkerCommand;
use blink_media::{AudioStatistics, CallMedia, MediaCommand, PathStatistics, RetiredDevice};
use blink_proto::call::SessionId;

/// A command for the media worker.
pub(super) enum MediaWorkerCommand {
    /// A call with this media is the current one. Where another one was, that call's media ends and
    /// its offered streams go on in this one; the devices of the former are to be closed.
    Open { epoch: Epoch, media: Box<CallMedia>, done: oneshot::Sender<Vec<RetiredDevice>> },
    /// A call is over. Its devices are to be closed.
    Close { epoch: Epoch, done: oneshot::Sender<Vec<RetiredDevice>> },
    /// No call is the current one any more. The one that was has lost its devices and streams; the
    /// former are to be closed.
    Hold { done: oneshot::Sender<Vec<RetiredDevice>> },
    /// A held call is the current one.
    Resume(Epoch),
    /// A command for the media of a call; without effect when that is over.
    Media(Epoch, MediaCommand),
    /// A session of a call, and how it is reached.
    AddSession { epoch: Epoch, id: SessionId, port: SessionPort, command: MediaCommand },
    /// A session that ends.
    RemoveSession(SessionId),
    /// A video stream is offered, by the worker that these commands go to.
    OfferVideo(Epoch, StreamId, mpsc::Sender<VideoWorkerCommand>),
    /// A stream is no longer offered.
    RevokeStream(StreamId),
    /// Mutes or unmutes, for this call and the next ones.
    SetMuted { muted: bool, done: oneshot::Sender<()> },
    /// Silences the speaker or ends that, for this call and the next ones.
    SetDeafened(bool),
    /// Sets a participant's volume, for this call and the next ones.
    SetVolume(Endpoint, f32),
    /// Statistics of what is received of a track and what is sent on a path.
    Statistics(TrackKey, SessionId, oneshot::Sender<MediaStatistics>),
}

/// Statistics of one participant.
#[derive(Debug, Default)]
pub(super) struct MediaStatistics {
    pub(super) audio: AudioStatistics,
    /// `None` for a path without media.
    pub(super) path: Option<PathStatistics>,
}

/// A session as the media worker reaches it.
pub(super) struct SessionPort {
    pub(super) session: Arc<dyn Session>,
    /// Weak: a session's task ends when its handles are dropped.
    pub(super) commands: mpsc::WeakSender<SessionCommand>,
}
