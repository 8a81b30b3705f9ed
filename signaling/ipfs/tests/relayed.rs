//! Connections through a relay.

#[path = "../../kit/tests/network/nodes.rs"]
mod nodes;
mod own;

use blink_api::{ErrorKind, Signaling, SignalingEvent, Verdict};
use blink_signaling_ipfs::{IpfsConfig, IpfsSignaling};
use bytes::Bytes;
use nodes::{TCP, TOPIC, address, config, next, node, until_subscribed, within};

/// Waits until the node has a relayed address, or has none.
async fn relayed_address(what: &str, node: &IpfsSignaling, wanted: bool) -> Option<String> {
    let mut events = node.events();
    within(what, async {
        loop {
            let addresses = node.addresses().await.unwrap();
            let relayed = addresses.into_iter().find(|address| address.contains("/p2p-circuit/"));
            if relayed.is_some() == wanted {
                return relayed;
            }
            while events.recv().await.unwrap() != SignalingEvent::AddressesChanged {}
        }
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_without_listeners_is_reached_through_a_relay_that_may_restart() {
    let keys = tempfile::tempdir().unwrap();
    let relay =
        |listen: &str| IpfsConfig { serve_relay: true, node_key: Some(keys.path().join("relay")), ..config(listen) };
    let first = IpfsSignaling::start(relay(TCP)).await.unwrap();
    let at = address(&first).await;
    let hidden = IpfsConfig { listen: Vec::new(), relays: vec![at.clone()], mdns: false, ..IpfsConfig::default() };
    let hidden = IpfsSignaling::start(hidden).await.unwrap();
    let mut at_hidden = hidden.subscribe(&TOPIC).await.unwrap();
    let through = relayed_address("the relay's consent", &hidden, true).await.unwrap();
    assert!(through.starts_with(&at), "{through}");

    // Neither the caller nor the relay is subscribed, so only a relayed connection can carry this.
    let caller = node(TCP).await;
    within("connecting", caller.connect(&through)).await.unwrap();
    until_subscribed(&caller, &TOPIC, 1).await;
    caller.publish(&TOPIC, Bytes::from_static(b"through")).await.unwrap();
    assert_eq!(next(&hidden, &mut at_hidden, Verdict::Accept).await.message, "through");

    first.shutdown().await;
    relayed_address("the relay's end", &hidden, false).await;
    let (listen, _) = at.split_once("/p2p/").unwrap();
    let _second = IpfsSignaling::start(relay(listen)).await.unwrap();
    assert_eq!(relayed_address("the relay's consent", &hidden, true).await, Some(through));
}

/// A caller with the relay in its own configuration is still dialling it when `connect` uses it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_circuit_is_dialled_while_its_relay_is_being_dialled() {
    let relay = IpfsSignaling::start(IpfsConfig { serve_relay: true, ..config(TCP) }).await.unwrap();
    let relays = vec![address(&relay).await];
    let hidden = || IpfsConfig { listen: Vec::new(), relays: relays.clone(), mdns: false, ..IpfsConfig::default() };
    let callee = IpfsSignaling::start(hidden()).await.unwrap();
    let through = relayed_address("the relay's consent", &callee, true).await.unwrap();
    for _ in 0..10 {
        let caller = IpfsSignaling::start(hidden()).await.unwrap();
        within("connecting", caller.connect(&through)).await.unwrap();
        caller.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_without_serve_relay_relays_no_connections() {
    let (plain, other, caller) = (node(TCP).await, node(TCP).await, node(TCP).await);
    let at = address(&plain).await;
    within("connecting", other.connect(&at)).await.unwrap();
    let (_, name) =
        address(&other).await.split_once("/p2p/").map(|(at, name)| (at.to_owned(), name.to_owned())).unwrap();
    let refused = within("a refusal", caller.connect(&format!("{at}/p2p-circuit/p2p/{name}"))).await.unwrap_err();
    assert!(matches!(refused.kind(), ErrorKind::Io | ErrorKind::Timeout), "{refused}");
}
