//! Tests of the protocol in virtual time.

mod client;

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use turn_types::message::{ALLOCATE, CHANNEL_BIND, CREATE_PERMISSION, REFRESH};

use self::client::{Delivered, Fixture, address};
use super::TurnLimits;
use super::protocol::ClientTransport;
use crate::metrics::Gauge;

const LIMITS: TurnLimits =
    TurnLimits { allocations: 4, allocations_per_user: 3, bandwidth: 1_000_000, bandwidth_per_user: 1_000_000 };

#[test]
fn binding_requests_are_answered_with_the_reflexive_address() {
    let mut fixture = Fixture::new(LIMITS);
    let client = fixture.client(1);
    assert_eq!(fixture.binding(client), client.address);
}

#[test]
fn data_is_relayed_both_ways_by_indications_and_channels() {
    for transport in [ClientTransport::Udp, ClientTransport::Tcp] {
        let mut fixture = Fixture::new(LIMITS);
        let client = fixture.client_over(1, transport);
        let peer = address("9.9.9.9:9000");
        let relayed = fixture.allocate(client).unwrap();
        assert!(!fixture.deliver_from(relayed, peer, b"unwanted"), "no permission yet");
        fixture.permit(client, peer).unwrap();
        fixture.send(client, peer, b"to the peer");
        assert_eq!(fixture.delivered(), [Delivered::ToPeer(relayed, peer, b"to the peer".to_vec())]);
        assert!(fixture.deliver_from(relayed, peer, b"back"));
        assert_eq!(fixture.delivered(), [Delivered::Indication(client, peer, b"back".to_vec())]);
        // Permissions are of addresses, not ports.
        assert!(fixture.deliver_from(relayed, address("9.9.9.9:1"), b"another port"));
        fixture.delivered();

        fixture.bind(client, 0x4001, peer).unwrap();
        fixture.send_on_channel(client, 0x4001, b"data");
        assert_eq!(fixture.delivered(), [Delivered::ToPeer(relayed, peer, b"data".to_vec())]);
        assert!(fixture.deliver_from(relayed, peer, b"odd"));
        let padding: &[u8] = if transport == ClientTransport::Tcp { &[0] } else { &[] };
        let message = [&[0x40, 0x01, 0, 3][..], b"odd", padding].concat();
        assert_eq!(fixture.delivered(), [Delivered::Other(client, message)]);
        assert!(!fixture.deliver_from(relayed, address("8.8.8.8:9000"), b"stranger"));
    }
}

#[test]
fn wrong_expired_and_malformed_credentials_are_refused() {
    let mut fixture = Fixture::new(LIMITS);
    let client = fixture.client(1);
    for (what, username, password) in fixture.bad_credentials() {
        assert_eq!(fixture.allocate_as(client, &username, &password), Err(401), "{what}");
    }
    assert_eq!(fixture.open_relays(), 0);
    fixture.allocate(client).unwrap();
}

#[test]
fn replayed_requests_are_refused() {
    let mut fixture = Fixture::new(LIMITS);
    let (client, thief) = (fixture.client(1), fixture.client(2));
    let captured = fixture.signed_allocate(client);
    assert_eq!(fixture.replay(thief, &captured), Err(438), "from another address");
    assert_eq!(fixture.replay(client, &captured), Ok(()));
    assert_eq!(fixture.replay(client, &captured), Ok(()), "a retransmission gets the same answer");
    assert_eq!(fixture.open_relays(), 1);
    fixture.advance(Duration::from_secs(601));
    assert_eq!(fixture.open_relays(), 0, "the allocation has expired");
    assert_eq!(fixture.replay(client, &captured), Err(438), "the nonce is old");
}

#[test]
fn requests_of_another_user_or_without_an_allocation_are_refused() {
    let mut fixture = Fixture::new(LIMITS);
    let (client, other) = (fixture.client(1), fixture.client(2));
    assert_eq!(fixture.permit(client, address("9.9.9.9:1")), Err(437));
    fixture.allocate(client).unwrap();
    assert_eq!(fixture.allocate(client), Err(437), "a second one on the same 5-tuple");
    let stolen = fixture.credentials("mallory");
    assert_eq!(fixture.request_as(client, &stolen.username, &stolen.password, REFRESH, |_| {}), Err(441));
    assert_eq!(fixture.request_as(other, &stolen.username, &stolen.password, REFRESH, |_| {}), Err(437));
}

