//! What is under way between devices of a world, the earliest first.

use std::rc::Rc;
use std::time::Instant;

use blink_api::{Origin, Topic};
use blink_proto::call::{SessionId, SessionInput, Signal};
use bytes::Bytes;

#[derive(Clone)]
pub(super) struct Delivery {
    pub(super) at: Instant,
    pub(super) order: u64,
    pub(super) to: usize,
    pub(super) what: What,
}

#[derive(Clone)]
pub(super) enum What {
    /// A message in a world without envelopes.
    Signal(Rc<Signal>),
    /// An envelope.
    Letter(Rc<Letter>),
    Session(SessionId, Box<SessionInput>),
    /// Somebody listens on a topic now.
    Subscriber(Topic),
}

/// A sealed message as it travels.
#[derive(Clone)]
pub(crate) struct Letter {
    pub(crate) topic: Topic,
    pub(crate) bytes: Bytes,
    /// Whose node published it.
    pub(crate) origin: Origin,
}

impl PartialEq for Delivery {
    fn eq(&self, other: &Self) -> bool {
        self.order == other.order
    }
}
impl Eq for Delivery {}
impl PartialOrd for Delivery {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Delivery {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.order).cmp(&(other.at, other.order))
    }
}
