//! Reconnection after failures.

use std::sync::Arc;

use crate::nodes::{TCP, TOPIC, address, config, next, node, port, until_event, until_subscribed, within};
use crate::own::{Config, Node};
use blink_api::{ErrorKind, Signaling, SignalingEvent, Verdict};
use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, tcp};
use tokio::sync::watch;

/// TCP proxy to a port. [`Proxy::stall`] keeps the existing connections open but forwards no data
/// on them.
struct Proxy {
    port: u16,
    stalls: watch::Sender<u32>,
}

impl Proxy {
    async fn start(target: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (stalls, stalled) = watch::channel(0);
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                let far = TcpStream::connect(("127.0.0.1", target)).await.unwrap();
                let ((near_in, near_out), (far_in, far_out)) = (near.into_split(), far.into_split());
                tokio::spawn(forward(near_in, far_out, stalled.clone()));
                tokio::spawn(forward(far_in, near_out, stalled.clone()));
            }
        });
        Self { port, stalls }
    }

    fn stall(&self) {
        self.stalls.send_modify(|stalls| *stalls += 1);
    }
}

async fn forward(mut from: tcp::OwnedReadHalf, mut to: tcp::OwnedWriteHalf, mut stalled: watch::Receiver<u32>) {
    stalled.mark_unchanged();
    let mut buffer = vec![0; 16 * 1024];
    loop {
        tokio::select! {
            biased;
            _ = stalled.changed() => break,
            read = from.read(&mut buffer) => match read {
                Ok(bytes) if bytes > 0 && to.write_all(&buffer[..bytes]).await.is_ok() => {}
                _ => return,
            },
        }
    }
    // Stalled: both sockets stay open and unread.
    std::future::pending::<()>().await;
}

async fn survives_a_stall(unsent: usize) {
    let (a, b) = (node(TCP).await, node(TCP).await);
    let proxy = Proxy::start(port(&address(&a).await)).await;
    let mut at_a = a.subscribe(&TOPIC).await.unwrap();
    let mut at_b = b.subscribe(&TOPIC).await.unwrap();
    let mut events = b.events();
    within("connecting", b.connect(&format!("/ip4/127.0.0.1/tcp/{}", proxy.port))).await.unwrap();
    until_subscribed(&b, &TOPIC, 1).await;
    b.publish(&TOPIC, Bytes::from_static(b"before")).await.unwrap();
    assert_eq!(next(&a, &mut at_a, Verdict::Accept).await.message, "before");

    proxy.stall();
    for _ in 0..unsent {
        match b.publish(&TOPIC, vec![0; 16 * 1024].into()).await {
            Ok(()) => {}
            Err(error) => assert_eq!(error.kind(), ErrorKind::Full),
        }
    }
    until_event("the disconnection", &mut events, |event| *event == SignalingEvent::Disconnected { nodes: 0 }).await;
    until_event("the connection", &mut events, |event| *event == SignalingEvent::Connected { nodes: 1 }).await;
    until_subscribed(&a, &TOPIC, 1).await;
    until_subscribed(&b, &TOPIC, 1).await;

    b.publish(&TOPIC, Bytes::from_static(b"after")).await.unwrap();
    while next(&a, &mut at_a, Verdict::Accept).await.message != "after" {}
    // The remote node may still use the stalled connection until its own pings time out.
    within("the other direction", async {
        loop {
            // Publishing fails without subscribers while the remote node reconnects.
            if a.publish(&TOPIC, Bytes::from_static(b"back")).await.is_err() {
                tokio::task::yield_now().await;
                continue;
            }
            let next = tokio::time::timeout(std::time::Duration::from_millis(200), at_b.next()).await;
            if next.is_ok() {
                break;
            }
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stalled_connection_is_replaced_after_two_missed_pings() {
    survives_a_stall(0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stalled_connection_with_unsent_data_is_replaced() {
    survives_a_stall(1000).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bootstrap_node_that_starts_later_is_connected() {
    let keys = tempfile::tempdir().unwrap();
    let with_key = |listen: &str| Config { node_key: Some(keys.path().join("key")), ..config(listen) };
    let first = Node::start(with_key(TCP)).await.unwrap();
    let bootstrap = address(&first).await;
    first.shutdown().await;

    let patient = Config { bootstrap: vec![bootstrap.clone()], ..config(TCP) };
    let node = Node::start(patient).await.unwrap();
    let mut events = node.events();
    let (listen, _) = bootstrap.split_once("/p2p/").unwrap();
    let _second = Node::start(with_key(listen)).await.unwrap();
    until_event("the connection", &mut events, |event| *event == SignalingEvent::Connected { nodes: 1 }).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unexpected_peer_id_at_the_address_is_refused() {
    let (a, b, other) = (node(TCP).await, node(TCP).await, node(TCP).await);
    let (here, _) =
        address(&a).await.split_once("/p2p/").map(|(here, name)| (here.to_owned(), name.to_owned())).unwrap();
    let (_, name) =
        address(&other).await.split_once("/p2p/").map(|(at, name)| (at.to_owned(), name.to_owned())).unwrap();
    let error = within("a refusal", b.connect(&format!("{here}/p2p/{name}"))).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Io, "{error}");
    let own = address(&b).await;
    assert_eq!(within("a refusal", b.connect(&own)).await.unwrap_err().kind(), ErrorKind::Invalid);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn simultaneous_dials_count_as_one_connected_node() {
    let (a, b) = (Arc::new(node(TCP).await), Arc::new(node(TCP).await));
    let (to_a, to_b) = (address(&a).await, address(&b).await);
    let (first, second) = within("both connect", async { tokio::join!(a.connect(&to_b), b.connect(&to_a)) }).await;
    first.unwrap();
    second.unwrap();
    let mut at_a = a.subscribe(&TOPIC).await.unwrap();
    until_subscribed(&b, &TOPIC, 1).await;
    assert_eq!(b.subscribers(&TOPIC).await.unwrap(), 1);
    for round in 0..10u8 {
        b.publish(&TOPIC, vec![round].into()).await.unwrap();
        assert_eq!(next(&a, &mut at_a, Verdict::Accept).await.message, vec![round]);
    }
}