#[test]
fn quotas_per_user_and_in_total_are_enforced_and_released() {
    let mut fixture = Fixture::new(LIMITS);
    let clients: Vec<_> = (0..6).map(|n| fixture.client(n)).collect();
    for client in &clients[..3] {
        fixture.allocate(*client).unwrap();
    }
    assert_eq!(fixture.allocate(clients[3]), Err(486));
    let bob = fixture.credentials("bob");
    fixture.allocate_as(clients[3], &bob.username, &bob.password).unwrap();
    assert_eq!(fixture.allocate_as(clients[4], &bob.username, &bob.password), Err(508));
    assert_eq!(fixture.gauge(Gauge::TurnAllocations), 4);
    fixture.refresh(clients[0], 0).unwrap();
    fixture.allocate(clients[4]).unwrap();
    fixture.close(clients[4]);
    fixture.allocate(clients[5]).unwrap();
    fixture.advance(Duration::from_secs(601));
    assert_eq!((fixture.open_relays(), fixture.gauge(Gauge::TurnAllocations)), (0, 0));
    fixture.allocate(clients[0]).unwrap();
}

#[test]
fn a_port_that_cannot_be_opened_costs_no_quota() {
    let mut fixture = Fixture::new(LIMITS);
    let client = fixture.client(1);
    fixture.relays.exhausted = true;
    for _ in 0..10 {
        assert_eq!(fixture.allocate(client), Err(508));
    }
    fixture.relays.exhausted = false;
    fixture.allocate(client).unwrap();
}

#[test]
fn bandwidth_is_limited() {
    let mut fixture = Fixture::new(TurnLimits { bandwidth_per_user: 40_000, ..LIMITS });
    let client = fixture.client(1);
    let peer = address("9.9.9.9:9000");
    fixture.allocate(client).unwrap();
    fixture.permit(client, peer).unwrap();
    for _ in 0..100 {
        fixture.send(client, peer, &[0; 1000]);
    }
    let burst = fixture.delivered().len();
    assert!((10..=30).contains(&burst), "{burst}");
    fixture.advance(Duration::from_millis(100));
    fixture.send(client, peer, &[0; 1000]);
    assert_eq!(fixture.delivered().len(), 1, "earned in the meantime");
}

#[test]
fn lifetimes_end_allocations_permissions_and_channels() {
    let mut fixture = Fixture::new(LIMITS);
    let client = fixture.client(1);
    let (peer, other) = (address("9.9.9.9:9000"), address("8.8.8.8:9000"));
    let relayed = fixture.allocate(client).unwrap();
    fixture.permit(client, peer).unwrap();
    fixture.bind(client, 0x4000, other).unwrap();
    fixture.advance(Duration::from_secs(299));
    assert!(fixture.deliver_from(relayed, peer, b"x") && fixture.deliver_from(relayed, other, b"x"));
    fixture.refresh(client, 3600).unwrap();
    fixture.advance(Duration::from_secs(1));
    assert!(!fixture.deliver_from(relayed, peer, b"x"), "the permission has expired");
    fixture.permit(client, other).unwrap();
    fixture.advance(Duration::from_secs(299));
    fixture.delivered();
    fixture.send_on_channel(client, 0x4000, b"x");
    assert_eq!(fixture.delivered().len(), 1);
    fixture.advance(Duration::from_secs(2));
    fixture.permit(client, other).unwrap();
    fixture.send_on_channel(client, 0x4000, b"x");
    assert!(fixture.delivered().is_empty(), "the channel has expired");
    fixture.bind(client, 0x4000, peer).unwrap();
    assert_eq!(fixture.open_relays(), 1);
}

/// The invite's credentials are valid for a day in these tests.
#[test]
fn an_allocation_ends_with_its_credentials() {
    let mut fixture = Fixture::new(LIMITS);
    let client = fixture.client(1);
    fixture.advance(Duration::from_secs(86_400 - 100));
    fixture.allocate(client).unwrap();
    assert_eq!(fixture.refresh(client, 3600), Ok(100));
    fixture.advance(Duration::from_secs(100));
    assert_eq!(fixture.refresh(client, 3600), Err(401));
    assert_eq!(fixture.open_relays(), 0);
}

