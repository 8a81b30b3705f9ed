use blink_api::{Error, ErrorKind};

use super::*;

fn address(port: u16) -> Multiaddr {
    format!("/ip4/127.0.0.1/tcp/{port}").parse().unwrap()
}

fn nobody(_: &PeerId) -> bool {
    false
}

fn refused() -> Error {
    Error::new(ErrorKind::Io, "refused")
}

#[test]
fn failures_are_retried_after_half_a_second_doubling_to_eight() {
    let mut targets = Targets::default();
    let mut now = Instant::now();
    let (waiter, mut waiting) = oneshot::channel();
    targets.add(address(1), Some(waiter), now);
    for expected in [500, 1000, 2000, 4000, 8000, 8000] {
        let dial = targets.next_dial(now, nobody).expect("a dial is due");
        assert!(targets.next_dial(now, nobody).is_none(), "one dial at a time");
        targets.failed(dial.connection_id(), &refused(), false, now);
        let wait = Duration::from_millis(expected);
        assert!(targets.next_dial(now + wait - Duration::from_millis(1), nobody).is_none());
        now += wait;
    }
    assert_eq!(waiting.try_recv().unwrap().unwrap_err().kind(), ErrorKind::Io);
}

#[test]
fn a_lost_connection_is_dialled_at_once_if_it_held_and_later_if_not() {
    let mut targets = Targets::default();
    let mut now = Instant::now();
    let peer = PeerId::random();
    let (waiter, mut waiting) = oneshot::channel();
    targets.add(address(1), Some(waiter), now);
    let dial = targets.next_dial(now, nobody).unwrap();
    targets.connected(dial.connection_id(), peer, now);
    waiting.try_recv().unwrap().unwrap();

    now += STABLE;
    targets.lost(peer, now);
    let dial = targets.next_dial(now, nobody).expect("at once");
    targets.connected(dial.connection_id(), peer, now);
    targets.lost(peer, now);
    assert!(targets.next_dial(now, nobody).is_none(), "it closed at once");
    assert!(targets.next_dial(now + FIRST_WAIT, nobody).is_some());
}

#[test]
fn a_node_that_connects_by_itself_is_not_dialled() {
    let mut targets = Targets::default();
    let now = Instant::now();
    let peer = PeerId::random();
    targets.add(address(1).with_p2p(peer).unwrap(), None, now);
    assert!(targets.next_dial(now, |connected| *connected == peer).is_none());

    targets.lost(peer, now + STABLE);
    targets.connected(ConnectionId::new_unchecked(99), peer, now + STABLE);
    assert!(targets.next_dial(now + STABLE, nobody).is_none());
}

#[test]
fn a_second_connect_to_a_connected_address_is_answered_at_once() {
    let mut targets = Targets::default();
    let now = Instant::now();
    targets.add(address(1), None, now);
    let dial = targets.next_dial(now, nobody).unwrap();
    targets.connected(dial.connection_id(), PeerId::random(), now);
    let (waiter, mut waiting) = oneshot::channel();
    targets.add(address(1), Some(waiter), now);
    waiting.try_recv().unwrap().unwrap();
    assert!(targets.next_dial(now, nobody).is_none());
}

#[test]
fn a_hopeless_address_is_dropped() {
    let mut targets = Targets::default();
    let now = Instant::now();
    targets.add(address(1), None, now);
    let dial = targets.next_dial(now, nobody).unwrap();
    targets.failed(dial.connection_id(), &refused(), true, now);
    assert!(targets.next_dial(now + LONGEST_WAIT, nobody).is_none());
}

#[test]
fn of_two_nodes_that_discover_each_other_one_waits() {
    let now = Instant::now();
    let (a, b) = (PeerId::random(), PeerId::random());
    let dials_at_once = |local, peer| {
        let mut targets = Targets::default();
        targets.discovered(local, peer, address(1), false, now);
        let at_once = targets.next_dial(now, nobody).is_some();
        assert!(at_once || targets.next_dial(now + COURTESY, nobody).is_some());
        at_once
    };
    assert_ne!(dials_at_once(a, b), dials_at_once(b, a));
}

#[test]
fn a_discovered_node_is_given_up_when_it_expires_or_fails_too_often() {
    let mut now = Instant::now();
    let (local, peer) = (PeerId::random(), PeerId::random());
    let mut targets = Targets::default();
    targets.discovered(local, peer, address(1), false, now);
    targets.expired(peer, &address(1));
    assert!(targets.next_dial(now + COURTESY, nobody).is_none());

    targets.discovered(local, peer, address(1), false, now);
    let mut dials = 0;
    loop {
        now += LONGEST_WAIT;
        let Some(dial) = targets.next_dial(now, nobody) else { break };
        dials += 1;
        targets.failed(dial.connection_id(), &refused(), false, now);
    }
    assert_eq!(dials, DISCOVERED_ATTEMPTS);
}
