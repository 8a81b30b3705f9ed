//! What this endpoint believes of the others in a call, by their records and by what others say of
//! them.

use std::collections::BTreeSet;
use web_time::Instant;

use blink_api::{CallId, Did, Endpoint, StreamId};
use rand::Rng;

use super::event::{EndReason, Event, LeftReason, ParticipantState};
use super::invite::PersonState;
use super::lifecycle::{Call, Phase};
use super::link::{Link, LinkCounts};
use super::shared::Shared;
use super::speaking::Voice;
use super::streams::Flows;
use super::told::Told;
use crate::secure::{AgreementKey, ChannelRates, Refusal, check_call_key, sign_call_key};
use crate::wire::{JoinedClaim, Member, Record, Seen, SignedKey, Status, StreamOffer};

/// For so many leases a member that went silent is still written to: a network that was split may
/// heal.
const HINTED_LEASES: u32 = 10;
/// Devices of one person remembered in one call.
const MAX_DEVICES: usize = 4;
/// Claims of one message; what stands after them is ignored, since each costs a key agreement.
pub(super) const MAX_CLAIMS: usize = 16;
/// Other endpoints remembered in one call, and read in one `seen`.
const MAX_PEERS: usize = 64;

/// Another endpoint in the call, as far as is known here.
#[derive(Clone)]
pub(super) struct Peer {
    /// The newest start it spoke under.
    pub(super) boot: u64,
    /// The newest version of its record.
    pub(super) version: u64,
    /// Whether that is its own word, not somebody's claim.
    pub(super) own_word: bool,
    /// Whether what its record says was known before this endpoint left: it is news once more.
    stale: bool,
    /// `None` for one that is only known from somebody's `seen`.
    pub(super) status: Option<Status>,
    /// Signed by its owner, even where another endpoint named it.
    pub(super) call_key: Option<SignedKey>,
    pub(super) seat: u64,
    pub(super) state: ParticipantState,
    /// Its roster entries.
    pub(super) digest: Option<[u8; 16]>,
    pub(super) entries_sent: Option<Instant>,
    /// The last sign of it through signaling.
    pub(super) heard: Option<Instant>,
    /// When its `seen` last listed this endpoint; before, when it joined.
    pub(super) sees_us: Instant,
    /// The version of our record that it has.
    pub(super) acknowledged: u64,
    pub(super) link: Option<Link>,
    /// Those of the link before.
    pub(super) link_counts: LinkCounts,
    /// What it offers, what it wants of this endpoint, and what flows on the path to it.
    pub(super) streams: Vec<StreamOffer>,
    pub(super) wanted: BTreeSet<StreamId>,
    pub(super) flows: Flows,
    pub(super) voice: Voice,
    pub(super) told: Told,
    /// Budgets of its messages on data channels.
    pub(super) channel: ChannelRates,
    /// Whether `ParticipantJoined` was told of this joining.
    pub(super) announced: bool,
    pub(super) unreachable_announced: bool,
}

/// This endpoint's key in a call.
#[derive(Clone)]
pub(super) struct OwnKey {
    pub(super) pair: AgreementKey,
    /// As others are told it.
    pub(super) signed: SignedKey,
}

impl Peer {
    fn new(now: Instant) -> Self {
        Self {
            boot: 0,
            version: 0,
            own_word: false,
            stale: false,
            status: None,
            call_key: None,
            seat: 0,
            state: ParticipantState::default(),
            digest: None,
            entries_sent: None,
            heard: None,
            sees_us: now,
            acknowledged: 0,
            link: None,
            link_counts: LinkCounts::default(),
            streams: Vec::new(),
            wanted: BTreeSet::new(),
            flows: Flows::default(),
            voice: Voice::default(),
            told: Told::default(),
            channel: ChannelRates::new(now),
            announced: false,
            unreachable_announced: false,
        }
    }

    /// Joined or joining, by its own word or a claim.
    pub(super) fn is_present(&self) -> bool {
        matches!(self.status, Some(Status::Joined | Status::Joining))
    }

    /// Whether the user was told that it is there, and not that it left.
    fn is_announced(&self) -> bool {
        self.announced || self.unreachable_announced
    }

    /// This endpoint leaves, or joins: what was told of the other, or heard of it meanwhile, is
    /// told anew.
    pub(super) fn forget_joining(&mut self) {
        self.announced = false;
        self.unreachable_announced = false;
        self.voice = Voice::default();
        self.stale = true;
        self.state = ParticipantState::default();
        self.streams.clear();
        self.told.forget();
    }

    /// Whether this is its call key, however often it signed it.
    fn has_key(&self, key: &SignedKey) -> bool {
        self.call_key.is_some_and(|own| own.key == key.key)
    }

