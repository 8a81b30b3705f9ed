//! Writes changes of the machine's memory to the store, in a task of its own, so that the driver
//! never waits for the disk.

use std::path::Path;

use blink_api::{Error, ErrorKind};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::event_sender::EventSender;
use crate::store::Store;
use blink_proto::call::{Change, Event};

/// Batches that wait for the disk. While it is full, changes are collected here.
const QUEUE: usize = 64;
/// Changes that are collected for a disk that does not answer; beyond, they are lost for a restart,
/// and the user gets an event.
const MAX_COLLECTED: usize = 16_384;

/// Collects changes and hands them to the task that writes them. Without a store it does nothing:
/// the machine has them in memory.
pub(super) struct StoreWriter {
    collected: Vec<Change>,
    writer: Option<Writer>,
}

struct Writer {
    queue: mpsc::Sender<Vec<Change>>,
    task: JoinHandle<()>,
    events: EventSender,
}

impl StoreWriter {
    pub(super) fn start(store: Option<Store>, events: &EventSender) -> Self {
        let writer = store.map(|store| {
            let (queue, batches) = mpsc::channel(QUEUE);
            let task = tokio::spawn(write(store, batches, events.clone()));
            Writer { queue, task, events: events.clone() }
        });
        Self { collected: Vec::new(), writer }
    }

    pub(super) fn persist(&mut self, change: Change) {
        if self.writer.is_some() {
            self.collected.push(change);
        }
    }

    /// Hands over what was collected; does not wait.
    pub(super) fn hand_over(&mut self) {
        let Some(writer) = self.writer.as_ref().filter(|_| !self.collected.is_empty()) else { return };
        match writer.queue.try_send(std::mem::take(&mut self.collected)) {
            Ok(()) => {}
            Err(mpsc::error::TrySendError::Full(changes)) if changes.len() < MAX_COLLECTED => self.collected = changes,
            Err(_) => report(&writer.events, &Error::new(ErrorKind::Full, "the disk does not answer")),
        }
    }

    /// Returns when everything is written and the store is free for others.
    pub(super) async fn finish(&mut self) {
        let Some(writer) = self.writer.take() else { return };
        let collected = std::mem::take(&mut self.collected);
        if !collected.is_empty() {
            // An error means that the task is gone, which its result below shows.
            writer.queue.send(collected).await.ok();
        }
        drop(writer.queue);
        if let Err(error) = writer.task.await {
            tracing::error!(%error, "changes of the memory were not written");
        }
    }
}

/// Writes all batches that wait at once, since the disk confirms each write. What could not be
/// written is tried again with the next change.
async fn write(store: Store, mut batches: mpsc::Receiver<Vec<Change>>, events: EventSender) {
    let directory = store.directory().to_owned();
    let mut store = Some(store);
    let mut waiting = Vec::new();
    let mut changes = Vec::new();
    let mut failed = false;
    while batches.recv_many(&mut waiting, QUEUE).await > 0 {
        changes.extend(waiting.drain(..).flatten());
        let (directory, opened, all) = (directory.clone(), store.take(), std::mem::take(&mut changes));
        let error = match tokio::task::spawn_blocking(move || attempt(&directory, opened, all)).await {
            Ok(Ok(opened)) => {
                store = Some(opened);
                failed = false;
                continue;
            }
            Ok(Err((error, unwritten))) => {
                changes = unwritten;
                error
            }
            Err(error) => Error::new(ErrorKind::Unexpected, "writing was stopped").source(error),
        };
        if !std::mem::replace(&mut failed, true) {
            report(&events, &error);
        }
        if changes.len() > MAX_COLLECTED {
            tracing::error!(lost = changes.len(), "changes are lost for the next start");
            changes.clear();
        }
    }
}

/// Writes changes. Returns the store, or the changes that were not written: a database on which
/// writing failed must be opened again.
fn attempt(directory: &Path, store: Option<Store>, changes: Vec<Change>) -> Result<Store, (Error, Vec<Change>)> {
    let store = match store.map_or_else(|| Store::open(directory), Ok) {
        Ok(store) => store,
        Err(error) => return Err((error, changes)),
    };
    match store.write_memory(&changes) {
        Ok(()) => Ok(store),
        Err(error) => Err((error, changes)),
    }
}

fn report(events: &EventSender, error: &Error) {
    tracing::error!(%error, "changes of the memory are not written");
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
        let mut reported = events.subscribe();
        let mut writer = StoreWriter::start(Some(on_a_full_disk(directory.path())), &events);
        writer.persist(tombstone(1));
        writer.persist(tombstone(2));
        writer.hand_over();
        assert!(matches!(*reported.recv().await.unwrap().event, Event::PersistenceFailed { .. }));
        writer.persist(tombstone(3));
        writer.finish().await;
        let (memory, damaged) = Store::open(directory.path()).unwrap().memory().unwrap();
        assert_eq!((memory.tombstones.len(), damaged), (3, 0));
        assert!(reported.try_recv().is_err(), "it is reported once");
    }

    #[tokio::test]
    async fn without_a_place_to_write_nothing_is_collected() {
        let events = EventSender::new(8);
        let mut writer = StoreWriter::start(None, &events);
        writer.persist(tombstone(1));
        writer.hand_over();
        assert!(writer.collected.is_empty());
        writer.finish().await;
    }
}
