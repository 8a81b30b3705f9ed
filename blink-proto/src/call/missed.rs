//! People who were called while they could not be reached: they are told that they missed a call as
//! soon as they can be.

use std::collections::{BTreeMap, VecDeque};
use web_time::Instant;

use blink_api::{CallId, Did, Topic};

use super::memory::{Change, REMEMBERED, SavedNotice};
use super::repeat::SUBSCRIBER_PAUSE;
use super::shared::Shared;
use crate::secure::inbox_topic;
use crate::wire::{Body, Bytes16, Offer, Ringing, Root, cbor};

/// Notices kept; beyond, the oldest of a call that another person began goes, or else the oldest.
const MAX_NOTICES: usize = 64;

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
    /// When it was last sent for a new subscriber of the inbox, and when it is sent next.
    sent: Option<Instant>,
    due: Option<Instant>,
}

impl MissedNotices {
    /// What is kept from the time before.
    pub(super) fn restore(&mut self, kept: BTreeMap<(CallId, Did), SavedNotice>, shared: &mut Shared) {
        let mut kept: Vec<_> = kept.into_iter().collect();
        kept.sort_by_key(|(_, notice)| notice.since_ms);
        for ((call, to), notice) in kept {
            match shared.since(notice.since_ms) {
                Some(since) => self.add(call, to, notice.offer, since, shared),
                None => shared.keep(Change::Notice(call, to, None)),
            }
        }
    }

    /// Somebody was called and never heard.
    pub(super) fn add(&mut self, call: CallId, to: Did, offer: Offer, since: Instant, shared: &mut Shared) {
        let of_others = |notice: &MissedNotice| !notice.is_of(&shared.own.did);
        let goes = self.notices.iter().position(of_others).unwrap_or(0);
        if self.notices.len() == MAX_NOTICES
            && let Some(oldest) = self.notices.remove(goes)
        {
            shared.keep(Change::Notice(oldest.call, oldest.to, None));
        }
        let kept = SavedNotice { offer: Offer { echo: Vec::new(), ..offer.clone() }, since_ms: shared.unix_ms(since) };
        shared.keep(Change::Notice(call, to, Some(Box::new(kept))));
        self.notices.push_back(MissedNotice { call, to, inbox: inbox_topic(&to), offer, since, sent: None, due: None });
    }

    /// Somebody has heard of it.
    pub(super) fn remove(&mut self, call: &CallId, to: &Did, shared: &mut Shared) {
        self.forget(shared, |notice| notice.call == *call && notice.to == *to);
    }

    /// Forgets what is too old.
    pub(super) fn forget_old(&mut self, shared: &mut Shared) {
        let now = shared.mono();
        self.forget(shared, |notice| now >= notice.since + REMEMBERED);
    }

    fn forget(&mut self, shared: &mut Shared, is: impl Fn(&MissedNotice) -> bool) {
        self.notices.retain(|notice| {
            let forgotten = is(notice);
            if forgotten {
                shared.keep(Change::Notice(notice.call, notice.to, None));
            }
            !forgotten
        });
    }

    /// Whether there is a notice for an inbox.
    pub(super) fn concern(&self, topic: &Topic) -> bool {
        self.notices.iter().any(|notice| notice.inbox == *topic)
    }

    /// A new subscriber of an inbox: a notice goes out at once, or a pause after it did last.
    pub(super) fn handle_subscriber(&mut self, topic: &Topic, at_once: bool, shared: &mut Shared) {
        self.forget_old(shared);
        let now = shared.mono();
        for notice in self.notices.iter_mut().filter(|notice| notice.inbox == *topic) {
            let again = notice.sent.map_or(now, |sent| now.max(sent + SUBSCRIBER_PAUSE));
            notice.due = Some(if at_once { now } else { again });
        }
        self.handle_timeout(shared);
    }

    /// Sends what is due.
    pub(super) fn handle_timeout(&mut self, shared: &mut Shared) {
        let now = shared.mono();
        for notice in self.notices.iter_mut().filter(|notice| notice.due.is_some_and(|due| now >= due)) {
            notice.due = None;
            notice.sent = Some(now);
            notice.send(shared);
        }
    }

    /// When [`handle_timeout`](Self::handle_timeout) has something to do.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.notices.iter().filter_map(|notice| notice.due).min()
    }

    /// Somebody gave out the nonce without which nothing is believed; true where it was for a
    /// notice.
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
    /// Whether it is of a call that this person began.
    fn is_of(&self, own: &Did) -> bool {
        cbor::decode(&self.offer.root.bytes).is_ok_and(|root: Root| root.creator.did == *own)
    }

    fn send(&self, shared: &mut Shared) {
        shared.send_inbox(self.to, self.call, Body::Offer(Box::new(self.offer.clone())));
    }
}
