//! Topics this device listens on, each read by a task of its own into the driver's queue.

use std::collections::HashMap;
use std::sync::Arc;

use blink_api::{Result, Signaling, SubscriptionEvent, Topic};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::report::Report;

pub(super) struct Subscriptions {
    signaling: Arc<dyn Signaling>,
    reports: mpsc::Sender<Report>,
    readers: HashMap<Topic, JoinHandle<()>>,
}

impl Subscriptions {
    pub(super) fn new(signaling: Arc<dyn Signaling>, reports: mpsc::Sender<Report>) -> Self {
        Self { signaling, reports, readers: HashMap::new() }
    }

    /// Listens on a topic; nothing happens where it does already.
    pub(super) async fn subscribe(&mut self, topic: Topic) -> Result<()> {
        if self.readers.contains_key(&topic) {
            return Ok(());
        }
        let mut subscription = self.signaling.subscribe(&topic).await?;
        let reports = self.reports.clone();
        let reader = tokio::spawn(async move {
            while let Some(event) = subscription.next().await {
                let report = match event {
                    SubscriptionEvent::Delivery(delivery) => Report::Delivery(topic, delivery),
                    SubscriptionEvent::Lagged(lost) => Report::Lagged(lost),
                };
                if reports.send(report).await.is_err() {
                    return;
                }
            }
        });
        self.readers.insert(topic, reader);
        Ok(())
    }

    pub(super) fn unsubscribe(&mut self, topic: &Topic) {
        if let Some(reader) = self.readers.remove(topic) {
            reader.abort();
        }
    }
}

impl Drop for Subscriptions {
    fn drop(&mut self) {
        self.readers.values().for_each(JoinHandle::abort);
    }
}
