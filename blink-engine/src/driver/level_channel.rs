//! Audio levels on their way from the media worker to the user's meters.

use std::sync::atomic::{AtomicBool, Ordering};
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
    /// The call of the levels is over.
    is_over: AtomicBool,
    levels: Mutex<Vec<ParticipantLevel>>,
    written: Notify,
}

/// The worker's end. It neither waits for a reader nor allocates.
pub(super) struct LevelWriter {
    shared: Arc<Shared>,
    /// Levels that were read from the media, to be swapped with those in `shared`.
    read: Vec<ParticipantLevel>,
    /// Time of the next reading; `None` before the first one of a call.
    due: Option<Instant>,
}

/// The publishing end.
pub(super) struct LevelPublisher(Arc<Shared>);

/// Both ends.
pub(super) fn level_channel() -> (LevelWriter, LevelPublisher) {
    let shared = Arc::new(Shared {
        is_over: AtomicBool::new(false),
        levels: Mutex::new(Vec::with_capacity(MAX_PARTICIPANTS)),
        written: Notify::new(),
    });
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
        // A flag, since a reader may hold the lock and no tick follows that could write it later.
        self.shared.is_over.store(true, Ordering::Release);
        self.shared.written.notify_one();
    }

    fn write(&mut self) {
        // A reader holds the lock for as long as it copies: these levels are left out then.
        if let Ok(mut levels) = self.shared.levels.try_lock() {
            std::mem::swap(&mut *levels, &mut self.read);
            self.shared.is_over.store(false, Ordering::Release);
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
            let written = self.0.levels.lock().unwrap_or_else(PoisonError::into_inner);
            if !self.0.is_over.load(Ordering::Acquire) {
                newest.extend_from_slice(&written);
            }
            drop(written);
            levels.send_if_modified(|levels| levels.replace(&newest));
        }
    }
}

#[cfg(test)]
mod tests {
    use allocation_counter::measure;
    use blink_api::{AudioLevel, DeviceId, Did, Endpoint};

    use super::*;

    fn level(participant: u8, minus_dbov: u8) -> ParticipantLevel {
        let did = Did::from_public_key([participant; 32]);
        let participant = Endpoint { did, device: DeviceId::from_random([participant; 16]) };
        ParticipantLevel { participant, level: AudioLevel::new(minus_dbov, false) }
    }

    /// The worker neither waits for a reader nor allocates.
    #[tokio::test]
    async fn a_reader_that_holds_the_levels_does_not_block_the_writer() {
        let (mut writer, LevelPublisher(shared)) = level_channel();
        let held = shared.levels.lock().unwrap();
        writer.read.push(level(1, 30));
        writer.write();
        assert!(held.is_empty(), "left out");
        drop(held);
        let allocated = measure(|| {
            for round in 0..100 {
                writer.read.clear();
                writer.read.extend((0..16).map(|participant| level(participant, round)));
                writer.write();
            }
        });
        assert_eq!(allocated.count_total, 0);
        assert_eq!(shared.levels.lock().unwrap().len(), 16);
    }

    #[tokio::test]
    async fn the_newest_levels_are_published_and_the_same_ones_once() {
        let (mut writer, publisher) = level_channel();
        let (sender, mut levels) = watch::channel(Levels::default());
        let publishing = tokio::spawn(publisher.run(sender));
        writer.read.extend([level(1, 30), level(2, 40)]);
        writer.write();
        levels.changed().await.unwrap();
        assert_eq!(levels.borrow_and_update().of(&level(2, 0).participant), Some(AudioLevel::new(40, false)));
        writer.read.clear();
        writer.read.extend([level(1, 30), level(2, 40)]);
        writer.write();
        tokio::task::yield_now().await;
        assert!(!levels.has_changed().unwrap());
        writer.clear();
        levels.changed().await.unwrap();
        assert!(levels.borrow().is_empty());
        publishing.abort();
    }
}
