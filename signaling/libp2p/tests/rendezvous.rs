//! Finding nodes in the DHT, and circuits through relays.

#[path = "../../kit/tests/network/dht_node.rs"]
mod dht_node;
#[path = "../../kit/tests/network/nodes.rs"]
mod nodes;
mod own;
#[path = "../../kit/tests/network/rendezvous.rs"]
mod shared;

use std::collections::HashSet;
use std::time::Duration;

use blink_api::{ErrorKind, Signaling, SubscriptionEvent, Verdict};
use blink_signaling_libp2p::{Discovery, Libp2pConfig, Libp2pSignaling};
use bytes::Bytes;
use dht_node::{DhtNode, DhtNodeConfig};
use nodes::{TCP, TOPIC, config, until_subscribed, within};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn discovery_can_be_turned_off() {
    let node = Libp2pSignaling::start(Libp2pConfig { discovery: Discovery::None, ..config(TCP) }).await.unwrap();
    for error in [node.announce(&TOPIC).await.unwrap_err(), node.find(&TOPIC).await.unwrap_err()] {
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        assert!(error.to_string().contains("signalings.libp2p.discovery"), "{error}");
    }
}

/// The relay ends each circuit after 6 s; the dialling node renews it before.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_message_is_lost_while_circuits_are_renewed() {
    let limits = DhtNodeConfig { circuit_duration: Duration::from_secs(6), ..DhtNodeConfig::default() };
    let dht = DhtNode::start(limits).await;
    let hidden = || Libp2pConfig {
        listen: Vec::new(),
        bootstrap: vec![dht.address.clone()],
        mdns: false,
        ..Libp2pConfig::default()
    };
    let (callee, caller) =
        (Libp2pSignaling::start(hidden()).await.unwrap(), Libp2pSignaling::start(hidden()).await.unwrap());
    let mut at_callee = callee.subscribe(&TOPIC).await.unwrap();
    let mut at_caller = caller.subscribe(&TOPIC).await.unwrap();
    callee.announce(&TOPIC).await.unwrap();
    caller.find(&TOPIC).await.unwrap();
    let mut search = tokio::time::interval(Duration::from_millis(300));
    within("finding", async {
        while caller.subscribers(&TOPIC).await.unwrap() == 0 {
            search.tick().await;
            caller.find(&TOPIC).await.unwrap();
        }
    })
    .await;
    until_subscribed(&callee, &TOPIC, 1).await;

    let messages: HashSet<String> = (0..200).map(|n| n.to_string()).collect();
    let (mut got_callee, mut got_caller) = (HashSet::new(), HashSet::new());
    let mut tick = tokio::time::interval(Duration::from_millis(100));
    for n in 0..200 {
        tick.tick().await;
        caller.publish(&TOPIC, Bytes::from(n.to_string())).await.unwrap();
        callee.publish(&TOPIC, Bytes::from(n.to_string())).await.unwrap();
        drain(&callee, &mut at_callee, &mut got_callee, Duration::from_millis(1)).await;
        drain(&caller, &mut at_caller, &mut got_caller, Duration::from_millis(1)).await;
    }
    drain(&callee, &mut at_callee, &mut got_callee, Duration::from_secs(3)).await;
    drain(&caller, &mut at_caller, &mut got_caller, Duration::from_secs(3)).await;
    let lost = |got: &HashSet<String>| messages.difference(got).cloned().collect::<Vec<_>>();
    assert_eq!((lost(&got_callee), lost(&got_caller)), (Vec::new(), Vec::new()));
}

async fn drain(
    node: &Libp2pSignaling,
    subscription: &mut blink_api::Subscription,
    got: &mut HashSet<String>,
    patience: Duration,
) {
    while let Ok(Some(SubscriptionEvent::Delivery(delivery))) =
        tokio::time::timeout(patience, subscription.next()).await
    {
        node.report(delivery.id, Verdict::Accept);
        got.insert(String::from_utf8(delivery.message.to_vec()).unwrap());
    }
}
