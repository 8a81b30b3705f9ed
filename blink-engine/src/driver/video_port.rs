//! The media worker's end of a video worker, whose source may block its thread.

use std::collections::VecDeque;

use blink_media::VideoCommand;
use tokio::sync::mpsc;

use super::video_worker::VideoWorkerCommand;

/// Sends commands to a video worker without waiting for it.
///
/// Where its queue is full, rates and requests for key frames are dropped: they are repeated as
/// long as they are needed. New and removed receivers are not, and wait here. At most two commands
/// of a path wait.
pub(super) struct VideoPort {
    commands: mpsc::Sender<VideoWorkerCommand>,
    waiting: VecDeque<VideoWorkerCommand>,
}

impl VideoPort {
    pub(super) fn new(commands: mpsc::Sender<VideoWorkerCommand>) -> Self {
        Self { commands, waiting: VecDeque::new() }
    }

    /// Sends a command. Returns `false` where it was dropped or waits.
    pub(super) fn send(&mut self, command: VideoWorkerCommand) -> bool {
        self.flush();
        let is_repeated = matches!(command.command, VideoCommand::SetRate(..) | VideoCommand::RequestKeyframe);
        if self.waiting.is_empty() {
            match self.commands.try_send(command) {
                Ok(()) => return true,
                Err(mpsc::error::TrySendError::Full(command)) if !is_repeated => self.waiting.push_back(command),
                // A worker whose source was lost takes no commands any longer.
                Err(_) => {}
            }
        } else if !is_repeated && !self.cancels_waiting(&command.command) {
            self.waiting.push_back(command);
        }
        false
    }

    /// Sends what waits, as far as there is room.
    pub(super) fn flush(&mut self) {
        while let Some(command) = self.waiting.pop_front() {
            if let Err(mpsc::error::TrySendError::Full(command)) = self.commands.try_send(command) {
                return self.waiting.push_front(command);
            }
        }
    }

    /// Whether a receiver or tap is removed that waits to be added; then neither is sent, so that a
    /// participant who requests and closes a stream again and again fills no memory.
    fn cancels_waiting(&mut self, command: &VideoCommand) -> bool {
        let added = |waiting: &VideoWorkerCommand| match (command, &waiting.command) {
            (VideoCommand::RemoveReceiver(path), VideoCommand::AddReceiver(added, _)) => added == path,
            (VideoCommand::RemoveTap(tap), VideoCommand::AddTap(added, _)) => added == tap,
            _ => false,
        };
        let found = self.waiting.iter().position(added);
        found.is_some_and(|at| self.waiting.remove(at).is_some())
    }
}

#[cfg(test)]
mod tests {
    use blink_api::TrackId;
    use blink_media::{PathId, SendTrack};

    use super::*;

    fn command(command: VideoCommand) -> VideoWorkerCommand {
        VideoWorkerCommand { command, session: None }
    }

    fn add(path: u64) -> VideoWorkerCommand {
        command(VideoCommand::AddReceiver(PathId(path), SendTrack::new(TrackId(1), 0)))
    }

    fn remove(path: u64) -> VideoWorkerCommand {
        command(VideoCommand::RemoveReceiver(PathId(path)))
    }

    #[test]
    fn receivers_of_a_blocked_source_are_not_lost_and_are_bounded() {
        let (sender, mut queue) = mpsc::channel(2);
        let mut port = VideoPort::new(sender);
        assert!(port.send(add(1)));
        assert!(port.send(command(VideoCommand::RequestKeyframe)));
        // The source blocks from here on.
        for _ in 0..1_000 {
            port.send(command(VideoCommand::SetRate(PathId(1), Some(5))));
            port.send(command(VideoCommand::RequestKeyframe));
            port.send(remove(1));
            port.send(add(1));
            port.send(add(2));
            port.send(remove(2));
        }
        port.send(add(3));
        assert!(port.waiting.len() <= 4, "{}", port.waiting.len());
        let mut taken = Vec::new();
        while let Ok(VideoWorkerCommand { command, .. }) = queue.try_recv() {
            taken.push(match command {
                VideoCommand::AddReceiver(path, _) => ('+', path.0),
                VideoCommand::RemoveReceiver(path) => ('-', path.0),
                _ => ('k', 0),
            });
            port.flush();
        }
        let receivers = taken.iter().fold(std::collections::BTreeSet::new(), |mut receivers, (what, path)| {
            match what {
                '+' => assert!(receivers.insert(*path), "{path} is added once: {taken:?}"),
                '-' => assert!(receivers.remove(path), "{path} was added: {taken:?}"),
                _ => {}
            }
            receivers
        });
        assert_eq!(receivers, [1, 3].into(), "{taken:?}");
    }
}
