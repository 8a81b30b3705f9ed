//! The own record: what this endpoint says about itself in a call, when and to whom.

use web_time::{Duration, Instant};

use blink_api::{Did, Endpoint};

use super::lifecycle::{Call, Phase};
use super::link::Link;
use super::member::{MAX_CLAIMS, Peer};
use super::repeat::jittered;
use super::shared::Shared;
use crate::secure::MAX_RECIPIENTS;
use crate::wire::{Body, ChannelMessage, JoinedClaim, Member, Record, Seen, Status, WireEndpoint, cbor};

/// Whoever was heard within this time is listed in `seen`.
const SEEN_FOR: Duration = Duration::from_secs(12);
/// Who is alone in a group sends its record to everybody's inbox after so many pauses of a record
/// that does not change.
const ALONE_INTERVALS: u32 = 2;
/// Roster entries are sent again to somebody whose digest differs after this time.
const ENTRIES_PAUSE: Duration = Duration::from_secs(2);

/// The longest record with entries that finds room in an envelope with all recipients.
const MAX_MEMBER: usize = 13_500;

/// When the own record is sent.
#[derive(Clone, Default)]
pub(super) struct RecordSchedule {
    pub(super) due: Option<Instant>,
    pub(super) last: Option<Instant>,
    /// When it last went to inboxes since this endpoint is alone.
    alone: Option<Instant>,
}

impl Call {
    /// The state that is told to others has changed.
    pub(super) fn change_record(&mut self, shared: &Shared, at_once: bool) {
        self.version += 1;
        self.announce(shared, at_once);
    }

    /// Others should hear the record again.
    pub(super) fn announce(&mut self, shared: &Shared, at_once: bool) {
        let (now, timers) = (shared.mono(), shared.timers());
        let soon = (now + timers.record_coalesce).max(self.schedule.last.map_or(now, |last| last + timers.record_gap));
        let due = if at_once { now } else { soon };
        self.schedule.due = Some(self.schedule.due.map_or(due, |earlier| earlier.min(due)));
    }

    pub(super) fn send_record_if_due(&mut self, shared: &mut Shared) {
        let now = shared.mono();
        if self.schedule.due.is_none_or(|due| now < due) {
            return;
        }
        self.send_record(shared);
        let timers = shared.timers();
        let members = self.present().count() as u32 + 1;
        let pause = match self.phase {
            Phase::Joining => self.join_pause(timers.repeat_first, timers.join_repeat_longest),
            _ if self.is_urgent() => timers.record_urgent,
            _ => timers.record_interval * members.div_ceil(8).max(1),
        };
        self.schedule.last = Some(now);
        self.schedule.due = Some(now + jittered(pause, &mut shared.random));
    }

    /// Doubles with every record sent while joining.
    fn join_pause(&mut self, first: Duration, longest: Duration) -> Duration {
        let pause = (first * 2_u32.saturating_pow(self.join_attempts)).min(longest);
        self.join_attempts = (self.join_attempts + 1).min(16);
        pause
    }

    /// A path is lost, or a change is not known to everybody.
    fn is_urgent(&self) -> bool {
        self.present()
            .any(|(_, peer)| peer.acknowledged < self.version || peer.link.as_ref().is_some_and(|link| !link.is_up()))
    }

    /// Sends the record to everybody in the call: on its topic, and to inboxes while joining.
    pub(super) fn send_record(&mut self, shared: &mut Shared) {
        self.send_record_as(false, shared);
    }

    /// The same with all entries, whenever they were sent last: this device has just changed the
    /// roster.
    pub(super) fn send_record_with_entries(&mut self, shared: &mut Shared) {
        self.peers.values_mut().for_each(|peer| peer.entries_sent = None);
        self.send_record_as(true, shared);
    }

