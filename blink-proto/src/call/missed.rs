//! Missed-call notices: people who were called while they were offline learn of it once they are
//! reachable.

use std::collections::{BTreeMap, VecDeque};

use blink_api::{CallId, Did, Topic};
use web_time::Instant;

use super::memory::{Change, REMEMBERED, SavedNotice};
use super::repeat::SUBSCRIBER_PAUSE;
use super::shared::Shared;
use crate::secure::inbox_topic;
use crate::wire::{Body, Bytes16, Offer, Ringing, Root, cbor};

/// Notices kept. Beyond, the oldest of a call of another creator is evicted, otherwise the oldest.
const MAX_NOTICES: usize = 64;

/// Notices that have not been acknowledged.
#[derive(Clone, Default)]
pub(super) struct MissedNotices {
    notices: VecDeque<MissedNotice>,
}

#[derive(Clone)]
struct MissedNotice {
    call: CallId,
    to: Did,
    inbox: Topic,
    /// Offer without remaining ring time.
    offer: Offer,
    since: Instant,
    /// Time of the last transmission to a new subscriber of the inbox, and of the next.
    sent: Option<Instant>,
    due: Option<Instant>,
}

impl MissedNotices {
    /// Restores the notices of earlier runs.
    pub(super) fn restore(&mut self, kept: BTreeMap<(CallId, Did), SavedNotice>, shared: &mut Shared) {
        let mut kept: Vec<_> = kept.into_iter().collect();
        kept.sort_by_key(|(_, notice)| notice.since_ms);
        for ((call, to), notice) in kept {
            match shared.since(notice.since_ms) {
                Some(since) => self.add(call, to, notice.offer, since, shared),
                None => shared.persist(Change::Notice(call, to, None)),
            }
        }
    }

    /// Adds the notice of an offer that was not delivered.
    pub(super) fn add(&mut self, call: CallId, to: Did, offer: Offer, since: Instant, shared: &mut Shared) {
        let of_others = |notice: &MissedNotice| !notice.is_of(&shared.own.did);
        let evicted = self.notices.iter().position(of_others).unwrap_or(0);
        if self.notices.len() == MAX_NOTICES
            && let Some(oldest) = self.notices.remove(evicted)
        {
            shared.persist(Change::Notice(oldest.call, oldest.to, None));
        }
        let saved = SavedNotice { offer: Offer { echo: Vec::new(), ..offer.clone() }, since_ms: shared.unix_ms(since) };
        shared.persist(Change::Notice(call, to, Some(Box::new(saved))));
        self.notices.push_back(MissedNotice { call, to, inbox: inbox_topic(&to), offer, since, sent: None, due: None });
    }

    /// Removes a notice that was acknowledged.
    pub(super) fn remove(&mut self, call: &CallId, to: &Did, shared: &mut Shared) {
        self.forget(shared, |notice| notice.call == *call && notice.to == *to);
    }

    /// Removes notices whose retention time is over.
    pub(super) fn forget_old(&mut self, shared: &mut Shared) {
        let now = shared.mono();
        self.forget(shared, |notice| now >= notice.since + REMEMBERED);
    }

    fn forget(&mut self, shared: &mut Shared, is: impl Fn(&MissedNotice) -> bool) {
        self.notices.retain(|notice| {
            let forgotten = is(notice);
            if forgotten {
                shared.persist(Change::Notice(notice.call, notice.to, None));
            }
            !forgotten
        });
    }

    /// Whether a notice for an inbox exists.
    pub(super) fn concern(&self, topic: &Topic) -> bool {
        self.notices.iter().any(|notice| notice.inbox == *topic)
    }

    /// Handles a new subscriber of an inbox: its notice is due at once, or a pause after the last
    /// transmission.
    pub(super) fn handle_subscriber(&mut self, topic: &Topic, at_once: bool, shared: &mut Shared) {
        self.forget_old(shared);
        let now = shared.mono();
        for notice in self.notices.iter_mut().filter(|notice| notice.inbox == *topic) {
            let again = notice.sent.map_or(now, |sent| now.max(sent + SUBSCRIBER_PAUSE));
            notice.due = Some(if at_once { now } else { again });
        }
        self.handle_timeout(shared);
    }

    /// Sends the notices that are due.
    pub(super) fn handle_timeout(&mut self, shared: &mut Shared) {
        let now = shared.mono();
        for notice in self.notices.iter_mut().filter(|notice| notice.due.is_some_and(|due| now >= due)) {
            notice.due = None;
            notice.sent = Some(now);
            notice.send(shared);
        }
    }

    /// Time at which [`handle_timeout`](Self::handle_timeout) is due.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.notices.iter().filter_map(|notice| notice.due).min()
    }

    /// Handles the nonce that a notice has to echo; true if there is such a notice.
    pub(super) fn handle_ringing(&mut self, call: &CallId, from: &Did, ringing: &Ringing, shared: &mut Shared) -> bool {
        let asked = |notice: &&mut MissedNotice| notice.call == *call && notice.to == *from;
        let Some(notice) = self.notices.iter_mut().find(asked) else { return false };
        if !notice.offer.echo.contains(&ringing.nonce) {
            // One nonce for each of a person's few devices; the newest start of each matters.
            let devices: Vec<Bytes16> = notice.offer.echo.iter().rev().take(3).copied().collect();
            notice.offer.echo = devices.into_iter().rev().chain([ringing.nonce]).collect();
            notice.send(shared);
        }
        true
    }
}

impl MissedNotice {
    /// Whether it belongs to a call of this person.
    fn is_of(&self, own: &Did) -> bool {
        cbor::decode(&self.offer.root.bytes).is_ok_and(|root: Root| root.creator.did == *own)
    }

    fn send(&self, shared: &mut Shared) {
        shared.send_inbox(self.to, self.call, Body::Offer(Box::new(self.offer.clone())));
    }
}
