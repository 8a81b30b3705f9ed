//! Effects of verdicts on message propagation and on the sender.

use crate::nodes::{TCP, TOPIC, address, next, node, until_event, until_subscribed, within};
use crate::own::Node;
use blink_api::{Signaling, SignalingEvent, Subscription, SubscriptionEvent, Verdict};
use bytes::Bytes;

/// Three nodes in a row: `a` and `c` reach each other only through `middle`.
struct Line {
    a: Node,
    middle: Node,
    c: Node,
    at_middle: Subscription,
    at_c: Subscription,
}

impl Line {
    /// Starts the nodes and waits until all subscriptions are known.
    async fn start() -> Self {
        let (a, middle, c) = (node(TCP).await, node(TCP).await, node(TCP).await);
        let hub = address(&middle).await;
        let at_middle = middle.subscribe(&TOPIC).await.unwrap();
        let at_c = c.subscribe(&TOPIC).await.unwrap();
        within("a connects", a.connect(&hub)).await.unwrap();
        within("c connects", c.connect(&hub)).await.unwrap();
        until_subscribed(&a, &TOPIC, 1).await;
        until_subscribed(&middle, &TOPIC, 1).await;
        Self { a, middle, c, at_middle, at_c }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_is_forwarded_only_when_accepted() {
    let Line { a, middle, c, mut at_middle, mut at_c } = Line::start().await;

    let verdicts = [("bad", Verdict::Reject), ("unclear", Verdict::Ignore), ("good", Verdict::Accept)];
    for (text, verdict) in verdicts {
        a.publish(&TOPIC, Bytes::from_static(text.as_bytes())).await.unwrap();
        assert_eq!(next(&middle, &mut at_middle, verdict).await.message, text);
    }
    let passed_on = next(&c, &mut at_c, Verdict::Accept).await;
    assert_eq!(passed_on.message, "good");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_origin_is_the_author_even_of_forwarded_messages() {
    let Line { a, middle, c, mut at_middle, mut at_c } = Line::start().await;

    a.publish(&TOPIC, Bytes::from_static(b"a's")).await.unwrap();
    let direct = next(&middle, &mut at_middle, Verdict::Accept).await.origin;
    assert!(direct.is_some());
    assert_eq!(next(&c, &mut at_c, Verdict::Accept).await.origin, direct);
    middle.publish(&TOPIC, Bytes::from_static(b"the middle's")).await.unwrap();
    assert_ne!(next(&c, &mut at_c, Verdict::Accept).await.origin, direct);
}

/// Three garbage messages are rejected one after the other. Then both nodes publish in each round;
/// a round counts as silent if the good node's message arrived and the bad node's did not.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sender_of_garbage_is_silenced_and_others_are_not() {
    const SILENT_ROUNDS: u32 = 20;
    let (judge, good, bad) = (node(TCP).await, node(TCP).await, node(TCP).await);
    let address = address(&judge).await;
    let mut at_judge = judge.subscribe(&TOPIC).await.unwrap();
    within("good connects", good.connect(&address)).await.unwrap();
    within("bad connects", bad.connect(&address)).await.unwrap();
    until_subscribed(&good, &TOPIC, 1).await;
    until_subscribed(&bad, &TOPIC, 1).await;

    for _ in 0..3 {
        bad.publish(&TOPIC, Bytes::from_static(b"garbage")).await.unwrap();
        assert_eq!(next(&judge, &mut at_judge, Verdict::Reject).await.message, "garbage");
    }
    let (mut heard, mut silent, mut round) = (3, 0, 0u32);
    while silent < SILENT_ROUNDS {
        round += 1;
        assert!(round < 500, "{heard} pieces of garbage were delivered in {round} rounds");
        // Once disconnected it has no subscriber to publish to.
        bad.publish(&TOPIC, Bytes::from_static(b"garbage")).await.ok();
        good.publish(&TOPIC, round.to_be_bytes().to_vec().into()).await.unwrap();
        silent += 1;
        loop {
            let event = within("the good message", at_judge.next()).await;
            let Some(SubscriptionEvent::Delivery(delivery)) = event else { panic!("{event:?}") };
            if delivery.message == round.to_be_bytes().as_slice() {
                judge.report(delivery.id, Verdict::Accept);
                break;
            }
            assert_eq!(delivery.message, "garbage");
            judge.report(delivery.id, Verdict::Reject);
            heard += 1;
            silent = 0;
        }
    }
    assert!(heard <= 20, "{heard} pieces of garbage were delivered");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sender_of_garbage_is_disconnected_and_banned() {
    let (judge, good, bad) = (node(TCP).await, node(TCP).await, node(TCP).await);
    let address = address(&judge).await;
    let mut at_judge = judge.subscribe(&TOPIC).await.unwrap();
    within("good connects", good.connect(&address)).await.unwrap();
    within("bad connects", bad.connect(&address)).await.unwrap();
    until_subscribed(&good, &TOPIC, 1).await;
    until_subscribed(&bad, &TOPIC, 1).await;

    let (mut at_bad, mut judge_events) = (bad.events(), judge.events());
    for _ in 0..3 {
        bad.publish(&TOPIC, Bytes::from_static(b"garbage")).await.unwrap();
        assert_eq!(next(&judge, &mut at_judge, Verdict::Reject).await.message, "garbage");
    }
    let is_loss = |event: &SignalingEvent| *event == SignalingEvent::Disconnected { nodes: 0 };
    until_event("the disconnection", &mut at_bad, is_loss).await;
    // It redials repeatedly and is recognised by its key each time.
    for _ in 0..2 {
        until_event("a refused redial", &mut at_bad, is_loss).await;
    }
    until_event("the disconnection", &mut judge_events, |event| matches!(event, SignalingEvent::Disconnected { .. }))
        .await;
    while let Ok(event) = judge_events.try_recv() {
        assert!(!matches!(event, SignalingEvent::Connected { .. }), "the node is back");
    }
    good.publish(&TOPIC, Bytes::from_static(b"good")).await.unwrap();
    assert_eq!(next(&judge, &mut at_judge, Verdict::Accept).await.message, "good");
}
