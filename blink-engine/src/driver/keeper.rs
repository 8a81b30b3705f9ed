//! Writes down what is remembered, in a task of its own, so that the driver never waits for the disk.

use std::sync::Arc;

use blink_api::{Error, ErrorKind};
use tokio::sync::{broadcast, mpsc};
use tokio::task::JoinHandle;

use crate::call::{Event, Memo};
use crate::store::Store;

/// Batches that wait for the disk. When as many do, changes are collected here.
const QUEUE: usize = 64;
/// Changes that are collected for a disk that does not answer; beyond, they are lost for a restart, and the user is told.
const MAX_COLLECTED: usize = 16_384;

/// What is remembered goes through here. Without a store it stays in memory, where the machine has it.
pub(super) struct Keeper {
    collected: Vec<Memo>,
    writer: Option<Writer>,
}

struct Writer {
    queue: mpsc::Sender<Vec<Memo>>,
    task: JoinHandle<()>,
    events: broadcast::Sender<Event>,
}

impl Keeper {
    pub(super) fn start(store: Option<Store>, events: &broadcast::Sender<Event>) -> Self {
        let writer = store.map(|store| {
            let (queue, batches) = mpsc::channel(QUEUE);
            let task = tokio::spawn(write(Arc::new(store), batches, events.clone()));
            Writer { queue, task, events: events.clone() }
        });
        Self { collected: Vec::new(), writer }
    }

    pub(super) fn keep(&mut self, memo: Memo) {
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

/// Takes everything that waits, and writes it at once: the disk confirms each time.
async fn write(store: Arc<Store>, mut batches: mpsc::Receiver<Vec<Memo>>, events: broadcast::Sender<Event>) {
    let mut waiting = Vec::new();
    let mut failed = false;
    while batches.recv_many(&mut waiting, QUEUE).await > 0 {
        let memos: Vec<Memo> = waiting.drain(..).flatten().collect();
        let store = store.clone();
        let written = match tokio::task::spawn_blocking(move || store.write_memory(&memos)).await {
            Ok(written) => written,
            Err(error) => Err(Error::new(ErrorKind::Unexpected, "writing was stopped").source(error)),
        };
        match written {
            Ok(()) => failed = false,
            Err(error) if !std::mem::replace(&mut failed, true) => tell(&events, &error),
            Err(_) => {}
        }
    }
}

fn tell(events: &broadcast::Sender<Event>, error: &Error) {
    tracing::error!(%error, "what happens is not written down");
    // Without a listener there is nobody to tell, which is the user's choice.
    events.send(Event::NotKept { error: error.to_string() }).ok();
}
