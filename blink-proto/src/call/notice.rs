//! Words that must be heard: said again until they are acknowledged.

use web_time::Instant;

use blink_api::Did;

use super::lifecycle::Call;
use super::repeat::Repeat;
use super::shared::Shared;
use crate::wire::{self, Body};

/// Something a person must hear, repeated until it is acknowledged or the time is over.
#[derive(Clone)]
pub(super) struct Notice {
    pub(super) to: Did,
    body: Body,
    repeat: Repeat,
    until: Instant,
}

impl Notice {
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.repeat.due().map(|due| due.min(self.until))
    }
}

impl Call {
    /// Says something to a person until it is acknowledged.
    pub(super) fn notify(&mut self, to: Did, body: Body, shared: &Shared) {
        let (now, timers) = (shared.mono(), shared.timers());
        let repeat = Repeat::starting(now, timers.repeat_first, timers.repeat_longest);
        self.notices.retain(|notice| notice.to != to || notice.body.kind() != body.kind());
        self.notices.push(Notice { to, body, repeat, until: now + timers.give_up });
    }

    pub(super) fn send_notices(&mut self, shared: &mut Shared) {
        let (call, now) = (self.id(), shared.mono());
        self.notices.retain(|notice| now < notice.until);
        for notice in &mut self.notices {
            if notice.repeat.fire(now, &mut shared.random) {
                shared.send_inbox(notice.to, call, notice.body.clone());
            }
        }
    }

    pub(super) fn acknowledge(&mut self, from: &Did, kind: wire::Kind) {
        self.notices.retain(|notice| notice.to != *from || notice.body.kind() != kind);
    }
}
