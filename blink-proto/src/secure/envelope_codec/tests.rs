//! Replies without a device, and shares of origins.

use web_time::Duration;

use blink_api::{DeliveryId, Origin};
use rand::SeedableRng;

use super::*;
use crate::wire::{Busy, Ringing};

const CALL: CallId = CallId::from_bytes([7; 16]);
/// Late in a minute.
const UNIX_MS: u64 = 1_700_000_039_999;

fn codec(person: u8, now: Instant) -> EnvelopeCodec {
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
    let (mut asked, mut stranger) = (codec(1, now), codec(2, now));
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
    let (mut friend, mut bob) = (codec(1, now), codec(2, now));
    let friend_did = friend.own.did;
    let mut stranger = codec(3, now);
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
