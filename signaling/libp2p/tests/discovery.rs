//! Discovery on the local network by mDNS.

#[path = "../../kit/tests/network/nodes.rs"]
mod nodes;
mod own;

use blink_api::{Signaling, Verdict};
use blink_signaling_libp2p::{Libp2pConfig, Libp2pSignaling};
use bytes::Bytes;
use nodes::{TOPIC, next, until_subscribed};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_nodes_on_the_local_network_discover_each_other() {
    let config = || Libp2pConfig { listen: vec!["/ip4/0.0.0.0/tcp/0".to_owned()], ..Libp2pConfig::default() };
    let a = Libp2pSignaling::start(config()).await.unwrap();
    let b = Libp2pSignaling::start(config()).await.unwrap();
    let mut at_a = a.subscribe(&TOPIC).await.unwrap();
    until_subscribed(&b, &TOPIC, 1).await;
    b.publish(&TOPIC, Bytes::from_static(b"found you")).await.unwrap();
    assert_eq!(next(&a, &mut at_a, Verdict::Accept).await.message, "found you");
}
