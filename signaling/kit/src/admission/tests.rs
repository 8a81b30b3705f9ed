use std::net::IpAddr;

use super::*;

const MAX: usize = DEFAULT_CONNECTIONS;

fn at(address: &str) -> Source {
    address.parse::<IpAddr>().unwrap().into()
}

fn silent(_: &u32) -> EvictionPriority {
    EvictionPriority::Unsubscribed
}

/// Admits, establishes and evicts as a node does; returns the evicted connections. Peer ids equal
/// connection ids.
fn connect(
    admission: &mut Admission<u32, u32>,
    connection: u32,
    source: Source,
    now: Instant,
    priority: impl Fn(&u32) -> EvictionPriority,
) -> Vec<u32> {
    admission.begin_inbound(connection, source).unwrap();
    admission.authenticate(connection, connection, Some(source), now).unwrap();
    admission.establish(connection, connection, Some(source), now);
    let mut evicted = Vec::new();
    while let Some((surplus, _)) = admission.next_eviction(now, &priority) {
        admission.close(surplus);
        evicted.push(surplus);
    }
    evicted
}

fn pending_until_denied(
    admission: &mut Admission<u32, u32>,
    from: u32,
    source: impl Fn(u32) -> Source,
) -> (u32, Denial) {
    for connection in from.. {
        if let Err(denial) = admission.begin_inbound(connection, source(connection)) {
            return (connection - from, denial);
        }
    }
    unreachable!("each source has a limit")
}

#[test]
fn pending_connections_per_address_are_limited() {
    let mut admission = Admission::<u32, u32>::new(MAX);
    assert_eq!(pending_until_denied(&mut admission, 0, |_| at("192.0.2.1")), (16, Denial::AddressLimit));
    admission.begin_inbound(100, at("192.0.2.2")).unwrap();
    admission.fail(3);
    admission.begin_inbound(101, at("192.0.2.1")).unwrap();
}

#[test]
fn one_prefix_gets_a_quarter_of_the_pending_connections() {
    for prefix in ["192.0.2.", "2001:db8:1:"] {
        let mut admission = Admission::<u32, u32>::new(MAX);
        let inside =
            |n: u32| if prefix.ends_with('.') { at(&format!("{prefix}{n}")) } else { at(&format!("{prefix}{n:x}::7")) };
        assert_eq!(pending_until_denied(&mut admission, 0, inside), (32, Denial::PrefixLimit), "{prefix}");
        admission.begin_inbound(1000, at("192.0.3.1")).unwrap();
        admission.begin_inbound(1001, at("2001:db8:2::1")).unwrap();
    }
}

#[test]
fn an_ipv6_host_is_a_64_prefix_and_mapped_addresses_count_as_ipv4() {
    let mut admission = Admission::<u32, u32>::new(MAX);
    let inside = |n: u32| at(&format!("2001:db8:1:1::{n:x}"));
    assert_eq!(pending_until_denied(&mut admission, 0, inside), (16, Denial::AddressLimit));
    assert_eq!(pending_until_denied(&mut admission, 100, |_| at("192.0.2.1")), (16, Denial::AddressLimit));
    assert_eq!(admission.begin_inbound(200, at("::ffff:192.0.2.1")), Err(Denial::AddressLimit));
}

#[test]
fn local_networks_get_higher_limits_but_not_all() {
    for local in ["127.0.0.1", "192.168.1.1", "100.64.0.1", "::1", "fd00::1"] {
        let mut admission = Admission::<u32, u32>::new(MAX);
        assert_eq!(pending_until_denied(&mut admission, 0, |_| at(local)), (64, Denial::AddressLimit), "{local}");
        admission.begin_inbound(1000, at("203.0.113.1")).unwrap();
    }
    let mut admission = Admission::<u32, u32>::new(MAX);
    assert_eq!(pending_until_denied(&mut admission, 0, |_| Source::Relayed), (64, Denial::AddressLimit));
}

#[test]
fn a_flood_from_one_address_evicts_only_its_own_oldest() {
    let mut admission = Admission::new(MAX);
    let now = Instant::now();
    for caller in 0..10 {
        assert!(connect(&mut admission, caller, at(&format!("203.0.{caller}.1")), now, silent).is_empty());
    }
    let later = now + GRACE_PERIOD * 2;
    let mut evicted = Vec::new();
    for connection in 1000..2000 {
        evicted.extend(connect(&mut admission, connection, at("192.0.2.1"), later, silent));
    }
    assert_eq!(evicted, (1000..2000 - 64).collect::<Vec<_>>());
    assert!(connect(&mut admission, 10, at("203.0.10.1"), later, silent).is_empty());
}

#[test]
fn a_flood_from_one_prefix_evicts_only_within_the_prefix() {
    let mut admission = Admission::new(MAX);
    let now = Instant::now();
    connect(&mut admission, 1, at("203.0.113.1"), now, silent);
    let mut evicted = Vec::new();
    for connection in 1000..1500 {
        let source = at(&format!("192.0.2.{}", connection % 200));
        evicted.extend(connect(&mut admission, connection, source, now + GRACE_PERIOD, silent));
    }
    assert_eq!(evicted.len(), 500 - 128);
    assert!(evicted.iter().all(|connection| *connection >= 1000));
}

