//! Dialling by DNS name.

#[path = "../../kit/tests/network/nodes.rs"]
mod nodes;
mod own;

use blink_api::{ErrorKind, Signaling, SignalingEvent};
use nodes::{TCP, address, config, node, until_event, within};
use own::{Config, Node};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_is_dialled_by_name_and_redialled_when_it_comes_back() {
    let keys = tempfile::tempdir().unwrap();
    let with_key = |listen: &str| Config { node_key: Some(keys.path().join("key")), ..config(listen) };
    let first = Node::start(with_key(TCP)).await.unwrap();
    let listening = address(&first).await;
    let by_name = listening.replace("/ip4/127.0.0.1/", "/dns4/localhost/");
    assert_ne!(by_name, listening);
    let node = node(TCP).await;
    let mut events = node.events();
    within("connecting", node.connect(&by_name)).await.unwrap();
    first.shutdown().await;
    until_event("the disconnection", &mut events, |event| *event == SignalingEvent::Disconnected { nodes: 0 }).await;
    let (listen, _) = listening.split_once("/p2p/").unwrap();
    let _second = Node::start(with_key(listen)).await.unwrap();
    until_event("the connection", &mut events, |event| *event == SignalingEvent::Connected { nodes: 1 }).await;

    let unknown = within("a refusal", node.connect("/dns4/unknown.invalid/tcp/1")).await.unwrap_err();
    assert!(matches!(unknown.kind(), ErrorKind::Io | ErrorKind::Timeout), "{unknown}");
}
