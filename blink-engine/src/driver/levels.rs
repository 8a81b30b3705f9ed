//! Audio levels on their way from the media worker to the user's meters.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{Notify, watch};

use crate::levels::Levels;
use blink_media::{CallMedia, ParticipantLevel};

/// Interval between two readings.
const INTERVAL: Duration = Duration::from_millis(100);
/// Participants of the largest call, with room for devices of one user.
const MAX_PARTICIPANTS: usize = 64;

/// The newest levels, which the worker writes and a task publishes.
#[derive(Default)]
struct Shared {
    levels: Mutex<Vec<ParticipantLevel>>,
    written: Notify,
}

/// The worker's end. It neither waits for a reader nor allocates.
pub(super) struct LevelWriter {
    shared: Arc<Shared>,
    /// What is read from the media, in place of what is in `shared`.
    read: Vec<ParticipantLevel>,
    /// Time of the next reading; `None` before the first one of a call.
    due: Option<Instant>,
}

/// The publishing end.
pub(super) struct LevelPublisher(Arc<Shared>);

/// Both ends.
pub(super) fn level_channel() -> (LevelWriter, LevelPublisher) {
    let shared = Arc::new(Shared { levels: Mutex::new(Vec::with_capacity(MAX_PARTICIPANTS)), written: Notify::new() });
    let read = Vec::with_capacity(MAX_PARTICIPANTS);
    (LevelWriter { shared: shared.clone(), read, due: None }, LevelPublisher(shared))
}

impl LevelWriter {
    /// Reads the levels of a call, where that is due.
    pub(super) fn tick(&mut self, now: Instant, media: &mut CallMedia) {
        let due = *self.due.get_or_insert(now + INTERVAL);
        if now < due {
            return;
        }
        self.due = Some(now + INTERVAL);
        media.take_levels(&mut self.read);
        self.write();
    }

    /// The call is over.
    pub(super) fn clear(&mut self) {
        self.due = None;
        self.read.clear();
        // No tick follows that could write it later: wait for a reader that copies a few levels.
        self.shared.levels.lock().unwrap_or_else(PoisonError::into_inner).clear();
        self.shared.written.notify_one();
    }

    fn write(&mut self) {
        // A reader holds the lock for as long as it copies: these levels are left out then.
        if let Ok(mut levels) = self.shared.levels.try_lock() {
            std::mem::swap(&mut *levels, &mut self.read);
            drop(levels);
            self.shared.written.notify_one();
        }
    }
}

impl LevelPublisher {
    /// Publishes what is written, for as long as it is polled.
    pub(super) async fn run(self, levels: watch::Sender<Levels>) {
        let mut newest = Vec::with_capacity(MAX_PARTICIPANTS);
        loop {
            self.0.written.notified().await;
            newest.clear();
            newest.extend_from_slice(&self.0.levels.lock().unwrap_or_else(PoisonError::into_inner));
            levels.send_if_modified(|levels| levels.replace(&newest));
        }
    }
}
