//! People who were called while they could not be reached: they are told that they missed a call as soon as they can be.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use blink_api::{CallId, Did, Topic};

use super::shared::Shared;
use crate::wire::{Body, Bytes16, Offer, Ringing};

/// Notices kept; beyond, the oldest goes.
const MAX_NOTICES: usize = 64;
/// How long they are kept.
const KEPT: Duration = Duration::from_secs(24 * 60 * 60);

/// Missed calls that their callees have not heard of.
#[derive(Clone, Default)]
pub(super) struct MissedNotices {
    notices: VecDeque<MissedNotice>,
}

#[derive(Clone)]
struct MissedNotice {
    call: CallId,
    to: Did,
    inbox: Topic,
    /// With nothing remaining.
    offer: Offer,
    since: Instant,
}

impl MissedNotices {
    /// Somebody was called and never heard.
    pub(super) fn add(&mut self, call: CallId, to: Did, inbox: Topic, offer: Offer, now: Instant) {
        if self.notices.len() == MAX_NOTICES {
            self.notices.pop_front();
        }
        self.notices.push_back(MissedNotice { call, to, inbox, offer, since: now });
    }

    /// Somebody has heard of it.
    pub(super) fn remove(&mut self, call: &CallId, to: &Did) {
        self.notices.retain(|notice| notice.call != *call || notice.to != *to);
    }

    /// Somebody subscribed to an inbox.
    pub(super) fn handle_subscriber(&mut self, topic: &Topic, shared: &mut Shared) {
        let now = shared.mono();
        self.notices.retain(|notice| now < notice.since + KEPT);
        for notice in self.notices.iter().filter(|notice| notice.inbox == *topic) {
            notice.send(shared);
        }
    }

    /// Somebody gave out the nonce without which nothing is believed; true where it was for a notice.
    pub(super) fn handle_ringing(&mut self, call: &CallId, from: &Did, ringing: &Ringing, shared: &mut Shared) -> bool {
        let asked = |notice: &&mut MissedNotice| notice.call == *call && notice.to == *from;
        let Some(notice) = self.notices.iter_mut().find(asked) else { return false };
        if !notice.offer.echo.contains(&ringing.nonce) {
            // A person has a few devices, and only the newest start of each matters.
            let devices: Vec<Bytes16> = notice.offer.echo.iter().rev().take(3).copied().collect();
            notice.offer.echo = devices.into_iter().rev().chain([ringing.nonce]).collect();
            notice.send(shared);
        }
        true
    }
}

impl MissedNotice {
    fn send(&self, shared: &mut Shared) {
        shared.send_inbox(self.to, self.call, Body::Offer(Box::new(self.offer.clone())));
    }
}
