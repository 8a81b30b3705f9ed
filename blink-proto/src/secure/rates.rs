//! Rate limits of deliveries, applied before any expensive check.

use std::collections::BTreeMap;

use blink_api::{Did, Origin, Topic};
use web_time::Instant;

use super::buckets::{Bucket, Buckets};
use super::counters::Refusal;
use super::expected::ExpectedOrigins;

/// Kind of the topic on which a delivery arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TopicKind {
    /// The own inbox.
    Inbox,
    /// A call's topic.
    Call(Topic),
}

/// Rate limits of `docs/protocol.md`, section "Limits". Half of an inbox and most of a call's topic
/// are reserved for the origins of expected people. Every other origin has a small share, so that a
/// few of them cannot exhaust the rest.
#[derive(Debug)]
pub struct RateLimits {
    origins: Buckets<Origin>,
    people: Buckets<Did>,
    inbox: Bucket,
    strangers: Bucket,
    stranger_origins: Buckets<Origin>,
    calls: BTreeMap<Topic, CallBuckets>,
    call_origins: Buckets<Origin>,
    expected: ExpectedOrigins,
}

/// Buckets of a call's topic.
#[derive(Debug)]
struct CallBuckets {
    all: Bucket,
    /// Shared by all origins from which no current member was heard: a holder of the secret can
    /// create any number of them.
    others: Bucket,
}

impl CallBuckets {
    fn new(now: Instant) -> Self {
        Self { all: Bucket::new(300.0, 600.0, now), others: Bucket::new(50.0, 100.0, now) }
    }
}

impl RateLimits {
    /// Full buckets.
    pub fn new(now: Instant) -> Self {
        Self {
            origins: Buckets::new(50.0, 200.0, now),
            people: Buckets::new(20.0, 80.0, now),
            inbox: Bucket::new(300.0, 300.0, now),
            strangers: Bucket::new(150.0, 150.0, now),
            stranger_origins: Buckets::new(2.0, 10.0, now),
            calls: BTreeMap::new(),
            call_origins: Buckets::new(5.0, 20.0, now),
            expected: ExpectedOrigins::default(),
        }
    }

    /// Takes a token for a delivery before it is opened. `expects` tells whether a person is still
    /// expected; an origin is expected for as long as the person whose messages arrive from it.
    ///
    /// # Errors
    /// [`Refusal::RateLimited`].
    pub fn admit(
        &mut self,
        now: Instant,
        origin: Option<Origin>,
        topic: TopicKind,
        expects: &dyn Fn(&Did) -> bool,
    ) -> Result<(), Refusal> {
        if let Some(origin) = origin {
            self.origins.take(now, origin)?;
        }
        let person = origin.and_then(|origin| self.expected.person(&origin));
        let stranger = !person.is_some_and(expects);
        match topic {
            TopicKind::Inbox => {
                if stranger {
                    if let Some(origin) = origin {
                        self.stranger_origins.take(now, origin)?;
                    }
                    self.strangers.take(now)?;
                }
                self.inbox.take(now)
            }
            TopicKind::Call(topic) => {
                let call = self.calls.entry(topic).or_insert_with(|| CallBuckets::new(now));
                // Without origins, members cannot be told from others before their messages are
                // opened.
                if let Some(origin) = origin.filter(|_| stranger) {
                    self.call_origins.take(now, origin)?;
                    call.others.take(now)?;
                }
                call.all.take(now)
            }
        }
    }

    /// Takes a token for a sender whose signature was verified.
    ///
    /// # Errors
    /// [`Refusal::RateLimited`].
    pub fn admit_sender(&mut self, now: Instant, sender: Did) -> Result<(), Refusal> {
        self.people.take(now, sender)
    }

    /// Reserves a share for an origin from which an expected person's message arrived.
    pub fn expect(&mut self, now: Instant, origin: Origin, person: Did) {
        self.expected.bind(now, origin, person);
    }

