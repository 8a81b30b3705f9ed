//! A flood of a thousand messages a second against a whole engine costs little memory, and gives it
//! back.
//!
//! One test in a binary of its own: what is allocated is counted for the whole process.

mod people;

use std::alloc::System;
use std::time::Duration;

use blink_api::{DeviceId, Did, Endpoint, Origin, Topic};
use blink_engine::{CallConfig, Event};
use blink_proto::secure::{AgreementKey, Identity, MAX_ENVELOPE, Random, Sealing, inbox_topic, seal};
use blink_proto::wire::{Body, Content, Ringing};
use blink_signaling_memory::{Hub, Traffic};
use people::TestNetwork;
use rand::{Rng, SeedableRng};
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const MEGABYTE: usize = 1_000_000;
/// How long each flood lasts, in milliseconds: a message in each.
const FLOOD: u64 = 10_000;

/// Bytes that are allocated and not freed.
fn held() -> usize {
    let stats = ALLOCATOR.stats();
    stats.bytes_allocated - stats.bytes_deallocated
}

/// An envelope that can be opened, from an identity that sends nothing else.
fn letter(random: &mut Random, to: &Did, seq: u64) -> Vec<u8> {
    let stranger = Identity::generate(random);
    let from = Endpoint { did: stranger.did(), device: DeviceId::from_random([9; 16]) };
    let body = Body::Ringing(Ringing { nonce: [0; 16].into(), rings: true });
    let call = blink_api::CallId::from_bytes([5; 16]);
    let content = Content { from, boot: 1, seq, unix_ms: 0, call, body }.encode();
    let recipients = [AgreementKey::public_of(to).unwrap()];
    let sealing = Sealing { topic: inbox_topic(to), recipients: &recipients, tag: None, identity: &stranger };
    seal(&sealing, &content, random).unwrap()
}

fn garbage(random: &mut Random, size: u64) -> Vec<u8> {
    let mut bytes = vec![0; size as usize % MAX_ENVELOPE];
    random.fill_bytes(&mut bytes);
    bytes
}

#[tokio::test(start_paused = true)]
async fn a_flood_costs_less_than_20_mb_and_gives_it_back() {
    let network = TestNetwork::new();
    let hub = network.registry().shared().of::<Hub>();
    let mut tap = hub.tap();
    let mut alice = network.person(1, "none").await;
    let mut bob = network.person(2, "none").await;
    alice.blink.offer_call(&[bob.blink.did()], CallConfig::default()).await.unwrap();
    bob.answers().await;
    for person in [&mut alice, &mut bob] {
        person.until("joined", |event| matches!(event, Event::ParticipantJoined { .. })).await;
    }
    let inboxes = [alice.blink.did(), bob.blink.did()].map(|did| inbox_topic(&did));
    let of_call = |traffic| match traffic {
        Traffic::Published { topic, .. } if !inboxes.contains(&topic) => Some(topic),
        _ => None,
    };
    let call = tap.take().into_iter().find_map(of_call).expect("records are on the call's topic");
    drop(tap);
    tokio::time::sleep(Duration::from_secs(5)).await;

    let mut random = Random::seed_from_u64(1);
    let before = held();
    for (topic, origins) in [(inboxes[1], 1), (inboxes[1], 50), (call, 1), (call, 50)] {
        let most = flood(&hub, topic, origins, &bob.blink.did(), &mut random).await;
        assert!(most < before + 20 * MEGABYTE, "{} bytes more than before", most - before);
        // What was queued is read, and buckets are full again.
        tokio::time::sleep(Duration::from_secs(120)).await;
        let after = held();
        assert!(after < before + 3 * MEGABYTE, "{} bytes stay", after - before);
    }
    let statistics = bob.blink.statistics().await.unwrap();
    assert_eq!(statistics.len(), 1, "the call went on");
    alice.blink.shutdown().await;
    bob.blink.shutdown().await;
}

/// The most that was held meanwhile.
async fn flood(hub: &Hub, topic: Topic, origins: u64, to: &Did, random: &mut Random) -> usize {
    let mut most = 0;
    for n in 0..FLOOD {
        let message = if n % 2 == 0 { garbage(random, 1 + n * 37) } else { letter(random, to, n) };
        hub.inject(Origin([200 + (n % origins) as u8; 16]), topic, message.into());
        tokio::time::sleep(Duration::from_millis(1)).await;
        most = most.max(held());
    }
    most
}
