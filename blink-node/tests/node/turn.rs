//! STUN and TURN server of a node, over real sockets.

use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use blink_node::{Node, NodeConfig, TurnConfig, TurnCredentials, TurnLimits};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UdpSocket};

use crate::client::DEADLINE;
use crate::turn_client::TurnClient;

fn config(state: &Path) -> NodeConfig {
    let mut config = NodeConfig::new(state.to_owned());
    config.listen = vec!["/ip4/127.0.0.1/tcp/0".to_owned()];
    config.allow_private = true;
    config.turn = Some(TurnConfig { listen: vec!["127.0.0.1:0".parse().unwrap()], ..TurnConfig::default() });
    config.metrics = Some("127.0.0.1:0".parse().unwrap());
    config
}

async fn start(state: &Path, limits: TurnLimits) -> Node {
    let mut config = config(state);
    config.turn.as_mut().unwrap().limits = limits;
    Node::start(config).await.unwrap()
}

fn credentials(node: &Node, user: &str) -> TurnCredentials {
    node.turn_secret().unwrap().issue(user, Duration::from_secs(3600), SystemTime::now()).unwrap()
}

/// Value of a metric, read over HTTP.
async fn metric(node: &Node, name: &str) -> u64 {
    let mut stream = TcpStream::connect(node.metrics_address().unwrap()).await.unwrap();
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
    let mut response = String::new();
    stream.read_to_string(&mut response).await.unwrap();
    assert!(response.starts_with("HTTP/1.1 200 OK\r\n"), "{response}");
    let value = response.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    value.unwrap_or_else(|| panic!("{name} is missing in {response}")).parse().unwrap()
}

/// Datagrams pass a relayed address in both directions, for clients over UDP and over TCP.
#[tokio::test]
async fn clients_relay_over_udp_and_tcp() {
    let state = tempfile::tempdir().unwrap();
    let node = start(state.path(), TurnLimits::default()).await;
    let server = node.turn_listeners()[0];
    assert_eq!(node.ice_urls(), [format!("turn:{server}")]);
    let peer = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let at = peer.local_addr().unwrap();
    let clients = [
        TurnClient::udp(server, credentials(&node, "a")).await,
        TurnClient::tcp(server, credentials(&node, "b")).await,
    ];
    for mut client in clients {
        let relayed = client.allocate().await.unwrap();
        client.permit(at).await.unwrap();
        client.send_to(at, b"to the peer").await;
        let mut buffer = [0; 100];
        let received = tokio::time::timeout(DEADLINE, peer.recv_from(&mut buffer)).await.expect("relayed").unwrap();
        assert_eq!((&buffer[..received.0], received.1), (&b"to the peer"[..], relayed));
        peer.send_to(b"back", relayed).await.unwrap();
        assert_eq!(client.receive().await, (at, b"back".to_vec()));
        client.release().await.unwrap();
    }
    assert_eq!(metric(&node, "blink_node_turn_bytes_to_peers_total").await, 22);
    assert_eq!(metric(&node, "blink_node_turn_bytes_from_peers_total").await, 8);
    assert_eq!(metric(&node, "blink_node_turn_allocations").await, 0);
    node.shutdown().await;
}

