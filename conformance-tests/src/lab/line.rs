//! What connects one life of a participant's engine with its backends: everything passes here, and can be cut, counted and held back.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use blink_api::{DeliveryQueue, SignalingEvent, Topic};
use tokio::sync::broadcast;

/// Which packets pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Paths {
    /// Whether packets pass.
    pub(crate) open: bool,
    /// Counts changes of the device's address: paths made before the newest are dead.
    pub(crate) address: u64,
}

/// One engine's connections.
pub(crate) struct Line {
    /// The number of its participant.
    pub(crate) number: usize,
    paths: Mutex<Paths>,
    signaling: AtomicBool,
    killed: AtomicBool,
    pub(crate) network_events: broadcast::Sender<SignalingEvent>,
    mail: Mutex<Mail>,
    pub(crate) packets_sent: AtomicU64,
    pub(crate) packets_received: AtomicU64,
    pub(crate) candidates_sent: AtomicU64,
    pub(crate) sessions_opened: AtomicUsize,
    pub(crate) sessions_open: AtomicUsize,
    pub(crate) restarts: AtomicUsize,
}

#[derive(Default)]
struct Mail {
    /// Open subscriptions, by topic.
    boxes: BTreeMap<Topic, Vec<DeliveryQueue>>,
    /// What was delivered: when, and on which topic.
    delivered: Vec<(Duration, Topic)>,
}

impl Line {
    pub(crate) fn new(number: usize) -> Self {
        Self {
            number,
            paths: Mutex::new(Paths { open: true, address: 0 }),
            signaling: AtomicBool::new(true),
            killed: AtomicBool::new(false),
            network_events: broadcast::Sender::new(256),
            mail: Mutex::default(),
            packets_sent: AtomicU64::new(0),
            packets_received: AtomicU64::new(0),
            candidates_sent: AtomicU64::new(0),
            sessions_opened: AtomicUsize::new(0),
            sessions_open: AtomicUsize::new(0),
            restarts: AtomicUsize::new(0),
        }
    }

    pub(crate) fn set_media(&self, open: bool) {
        let open = open && !self.is_killed();
        self.paths.lock().unwrap_or_else(PoisonError::into_inner).open = open;
    }

    pub(crate) fn paths(&self) -> Paths {
        *self.paths.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn set_signaling(&self, open: bool) {
        self.signaling.store(open, Ordering::Relaxed);
    }

    /// Whether messages pass.
    pub(crate) fn has_signaling(&self) -> bool {
        self.signaling.load(Ordering::Relaxed) && !self.is_killed()
    }

    /// The device has another address from now on.
    pub(crate) fn change_address(&self) {
        self.paths.lock().unwrap_or_else(PoisonError::into_inner).address += 1;
    }

    /// Nothing passes any more, for good, and nobody is told.
    pub(crate) fn kill(&self) {
        self.killed.store(true, Ordering::Relaxed);
        self.set_media(false);
    }

    pub(crate) fn is_killed(&self) -> bool {
        self.killed.load(Ordering::Relaxed)
    }

    pub(crate) fn add_box(&self, topic: Topic, queue: DeliveryQueue) {
        self.mail().boxes.entry(topic).or_default().push(queue);
    }

    /// Every open subscription of a topic.
    pub(crate) fn boxes(&self, topic: &Topic) -> Vec<DeliveryQueue> {
        self.mail().boxes.get(topic).cloned().unwrap_or_default()
    }

    pub(crate) fn record_delivery(&self, at: Duration, topic: Topic) {
        self.mail().delivered.push((at, topic));
    }

    /// How many messages came since a time on topics that fulfil a condition.
    pub(crate) fn delivered_since(&self, since: Duration, on: impl Fn(&Topic) -> bool) -> u64 {
        self.mail().delivered.iter().filter(|(at, topic)| *at >= since && on(topic)).count() as u64
    }

    fn mail(&self) -> MutexGuard<'_, Mail> {
        self.mail.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
