//! The sending end of the engine's events.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::broadcast;

use blink_proto::call::Event;

/// An event and its place among the engine's.
#[derive(Debug, Clone)]
pub(crate) struct Numbered {
    pub(crate) number: u64,
    pub(crate) event: Event,
}

/// Sends events to everybody who listens.
#[derive(Clone)]
pub(crate) struct EventSender {
    listeners: broadcast::Sender<Numbered>,
    next: Arc<AtomicU64>,
}

impl EventSender {
    /// A sender without listeners, for each of which so many events wait.
    pub(crate) fn new(capacity: usize) -> Self {
        Self { listeners: broadcast::channel(capacity).0, next: Arc::new(AtomicU64::new(1)) }
    }

    /// Tells all listeners.
    pub(crate) fn send(&self, event: Event) {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        // Without a listener the event is dropped, which is the user's choice.
        self.listeners.send(Numbered { number, event }).ok();
    }

    /// Number that the next event will have at least.
    pub(crate) fn next_number(&self) -> u64 {
        self.next.load(Ordering::Relaxed)
    }

    #[cfg(test)]
    pub(crate) fn subscribe(&self) -> broadcast::Receiver<Numbered> {
        self.listeners.subscribe()
    }

    /// For handles that do not keep the stream open.
    pub(crate) fn downgrade(&self) -> broadcast::WeakSender<Numbered> {
        self.listeners.downgrade()
    }
}