    /// When an endpoint that is only known from somebody's `seen` is forgotten.
    pub(super) fn hint_end(&self, shared: &Shared) -> Option<Instant> {
        self.status.is_none().then(|| self.sees_us + shared.timers().left * HINTED_LEASES)
    }

    /// The last sign of it on either way.
    pub(super) fn last_sign(&self) -> Option<Instant> {
        self.heard.max(self.link.as_ref().map(Link::last_packet))
    }
}

impl Call {
    /// Another endpoint's record, in its own words.
    pub(super) fn handle_member(&mut self, from: Endpoint, boot: u64, member: &Member, shared: &mut Shared) {
        let secret = member.secret.as_ref().map(|secret| &secret.0);
        if let Err(refusal) = self.take_entries(&from.did, &member.entries, secret, shared) {
            return shared.refuse(refusal);
        }
        let record = &member.record;
        if from.did == shared.own.did {
            return self.handle_own_device(from, record, shared);
        }
        if !self.roster.is_valid(&from.did) {
            shared.refuse(Refusal::NotAuthorized);
            return self.reply_removed(from.did, record.status, shared);
        }
        let now = shared.mono();
        if let Err(refusal) = self.check_key(&from, &record.call_key, Some(&from), shared) {
            return shared.refuse(refusal);
        }
        let Some(peer) = self.peer_entry(from, true, shared) else { return };
        if (boot, record.version) < (peer.boot, peer.version) && peer.own_word {
            return;
        }
        let new_key = !peer.has_key(&record.call_key);
        let first_word = !peer.own_word || peer.stale || peer.status.is_none();
        let changed = first_word || (boot, record.version) > (peer.boot, peer.version);
        peer.heard = Some(now);
        peer.digest = Some(record.digest.into());
        if changed {
            if new_key && peer.is_announced() {
                self.handle_gone(from, LeftReason::Restarted, shared);
            }
            self.accept_word(from, boot, record, shared);
        }
        if changed && record.status == Status::Left {
            self.handle_gone(from, LeftReason::Left, shared);
            return self.announce(shared, false);
        }
        self.take_seen(from, record, shared);
        if changed && (new_key || first_word) {
            self.announce(shared, true);
        }
        self.ensure_link(from, shared);
    }

    fn accept_word(&mut self, from: Endpoint, boot: u64, record: &Record, shared: &mut Shared) {
        let now = shared.mono();
        let Some(peer) = self.peers.get_mut(&from) else { return };
        if !peer.has_key(&record.call_key) {
            Self::close_link(peer, shared);
            peer.announced = false;
            peer.unreachable_announced = false;
            peer.acknowledged = 0;
            peer.sees_us = now;
        }
        peer.boot = boot;
        peer.version = record.version;
        peer.own_word = true;
        peer.stale = false;
        peer.status = Some(record.status);
        peer.call_key = Some(record.call_key);
        peer.seat = record.seat;
        let state = ParticipantState { muted: record.muted, deafened: record.deafened, recording: record.recording };
        if record.status != Status::Left {
            peer.state = state;
            self.tell_state(from, shared);
            self.tell_speaking(from, shared);
            self.set_person(&from.did, PersonState::Joined);
            self.take_streams(from, record, shared);
        }
    }

    /// What somebody has heard: of this endpoint (so it is joined), and of others that this
    /// endpoint has not.
    fn take_seen(&mut self, from: Endpoint, record: &Record, shared: &mut Shared) {
        let now = shared.mono();
        let mut believed = true;
        for seen in record.seen.iter().take(MAX_PEERS) {
            if seen.endpoint == shared.own {
                shared.jump_above(seen.boot);
                let ours = seen.boot == shared.boot && self.key.signed.key == seen.call_key.key;
                if let Some(peer) = self.peers.get_mut(&from).filter(|_| ours) {
                    peer.sees_us = now;
                    peer.acknowledged = seen.version;
                    self.handle_heard(shared);
                }
            } else if seen.endpoint.did == shared.own.did {
                // Another device of this person: each tells the other which seat it has, and one of
                // them goes.
                self.other_device_seen = true;
                self.announce(shared, false);
            } else if believed && self.roster.is_valid(&seen.endpoint.did) {
                // A message with one false key is not believed about other endpoints either.
                believed = self.take_hint(seen, &from, shared).inspect_err(|refusal| shared.refuse(*refusal)).is_ok();
            }
        }
        if self.phase == Phase::Out && self.peers.get(&from).is_some_and(Peer::is_present) {
            self.become_active(shared);
        }
    }

