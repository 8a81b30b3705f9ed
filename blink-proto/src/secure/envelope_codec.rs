//! The door: every message from the network passes here, the cheapest check first, and nothing is
//! remembered before all have passed.

use std::collections::BTreeMap;
use web_time::Instant;

use blink_api::{CallId, Delivery, DeviceId, Did, Endpoint, Topic, Verdict};
use rand::Rng;

use super::{
    AgreementKey, CallKeys, Identity, Place, Random, RateLimits, Refusal, ReplayWindows, Sealing, SecurityCounters,
    inbox_topic, open, seal,
};
use crate::wire::{Body, Content, Kind};

/// Times that others are told are rounded down to whole minutes, in milliseconds: they are for
/// people, and a precise clock is as good as a name.
const COARSE: u64 = 60_000;

/// Where a message came in or goes out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Channel {
    /// A person's inbox.
    Inbox(Did),
    /// A call's topic.
    Call(CallId),
}

/// Seals and opens everything of one endpoint.
pub struct EnvelopeCodec {
    identity: Identity,
    inbox_key: AgreementKey,
    own: Endpoint,
    boot: u64,
    seq: u64,
    calls: BTreeMap<Topic, CallDoor>,
    topics: BTreeMap<CallId, Topic>,
    windows: ReplayWindows,
    rates: RateLimits,
    counters: SecurityCounters,
    random: Random,
    cloned: Option<u64>,
    boot_rollback: Option<BootRollback>,
}

/// An endpoint that speaks under a smaller boot than it has before: whoever plays back old
/// envelopes, or a device whose count was lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BootRollback {
    /// Which.
    pub endpoint: Endpoint,
    /// The greatest boot that was heard of it.
    pub boot: u64,
    /// The call that it spoke of.
    pub call: CallId,
}

struct CallDoor {
    keys: CallKeys,
    key: AgreementKey,
    /// The key of the time before, for what is still under way after rejoining.
    previous: Option<AgreementKey>,
}

impl EnvelopeCodec {
    /// The door of an endpoint that started as `boot`.
    pub fn new(identity: Identity, own: Endpoint, boot: u64, random: Random, now: Instant) -> Self {
        Self {
            inbox_key: identity.agreement(),
            identity,
            own,
            boot,
            seq: 0,
            calls: BTreeMap::new(),
            topics: BTreeMap::new(),
            windows: ReplayWindows::default(),
            rates: RateLimits::new(now),
            counters: SecurityCounters::default(),
            random,
            cloned: None,
            boot_rollback: None,
        }
    }

    /// This endpoint reads a call's topic from now on, with this key.
    pub fn join(&mut self, keys: CallKeys, key: AgreementKey) {
        self.topics.insert(keys.id, keys.topic);
        match self.calls.get_mut(&keys.topic) {
            Some(door) => door.previous = Some(std::mem::replace(&mut door.key, key)),
            None => {
                self.calls.insert(keys.topic, CallDoor { keys, key, previous: None });
            }
        }
    }

    /// This endpoint reads a call's topic no more.
    pub fn leave(&mut self, call: &CallId) {
        if let Some(topic) = self.topics.remove(call) {
            self.calls.remove(&topic);
            self.rates.forget_call(&topic);
        }
    }

    /// This endpoint reads no more what is said on a topic that a call had before.
    pub fn retire_topic(&mut self, topic: &Topic) {
        if self.topics.values().all(|newest| newest != topic) {
            self.calls.remove(topic);
            self.rates.forget_call(topic);
        }
    }

    /// The topic of a channel; `None` for a call that was not joined.
    pub fn topic(&self, channel: &Channel) -> Option<Topic> {
        match channel {
            Channel::Inbox(did) => Some(inbox_topic(did)),
            Channel::Call(call) => self.topics.get(call).copied(),
        }
    }

    /// Counts of what was refused.
    pub fn counters(&self) -> &SecurityCounters {
        &self.counters
    }

