use blink_api::{Error, ErrorKind};

use super::*;

/// Addresses are ports, peer ids letters, connection ids the time of the dial.
type TestQueue = DialQueue<u16, char, Instant>;

fn dial(queue: &mut TestQueue, now: Instant, is_connected: impl Fn(&char) -> bool) -> Option<Instant> {
    queue.next_dial(now, is_connected, |_, addresses| {
        assert!(!addresses.is_empty());
        (now, now)
    })
}

fn none_connected(_: &char) -> bool {
    false
}

fn refused() -> Error {
    Error::new(ErrorKind::Io, "refused")
}

#[test]
fn failed_dials_back_off_from_half_a_second_to_eight() {
    let mut queue = TestQueue::default();
    let mut now = Instant::now();
    let (reply, mut waiting) = oneshot::channel();
    queue.add(1, None, Some(reply), now);
    for expected in [500, 1000, 2000, 4000, 8000, 8000] {
        let dialled = dial(&mut queue, now, none_connected).expect("a dial is due");
        assert!(dial(&mut queue, now, none_connected).is_none(), "one dial at a time");
        queue.dial_failed(dialled, &refused(), false, now);
        let wait = Duration::from_millis(expected);
        assert!(dial(&mut queue, now + wait - Duration::from_millis(1), none_connected).is_none());
        now += wait;
    }
    assert_eq!(waiting.try_recv().unwrap().unwrap_err().kind(), ErrorKind::Io);
}

#[test]
fn a_lost_connection_is_redialled_at_once_if_it_was_stable() {
    let mut queue = TestQueue::default();
    let mut now = Instant::now();
    let peer = 'p';
    let (reply, mut waiting) = oneshot::channel();
    queue.add(1, None, Some(reply), now);
    let dialled = dial(&mut queue, now, none_connected).unwrap();
    queue.connected(dialled, peer, now);
    waiting.try_recv().unwrap().unwrap();

    now += STABLE_AFTER;
    queue.disconnected(peer, now);
    let dialled = dial(&mut queue, now, none_connected).expect("no delay after a stable connection");
    queue.connected(dialled, peer, now);
    queue.disconnected(peer, now);
    assert!(dial(&mut queue, now, none_connected).is_none(), "delayed after a short connection");
    assert!(dial(&mut queue, now + INITIAL_BACKOFF, none_connected).is_some());
}

#[test]
fn a_node_connected_inbound_is_not_dialled() {
    let mut queue = TestQueue::default();
    let now = Instant::now();
    let peer = 'p';
    queue.add(1, Some(peer), None, now);
    assert!(dial(&mut queue, now, |connected| *connected == peer).is_none());

    queue.disconnected(peer, now + STABLE_AFTER);
    queue.connected(now, peer, now + STABLE_AFTER);
    assert!(dial(&mut queue, now + STABLE_AFTER, none_connected).is_none());
}

#[test]
fn connect_to_a_connected_address_succeeds_at_once() {
    let mut queue = TestQueue::default();
    let now = Instant::now();
    queue.add(1, None, None, now);
    let dialled = dial(&mut queue, now, none_connected).unwrap();
    queue.connected(dialled, 'p', now);
    let (reply, mut waiting) = oneshot::channel();
    queue.add(1, None, Some(reply), now);
    waiting.try_recv().unwrap().unwrap();
    assert!(dial(&mut queue, now, none_connected).is_none());
}

#[test]
fn begin_gets_the_expected_peer_id_and_all_addresses() {
    let now = Instant::now();
    let mut queue = TestQueue::default();
    queue.add(1, None, None, now);
    queue.add(2, Some('n'), None, now);
    queue.discovered('l', 'p', 3, false, now);
    queue.connected(now, 'x', now);
    let mut dialled = Vec::new();
    let later = now + DISCOVERY_DIAL_DELAY;
    while let Some(dial) = queue.next_dial(later, none_connected, |expected, at| (later, (expected, at.to_vec()))) {
        dialled.push(dial);
    }
    assert_eq!(dialled, [(None, vec![1]), (Some('n'), vec![2]), (Some('p'), vec![3])]);
}

#[test]
fn a_dial_can_continue_under_another_connection_id() {
    let mut now = Instant::now();
    let mut queue = TestQueue::default();
    queue.add(1, None, None, now);
    let first = dial(&mut queue, now, none_connected).unwrap();
    now += INITIAL_BACKOFF;
    queue.replace_connection(first, now);
    queue.dial_failed(first, &refused(), false, now);
    assert!(dial(&mut queue, now + MAX_BACKOFF, none_connected).is_none(), "the old id is ignored");
    queue.dial_failed(now, &refused(), false, now);
    assert!(dial(&mut queue, now + MAX_BACKOFF, none_connected).is_some());
}

#[test]
fn a_permanent_error_drops_the_target() {
    let mut queue = TestQueue::default();
    let now = Instant::now();
    queue.add(1, None, None, now);
    let dialled = dial(&mut queue, now, none_connected).unwrap();
    queue.dial_failed(dialled, &refused(), true, now);
    assert!(dial(&mut queue, now + MAX_BACKOFF, none_connected).is_none());
}

#[test]
fn one_of_two_nodes_that_discover_each_other_delays_its_dial() {
    let now = Instant::now();
    let (a, b) = ('l', 'p');
    let dials_at_once = |local, peer| {
        let mut queue = TestQueue::default();
        queue.discovered(local, peer, 1, false, now);
        let at_once = dial(&mut queue, now, none_connected).is_some();
        assert!(at_once || dial(&mut queue, now + DISCOVERY_DIAL_DELAY, none_connected).is_some());
        at_once
    };
    assert_ne!(dials_at_once(a, b), dials_at_once(b, a));
}

#[test]
fn a_discovered_node_is_dropped_on_expiry_or_repeated_failure() {
    let mut now = Instant::now();
    let (local, peer) = ('l', 'p');
    let mut queue = TestQueue::default();
    queue.discovered(local, peer, 1, false, now);
    queue.expired(peer, &1);
    assert!(dial(&mut queue, now + DISCOVERY_DIAL_DELAY, none_connected).is_none());

    queue.discovered(local, peer, 1, false, now);
    let mut dials = 0;
    loop {
        now += MAX_BACKOFF;
        let Some(dialled) = dial(&mut queue, now, none_connected) else { break };
        dials += 1;
        queue.dial_failed(dialled, &refused(), false, now);
    }
    assert_eq!(dials, DISCOVERED_ATTEMPTS);
}
