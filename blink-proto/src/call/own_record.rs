//! The own record: what this endpoint announces about itself in a call, when, and to whom.

use blink_api::{Did, Endpoint};
use web_time::{Duration, Instant};

use super::io::Output;
use super::peer::Peer;
use super::repeat::jittered;
use super::shared::Shared;
use super::state::{Call, Phase};
use crate::secure::MAX_RECIPIENTS;
use crate::wire::{
    Body, Cause, ChannelMessage, JoinedClaim, MAX_CLAIMS, Member, Record, Secret, Seen, Status, WireEndpoint, cbor,
};

/// Endpoints heard within this time are listed in `seen`.
const SEEN_FOR: Duration = Duration::from_secs(12);
/// Record intervals after which an endpoint that is alone in a group writes to all inboxes.
const ALONE_INTERVALS: u32 = 2;
/// Minimum time between sending roster entries because of the same endpoint.
const ENTRIES_PAUSE: Duration = Duration::from_secs(2);
/// Longest record with entries, in bytes, that fits in an envelope with all recipients.
const MAX_MEMBER: usize = 13_500;

impl Call {
    /// Makes a new version of the record and announces it.
    pub(super) fn change_record(&mut self, shared: &Shared, at_once: bool) {
        self.bump_version();
        self.announce(shared, at_once);
    }

    /// Schedules the record: now, or coalesced with other changes of the next moments.
    pub(super) fn announce(&mut self, shared: &Shared, at_once: bool) {
        let (now, timers) = (shared.mono(), shared.timers());
        let soon =
            (now + timers.record_coalesce).max(self.schedule.last().map_or(now, |last| last + timers.record_gap));
        self.schedule.no_later_than(if at_once { now } else { soon });
    }

    /// Sends the record if it is due, and schedules the next transmission.
    pub(super) fn send_record_if_due(&mut self, shared: &mut Shared) {
        if !self.schedule.is_due(shared.mono()) {
            return;
        }
        self.send_record(false, shared);
        let timers = shared.timers();
        let members = self.present().count() as u32 + 1;
        let pause = match self.phase() {
            Phase::Joining => self.join_pause(timers.repeat_first, timers.join_repeat_longest),
            _ if self.is_urgent() => timers.record_urgent,
            // In large groups each member sends less often, so that the topic carries no more.
            _ => timers.record_interval * members.div_ceil(8).max(1),
        };
        let pause = jittered(pause, &mut shared.random);
        self.schedule.sent(shared.mono(), pause);
    }

    /// Interval while joining; doubles with every transmission.
    fn join_pause(&mut self, first: Duration, longest: Duration) -> Duration {
        let pause = (first * 2_u32.saturating_pow(self.join_attempts)).min(longest);
        self.join_attempts = (self.join_attempts + 1).min(16);
        pause
    }

    /// Whether a path is lost, or a participant has not acknowledged the newest version.
    fn is_urgent(&self) -> bool {
        let version = self.version();
        self.present().any(|(_, peer)| peer.acknowledged < version || peer.link().is_some_and(|link| !link.is_up()))
    }

    /// Sends the record with all roster entries, because this endpoint has just changed the roster.
    pub(super) fn send_record_with_entries(&mut self, shared: &mut Shared) {
        self.peers.values_mut().for_each(|peer| peer.entries_sent = None);
        self.send_record(true, shared);
    }

    /// Sends the record to all participants, on the topic and on data channels; while joining, also
    /// to inboxes. Roster entries are included where a participant lacks some.
    fn send_record(&mut self, force_entries: bool, shared: &mut Shared) {
        let now = shared.mono();
        let full = self.record(shared);
        let mut inboxes = self.inboxes_for_record(shared);
        let lacking = self.entries_due(&full.digest, now);
        let send_entries = force_entries || self.phase() == Phase::Joining || lacking.is_some();
        inboxes.extend(lacking.unwrap_or_default());
        let reduced = Record { seen: Vec::new(), links: Vec::new(), ..full.clone() };
        let with_entries = Member { record: reduced, entries: self.roster.entries(), secret: self.rotated_secret() };

        let alone = Member { record: full, entries: Vec::new(), secret: None };
        if send_entries {
            let whole = Member { record: alone.record.clone(), ..with_entries.clone() };
            if cbor::encode(&whole).len() <= MAX_MEMBER {
                self.send_member(whole, shared);
            } else {
                self.send_member(alone, shared);
                self.send_member(with_entries.clone(), shared);
            }
        } else {
            self.send_member(alone, shared);
        }
        for did in inboxes {
            shared.send_inbox(did, self.id(), Body::Member(Box::new(with_entries.clone())));
        }
    }

    /// `Some` if entries are due, with the inboxes to send them to as well: after a rotation of the
    /// secret, a participant that lacks it may not read the topic.
    fn entries_due(&mut self, digest: &[u8; 16], now: Instant) -> Option<Vec<Did>> {
        let rotated = self.roster.rotation().is_some();
        let mut due = None;
        for (endpoint, peer) in &mut self.peers {
            let differs = peer.digest.is_some_and(|theirs| theirs != *digest);
            let concerns = peer.is_present() || (rotated && peer.is_self_reported() && peer.is_hint());
            if !(differs && concerns && peer.entries_sent.is_none_or(|sent| now >= sent + ENTRIES_PAUSE)) {
                continue;
            }
            let sent_before = peer.entries_sent.replace(now).is_some();
            due.get_or_insert_with(Vec::new).extend((rotated && sent_before).then_some(endpoint.did));
        }
        due
    }