/// A closed TCP connection releases its allocation.
#[tokio::test]
async fn a_closed_connection_releases_its_allocation() {
    let state = tempfile::tempdir().unwrap();
    let node = start(state.path(), TurnLimits::default()).await;
    let mut client = TurnClient::tcp(node.turn_listeners()[0], credentials(&node, "a")).await;
    client.allocate().await.unwrap();
    assert_eq!(metric(&node, "blink_node_turn_allocations").await, 1);
    drop(client);
    let deadline = Instant::now() + DEADLINE;
    while metric(&node, "blink_node_turn_allocations").await > 0 {
        assert!(Instant::now() < deadline, "the allocation stays");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    node.shutdown().await;
}

/// 200 allocations of a user exist at once and relay; the quota refuses the next one.
#[tokio::test]
async fn two_hundred_allocations_and_no_more() {
    let state = tempfile::tempdir().unwrap();
    let limits = TurnLimits { allocations: 210, allocations_per_user: 200, ..TurnLimits::default() };
    let node = start(state.path(), limits).await;
    let server = node.turn_listeners()[0];
    let peer = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let at = peer.local_addr().unwrap();
    let mut clients = Vec::new();
    let begin = Instant::now();
    for _ in 0..200 {
        let mut client = TurnClient::udp(server, credentials(&node, "alice")).await;
        let relayed = client.allocate().await.unwrap();
        client.permit(at).await.unwrap();
        clients.push((client, relayed));
    }
    println!("200 allocations with a permission each took {:?}", begin.elapsed());
    assert_eq!(metric(&node, "blink_node_turn_allocations").await, 200);
    let mut surplus = TurnClient::udp(server, credentials(&node, "alice")).await;
    assert_eq!(surplus.allocate().await, Err(486));
    let mut others = Vec::new();
    for _ in 0..10 {
        let mut other = TurnClient::udp(server, credentials(&node, "bob")).await;
        other.allocate().await.unwrap();
        others.push(other);
    }
    let mut surplus = TurnClient::udp(server, credentials(&node, "carol")).await;
    assert_eq!(surplus.allocate().await, Err(508));
    for (client, relayed) in &mut clients {
        client.send_to(at, b"ping").await;
        let mut buffer = [0; 100];
        let (_, from) = tokio::time::timeout(DEADLINE, peer.recv_from(&mut buffer)).await.expect("relayed").unwrap();
        assert_eq!(from, *relayed);
    }
    clients[0].0.release().await.unwrap();
    let mut next = TurnClient::udp(server, credentials(&node, "alice")).await;
    next.allocate().await.unwrap();
    node.shutdown().await;
}

/// Under 1,000 requests a second with bad credentials, an allocation relays and others are made;
/// the requests are answered and leave nothing behind.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_bad_credentials_does_no_harm() {
    const REQUESTS: u64 = 3000;
    let state = tempfile::tempdir().unwrap();
    let node = start(state.path(), TurnLimits::default()).await;
    let server = node.turn_listeners()[0];
    let peer = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let at = peer.local_addr().unwrap();
    let mut client = TurnClient::udp(server, credentials(&node, "alice")).await;
    client.allocate().await.unwrap();
    client.permit(at).await.unwrap();

    let cpu = cpu_time();
    let begin = Instant::now();
    let flood = tokio::spawn(flood(server, REQUESTS));
    let mut relayed = 0;
    while !flood.is_finished() {
        client.send_to(at, b"media").await;
        let mut buffer = [0; 100];
        tokio::time::timeout(DEADLINE, peer.recv_from(&mut buffer)).await.expect("media passes").unwrap();
        relayed += 1;
        let mut other = TurnClient::udp(server, credentials(&node, "bob")).await;
        other.allocate().await.unwrap();
        other.release().await.unwrap();
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let answered = flood.await.unwrap();
    let (elapsed, cpu) = (begin.elapsed(), cpu_time().saturating_sub(cpu));
    let rate = answered as f64 / elapsed.as_secs_f64();
    println!(
        "{answered} of {REQUESTS} answered in {elapsed:?} ({rate:.0}/s), CPU of server and clients {cpu:?}, {relayed} relayed"
    );
    assert_eq!(answered, REQUESTS);
    assert_eq!(metric(&node, "blink_node_turn_credentials_rejected_total").await, REQUESTS);
    assert_eq!(metric(&node, "blink_node_turn_allocations").await, 1);
    node.shutdown().await;
}

/// Sends requests with a wrong password, a thousand a second, and returns how many were refused.
async fn flood(server: SocketAddr, requests: u64) -> u64 {
    let wrong = TurnCredentials {
        username: "4000000000:alice".to_owned(),
        password: "guess".to_owned(),
        expires: 4_000_000_000,
    };
    let workers: Vec<_> = (0..10)
        .map(|_| {
            let wrong = wrong.clone();
            tokio::spawn(async move {
                let mut client = TurnClient::udp(server, wrong).await;
                let mut answered = 0;
                let mut pace = tokio::time::interval(Duration::from_millis(10));
                for _ in 0..requests / 10 {
                    pace.tick().await;
                    answered += u64::from(client.allocate().await == Err(401));
                }
                answered
            })
        })
        .collect();
    let mut answered = 0;
    for worker in workers {
        answered += worker.await.unwrap();
    }
    answered
}

/// CPU time of this process: user and system, in hundredths of a second; zero without `/proc`.
fn cpu_time() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields: Vec<_> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |at: usize| fields.get(at).and_then(|field| field.parse::<u64>().ok()).unwrap_or_default();
    Duration::from_millis((ticks(11) + ticks(12)) * 10)
}

