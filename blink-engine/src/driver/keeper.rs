//! Writes down what is remembered, in a task of its own, so that the driver never waits for the
//! disk.

use std::path::Path;

use blink_api::{Error, ErrorKind};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::events::EventSender;
use crate::store::Store;
use blink_proto::call::{Change, Event};

/// Batches that wait for the disk. When as many do, changes are collected here.
const QUEUE: usize = 64;
/// Changes that are collected for a disk that does not answer; beyond, they are lost for a restart,
/// and the user is told.
const MAX_COLLECTED: usize = 16_384;

/// What is remembered goes through here. Without a store it stays in memory, where the machine has
/// it.
pub(super) struct Keeper {
    collected: Vec<Change>,
    writer: Option<Writer>,
}

struct Writer {
    queue: mpsc::Sender<Vec<Change>>,
    task: JoinHandle<()>,
    events: EventSender,
}

impl Keeper {
    pub(super) fn start(store: Option<Store>, events: &EventSender) -> Self {
        let writer = store.map(|store| {
            let (queue, batches) = mpsc::channel(QUEUE);
            let task = tokio::spawn(write(store, batches, events.clone()));
            Writer { queue, task, events: events.clone() }
        });
        Self { collected: Vec::new(), writer }
    }

    pub(super) fn keep(&mut self, memo: Change) {
        if self.writer.is_some() {
            self.collected.push(memo);
        }
    }

    /// Hands over what was collected; does not wait.
    pub(super) fn hand_over(&mut self) {
        let Some(writer) = self.writer.as_ref().filter(|_| !self.collected.is_empty()) else { return };
        match writer.queue.try_send(std::mem::take(&mut self.collected)) {
            Ok(()) => {}
            Err(mpsc::error::TrySendError::Full(memos)) if memos.len() < MAX_COLLECTED => self.collected = memos,
            Err(_) => tell(&writer.events, &Error::new(ErrorKind::Full, "the disk does not answer")),
        }
    }

    /// Returns when everything is written and the store is free for others.
    pub(super) async fn finish(&mut self) {
        let Some(writer) = self.writer.take() else { return };
        let collected = std::mem::take(&mut self.collected);
        if !collected.is_empty() {
            // An error means that the task is gone, which its result below tells.
            writer.queue.send(collected).await.ok();
        }
        drop(writer.queue);
        if let Err(error) = writer.task.await {
            tracing::error!(%error, "what is remembered was not written");
        }
    }
}

/// Takes everything that waits, and writes it at once: the disk confirms each time. What could not
/// be written is tried again with the next change.
async fn write(store: Store, mut batches: mpsc::Receiver<Vec<Change>>, events: EventSender) {
    let directory = store.directory().to_owned();
    let mut store = Some(store);
    let mut waiting = Vec::new();
    let mut memos = Vec::new();
    let mut failed = false;
    while batches.recv_many(&mut waiting, QUEUE).await > 0 {
        memos.extend(waiting.drain(..).flatten());
        let (directory, opened, all) = (directory.clone(), store.take(), std::mem::take(&mut memos));
        let error = match tokio::task::spawn_blocking(move || attempt(&directory, opened, all)).await {
            Ok(Ok(opened)) => {
                store = Some(opened);
                failed = false;
                continue;
            }
            Ok(Err((error, unwritten))) => {
                memos = unwritten;
                error
            }
            Err(error) => Error::new(ErrorKind::Unexpected, "writing was stopped").source(error),
        };
        if !std::mem::replace(&mut failed, true) {
            tell(&events, &error);
        }
        if memos.len() > MAX_COLLECTED {
            tracing::error!(lost = memos.len(), "a restart will not know of what happened");
            memos.clear();
        }
    }
}

/// Writes changes, and hands back the store or the changes. A database on which writing failed once
/// is of no use before it is opened again.
fn attempt(directory: &Path, store: Option<Store>, memos: Vec<Change>) -> Result<Store, (Error, Vec<Change>)> {
    let store = match store.map_or_else(|| Store::open(directory), Ok) {
        Ok(store) => store,
        Err(error) => return Err((error, memos)),
    };
    match store.write_memory(&memos) {
        Ok(()) => Ok(store),
        Err(error) => Err((error, memos)),
    }
}

fn tell(events: &EventSender, error: &Error) {
    tracing::error!(%error, "what happens is not written down");
    events.send(Event::PersistenceFailed { error: error.to_string() });
}

#[cfg(test)]
mod tests {
    use blink_api::CallId;

    use super::*;
    use crate::store::tests::on_a_full_disk;

    fn tombstone(n: u8) -> Change {
        Change::Tombstone(CallId::from_bytes([n; 16]), Some(1))
    }

    #[tokio::test]
    async fn what_a_full_disk_did_not_take_is_told_and_written_once_there_is_room() {
        let directory = tempfile::tempdir().unwrap();
        let events = EventSender::new(8);
        let mut told = events.subscribe();
        let mut keeper = Keeper::start(Some(on_a_full_disk(directory.path())), &events);
        keeper.keep(tombstone(1));
        keeper.keep(tombstone(2));
        keeper.hand_over();
        assert!(matches!(told.recv().await.unwrap().event, Event::PersistenceFailed { .. }));
        keeper.keep(tombstone(3));
        keeper.finish().await;
        let (memory, damaged) = Store::open(directory.path()).unwrap().memory().unwrap();
        assert_eq!((memory.tombstones.len(), damaged), (3, 0));
        assert!(told.try_recv().is_err(), "it is told once");
    }

    #[tokio::test]
    async fn without_a_place_to_write_nothing_is_collected() {
        let events = EventSender::new(8);
        let mut keeper = Keeper::start(None, &events);
        keeper.keep(tombstone(1));
        keeper.hand_over();
        assert!(keeper.collected.is_empty());
        keeper.finish().await;
    }
}