    /// Another member has heard an endpoint that is not known here, or joined again since. Only a
    /// hint, but its owner signed the key: now it can be written to, and its answer is its own
    /// word.
    fn take_hint(&mut self, seen: &Seen, from: &Endpoint, shared: &mut Shared) -> Result<(), Refusal> {
        let known = self.peers.get(&seen.endpoint);
        let is_news = known.is_none_or(|peer| {
            !peer.is_present() && (seen.boot, seen.version) > (peer.boot, peer.version) && !peer.has_key(&seen.call_key)
        });
        if !is_news {
            return Ok(());
        }
        self.check_key(&seen.endpoint, &seen.call_key, Some(from), shared)?;
        let now = shared.mono();
        let Some(peer) = self.peer_entry(seen.endpoint, false, shared) else { return Ok(()) };
        peer.status = None;
        peer.call_key = Some(seen.call_key);
        peer.sees_us = now;
        self.announce(shared, true);
        Ok(())
    }

    /// Somebody's claim about who is in the call; its own word beats it.
    pub(super) fn take_claims(&mut self, claims: &[JoinedClaim], from: Option<&Endpoint>, shared: &mut Shared) {
        for claim in claims.iter().take(MAX_CLAIMS) {
            if claim.endpoint == shared.own {
                shared.jump_above(claim.boot);
            }
            let valid = claim.endpoint.did != shared.own.did && self.roster.is_valid(&claim.endpoint.did);
            if valid && let Err(refusal) = self.take_claim(claim, from, shared) {
                // A message with one false key is not believed about other endpoints either.
                return shared.refuse(refusal);
            }
        }
    }

    fn take_claim(&mut self, claim: &JoinedClaim, from: Option<&Endpoint>, shared: &mut Shared) -> Result<(), Refusal> {
        // An announced endpoint is there by more than a claim: a path with the key that it has.
        let known = self.peers.get(&claim.endpoint);
        let is_news = known.is_none_or(|peer| {
            (claim.boot, claim.version) > (peer.boot, peer.version)
                && !peer.is_announced()
                && (!peer.own_word || !peer.is_present())
        });
        if !is_news {
            return Ok(());
        }
        self.check_key(&claim.endpoint, &claim.call_key, from, shared)?;
        let Some(peer) = self.peer_entry(claim.endpoint, false, shared) else { return Ok(()) };
        if !peer.has_key(&claim.call_key) {
            // The path is named after both keys.
            Self::close_link(peer, shared);
        }
        peer.boot = claim.boot;
        peer.version = claim.version;
        peer.own_word = false;
        peer.status = Some(Status::Joined);
        peer.call_key = Some(claim.call_key);
        self.set_person(&claim.endpoint.did, PersonState::Joined);
        Ok(())
    }

    /// Who had left by its own word before this device started anew: what it said before that,
    /// played back now, is older.
    pub(super) fn take_left(&mut self, claim: &JoinedClaim, shared: &mut Shared) {
        let is_valid = self.roster.is_valid(&claim.endpoint.did);
        if !is_valid || self.check_key(&claim.endpoint, &claim.call_key, None, shared).is_err() {
            return;
        }
        let Some(peer) = self.peer_entry(claim.endpoint, true, shared) else { return };
        if peer.status.is_none() && !peer.own_word {
            peer.boot = claim.boot;
            peer.version = claim.version;
            peer.own_word = true;
            peer.status = Some(Status::Left);
            peer.call_key = Some(claim.call_key);
        }
    }

    /// Another endpoint is not in the call any more.
    pub(super) fn handle_gone(&mut self, endpoint: Endpoint, reason: LeftReason, shared: &mut Shared) {
        let call = self.id();
        let now = shared.mono();
        let Some(peer) = self.peers.get_mut(&endpoint) else { return };
        // Who was only not heard may still be in the call: if others hear it, it is asked again.
        peer.status = (reason != LeftReason::TimedOut).then_some(Status::Left);
        peer.sees_us = now;
        Self::close_link(peer, shared);
        self.silence(endpoint, shared);
        self.end_streams_of(endpoint, shared);
        let Some(peer) = self.peers.get_mut(&endpoint) else { return };
        let announced = std::mem::take(&mut peer.announced) | std::mem::take(&mut peer.unreachable_announced);
        if announced {
            // Should it come back, it comes as somebody new, of whom nothing was told.
            peer.state = ParticipantState::default();
            peer.told.forget_state();
            shared.emit(Event::ParticipantLeft { call, participant: endpoint, reason });
        }
        let person_present = self.present().any(|(other, _)| other.did == endpoint.did);
        if !person_present {
            self.set_person(&endpoint.did, PersonState::Gone);
        }
        self.handle_somebody_gone(reason, shared);
    }