/// A node with a public address sends nothing to its own machine and network for any client,
/// whatever it asks: a socket on each of them stays silent.
#[tokio::test]
async fn services_of_the_machine_get_no_packet() {
    let state = tempfile::tempdir().unwrap();
    let mut config = config(state.path());
    config.allow_private = false;
    config.external = vec!["5.5.5.5".parse().unwrap()];
    let node = Node::start(config).await.unwrap();
    let mut client = TurnClient::udp(node.turn_listeners()[0], credentials(&node, "a")).await;
    let relayed = client.allocate().await.unwrap();
    assert_eq!(relayed.ip().to_string(), "5.5.5.5");
    let mut services = Vec::new();
    for interface in if_addrs::get_if_addrs().unwrap().into_iter().filter(|found| found.ip().is_ipv4()) {
        services.push(UdpSocket::bind((interface.ip(), 0)).await.unwrap());
    }
    for service in &services {
        let at = service.local_addr().unwrap();
        // Addresses of the machine that are public pass this check, and each datagram is checked.
        let permitted = client.permit(at).await;
        assert!(permitted == Err(403) || blink_node::AddressPolicy::default().permits(at.ip()), "{at}");
        client.send_to(at, b"attack").await;
        let mapped = format!("[::ffff:{}]:{}", at.ip(), at.port()).parse().unwrap();
        assert!(matches!(client.permit(mapped).await, Err(403 | 443)), "{mapped}");
        client.send_to(mapped, b"attack").await;
    }
    // The server has handled all of them once it answers.
    client.permit("9.9.9.9:9".parse().unwrap()).await.unwrap();
    for service in &services {
        let at = service.local_addr().unwrap();
        let sender = UdpSocket::bind((at.ip(), 0)).await.unwrap();
        sender.send_to(b"last", at).await.unwrap();
        let mut buffer = [0; 100];
        let received = tokio::time::timeout(DEADLINE, service.recv_from(&mut buffer)).await.unwrap().unwrap();
        assert_eq!(&buffer[..received.0], b"last", "{at}");
    }
    node.shutdown().await;
}

/// Garbage and connections that stay silent on the TCP port leave the server working.
#[tokio::test]
async fn garbage_over_tcp_ends_the_connection() {
    let state = tempfile::tempdir().unwrap();
    let node = start(state.path(), TurnLimits::default()).await;
    let server = node.turn_listeners()[0];
    let silent = TcpStream::connect(server).await.unwrap();
    for garbage in [&[0xFF; 64][..], b"GET / HTTP/1.1\r\n\r\n", &[0, 1, 0xFF, 0xFC, 0, 0]] {
        let mut stream = TcpStream::connect(server).await.unwrap();
        stream.write_all(garbage).await.unwrap();
        let mut rest = Vec::new();
        // Closed or reset, depending on what was unread.
        let ended = tokio::time::timeout(DEADLINE, stream.read_to_end(&mut rest)).await.expect("it is closed");
        assert!(ended.is_err() || rest.is_empty(), "{rest:?}");
    }
    let mut client = TurnClient::tcp(server, credentials(&node, "a")).await;
    client.allocate().await.unwrap();
    drop(silent);
    node.shutdown().await;
}

/// A port in use is reported with the address, and nothing stays open.
#[tokio::test]
async fn ports_in_use_are_reported() {
    let state = tempfile::tempdir().unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let at = taken.local_addr().unwrap();
    let mut overlay = config(state.path());
    overlay.listen = vec![format!("/ip4/127.0.0.1/tcp/{}", at.port())];
    let mut turn = config(state.path());
    turn.turn.as_mut().unwrap().listen = vec![at];
    let mut metrics = config(state.path());
    metrics.metrics = Some(at);
    for config in [overlay, turn, metrics] {
        let error = Node::start(config).await.unwrap_err();
        assert_eq!(error.kind(), blink_api::ErrorKind::Busy, "{error}");
        assert!(error.to_string().contains(&at.port().to_string()), "{error}");
    }
}