#[test]
fn channels_are_bound_once() {
    let mut fixture = Fixture::new(LIMITS);
    let client = fixture.client(1);
    let (peer, other) = (address("9.9.9.9:9000"), address("8.8.8.8:9000"));
    fixture.allocate(client).unwrap();
    fixture.bind(client, 0x4000, peer).unwrap();
    fixture.bind(client, 0x4000, peer).unwrap();
    assert_eq!(fixture.bind(client, 0x4000, other), Err(400));
    assert_eq!(fixture.bind(client, 0x4001, peer), Err(400));
    for number in [0, 0x3FFF, 0x5000, 0xFFFF] {
        assert_eq!(fixture.bind(client, number, other), Err(400));
    }
}

#[test]
fn transports_families_and_attributes_that_are_not_supported_are_refused() {
    let mut fixture = Fixture::new(LIMITS);
    let client = fixture.client(1);
    assert_eq!(fixture.allocate_tcp(client), Err(442));
    assert_eq!(fixture.allocate_ipv6(client), Err(440));
    assert_eq!(fixture.allocate_even_port(client), Err(420));
    fixture.allocate(client).unwrap();
    assert_eq!(fixture.permit(client, address("[2606:4700::1111]:1")), Err(443));
    assert_eq!(fixture.permit_nothing(client), Err(400));
}

/// Addresses that never get a packet, whatever a client asks for.
const FORBIDDEN: &[&str] = &[
    "0.0.0.0",
    "0.0.0.1",
    "10.0.0.1",
    "10.255.255.254",
    "100.64.0.1",
    "127.0.0.1",
    "127.1.2.3",
    "169.254.0.1",
    "169.254.169.254",
    "172.16.0.1",
    "172.31.255.254",
    "192.0.0.1",
    "192.168.0.1",
    "198.18.0.1",
    "224.0.0.1",
    "239.255.255.250",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::ffff:0.0.0.0",
    "::ffff:10.0.0.1",
    "::ffff:127.0.0.1",
    "::ffff:169.254.169.254",
    "::ffff:192.168.0.1",
    "::ffff:224.0.0.1",
    "::ffff:9.9.9.9",
    "::127.0.0.1",
    "64:ff9b::7f00:1",
    "64:ff9b::a00:1",
    "2002:7f00:1::1",
    "fc00::1",
    "fd00::1",
    "fe80::1",
    "fec0::1",
    "ff02::1",
    "ff0e::1",
    // The machine itself: its external address and that of another interface.
    client::EXTERNAL,
    client::EXTERNAL_IPV6,
    client::INTERFACE,
];

#[test]
fn forbidden_peers_never_get_a_packet() {
    for is_ipv6 in [false, true] {
        let mut fixture = Fixture::new(LIMITS);
        fixture.relays.ipv6 = is_ipv6;
        let client = fixture.client(1);
        let relayed = if is_ipv6 { fixture.allocate_ipv6(client) } else { fixture.allocate(client) }.unwrap();
        for text in FORBIDDEN {
            for port in [1, 22, 80, client::LISTENER_PORT, relayed.port(), 65_535] {
                let peer = SocketAddr::new(text.parse::<IpAddr>().unwrap(), port);
                let (permitted, bound) = (fixture.permit(client, peer), fixture.bind(client, 0x4000, peer));
                let is_own = [client::EXTERNAL, client::EXTERNAL_IPV6, client::INTERFACE].contains(text);
                let refused = |result: Result<(), u16>| matches!(result, Err(403 | 443));
                assert!(is_own || refused(permitted) && refused(bound), "{peer}: {permitted:?} {bound:?}");
                fixture.send(client, peer, b"packet");
                fixture.send_on_channel(client, 0x4000, b"packet");
                assert_eq!(fixture.delivered(), [], "{peer}");
            }
            fixture.advance(Duration::from_secs(1));
        }
        // The client's own relayed address, which would echo.
        fixture.send(client, relayed, b"packet");
        assert_eq!(fixture.delivered(), []);
    }
}