    /// Says whether the sender of a delivery that was opened is expected to write. If so, the
    /// network's name for where it came from has a share of what is kept for such people, and loses
    /// it otherwise.
    ///
    /// A device that exists for one message (`lasts` is false) takes no place of those that are
    /// kept.
    pub fn set_expected(&mut self, now: Instant, delivery: &Delivery, from: &Endpoint, expected: bool, lasts: bool) {
        if expected && lasts {
            self.windows.keep(from);
        }
        match delivery.origin {
            Some(origin) if expected => self.rates.expect(now, origin, from.did),
            Some(origin) => self.rates.distrust(&origin),
            None => {}
        }
    }

    /// Counts a refusal that the call machine decided.
    pub fn count(&mut self, refusal: Refusal) {
        self.counters.count(refusal);
    }

    /// Opens a delivery. A refusal is counted; the verdict tells the network whether the sender
    /// deserves blame. Who was expected to write once is for ever.
    pub fn open(
        &mut self,
        now: Instant,
        topic: &Topic,
        delivery: &Delivery,
    ) -> (Result<(Channel, Content), Refusal>, Verdict) {
        self.open_expecting(now, topic, delivery, &|_| true)
    }

    /// As [`open`](EnvelopeCodec::open), where `expects` tells whether a person is still expected
    /// to write, as [`Machine::is_expected`](crate::call::Machine::is_expected) does.
    pub fn open_expecting(
        &mut self,
        now: Instant,
        topic: &Topic,
        delivery: &Delivery,
        expects: &dyn Fn(&Did) -> bool,
    ) -> (Result<(Channel, Content), Refusal>, Verdict) {
        let result = self.check(now, topic, delivery, expects);
        if let Err(refusal) = &result {
            self.counters.count(*refusal);
            if let Some(origin) = delivery.origin.filter(|_| is_made_up(*refusal)) {
                self.rates.distrust(&origin);
            }
        }
        let verdict = verdict(&result);
        (result, verdict)
    }

    fn check(
        &mut self,
        now: Instant,
        topic: &Topic,
        delivery: &Delivery,
        expects: &dyn Fn(&Did) -> bool,
    ) -> Result<(Channel, Content), Refusal> {
        if delivery.message.len() > super::MAX_ENVELOPE {
            return Err(Refusal::Oversize);
        }
        let door = self.calls.get(topic);
        let place = if door.is_some() { Place::Call(*topic) } else { Place::Inbox };
        self.rates.admit(now, delivery.origin, place, expects)?;
        let (channel, content) = match door {
            Some(door) => {
                let keys: Vec<_> = std::iter::once(&door.key).chain(&door.previous).collect();
                let content = open(topic, &delivery.message, &keys, Some(door.keys.tag()))?;
                (Channel::Call(door.keys.id), content)
            }
            None if *topic != inbox_topic(&self.own.did) => return Err(Refusal::WrongTopic),
            None => {
                let content = open(topic, &delivery.message, &[&self.inbox_key], None)?;
                (Channel::Inbox(self.own.did), content)
            }
        };
        if content.from == self.own {
            return Err(self.handle_own(&content));
        }
        if !fits(&channel, &content) {
            return Err(Refusal::WrongTopic);
        }
        self.windows.check(&content.from, content.boot, content.seq).inspect_err(|_| {
            let newest = self.windows.newest(&content.from).filter(|newest| content.boot < *newest);
            self.boot_rollback = newest.map(|boot| BootRollback { endpoint: content.from, boot, call: content.call });
        })?;
        self.rates.admit_sender(now, content.from.did)?;
        self.windows.commit(&content.from, content.boot, content.seq);
        Ok((channel, content))
    }

    /// Signed as this very endpoint. What it said itself, whoever says it again, counts no higher
    /// than it has come; what counts higher somebody else says.
    fn handle_own(&mut self, content: &Content) -> Refusal {
        if (content.boot, content.seq) <= (self.boot, self.seq) {
            return Refusal::OwnEndpoint;
        }
        self.cloned = self.cloned.max(Some(content.boot));
        Refusal::ClonedDevice
    }

