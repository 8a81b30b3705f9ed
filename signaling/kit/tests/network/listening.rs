//! Listeners and the node's own addresses.

use std::net::{TcpListener, UdpSocket};
use std::sync::Arc;

use crate::nodes::{TCP, TOPIC, address, config, next, node, until_subscribed, within};
use crate::own::{Config, NAME, Node};
use blink_api::{Configuration, Context, ErrorKind, Registry, Signaling, SystemClock, Verdict};
use bytes::Bytes;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tcp_quic_and_websocket_each_carry_a_message() {
    for listen in [TCP, "/ip4/127.0.0.1/udp/0/quic-v1", "/ip4/127.0.0.1/tcp/0/ws"] {
        let (a, b) = (node(listen).await, node(listen).await);
        let mut at_a = a.subscribe(&TOPIC).await.unwrap();
        within(listen, b.connect(&address(&a).await)).await.unwrap();
        until_subscribed(&b, &TOPIC, 1).await;
        b.publish(&TOPIC, Bytes::from_static(b"hello")).await.unwrap();
        assert_eq!(next(&a, &mut at_a, Verdict::Accept).await.message, "hello", "{listen}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_occupied_port_is_named_in_the_error() {
    let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
    let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
    let (tcp, udp) =
        (tcp.local_addr().map(|a| (a.port(), tcp)).unwrap(), udp.local_addr().map(|a| (a.port(), udp)).unwrap());
    for listen in [
        format!("/ip4/127.0.0.1/tcp/{}", tcp.0),
        format!("/ip4/127.0.0.1/tcp/{}/ws", tcp.0),
        format!("/ip4/127.0.0.1/udp/{}/quic-v1", udp.0),
    ] {
        let error = Node::start(config(&listen)).await.expect_err("the port is taken");
        assert_eq!(error.kind(), ErrorKind::Busy, "{error}");
        assert!(error.to_string().contains(&format!("address={listen}")), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_port_of_another_node_is_busy_until_shutdown() {
    for listen in [TCP, "/ip4/127.0.0.1/udp/0/quic-v1", "/ip4/127.0.0.1/tcp/0/ws"] {
        let first = node(listen).await;
        let taken = address(&first).await;
        let (taken, _) = taken.split_once("/p2p/").unwrap();
        let error = Node::start(config(taken)).await.expect_err("the port is taken");
        assert_eq!(error.kind(), ErrorKind::Busy, "{error}");
        first.shutdown().await;
        Node::start(config(taken)).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_address_families_share_a_port_in_either_order() {
    // Containers may lack IPv6.
    if TcpListener::bind("[::1]:0").is_err() {
        return;
    }
    for carrier in ["tcp", "udp"] {
        for families in [["4", "6"], ["6", "4"]] {
            let tcp = TcpListener::bind("0.0.0.0:0").unwrap();
            let port = tcp.local_addr().unwrap().port();
            drop(tcp);
            let suffix = if carrier == "udp" { "/quic-v1" } else { "" };
            let at = |family: &str, v4, v6| {
                format!("/ip{family}/{}/{carrier}/{port}{suffix}", if family == "4" { v4 } else { v6 })
            };
            let listen = families.map(|family| at(family, "0.0.0.0", "::")).to_vec();
            let node = Node::start(Config { listen, mdns: false, ..Config::default() }).await.unwrap();
            for family in families {
                let caller = self::node(TCP).await;
                within("connecting", caller.connect(&at(family, "127.0.0.1", "::1"))).await.unwrap();
            }
            node.shutdown().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failing_listener_closes_the_others() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let listen = |port| format!("/ip4/127.0.0.1/tcp/{port}");
    let config = Config {
        listen: vec![listen(free), listen(taken.local_addr().unwrap().port())],
        mdns: false,
        ..Config::default()
    };
    assert!(Node::start(config).await.is_err());
    TcpListener::bind(("127.0.0.1", free)).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn own_addresses_include_the_peer_id_with_loopback_last() {
    let node = Node::start(Config { mdns: false, ..Config::default() }).await.unwrap();
    let addresses = node.addresses().await.unwrap();
    assert!(addresses.len() >= 3, "three listeners: {addresses:?}");
    let names: Vec<_> = addresses.iter().map(|address| address.split_once("/p2p/").unwrap().1).collect();
    assert!(names.iter().all(|name| *name == names[0]));
    let is_loopback = |address: &String| address.starts_with("/ip4/127.");
    assert!(addresses.is_sorted_by_key(is_loopback), "{addresses:?}");
    assert!(!addresses.iter().any(|address| address.contains("/0.0.0.0/") || address.contains("/tcp/0")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_registry_creates_it_from_its_configuration_section() {
    let registry = Registry::discovered().unwrap();
    let key = |name: &str| format!("signalings.{NAME}.{name}");
    let context = Context { clock: Arc::new(SystemClock), shared: registry.shared() };
    let configuration = Configuration::builder(&registry)
        .set("test", "signaling", NAME)
        .set("test", &key("listen"), vec![TCP])
        .set("test", &key("mdns"), false)
        .build()
        .unwrap();
    let node = configuration.create::<dyn Signaling>(&context).await.unwrap();
    assert_eq!(node.addresses().await.unwrap().len(), 1);

    let refused = Configuration::builder(&registry)
        .set("test", "signaling", NAME)
        .set("test", &key("bootstrap"), vec!["somewhere"])
        .build()
        .expect_err("no address");
    assert!(refused.to_string().contains(&key("bootstrap")), "{refused}");
}