    /// Withdraws the share of an origin from which another message arrived.
    pub fn distrust(&mut self, origin: &Origin) {
        self.expected.forget(origin);
    }

    /// Drops the buckets of a call's topic that is no longer read.
    pub fn forget_call(&mut self, topic: &Topic) {
        self.calls.remove(topic);
    }
}

#[cfg(test)]
mod tests {
    use web_time::Duration;

    use super::*;

    fn person(n: u8) -> Did {
        Did::from_public_key([n; 32])
    }

    fn any_did(_: &Did) -> bool {
        true
    }

    const CALL: TopicKind = TopicKind::Call(Topic::from_bytes([7; 32]));

    #[test]
    fn an_origin_gets_its_burst_and_then_its_rate() {
        let start = Instant::now();
        let mut limits = RateLimits::new(start);
        limits.expect(start, Origin([1; 16]), person(1));
        let mut admitted = |at| {
            let passes = |_: &i32| limits.admit(at, Some(Origin([1; 16])), CALL, &any_did).is_ok();
            (0..1_000).filter(passes).count()
        };
        assert_eq!(admitted(start), 200);
        assert_eq!(admitted(start + Duration::from_secs(2)), 100);
    }

    #[test]
    fn half_of_an_inbox_is_kept_for_origins_of_people_who_are_expected() {
        let start = Instant::now();
        let mut limits = RateLimits::new(start);
        limits.expect(start, Origin([255; 16]), person(1));
        let flood = (0..50).flat_map(|n| (0..20).map(move |_| Origin([n; 16])));
        let passed =
            flood.filter(|origin| limits.admit(start, Some(*origin), TopicKind::Inbox, &any_did).is_ok()).count();
        assert_eq!(passed, 150);
        assert!(limits.admit(start, Some(Origin([255; 16])), TopicKind::Inbox, &any_did).is_ok());
    }

    #[test]
    fn fifty_strangers_leave_room_for_one_more() {
        let start = Instant::now();
        let mut limits = RateLimits::new(start);
        let mut passed = 0;
        for tenth in 0..100 {
            let now = start + Duration::from_millis(100 * tenth);
            for n in (0..50).flat_map(|n| [n, n]) {
                // What is refused is what this is about.
                limits.admit(now, Some(Origin([n; 16])), TopicKind::Inbox, &any_did).ok();
            }
            // Once the bursts are over.
            if tenth >= 50 && tenth % 10 == 0 {
                passed += usize::from(limits.admit(now, Some(Origin([200; 16])), TopicKind::Inbox, &any_did).is_ok());
            }
        }
        assert_eq!(passed, 5);
    }

    #[test]
    fn fresh_origins_use_up_no_more_of_a_call_than_their_share() {
        let start = Instant::now();
        let mut limits = RateLimits::new(start);
        limits.expect(start, Origin([255; 16]), person(1));
        let mut passed = 0;
        for n in 0..1_500_u64 {
            let now = start + Duration::from_micros(3_333 * n);
            let fresh = Origin(u128::from(n).to_be_bytes());
            passed += usize::from(limits.admit(now, Some(fresh), CALL, &any_did).is_ok());
            if n % 30 == 0 {
                assert!(limits.admit(now, Some(Origin([255; 16])), CALL, &any_did).is_ok(), "a member at {n}");
            }
        }
        assert_eq!(passed, 349, "a burst of 100 and 50 a second, of 1,500 in 5 s");
    }

    #[test]
    fn an_origin_is_expected_for_as_long_as_its_person_is() {
        let start = Instant::now();
        let mut limits = RateLimits::new(start);
        limits.expect(start, Origin([1; 16]), person(1));
        let passed = (0..100).filter(|_| limits.admit(start, Some(Origin([1; 16])), CALL, &|_| false).is_ok());
        assert_eq!(passed.count(), 20);
    }
}
