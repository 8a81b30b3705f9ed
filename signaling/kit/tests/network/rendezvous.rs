//! Nodes find each other by a topic, knowing only one node that serves the DHT.

use blink_api::{ErrorKind, Signaling, SignalingEvent, Topic, Verdict};
use bytes::Bytes;

use crate::dht_node::{DhtNode, DhtNodeConfig};
use crate::nodes::{TOPIC, next, node, until_event, within};
use crate::own::{Config, Node};

/// Starts a node without listeners, so that only a relay makes it reachable.
async fn hidden(dht: &DhtNode) -> Node {
    let config = Config { listen: Vec::new(), bootstrap: vec![dht.address.clone()], mdns: false, ..Config::default() };
    Node::start(config).await.unwrap()
}

/// Searches the topic as the engine does: again and again, until a subscriber is connected.
async fn find(node: &Node, topic: &Topic) {
    within("finding a subscriber", async {
        while node.subscribers(topic).await.unwrap() == 0 {
            node.find(topic).await.unwrap();
            tokio::time::sleep(std::time::Duration::from_millis(200)).await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_subscriber_is_found_by_its_topic_through_a_dht_node_that_may_restart() {
    let dht = DhtNode::start(DhtNodeConfig::default()).await;
    let (callee, caller) = (hidden(&dht).await, hidden(&dht).await);
    let mut at_callee = callee.subscribe(&TOPIC).await.unwrap();
    callee.announce(&TOPIC).await.unwrap();
    find(&caller, &TOPIC).await;
    caller.publish(&TOPIC, Bytes::from_static(b"found you")).await.unwrap();
    assert_eq!(next(&callee, &mut at_callee, Verdict::Accept).await.message, "found you");

    // The restarted node has an empty store, and the circuit between the two ended with the old
    // one.
    let port = dht.port;
    let mut events = caller.events();
    drop(dht);
    until_event("the end of all connections", &mut events, |event| *event == SignalingEvent::Disconnected { nodes: 0 })
        .await;
    let _dht = DhtNode::start(DhtNodeConfig { port, ..DhtNodeConfig::default() }).await;
    find(&caller, &TOPIC).await;
    caller.publish(&TOPIC, Bytes::from_static(b"again")).await.unwrap();
    assert_eq!(next(&callee, &mut at_callee, Verdict::Accept).await.message, "again");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_search_that_came_before_the_announcement_may_be_repeated() {
    let dht = DhtNode::start(DhtNodeConfig::default()).await;
    let (callee, caller) = (hidden(&dht).await, hidden(&dht).await);
    let mut events = caller.events();
    caller.find(&TOPIC).await.unwrap();
    let _at_callee = callee.subscribe(&TOPIC).await.unwrap();
    callee.announce(&TOPIC).await.unwrap();
    find(&caller, &TOPIC).await;
    until_event("the subscriber", &mut events, |event| *event == SignalingEvent::SubscriberJoined(TOPIC)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_dht_node_nothing_is_found_and_nothing_fails() {
    let node = node(crate::nodes::TCP).await;
    node.announce(&TOPIC).await.unwrap();
    node.find(&TOPIC).await.unwrap();
    assert_eq!(node.subscribers(&TOPIC).await.unwrap(), 0);
    node.shutdown().await;
    assert_eq!(node.find(&TOPIC).await.unwrap_err().kind(), ErrorKind::Closed);
}