    /// Sends a member message on the topic and on data channels.
    fn send_member(&self, member: Member, shared: &mut Shared) {
        // Data channels are faster and need no signaling.
        for peer in self.peers.values() {
            Self::send_member_on_channel(peer, &member, shared);
        }
        shared.send_call(self.record_keys(), self.id(), Body::Member(Box::new(member)));
    }

    fn send_member_on_channel(peer: &Peer, member: &Member, shared: &mut Shared) {
        if let Some(link) = peer.link_up() {
            let message = ChannelMessage::Member { boot: shared.boot(), member: Box::new(member.clone()) };
            shared.output(Output::SendChannelMessage { session: link.session(), message });
        }
    }

    /// Tells endpoints that they were removed. The last message to them.
    pub(super) fn notify_removed(&mut self, removed: &[Endpoint], shared: &mut Shared) {
        let record = Record { seen: Vec::new(), links: Vec::new(), ..self.record(shared) };
        let member = Member { record, entries: self.roster.entries_for_removed(), secret: None };
        let peers: Vec<_> = removed.iter().filter_map(|endpoint| self.peers.get(endpoint)).collect();
        for peer in &peers {
            Self::send_member_on_channel(peer, &member, shared);
        }
        let keys = peers.into_iter().filter_map(|peer| Some(peer.call_key()?.key)).take(MAX_RECIPIENTS).collect();
        shared.send_call(keys, self.id(), Body::Member(Box::new(member)));
    }

    /// Keys for which the record is sealed. Endpoints that reported themselves come before those
    /// that others only claim: a false claim must not displace a real member.
    fn record_keys(&self) -> Vec<[u8; 32]> {
        let mut peers: Vec<_> = self.peers.values().filter(|peer| peer.is_hint() || peer.is_present()).collect();
        peers.sort_by_key(|peer| (!peer.is_self_reported(), peer.is_hint()));
        peers.into_iter().filter_map(|peer| Some(peer.call_key()?.key)).take(MAX_RECIPIENTS).collect()
    }

    fn inboxes_for_record(&mut self, shared: &Shared) -> Vec<Did> {
        let joining = self.phase() == Phase::Joining;
        let mut people: Vec<_> = self.present().filter(|_| joining).map(|(endpoint, _)| endpoint.did).collect();
        people.dedup();
        // An endpoint that is alone in a group may have lost the members that connected it with the
        // others. Those still read their inboxes.
        let alone = self.phase() == Phase::Active && self.roster.is_group() && self.is_deserted();
        if alone && self.schedule.fire_alone(shared.mono(), shared.timers().record_interval * ALONE_INTERVALS) {
            people.extend(self.people.keys().chain([&shared.own.did]).copied());
            return people;
        }
        // Other devices of this person learn which seat is taken.
        people.extend((joining || std::mem::take(&mut self.other_device_seen)).then_some(shared.own.did));
        people
    }

    /// The current record.
    pub(super) fn record(&self, shared: &Shared) -> Record {
        let now = shared.mono();
        let seen = self.peers.iter().filter_map(|(endpoint, peer)| {
            let recent = peer.last_sign().is_some_and(|at| now < at + SEEN_FOR);
            let call_key = peer.call_key()?;
            let seen = Seen { endpoint: *endpoint, boot: peer.boot(), call_key, version: peer.version() };
            (peer.is_self_reported() && recent).then_some(seen)
        });
        let failure = self.path_failure.filter(|_| self.status() == Status::Left);
        let up = self.peers.iter().filter(|(_, peer)| peer.link_up().is_some());
        Record {
            call_key: self.key.signed,
            version: self.version(),
            status: self.status(),
            seat: self.seat,
            muted: shared.muted,
            deafened: shared.deafened,
            recording: shared.recording && !self.is_held(),
            seen: seen.collect(),
            links: up.map(|(endpoint, _)| WireEndpoint(*endpoint)).collect(),
            digest: self.roster.digest().into(),
            streams: self.offered(shared).to_vec(),
            wanted: self.wanted.iter().copied().collect(),
            failed: failure.map(|_| true),
            cause: failure.map(Cause::from),
            messages: Some(true),
            name: shared.name.clone(),
            held: self.is_held().then_some(true),
        }
    }

    /// Endpoints that this endpoint believes joined, itself included while it is.
    pub(super) fn claims(&self, shared: &Shared) -> Vec<JoinedClaim> {
        let own = (self.status() != Status::Left && self.takes_part()).then_some(JoinedClaim {
            endpoint: shared.own,
            boot: shared.boot(),
            version: self.version(),
            call_key: self.key.signed,
        });
        let others = self.present().filter_map(|(endpoint, peer)| {
            let call_key = peer.call_key()?;
            Some(JoinedClaim { endpoint: *endpoint, boot: peer.boot(), version: peer.version(), call_key })
        });
        own.into_iter().chain(others).take(MAX_CLAIMS).collect()
    }

    /// Secret that accompanies roster entries; `None` while it is that of the root.
    fn rotated_secret(&self) -> Option<Secret> {
        self.roster.rotation().map(|_| Secret(self.keys.secret().clone()))
    }
}
