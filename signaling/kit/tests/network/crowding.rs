//! One host that takes all the places it can get. It is another address of this machine: 127.6.6.6.

use std::net::{Ipv4Addr, SocketAddr};

use crate::nodes::{TCP, TOPIC, address, config, next, node, port, until_subscribed, within};
use crate::own::{Config, Node};
use blink_api::{Signaling, SignalingEvent, Verdict};
use bytes::Bytes;
use tokio::net::{TcpListener, TcpSocket, TcpStream};

const CROWD: Ipv4Addr = Ipv4Addr::new(127, 6, 6, 6);

async fn connect_from_crowd(port: u16) -> std::io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.bind(SocketAddr::from((CROWD, 0)))?;
    socket.connect(SocketAddr::from((Ipv4Addr::LOCALHOST, port))).await
}

/// A port through which connections to a node come from the crowd's address.
async fn through_crowd(target: u16) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut near, _)) = listener.accept().await {
            let mut far = connect_from_crowd(target).await.unwrap();
            // Either side may end it at any time.
            tokio::spawn(async move { tokio::io::copy_bidirectional(&mut near, &mut far).await.ok() });
        }
    });
    port
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn silent_sockets_of_one_address_keep_no_caller_out() {
    let (node, caller) = (node(TCP).await, node(TCP).await);
    let here = address(&node).await;
    let mut sockets = Vec::new();
    for _ in 0..200 {
        sockets.push(within("a silent socket", connect_from_crowd(port(&here))).await.unwrap());
    }
    within("the caller connects at once", caller.connect(&here)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_of_one_address_keep_no_caller_out_and_end_no_call() {
    let small = Config { max_connections: 16, ..config(TCP) };
    let (node, early, late) = (Node::start(small).await.unwrap(), node(TCP).await, node(TCP).await);
    let here = address(&node).await;
    let mut at_node = node.subscribe(&TOPIC).await.unwrap();
    within("early connects", early.connect(&here)).await.unwrap();
    until_subscribed(&early, &TOPIC, 1).await;
    let mut early_events = early.events();

    let crowded = format!("/ip4/127.0.0.1/tcp/{}", through_crowd(port(&here)).await);
    let mut crowd = Vec::new();
    for _ in 0..20 {
        // Nodes without a place go on trying.
        let stranger = Node::start(Config { listen: Vec::new(), ..config(TCP) }).await.unwrap();
        within("a stranger's attempt", stranger.connect(&crowded)).await.ok();
        crowd.push(stranger);
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
