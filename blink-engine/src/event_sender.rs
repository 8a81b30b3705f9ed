//! The sending end of the engine's events.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::broadcast;

use blink_proto::call::Event;

/// An event with its number among the engine's events.
#[derive(Debug, Clone)]
pub(crate) struct Numbered {
    pub(crate) number: u64,
    /// Shared, so that the queue of an engine without listeners is small.
    pub(crate) event: Arc<Event>,
}

/// The sending end for all listeners.
#[derive(Clone)]
pub(crate) struct EventSender {
    listeners: broadcast::Sender<Numbered>,
    next: Arc<AtomicU64>,
}

impl EventSender {
    /// A sender that keeps `capacity` events for each listener.
    pub(crate) fn new(capacity: usize) -> Self {
        Self { listeners: broadcast::channel(capacity).0, next: Arc::new(AtomicU64::new(1)) }
    }

    /// Sends an event to all listeners.
    pub(crate) fn send(&self, event: Event) {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        // Without a listener the event is dropped, which is the user's choice.
        self.listeners.send(Numbered { number, event: Arc::new(event) }).ok();
    }

    /// Lower bound of the next event's number.
    pub(crate) fn next_number(&self) -> u64 {
        self.next.load(Ordering::Relaxed)
    }

    #[cfg(test)]
    pub(crate) fn subscribe(&self) -> broadcast::Receiver<Numbered> {
        self.listeners.subscribe()
    }

    /// A handle that does not keep the events open.
    pub(crate) fn downgrade(&self) -> broadcast::WeakSender<Numbered> {
        self.listeners.downgrade()
    }
}
