//! The video worker: runs the [`VideoSender`] of one offered stream. It ends, and its source
//! closes, when its command channel is closed.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use blink_api::{Clock, Session};
use tokio::sync::mpsc;

use super::epoch::Epoch;
use super::report::Report;
use super::send_rtp::send;
use super::worker::Worker;
use blink_media::{MediaEvent, PathId, VideoCommand, VideoSender};

/// A command for a video worker.
pub(super) struct VideoWorkerCommand {
    pub(super) command: VideoCommand,
    /// The session of a new receiver.
    pub(super) session: Option<Arc<dyn Session>>,
}

pub(super) struct VideoWorker {
    clock: Arc<dyn Clock>,
    reports: mpsc::Sender<Report>,
    epoch: Epoch,
    /// `None` once its source is lost.
    sender: Option<VideoSender>,
    sessions: BTreeMap<PathId, Arc<dyn Session>>,
}

impl VideoWorker {
    pub(super) fn new(clock: Arc<dyn Clock>, reports: mpsc::Sender<Report>, epoch: Epoch, sender: VideoSender) -> Self {
        Self { clock, reports, epoch, sender: Some(sender), sessions: BTreeMap::new() }
    }
}

impl Worker for VideoWorker {
    type Command = VideoWorkerCommand;

    fn next(&self) -> Option<Instant> {
        self.sender.as_ref().and_then(VideoSender::deadline)
    }

    fn handle(&mut self, VideoWorkerCommand { command, session }: VideoWorkerCommand) {
        match (&command, session) {
            (VideoCommand::AddReceiver(path, _), Some(session)) => drop(self.sessions.insert(*path, session)),
            (VideoCommand::RemoveReceiver(path), _) => drop(self.sessions.remove(path)),
            _ => {}
        }
        let now = self.clock.now();
        if let Some(sender) = &mut self.sender {
            sender.handle(now, command);
        }
    }

    fn tick(&mut self) {
        let now = self.clock.now();
        let Self { sender: Some(sender), sessions, .. } = self else { return };
        let result = sender.tick(now, &mut |path, track, packet| {
            if let Some(session) = sessions.get(&path) {
                send(&**session, track, packet);
            }
        });
        if let Err(error) = result {
            tracing::error!(%error, "a video source is lost");
            let event = MediaEvent::SourceLost(sender.stream(), error);
            self.sender = None;
            // A full queue means that the driver is far behind; the log has it.
            self.reports.try_send(Report::Media(self.epoch, event)).ok();
        }
    }

    fn finish(&mut self) {
        self.sender = None;
    }
}
