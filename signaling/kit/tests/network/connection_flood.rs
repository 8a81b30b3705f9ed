//! Connection floods from one host, simulated by another loopback address: 127.6.6.6.

use std::net::{Ipv4Addr, SocketAddr};

use crate::nodes::{TCP, TOPIC, address, config, next, node, port, until_subscribed, within};
use crate::own::{Config, Node};
use blink_api::{Signaling, SignalingEvent, Verdict};
use bytes::Bytes;
use tokio::net::{TcpListener, TcpSocket, TcpStream};

const FLOOD_ADDRESS: Ipv4Addr = Ipv4Addr::new(127, 6, 6, 6);

async fn connect_from_flood_address(port: u16) -> std::io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.bind(SocketAddr::from((FLOOD_ADDRESS, 0)))?;
    socket.connect(SocketAddr::from((Ipv4Addr::LOCALHOST, port))).await
}

/// Starts a proxy to a node whose connections come from the flood's address.
async fn proxy_from_flood_address(target: u16) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut near, _)) = listener.accept().await {
            let mut far = connect_from_flood_address(target).await.unwrap();
            // Either side may close it at any time.
            tokio::spawn(async move { tokio::io::copy_bidirectional(&mut near, &mut far).await.ok() });
        }
    });
    port
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn idle_sockets_from_one_address_do_not_block_other_callers() {
    let (node, caller) = (node(TCP).await, node(TCP).await);
    let here = address(&node).await;
    let mut sockets = Vec::new();
    for _ in 0..200 {
        sockets.push(within("a silent socket", connect_from_flood_address(port(&here))).await.unwrap());
    }
    within("the caller connects at once", caller.connect(&here)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_flood_from_one_address_blocks_no_caller_and_ends_no_call() {
    let small = Config { max_connections: 16, ..config(TCP) };
    let (node, early, late) = (Node::start(small).await.unwrap(), node(TCP).await, node(TCP).await);
    let here = address(&node).await;
    let mut at_node = node.subscribe(&TOPIC).await.unwrap();
    within("early connects", early.connect(&here)).await.unwrap();
    until_subscribed(&early, &TOPIC, 1).await;
    let mut early_events = early.events();

    let flooded = format!("/ip4/127.0.0.1/tcp/{}", proxy_from_flood_address(port(&here)).await);
    let mut strangers = Vec::new();
    for _ in 0..20 {
        // Denied nodes keep redialling.
        let stranger = Node::start(Config { listen: Vec::new(), ..config(TCP) }).await.unwrap();
        within("a stranger's attempt", stranger.connect(&flooded)).await.ok();
        strangers.push(stranger);
    }

    within("late connects at once", late.connect(&here)).await.unwrap();
    until_subscribed(&late, &TOPIC, 1).await;
    for caller in [&early, &late] {
        caller.publish(&TOPIC, Bytes::from_static(b"let me in")).await.unwrap();
        assert_eq!(next(&node, &mut at_node, Verdict::Accept).await.message, "let me in");
    }
    while let Ok(event) = early_events.try_recv() {
        assert!(!matches!(event, SignalingEvent::Disconnected { .. }), "the call was ended");
    }
}
