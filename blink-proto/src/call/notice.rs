//! Messages to a person's inbox that are retransmitted until they are acknowledged.

use blink_api::Did;
use web_time::Instant;

use super::repeat::Repeat;
use crate::secure::Random;
use crate::wire::{Body, Kind};

/// Unacknowledged messages of one call.
#[derive(Clone, Default)]
pub(super) struct Notices {
    pending: Vec<Notice>,
}

#[derive(Clone)]
struct Notice {
    to: Did,
    body: Body,
    repeat: Repeat,
    until: Instant,
}

impl Notices {
    /// Adds a message. It replaces one of the same kind to the same person.
    pub(super) fn add(&mut self, to: Did, body: Body, repeat: Repeat, until: Instant) {
        self.acknowledge(&to, body.kind());
        self.pending.push(Notice { to, body, repeat, until });
    }

    /// Drops the message of a kind that a person acknowledged.
    pub(super) fn acknowledge(&mut self, from: &Did, kind: Kind) {
        self.pending.retain(|notice| notice.to != *from || notice.body.kind() != kind);
    }

    /// Drops all messages to people for which `keep` is false.
    pub(super) fn retain(&mut self, keep: impl Fn(&Did) -> bool) {
        self.pending.retain(|notice| keep(&notice.to));
    }

    pub(super) fn clear(&mut self) {
        self.pending.clear();
    }

    pub(super) fn is_empty(&self) -> bool {
        self.pending.is_empty()
    }

    /// Recipients of pending messages.
    pub(super) fn recipients(&self) -> impl Iterator<Item = Did> {
        self.pending.iter().map(|notice| notice.to)
    }

    /// Messages that are due now. Expired ones are dropped.
    pub(super) fn take_due(&mut self, now: Instant, random: &mut Random) -> Vec<(Did, Body)> {
        self.pending.retain(|notice| now < notice.until);
        let due = self.pending.iter_mut().filter_map(|notice| notice.repeat.fire(now, random).then_some(&*notice));
        due.map(|notice| (notice.to, notice.body.clone())).collect()
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        let deadline = |notice: &Notice| notice.repeat.due().map(|due| due.min(notice.until));
        self.pending.iter().filter_map(deadline).min()
    }
}