    /// The boot under which somebody else speaks as this very endpoint, once that was heard.
    pub fn cloned(&self) -> Option<u64> {
        self.cloned
    }

    /// Whose last message was refused because it counts below what it has said before, once.
    pub fn take_boot_rollback(&mut self) -> Option<BootRollback> {
        self.boot_rollback.take()
    }

    /// This endpoint goes on under a greater boot.
    pub fn set_boot(&mut self, boot: u64) {
        self.boot = self.boot.max(boot);
    }

    /// Seals a message of this endpoint.
    ///
    /// # Errors
    /// As [`seal`], and [`Refusal::WrongTopic`] for a call that was not joined.
    pub fn seal(
        &mut self,
        channel: &Channel,
        recipients: &[[u8; 32]],
        call: CallId,
        body: Body,
        unix_ms: u64,
    ) -> Result<(Topic, Vec<u8>), Refusal> {
        let content = self.content(call, body, unix_ms).encode();
        let topic = self.topic(channel).ok_or(Refusal::WrongTopic)?;
        let tag = self.calls.get(&topic).map(|door| door.keys.tag());
        let sealing = Sealing { topic, recipients, tag, identity: &self.identity };
        seal(&sealing, &content, &mut self.random).map(|envelope| (topic, envelope))
    }

    /// A nonce is given to every caller, strangers included, without the user being told, and so is
    /// a boot that is behind. They come from a device that exists for this one message, so that
    /// they tell nothing of this one but that it is online.
    fn content(&mut self, call: CallId, body: Body, unix_ms: u64) -> Content {
        if body.is_from_throwaway() {
            let mut device = [0; 16];
            self.random.fill_bytes(&mut device);
            let from = Endpoint { device: DeviceId::from_random(device), ..self.own };
            return Content { from, boot: 1, seq: 1, unix_ms: 0, call, body };
        }
        self.seq += 1;
        Content { from: self.own, boot: self.boot, seq: self.seq, unix_ms: unix_ms - unix_ms % COARSE, call, body }
    }
}

/// Which kinds belong where.
fn fits(channel: &Channel, content: &Content) -> bool {
    match (channel, content.body.kind()) {
        (Channel::Inbox(_), Kind::Link) => false,
        (Channel::Inbox(_), _) => true,
        (Channel::Call(call), Kind::Member | Kind::Link | Kind::Reject) => content.call == *call,
        (Channel::Call(_), _) => false,
    }
}

/// Whether no honest node sends this, whatever is lost, repeated or unknown to it.
fn is_made_up(refusal: Refusal) -> bool {
    matches!(
        refusal,
        Refusal::Oversize
            | Refusal::Malformed
            | Refusal::BadTag
            | Refusal::BadSeal
            | Refusal::BadContent
            | Refusal::BadSignature
            | Refusal::WeakKey
    )
}

/// What anybody on the way can see to be garbage, no honest node passes on. What only shows once it
/// is opened is not the fault of whoever passed it on, and what only this device cannot read, has
/// seen or will not hear may be good for others.
fn verdict<T>(result: &Result<T, Refusal>) -> Verdict {
    match result {
        Ok(_) | Err(Refusal::NotForUs) => Verdict::Accept,
        Err(Refusal::Oversize | Refusal::Malformed | Refusal::BadTag) => Verdict::Reject,
        Err(_) => Verdict::Ignore,
    }
}

#[cfg(test)]
mod tests {
    use web_time::Duration;

    use blink_api::{DeliveryId, Origin};
    use rand::SeedableRng;

    use super::*;
    use crate::wire::{Busy, Ringing};

    const CALL: CallId = CallId::from_bytes([7; 16]);
    /// Late in a minute.
    const UNIX_MS: u64 = 1_700_000_039_999;

