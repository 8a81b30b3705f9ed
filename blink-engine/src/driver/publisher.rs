//! Publishes sealed messages one after the other, so that the driver never waits for the network.

use std::sync::Arc;

use blink_api::{ErrorKind, Signaling, Topic};
use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};

/// Messages that wait; the newest is dropped when it is full, since everything is said again.
const QUEUE: usize = 512;

pub(super) struct Publisher {
    queue: mpsc::Sender<Item>,
}

enum Item {
    Message(Topic, Bytes),
    Flush(oneshot::Sender<()>),
}

impl Publisher {
    pub(super) fn start(signaling: Arc<dyn Signaling>) -> Self {
        let (queue, mut items) = mpsc::channel(QUEUE);
        tokio::spawn(async move {
            while let Some(item) = items.recv().await {
                match item {
                    Item::Message(topic, message) => publish(&*signaling, topic, message).await,
                    // The caller may have stopped waiting.
                    Item::Flush(done) => drop(done.send(())),
                }
            }
        });
        Self { queue }
    }

    pub(super) fn publish(&self, topic: Topic, message: Vec<u8>) {
        if self.queue.try_send(Item::Message(topic, message.into())).is_err() {
            tracing::debug!("the publishing queue is full; a message is dropped and will be said again");
        }
    }

    /// Returns when everything queued so far was handed to the network.
    pub(super) async fn flush(&self) {
        let (done, flushed) = oneshot::channel();
        if self.queue.send(Item::Flush(done)).await.is_ok() {
            // An error means that the task is gone, and with it what was queued.
            flushed.await.ok();
        }
    }
}

async fn publish(signaling: &dyn Signaling, topic: Topic, message: Bytes) {
    match signaling.publish(&topic, message).await {
        Err(error) if error.kind() != ErrorKind::NoSubscribers => tracing::debug!(%error, "publishing failed"),
        _ => {}
    }
}