#[test]
fn private_peers_can_be_allowed_and_the_listeners_stay_forbidden() {
    let mut fixture = Fixture::private(LIMITS);
    let client = fixture.client(1);
    let relayed = fixture.allocate(client).unwrap();
    for text in ["10.0.0.1:9", "127.0.0.1:9", "192.168.0.1:9"] {
        fixture.permit(client, address(text)).unwrap();
        fixture.send(client, address(text), b"packet");
        assert_eq!(fixture.delivered(), [Delivered::ToPeer(relayed, address(text), b"packet".to_vec())]);
    }
    for text in ["127.0.0.1", client::INTERFACE] {
        let listener = SocketAddr::new(text.parse().unwrap(), client::LISTENER_PORT);
        fixture.permit(client, listener).unwrap();
        fixture.send(client, listener, b"packet");
        assert_eq!(fixture.delivered(), [], "{listener}");
    }
    assert_eq!(fixture.permit(client, address("224.0.0.1:9")), Err(403));
}

#[test]
fn two_clients_reach_each_other_over_their_relayed_addresses() {
    let mut fixture = Fixture::new(LIMITS);
    let (alice, bob) = (fixture.client(1), fixture.client(2));
    let (at_alice, at_bob) = (fixture.allocate(alice).unwrap(), fixture.allocate(bob).unwrap());
    fixture.permit(alice, at_bob).unwrap();
    fixture.send(alice, at_bob, b"too early");
    assert_eq!(fixture.delivered(), [], "Bob has not permitted Alice");
    fixture.bind(bob, 0x4000, at_alice).unwrap();
    fixture.send(alice, at_bob, b"hi");
    assert_eq!(fixture.delivered(), [Delivered::Other(bob, [&[0x40, 0, 0, 2][..], b"hi"].concat())]);
    fixture.send_on_channel(bob, 0x4000, b"ho");
    assert_eq!(fixture.delivered(), [Delivered::Indication(alice, at_bob, b"ho".to_vec())]);
    fixture.refresh(bob, 0).unwrap();
    fixture.send(alice, at_bob, b"gone");
    assert_eq!(fixture.delivered(), []);
}

/// Clients that never authenticate themselves cost no memory.
#[test]
fn unauthenticated_requests_leave_no_state() {
    let mut fixture = Fixture::new(LIMITS);
    for n in 0..10_000 {
        let client = fixture.client(n);
        assert_eq!(fixture.unsigned(client, ALLOCATE), 401);
    }
    assert_eq!(fixture.server_state(), 0);
}

/// Mutations of valid messages, and noise: nothing panics, and nothing is relayed without a
/// permission.
#[test]
fn hostile_bytes_are_harmless() {
    let mut fixture = Fixture::new(LIMITS);
    let client = fixture.client(1);
    fixture.allocate(client).unwrap();
    fixture.permit(client, address("9.9.9.9:9000")).unwrap();
    let mut seeds = vec![fixture.signed_allocate(client), vec![0x40, 0, 0, 4, 1, 2, 3, 4], Vec::new()];
    for method in [REFRESH, CREATE_PERMISSION, CHANNEL_BIND] {
        seeds.push(fixture.signed(client, method));
    }
    let mut random = 0x2545_F491_4F6C_DD1D_u64;
    let mut next = || {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random as usize
    };
    for _ in 0..100_000 {
        let mut bytes = seeds[next() % seeds.len()].clone();
        for _ in 0..next() % 4 {
            match next() % 3 {
                0 if !bytes.is_empty() => {
                    let at = next() % bytes.len();
                    bytes[at] ^= 1 << (next() % 8);
                }
                1 => bytes.truncate(next() % (bytes.len() + 1)),
                _ => bytes.push(next() as u8),
            }
        }
        fixture.input(client, &bytes);
        // The seeds permit this peer, if they come through unchanged.
        let permitted = address("9.9.9.9:9000");
        let is_elsewhere = |to: &Delivered| matches!(to, Delivered::ToPeer(_, peer, _) if *peer != permitted);
        let delivered = fixture.delivered();
        assert!(!delivered.iter().any(is_elsewhere), "{delivered:?}");
    }
}
