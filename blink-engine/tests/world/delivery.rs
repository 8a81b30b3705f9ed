//! What is under way between devices of a world, the earliest first.

use std::time::Instant;

use blink_engine::call::{SessionId, SessionInput, Signal};

#[derive(Clone)]
pub(super) struct Delivery {
    pub(super) at: Instant,
    pub(super) order: u64,
    pub(super) to: usize,
    pub(super) what: What,
}

#[derive(Clone)]
pub(super) enum What {
    Signal(Box<Signal>),
    Session(SessionId, Box<SessionInput>),
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
