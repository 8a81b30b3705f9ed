//! Publishes sealed messages one after the other, so that the driver never waits for the network,
//! and asks signaling to find those who did not receive them.

use std::sync::Arc;

use blink_api::{ErrorKind, Signaling, Topic};
use blink_proto::call::InboxesToFind;
use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};

use crate::metric_list::PUBLISHES;

/// Messages that wait; the newest is dropped when it is full, since everything is said again.
const QUEUE: usize = 512;

pub(super) struct Publisher {
    queue: mpsc::Sender<Item>,
}

enum Item {
    Message(Topic, Bytes, InboxesToFind),
    Flush(oneshot::Sender<()>),
}

impl Publisher {
    pub(super) fn start(signaling: Arc<dyn Signaling>) -> Self {
        let (queue, mut items) = mpsc::channel(QUEUE);
        tokio::spawn(async move {
            while let Some(item) = items.recv().await {
                match item {
                    Item::Message(topic, message, find) => publish(&*signaling, topic, message, find).await,
                    // The caller may have stopped waiting.
                    Item::Flush(done) => drop(done.send(())),
                }
            }
        });
        Self { queue }
    }

    pub(super) fn publish(&self, topic: Topic, message: Vec<u8>, find: InboxesToFind) {
        if self.queue.try_send(Item::Message(topic, message.into(), find)).is_err() {
            metrics::counter!(PUBLISHES, "result" => "dropped").increment(1);
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

/// Announces where an inbox is reached, if the backend can and the configuration lets it.
pub(super) async fn announce(signaling: &dyn Signaling, inbox: &Topic) {
    match signaling.announce(inbox).await {
        Err(error) if error.kind() != ErrorKind::Unsupported => {
            tracing::warn!(%error, "this node cannot be found without an address");
        }
        _ => {}
    }
}

async fn publish(signaling: &dyn Signaling, topic: Topic, message: Bytes, find: InboxesToFind) {
    let result = signaling.publish(&topic, message).await;
    let is_unheard = result.as_ref().is_err_and(|error| error.kind() == ErrorKind::NoSubscribers);
    let outcome = match &result {
        Ok(_) => "published",
        Err(_) if is_unheard => "no_subscribers",
        Err(_) => "failed",
    };
    metrics::counter!(PUBLISHES, "result" => outcome).increment(1);
    if let Err(error) = result
        && !is_unheard
    {
        tracing::debug!(%error, "publishing failed");
    }
    let InboxesToFind { always, if_unheard } = find;
    for inbox in always.iter().chain(if_unheard.iter().filter(|_| is_unheard)) {
        match signaling.find(inbox).await {
            // The message is said again, and so is this.
            Err(error) if error.kind() != ErrorKind::Unsupported => tracing::debug!(%error, "a search failed"),
            _ => {}
        }
    }
}