    fn opener(person: u8, now: Instant) -> EnvelopeCodec {
        let identity = Identity::from_seed(&[person; 32]);
        let own = Endpoint { did: identity.did(), device: DeviceId::from_random([person; 16]) };
        EnvelopeCodec::new(identity, own, UNIX_MS - 5_000, Random::from_seed([person; 32]), now)
    }

    /// Message of one person to another, as it arrives from an origin.
    fn delivery(from: &mut EnvelopeCodec, to: &EnvelopeCodec, body: Body, origin: u8) -> (Topic, Delivery) {
        let key = AgreementKey::public_of(&to.own.did).expect("a sound key");
        let sealed = from.seal(&Channel::Inbox(to.own.did), &[key], CALL, body, UNIX_MS).expect("it fits");
        let (id, origin) = (DeliveryId(1), Some(Origin([origin; 16])));
        (sealed.0, Delivery { id, origin, message: sealed.1.into() })
    }

    fn ringing(rings: bool) -> Body {
        Body::Ringing(Ringing { nonce: [1; 16].into(), rings })
    }

    #[test]
    fn the_answer_to_an_unasked_offer_names_no_device_start_clock_or_count() {
        let now = Instant::now();
        let (mut asked, mut stranger) = (opener(1, now), opener(2, now));
        let mut hears = |body| {
            let (topic, delivery) = delivery(&mut asked, &stranger, body, 1);
            stranger.open(now, &topic, &delivery).0.expect("it is well made").1
        };
        let (first, second) = (hears(ringing(false)), hears(ringing(false)));
        for Content { from, boot, seq, unix_ms, .. } in [&first, &second] {
            assert_eq!((from.did, *boot, *seq, *unix_ms), (Identity::from_seed(&[1; 32]).did(), 1, 1, 0));
            assert_ne!(from.device, DeviceId::from_random([1; 16]));
        }
        assert_ne!(first.from, second.from, "two answers have no device in common");
        let rings = hears(ringing(true));
        assert_eq!((rings.from.device, rings.seq), (DeviceId::from_random([1; 16]), 1), "answers are not counted");
        assert_eq!(rings.unix_ms % 60_000, 0, "times are coarse");
    }

    #[test]
    fn an_origin_loses_its_share_with_the_first_thing_that_its_person_did_not_say() {
        let now = Instant::now();
        let later = now + Duration::from_secs(60);
        let (mut friend, mut bob) = (opener(1, now), opener(2, now));
        let friend_did = friend.own.did;
        let mut stranger = opener(3, now);
        // How many messages pass the rate limits at once: a stranger's origin has a burst of ten.
        let passes = |bob: &mut EnvelopeCodec, at, origin| {
            let topic = inbox_topic(&bob.own.did);
            let before = bob.counters().rate_limited;
            for _ in 0..100 {
                let (id, origin) = (DeliveryId(1), Some(Origin([origin; 16])));
                drop(bob.open(at, &topic, &Delivery { id, origin, message: vec![0; 16].into() }));
            }
            100 - (bob.counters().rate_limited - before)
        };
        let (topic, first) = delivery(&mut friend, &bob, Body::Busy(Busy {}), 1);
        let from = bob.open(now, &topic, &first).0.expect("it is well made").1.from;
        bob.set_expected(now, &first, &from, from.did == friend_did, true);
        assert_eq!(passes(&mut bob, now, 1), 10, "what is left of a stranger's burst, and what costs it its share");

        let (topic, again) = delivery(&mut friend, &bob, Body::Busy(Busy {}), 2);
        let from = bob.open(later, &topic, &again).0.expect("it is well made").1.from;
        bob.set_expected(later, &again, &from, true, true);
        let (topic, strange) = delivery(&mut stranger, &bob, Body::Busy(Busy {}), 2);
        let from = bob.open(later, &topic, &strange).0.expect("it is well made").1.from;
        bob.set_expected(later, &strange, &from, false, true);
        assert!(passes(&mut bob, later, 2) <= 10, "it brought what a stranger said");
    }
}
