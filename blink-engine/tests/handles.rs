//! Handles of calls, and the events of one call.

mod people;

use std::time::Duration;

use blink_api::ErrorKind;
use blink_engine::{Blink, Call, CallConfig, EndReason, Event, EventItem};
use people::TestNetwork;

fn joined(event: &Event) -> bool {
    matches!(event, Event::ParticipantJoined { .. })
}

/// Reads the events of a call by its handle only, leaves once both are connected, and returns the
/// number of items with the reason of the end.
async fn talks_and_leaves(blink: Blink, events: blink_engine::Events, call: Call) -> (usize, EndReason) {
    let mut events = events.of(&call);
    let mut joined = 0;
    let mut last = None;
    while let Some(item) = events.next().await {
        let EventItem::Event(event) = item else { panic!("{item:?}") };
        assert!(call.concerns(&event));
        match event {
            Event::ParticipantJoined { .. } => {
                joined += 1;
                tokio::time::sleep(Duration::from_secs(1)).await;
                // The other one may have been faster.
                blink.leave_call().await.ok();
            }
            Event::CallReplaced { old, new } => assert!(call.is(old) && call.id() == new),
            Event::CallEnded { call: ended, reason, .. } => {
                assert!(ended == call.id() && call.is(ended));
                last = Some(reason);
            }
            _ => {}
        }
    }
    (joined, last.expect("the events of a call end with its end"))
}

#[tokio::test(start_paused = true)]
async fn a_handle_follows_its_call_where_two_people_call_each_other() {
    let mut replaced = 0;
    for seed in 0..8 {
        let network = TestNetwork::new();
        let (alice, bob) = (network.person(seed * 2 + 1, "none").await, network.person(seed * 2 + 2, "none").await);
        let everything = [alice.blink.events(), bob.blink.events()];
        let events = [alice.blink.events(), bob.blink.events()];
        let (to_bob, to_alice) = ([bob.blink.did()], [alice.blink.did()]);
        let (hers, his) = tokio::join!(
            alice.blink.offer_call(&to_bob, CallConfig::default()),
            bob.blink.offer_call(&to_alice, CallConfig::default())
        );
        let (hers, his) = (hers.unwrap(), his.unwrap());
        let offered = [hers.id(), his.id()];
        let [to_her, to_him] = events;
        let both = async {
            tokio::join!(
                talks_and_leaves(alice.blink.clone(), to_her, hers.clone()),
                talks_and_leaves(bob.blink.clone(), to_him, his.clone())
            )
        };
        let ended = tokio::time::timeout(Duration::from_secs(20), both).await.expect("both loops end");
        assert_eq!((ended.0.0, ended.1.0), (1, 1), "seed {seed}");
        assert_eq!(hers.id(), his.id(), "seed {seed}: both are in one call");
        assert!(hers.is(offered[0]) && his.is(offered[1]));
        // A late reader sees all events, too.
        for (events, call) in everything.into_iter().zip([&hers, &his]) {
            let mut events = events.of(call);
            let mut last = None;
            while let Some(EventItem::Event(event)) = events.next().await {
                replaced += usize::from(matches!(event, Event::CallReplaced { .. }));
                last = Some(event);
            }
            assert!(matches!(last, Some(Event::CallEnded { .. })), "seed {seed}: {last:?}");
        }
    }
    assert!(replaced > 0, "calls did cross");
}

#[tokio::test(start_paused = true)]
async fn the_events_of_a_call_that_was_joined_again_are_those_of_this_joining() {
    let network = TestNetwork::new();
    let alice = network.person(1, "none").await;
    let mut bob = network.person(2, "none").await;
    let mut carol = network.person(3, "none").await;
    let people = [bob.blink.did(), carol.blink.did()];
    alice.blink.offer_call(&people, CallConfig::default()).await.unwrap();
    carol.answers().await;
    carol.until("joined", joined).await;
    let events = bob.blink.events();
    let call = bob.answers().await;
    bob.until("joined", joined).await;
    bob.until("joined by the other one", joined).await;
    bob.blink.leave_call().await.unwrap();
    bob.until("ended", |event| matches!(event, Event::CallEnded { .. })).await;
    let again = bob.blink.answer_call(call).await.unwrap();
    bob.until("joined again", joined).await;
    // Its first end is still in the stream, and is not the end of this.
    let mut events = events.of(&again);
    let first = events.next().await;
    assert!(
        !matches!(first, Some(EventItem::Event(Event::CallEnded { .. } | Event::IncomingCall { .. }))),
        "{first:?}"
    );
    bob.blink.leave_call().await.unwrap();
    let mut seen = Vec::new();
    while let Some(EventItem::Event(event)) = events.next().await {
        seen.push(event);
    }
    assert!(seen.iter().any(joined) && matches!(seen.last(), Some(Event::CallEnded { .. })), "{seen:?}");
    let unknown = bob.blink.call(blink_api::CallId::from_bytes([9; 16])).await.unwrap_err();
    assert_eq!(unknown.kind(), ErrorKind::NotFound);
    assert!(bob.blink.call(call).await.unwrap().is(again.id()), "it goes on without him");
}