    /// What follows for the call once one more is not in it.
    pub(super) fn handle_somebody_gone(&mut self, reason: LeftReason, shared: &mut Shared) {
        let nobody = self.present().next().is_none();
        let end = if reason == LeftReason::TimedOut { EndReason::TimedOut } else { EndReason::RemoteLeft };
        match self.phase {
            Phase::In if nobody => self.cancelled(shared),
            Phase::Joining if nobody => self.end(EndReason::Gone, shared),
            Phase::Active | Phase::Joining if !self.roster.is_group() && nobody => self.end(end, shared),
            Phase::Active => self.announce(shared, false),
            Phase::Open if nobody => self.phase = Phase::Over,
            _ => {}
        }
    }

    /// Members that nothing has been heard of for too long, or that have not heard of us.
    pub(super) fn time_out_peers(&mut self, shared: &mut Shared) {
        let now = shared.mono();
        self.peers.retain(|_, peer| peer.hint_end(shared).is_none_or(|end| now < end));
        let gone: Vec<_> =
            self.peers.iter().filter(|(_, peer)| self.lease_end(peer, shared).is_some_and(|end| now >= end)).collect();
        for endpoint in gone.into_iter().map(|(endpoint, _)| *endpoint).collect::<Vec<_>>() {
            self.handle_gone(endpoint, LeftReason::TimedOut, shared);
        }
    }

    /// When a member counts as gone if nothing is heard until then.
    pub(super) fn lease_end(&self, peer: &Peer, shared: &Shared) -> Option<Instant> {
        if self.phase != Phase::Active || !peer.is_present() {
            return None;
        }
        let since = self.since;
        let sign = peer.last_sign().map_or(since, |sign| sign.max(since));
        Some(sign.min(peer.sees_us.max(since)) + shared.timers().left)
    }

    pub(super) fn present(&self) -> impl Iterator<Item = (&Endpoint, &Peer)> {
        self.peers.iter().filter(|(_, peer)| peer.is_present())
    }

    /// Whether a key may be sealed for: it is sound, and its owner signed for it. Nothing else
    /// makes a key a recipient, whatever message names it. New ones of other devices are checked
    /// out of the budget of the person that names them.
    fn check_key(
        &self,
        endpoint: &Endpoint,
        key: &SignedKey,
        from: Option<&Endpoint>,
        shared: &mut Shared,
    ) -> Result<(), Refusal> {
        if self.peers.get(endpoint).is_some_and(|peer| peer.call_key.as_ref() == Some(key)) {
            return Ok(());
        }
        let (now, share) = (shared.mono(), self.share());
        check_call_key(endpoint, &self.id(), key, |statement| match from {
            Some(from) if from != endpoint => shared.signatures.verify_for(now, (from.did, share), statement),
            _ => shared.signatures.verify(statement),
        })
    }

    fn peer_entry(&mut self, endpoint: Endpoint, own_word: bool, shared: &mut Shared) -> Option<&mut Peer> {
        if !self.peers.contains_key(&endpoint) {
            self.make_room(&endpoint.did, own_word, shared)?;
        }
        Some(self.peers.entry(endpoint).or_insert_with(|| Peer::new(shared.mono())))
    }

    /// One person may have a few devices; the next takes the place of one that is not in the call.
    /// Who speaks for itself takes that of one which others only talk about, or whoever makes up
    /// devices could keep the real ones out.
    fn make_room(&mut self, did: &Did, own_word: bool, shared: &mut Shared) -> Option<()> {
        let devices = || self.peers.iter().filter(|(endpoint, _)| endpoint.did == *did);
        let full = devices().count() >= MAX_DEVICES;
        if !full && self.peers.len() < MAX_PEERS {
            return Some(());
        }
        let absent = devices().find(|(_, peer)| !peer.is_present());
        let talked_about = || {
            let mut others = self.peers.iter().filter(|(endpoint, _)| !full || endpoint.did == *did);
            others.find(|(_, peer)| own_word && !peer.own_word && !peer.is_announced())
        };
        let goes = absent.or_else(talked_about).map(|(endpoint, _)| *endpoint)?;
        let mut peer = self.peers.remove(&goes)?;
        Self::close_link(&mut peer, shared);
        Some(())
    }

    /// A fresh key: this endpoint joins, or joins again.
    pub(super) fn fresh_key(call: CallId, shared: &mut Shared) -> OwnKey {
        let pair = AgreementKey::generate(&mut shared.random);
        let signed = sign_call_key(&shared.identity, &shared.own.device, &call, pair.public());
        OwnKey { pair, signed }
    }

    /// 16 random bytes.
    pub(super) fn fresh_nonce(shared: &mut Shared) -> [u8; 16] {
        let mut nonce = [0; 16];
        shared.random.fill_bytes(&mut nonce);
        nonce
    }
}
