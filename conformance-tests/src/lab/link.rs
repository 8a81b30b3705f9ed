//! Link between one run of a participant's engine and its backends. All traffic passes here, and
//! can be cut, counted and held back.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use blink_api::{DeliveryQueue, SignalingEvent, Topic};
use tokio::sync::broadcast;

use crate::impaired::{Cut, ImpairedSignaling, ImpairedTransport, Impairments};

/// State of the packet path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Paths {
    /// Whether packets pass.
    pub(crate) open: bool,
    /// Generation of the device's address; paths of older generations are dead.
    pub(crate) address: u64,
}

/// Connections of one engine run.
pub(crate) struct Link {
    /// Number of the participant.
    pub(crate) number: usize,
    paths: Mutex<Paths>,
    impairments: Mutex<Impairments>,
    stalled: AtomicBool,
    signaling: AtomicBool,
    killed: AtomicBool,
    pub(crate) network_events: broadcast::Sender<SignalingEvent>,
    mail: Mutex<Subscriptions>,
    signaled: Mutex<Vec<String>>,
    /// Impaired backends that make the cuts, with
    /// [`LabConfig::impaired`](super::config::LabConfig::impaired).
    impaired: OnceLock<(Arc<ImpairedTransport>, Arc<ImpairedSignaling>)>,
    pub(crate) packets_sent: AtomicU64,
    pub(crate) packets_received: AtomicU64,
    pub(crate) candidates_sent: AtomicU64,
    pub(crate) sessions_opened: AtomicUsize,
    pub(crate) sessions_open: AtomicUsize,
    pub(crate) subscriptions_open: AtomicUsize,
    pub(crate) restarts: AtomicUsize,
}

#[derive(Default)]
struct Subscriptions {
    /// Delivery queues of open subscriptions, by topic.
    queues: BTreeMap<Topic, Vec<DeliveryQueue>>,
    /// Time and topic of each delivery.
    delivered: Vec<(Duration, Topic)>,
}

impl Link {
    pub(crate) fn new(number: usize) -> Self {
        Self {
            number,
            paths: Mutex::new(Paths { open: true, address: 0 }),
            impairments: Mutex::new(Impairments::NONE),
            stalled: AtomicBool::new(false),
            signaling: AtomicBool::new(true),
            killed: AtomicBool::new(false),
            network_events: broadcast::Sender::new(256),
            mail: Mutex::default(),
            signaled: Mutex::default(),
            impaired: OnceLock::new(),
            packets_sent: AtomicU64::new(0),
            packets_received: AtomicU64::new(0),
            candidates_sent: AtomicU64::new(0),
            sessions_opened: AtomicUsize::new(0),
            sessions_open: AtomicUsize::new(0),
            subscriptions_open: AtomicUsize::new(0),
            restarts: AtomicUsize::new(0),
        }
    }

    /// Makes later cuts in the emulated network instead of at this link.
    pub(crate) fn impair(&self, transport: Arc<ImpairedTransport>, signaling: Arc<ImpairedSignaling>) {
        let is_first = self.impaired.set((transport, signaling)).is_ok();
        debug_assert!(is_first, "a link belongs to one engine run");
    }

    pub(crate) fn set_media(&self, open: bool) {
        let open = open && !self.is_killed();
        if let Some((transport, _)) = self.impaired.get() {
            transport.cut(if open { Cut::None } else { Cut::Both });
            // A killed engine must also receive nothing, which the emulated network cannot ensure:
            // its sessions stay open.
            if !self.is_killed() {
                return;
            }
        }
        self.paths.lock().unwrap_or_else(PoisonError::into_inner).open = open;
    }

    pub(crate) fn paths(&self) -> Paths {
        *self.paths.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Impairments of what arrives.
    pub(crate) fn impairments(&self) -> Impairments {
        *self.impairments.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn set_impairments(&self, impairments: Impairments) {
        *self.impairments.lock().unwrap_or_else(PoisonError::into_inner) = impairments;
    }

    /// Whether what arrives is held.
    pub(crate) fn is_stalled(&self) -> bool {
        self.stalled.load(Ordering::Relaxed)
    }

    pub(crate) fn set_stalled(&self, stalled: bool) {
        self.stalled.store(stalled, Ordering::Relaxed);
    }

    /// Returns whether the backend itself reports the cut.
    pub(crate) fn set_signaling(&self, open: bool) -> bool {
        if let Some((_, signaling)) = self.impaired.get() {
            signaling.cut(if open { Cut::None } else { Cut::Both });
            return true;
        }
        self.signaling.store(open, Ordering::Relaxed);
        false
    }

    /// Whether signaling messages pass.
    pub(crate) fn has_signaling(&self) -> bool {
        self.signaling.load(Ordering::Relaxed) && !self.is_killed()
    }

    /// Changes the device's address.
    pub(crate) fn change_address(&self) {
        if let Some((transport, _)) = self.impaired.get() {
            return transport.change_address();
        }
        self.paths.lock().unwrap_or_else(PoisonError::into_inner).address += 1;
    }

    /// Blocks all traffic for good, without reporting it.
    pub(crate) fn kill(&self) {
        self.killed.store(true, Ordering::Relaxed);
        self.set_media(false);
    }

    pub(crate) fn is_killed(&self) -> bool {
        self.killed.load(Ordering::Relaxed)
    }

    /// Records a description or candidate for the remote side.
    pub(crate) fn tell(&self, text: &str) {
        self.signaled.lock().unwrap_or_else(PoisonError::into_inner).push(text.to_owned());
    }

    /// All descriptions and candidates for remote sides.
    pub(crate) fn signaled(&self) -> Vec<String> {
        self.signaled.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn add_queue(&self, topic: Topic, queue: DeliveryQueue) {
        self.mail().queues.entry(topic).or_default().push(queue);
    }

    /// Delivery queues of all open subscriptions of a topic.
    pub(crate) fn queues(&self, topic: &Topic) -> Vec<DeliveryQueue> {
        self.mail().queues.get(topic).cloned().unwrap_or_default()
    }

    pub(crate) fn record_delivery(&self, at: Duration, topic: Topic) {
        self.mail().delivered.push((at, topic));
    }

    /// Number of messages delivered since a time, on topics that match.
    pub(crate) fn delivered_since(&self, since: Duration, on: impl Fn(&Topic) -> bool) -> u64 {
        self.mail().delivered.iter().filter(|(at, topic)| *at >= since && on(topic)).count() as u64
    }

    /// Approximate memory of its records, in bytes.
    pub(crate) fn size(&self) -> usize {
        let signaled = self.signaled.lock().unwrap_or_else(PoisonError::into_inner);
        let texts: usize = signaled.iter().map(String::capacity).sum();
        texts + self.mail().delivered.capacity() * size_of::<(Duration, Topic)>()
    }

    fn mail(&self) -> MutexGuard<'_, Subscriptions> {
        self.mail.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