#[test]
fn a_full_node_evicts_nodes_without_a_subscription_first() {
    let mut admission = Admission::new(MAX);
    let now = Instant::now();
    let useless = 17;
    let priority =
        |peer: &u32| if *peer == useless { EvictionPriority::Unsubscribed } else { EvictionPriority::OtherTopics };
    for connection in 0..384 {
        let source = at(&format!("198.51.{}.{}", connection / 100, connection % 100 / 25));
        assert!(connect(&mut admission, connection, source, now, priority).is_empty());
    }
    let caller = at("203.0.113.1");
    assert_eq!(connect(&mut admission, 1000, caller, now + GRACE_PERIOD, priority), [useless]);
    // Next come the most crowded prefixes, the newest connection first.
    assert_eq!(connect(&mut admission, 1001, caller, now + GRACE_PERIOD, priority), [299]);
}

/// A newcomer has announced nothing yet when it is admitted: it displaces a subscriber of unrelated
/// topics, but no node that shares one.
#[test]
fn a_newcomer_displaces_unrelated_subscribers_but_no_node_that_shares_a_topic() {
    let (mut subscribed, mut shared) = (Admission::new(MAX), Admission::new(MAX));
    let (now, source) = (Instant::now(), at("192.0.2.1"));
    let is_newcomer = |peer: &u32| *peer >= 1000;
    let others = |priority| move |peer: &u32| if is_newcomer(peer) { EvictionPriority::Unsubscribed } else { priority };
    for connection in 0..64 {
        connect(&mut subscribed, connection, source, now, others(EvictionPriority::OtherTopics));
        connect(&mut shared, connection, source, now, others(EvictionPriority::SharedTopic));
    }
    let later = now + GRACE_PERIOD * 2;
    assert_eq!(connect(&mut subscribed, 1000, source, later, others(EvictionPriority::OtherTopics)), [63]);
    assert_eq!(connect(&mut shared, 1000, source, later, others(EvictionPriority::SharedTopic)), [1000]);
    // Once subscribed to a shared topic it is kept.
    let settled = |peer: &u32| {
        if *peer == 1000 { EvictionPriority::SharedTopic } else { others(EvictionPriority::OtherTopics)(peer) }
    };
    assert_eq!(connect(&mut subscribed, 1001, source, later, settled), [62]);
}

#[test]
fn among_nodes_that_share_a_topic_the_newest_is_evicted() {
    let mut admission = Admission::new(MAX);
    let now = Instant::now();
    let shared = |peer: &u32| if *peer == 5 { EvictionPriority::OtherTopics } else { EvictionPriority::SharedTopic };
    for connection in 0..64 {
        assert!(connect(&mut admission, connection, at("192.0.2.1"), now, shared).is_empty());
    }
    assert_eq!(connect(&mut admission, 64, at("192.0.2.1"), now, shared), [5]);
    assert_eq!(connect(&mut admission, 65, at("192.0.2.1"), now, shared), [65]);
}

#[test]
fn closing_connections_may_exceed_the_limit_by_at_most_an_eighth() {
    let mut admission = Admission::<u32, u32>::new(MAX);
    let (now, source) = (Instant::now(), at("192.0.2.1"));
    let denied = (0..1000u32).find(|connection| {
        admission.begin_inbound(*connection, source).unwrap();
        if admission.authenticate(*connection, *connection, Some(source), now).is_err() {
            return true;
        }
        admission.establish(*connection, *connection, Some(source), now);
        while admission.next_eviction(now, silent).is_some() {}
        false
    });
    assert_eq!(denied, Some(64 + 8 + 1));
    admission.authenticate(2000, 2000, Some(at("203.0.113.1")), now).unwrap();
}

#[test]
fn connections_per_node_are_limited_to_four_and_freed_when_closed() {
    let mut admission = Admission::<u32, u32>::new(MAX);
    let now = Instant::now();
    for connection in 0..4 {
        admission.authenticate(connection, 7, None, now).unwrap();
        admission.establish(connection, 7, None, now);
    }
    assert_eq!(admission.authenticate(4, 7, None, now), Err(Denial::NodeLimit));
    admission.close(0);
    admission.authenticate(4, 7, None, now).unwrap();
    (1..4).for_each(|connection| admission.close(connection));
    assert!(admission.established.is_empty() && admission.pending_inbound.is_empty());
}

#[test]
fn bans_expire_and_their_number_is_bounded() {
    let mut admission = Admission::<u32, u32>::new(MAX);
    let now = Instant::now();
    admission.ban(7, now);
    assert_eq!(admission.authenticate(1, 7, None, now), Err(Denial::Banned));
    admission.authenticate(1, 8, None, now).unwrap();
    admission.authenticate(1, 7, None, now + BAN_DURATION).unwrap();

    (0..2 * MAX_BANNED as u32).for_each(|peer| admission.ban(peer, now));
    assert_eq!(admission.banned.len(), MAX_BANNED);
    admission.authenticate(1, 0, None, now).unwrap();
    assert_eq!(admission.authenticate(1, 2 * MAX_BANNED as u32 - 1, None, now), Err(Denial::Banned));
}
