//! Another endpoint in a call: what its records and those of others say about it.
//!
//! Three kinds of information are told apart, from strong to weak:
//!
//! * *self-reported*: the endpoint's own record. Replaced only by its own newer record.
//! * a *claim*: another member says that the endpoint is in the call. Ignored once the endpoint is
//!   present by its own report.
//! * a *hint*: another member lists the endpoint in its `seen`. It yields a key to write to,
//!   nothing more.

use std::collections::BTreeSet;

use blink_api::StreamId;
use web_time::{Duration, Instant};

use super::event_throttle::EventThrottle;
use super::flows::Flows;
use super::io::SessionId;
use super::link::{Link, LinkCounts};
use super::mailbox::Mailbox;
use super::participant::ParticipantState;
use super::voice::Voice;
use crate::secure::{AgreementKey, ChannelRates};
use crate::wire::{JoinedClaim, Record, SignedKey, Status, StreamOffer};

/// Leases for which a silent member is still written to: a partitioned network may heal.
const HINTED_LEASES: u32 = 10;

/// Another endpoint in the call, as far as this endpoint knows.
#[derive(Clone)]
pub(super) struct Peer {
    /// Boot counter and record version of the newest report or claim.
    boot: u64,
    version: u64,
    self_reported: bool,
    /// The report dates from before this endpoint last left: the same record counts as news.
    stale: bool,
    /// `None` for an endpoint known from hints only.
    status: Option<Status>,
    /// Signed by the endpoint's DID, also where another member forwarded it.
    call_key: Option<SignedKey>,
    seat: u64,
    link: Option<Link>,
    /// Counters of the previous link, on which the next one continues.
    link_counts: LinkCounts,
    /// Announced state.
    pub(super) state: ParticipantState,
    /// Digest of its roster entries.
    pub(super) digest: Option<[u8; 16]>,
    /// Time at which roster entries were last sent because of it.
    pub(super) entries_sent: Option<Instant>,
    /// Time of the last message through signaling.
    pub(super) heard: Option<Instant>,
    /// Time at which its `seen` last listed this endpoint; initially the time of joining.
    pub(super) last_listed_us: Instant,
    /// Version of the own record that it acknowledged.
    pub(super) acknowledged: u64,
    /// Streams that it offers, and those that it requests of this endpoint.
    pub(super) streams: Vec<StreamOffer>,
    pub(super) wanted: BTreeSet<StreamId>,
    /// Streams that flow on its link.
    pub(super) flows: Flows,
    pub(super) voice: Voice,
    pub(super) throttle: EventThrottle,
    /// Rate limits of its data-channel messages.
    pub(super) channel: ChannelRates,
    /// Application messages to and from it.
    pub(super) mailbox: Mailbox,
    /// It announced that it reads application messages.
    pub(super) reads_messages: bool,
    /// Name that it gives itself, cleaned.
    pub(super) name: Option<String>,
    /// `ParticipantJoined` was delivered.
    pub(super) announced: bool,
    /// `QualityDegraded` was delivered, without `QualityRecovered` since.
    pub(super) degraded: bool,
    /// `ParticipantUnreachable` was delivered.
    pub(super) unreachable_announced: bool,
}

/// This endpoint's key in a call.
#[derive(Clone)]
pub(super) struct OwnKey {
    pub(super) pair: AgreementKey,
    /// Public key and signature, as others receive it.
    pub(super) signed: SignedKey,
}