    fn send_record_as(&mut self, forced: bool, shared: &mut Shared) {
        let now = shared.mono();
        let full = self.record(shared);
        let mut inboxes = self.inboxes_for_record(shared);
        let behind = self.entries_due(&full.digest, now);
        let send_entries = forced || self.phase == Phase::Joining || behind.is_some();
        inboxes.extend(behind.unwrap_or_default());
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

    /// `Some` where entries are due now, with the inboxes that should get them too: once the secret
    /// has changed, a member that is behind may not hear the topic.
    fn entries_due(&mut self, digest: &[u8; 16], now: Instant) -> Option<Vec<Did>> {
        let rotated = self.roster.rotation().is_some();
        let mut due = None;
        for (endpoint, peer) in &mut self.peers {
            let differs = peer.digest.is_some_and(|theirs| theirs != *digest);
            let concerns = peer.is_present() || (rotated && peer.own_word && peer.status.is_none());
            if !(differs && concerns && peer.entries_sent.is_none_or(|sent| now >= sent + ENTRIES_PAUSE)) {
                continue;
            }
            let told_before = peer.entries_sent.replace(now).is_some();
            due.get_or_insert_with(Vec::new).extend((rotated && told_before).then_some(endpoint.did));
        }
        due
    }

    /// Sends to everybody in the call, on its topic and on data channels.
    fn send_member(&self, member: Member, shared: &mut Shared) {
        self.send_on_channels(shared, &member);
        shared.send_call(self.record_keys(), self.id(), Body::Member(Box::new(member)));
    }

    /// Tells endpoints of their removal; nothing is sent to them after that.
    pub(super) fn tell_removed(&mut self, removed: &[Endpoint], shared: &mut Shared) {
        let record = Record { seen: Vec::new(), links: Vec::new(), ..self.record(shared) };
        let member = Member { record, entries: self.roster.entries_for_removed(), secret: None };
        let peers = || removed.iter().filter_map(|endpoint| self.peers.get(endpoint));
        for link in peers().filter_map(|peer| peer.link.as_ref()).filter(|link| link.is_up()) {
            let message = ChannelMessage::Member { boot: shared.boot, member: Box::new(member.clone()) };
            shared.out.push_back(super::Output::SendChannelMessage { session: link.session, message });
        }
        let keys = peers().filter_map(|peer| Some(peer.call_key?.key)).take(MAX_RECIPIENTS).collect();
        shared.send_call(keys, self.id(), Body::Member(Box::new(member)));
    }

    /// For whom the record is sealed: whoever spoke for itself before those whom others only talk
    /// about, who may be made up.
    fn record_keys(&self) -> Vec<[u8; 32]> {
        let hinted = |peer: &&Peer| peer.status.is_none() || peer.is_present();
        let mut peers: Vec<_> = self.peers.values().filter(hinted).collect();
        peers.sort_by_key(|peer| (!peer.own_word, peer.status.is_none()));
        peers.into_iter().filter_map(|peer| Some(peer.call_key?.key)).take(MAX_RECIPIENTS).collect()
    }

    /// The same on data channels, which are faster and need no signaling.
    fn send_on_channels(&self, shared: &mut Shared, member: &Member) {
        for peer in self.peers.values() {
            if let Some(link) = peer.link.as_ref().filter(|link| link.is_up()) {
                let message = ChannelMessage::Member { boot: shared.boot, member: Box::new(member.clone()) };
                shared.out.push_back(super::Output::SendChannelMessage { session: link.session, message });
            }
        }
    }

    fn inboxes_for_record(&mut self, shared: &Shared) -> Vec<Did> {
        let joining = self.phase == Phase::Joining;
        let mut people: Vec<_> = self.present().filter(|_| joining).map(|(endpoint, _)| endpoint.did).collect();
        people.dedup();
        if self.is_due_alone(shared) {
            self.schedule.alone = Some(shared.mono());
            people.extend(self.people.keys().chain([&shared.own.did]).copied());
            return people;
        }
        // Other devices of this person learn which seat is taken.
        people.extend((joining || std::mem::take(&mut self.other_device_seen)).then_some(shared.own.did));
        people
    }

    /// Who is alone in a group may be alone only because whoever connected it with the others is
    /// gone. They are found on their inboxes.
    fn is_due_alone(&self, shared: &Shared) -> bool {
        let alone = self.phase == Phase::Active && self.roster.is_group() && self.present().next().is_none();
        let pause = shared.timers().record_interval * ALONE_INTERVALS;
        alone && self.schedule.alone.is_none_or(|last| shared.mono() >= last + pause)
    }

    /// The own record as it is now.
    pub(super) fn record(&self, shared: &Shared) -> Record {
        let now = shared.mono();
        let seen = self.peers.iter().filter_map(|(endpoint, peer)| {
            let recent = peer.last_sign().is_some_and(|at| now < at + SEEN_FOR);
            let call_key = peer.call_key?;
            let seen = Seen { endpoint: *endpoint, boot: peer.boot, call_key, version: peer.version };
            (peer.own_word && recent).then_some(seen)
        });
        let up = self.peers.iter().filter(|(_, peer)| peer.link.as_ref().is_some_and(Link::is_up));
        Record {
            call_key: self.key.signed,
            version: self.version,
            status: self.status,
            seat: self.seat,
            muted: shared.muted,
            deafened: shared.deafened,
            recording: shared.recording,
            seen: seen.collect(),
            links: up.map(|(endpoint, _)| WireEndpoint(*endpoint)).collect(),
            digest: self.roster.digest().into(),
            streams: shared.streams.clone(),
            wanted: self.wanted.iter().copied().collect(),
        }
    }

    /// Whom this endpoint believes joined, itself included while it is.
    pub(super) fn claims(&self, shared: &Shared) -> Vec<JoinedClaim> {
        let own = (self.status != Status::Left && self.phase.is_current()).then_some(JoinedClaim {
            endpoint: shared.own,
            boot: shared.boot,
            version: self.version,
            call_key: self.key.signed,
        });
        let others = self.present().filter_map(|(endpoint, peer)| {
            let call_key = peer.call_key?;
            Some(JoinedClaim { endpoint: *endpoint, boot: peer.boot, version: peer.version, call_key })
        });
        own.into_iter().chain(others).take(MAX_CLAIMS).collect()
    }
}