impl Peer {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            boot: 0,
            version: 0,
            self_reported: false,
            stale: false,
            status: None,
            call_key: None,
            seat: 0,
            link: None,
            link_counts: LinkCounts::default(),
            state: ParticipantState::default(),
            digest: None,
            entries_sent: None,
            heard: None,
            last_listed_us: now,
            acknowledged: 0,
            streams: Vec::new(),
            wanted: BTreeSet::new(),
            flows: Flows::default(),
            voice: Voice::default(),
            throttle: EventThrottle::default(),
            channel: ChannelRates::new(now),
            mailbox: Mailbox::default(),
            reads_messages: false,
            name: None,
            announced: false,
            degraded: false,
            unreachable_announced: false,
        }
    }

    // --- reports, claims and hints

    pub(super) fn boot(&self) -> u64 {
        self.boot
    }

    pub(super) fn version(&self) -> u64 {
        self.version
    }

    pub(super) fn status(&self) -> Option<Status> {
        self.status
    }

    pub(super) fn call_key(&self) -> Option<SignedKey> {
        self.call_key
    }

    pub(super) fn seat(&self) -> u64 {
        self.seat
    }

    /// Whether its state is its own report, not a claim of another endpoint.
    pub(super) fn is_self_reported(&self) -> bool {
        self.self_reported
    }

    /// Whether it is joined or joining, by its own report or by a claim.
    pub(super) fn is_present(&self) -> bool {
        matches!(self.status, Some(Status::Joined | Status::Joining))
    }

    /// Whether it is known from hints only.
    pub(super) fn is_hint(&self) -> bool {
        self.status.is_none()
    }

    /// Whether it left by its own report.
    pub(super) fn has_left(&self) -> bool {
        self.self_reported && self.status == Some(Status::Left)
    }

    /// Whether the user knows it as present: it was announced, and not reported as gone.
    pub(super) fn is_announced(&self) -> bool {
        self.announced || self.unreachable_announced
    }

    /// Whether a self-reported record is older than the known one.
    pub(super) fn is_outdated(&self, boot: u64, version: u64) -> bool {
        self.self_reported && (boot, version) < (self.boot, self.version)
    }

    /// Whether (boot, version) is greater than the known one.
    pub(super) fn is_newer(&self, boot: u64, version: u64) -> bool {
        (boot, version) > (self.boot, self.version)
    }

    /// Whether the next record is its first report: before, there was none, a stale one or a hint.
    pub(super) fn awaits_first_report(&self) -> bool {
        !self.self_reported || self.stale || self.status.is_none()
    }

    /// Whether this is its call key, whichever signature it carries.
    pub(super) fn has_key(&self, key: &SignedKey) -> bool {
        self.call_key.is_some_and(|own| own.key == key.key)
    }

    /// Applies its own record.
    pub(super) fn report(&mut self, boot: u64, record: &Record) {
        self.report_status(boot, record.version, record.status);
        self.stale = false;
        self.call_key = Some(record.call_key);
        self.seat = record.seat;
    }

    /// Applies its own message that it is not in the call.
    pub(super) fn report_left(&mut self, boot: u64, version: u64) {
        self.report_status(boot, version, Status::Left);
    }

    fn report_status(&mut self, boot: u64, version: u64, status: Status) {
        self.boot = boot;
        self.version = version;
        self.self_reported = true;
        self.status = Some(status);
    }

    /// Applies a claim of another endpoint that it is in the call.
    pub(super) fn apply_claim(&mut self, claim: &JoinedClaim) {
        self.boot = claim.boot;
        self.version = claim.version;
        self.self_reported = false;
        self.status = Some(Status::Joined);
        self.call_key = Some(claim.call_key);
    }

    /// Applies a hint of another endpoint.
    pub(super) fn apply_hint(&mut self, key: SignedKey, now: Instant) {
        self.status = None;
        self.call_key = Some(key);
        self.last_listed_us = now;
    }

    /// Restores a saved claim as its own report.
    pub(super) fn restore_self_reported(&mut self) {
        self.self_reported = true;
    }

    /// Restores an endpoint that had left before this device restarted.
    pub(super) fn restore_left(&mut self, claim: &JoinedClaim) {
        self.report_left(claim.boot, claim.version);
        self.call_key = Some(claim.call_key);
    }

    /// Records that it is gone. An endpoint that only timed out may still be in the call: it
    /// becomes a hint, and is asked again where others have heard it.
    pub(super) fn set_gone(&mut self, timed_out: bool, now: Instant) {
        self.status = (!timed_out).then_some(Status::Left);
        self.last_listed_us = now;
    }

    /// Resets what belongs to one stay of this endpoint in the call, when it leaves or joins:
    /// whatever is known of the other endpoint is announced anew.
    pub(super) fn forget_joining(&mut self) {
        self.announced = false;
        self.degraded = false;
        self.unreachable_announced = false;
        self.voice = Voice::default();
        self.stale = true;
        self.state = ParticipantState::default();
        self.name = None;
        self.streams.clear();
        self.throttle.forget();
    }

    /// Resets what belongs to one stay of the other endpoint, when it joins with a new key.
    pub(super) fn begin_joining(&mut self, now: Instant) {
        self.announced = false;
        self.degraded = false;
        self.unreachable_announced = false;
        self.acknowledged = 0;
        self.last_listed_us = now;
        self.name = None;
    }

    /// Time at which an endpoint known from hints only is forgotten.
    pub(super) fn hint_end(&self, lease: Duration) -> Option<Instant> {
        self.is_hint().then(|| self.last_listed_us + lease * HINTED_LEASES)
    }

    /// Time of the last message or packet.
    pub(super) fn last_sign(&self) -> Option<Instant> {
        self.heard.max(self.link().map(Link::last_packet))
    }

    // --- the link

    pub(super) fn link(&self) -> Option<&Link> {
        self.link.as_ref()
    }

    pub(super) fn link_mut(&mut self) -> Option<&mut Link> {
        self.link.as_mut()
    }

    /// The link, if media may flow on it at this moment.
    pub(super) fn link_up(&self) -> Option<&Link> {
        self.link.as_ref().filter(|link| link.is_up())
    }

    /// Starts a link. It continues the counters of the previous link between the same keys.
    pub(super) fn open_link(&mut self, link: Link) {
        self.link = Some(link.continuing(self.link_counts));
    }

    /// Ends the link and all flows on it; returns the session to close.
    pub(super) fn close_link(&mut self) -> Option<SessionId> {
        self.flows = Flows::default();
        let link = self.link.take()?;
        self.link_counts = link.counts();
        Some(link.session())
    }
}
