use blink_api::{Error, ErrorKind};

use super::*;

/// Addresses are ports, nodes letters; a connection is named by when it was dialled.
type Known = Targets<u16, char, Instant>;

fn dial(targets: &mut Known, now: Instant, is_connected: impl Fn(&char) -> bool) -> Option<Instant> {
    targets.next_dial(now, is_connected, |_, addresses| {
        assert!(!addresses.is_empty());
        (now, now)
    })
}

fn nobody(_: &char) -> bool {
    false
}

fn refused() -> Error {
    Error::new(ErrorKind::Io, "refused")
}

#[test]
fn failures_are_retried_after_half_a_second_doubling_to_eight() {
    let mut targets = Known::default();
    let mut now = Instant::now();
    let (waiter, mut waiting) = oneshot::channel();
    targets.add(1, None, Some(waiter), now);
    for expected in [500, 1000, 2000, 4000, 8000, 8000] {
        let begun = dial(&mut targets, now, nobody).expect("a dial is due");
        assert!(dial(&mut targets, now, nobody).is_none(), "one dial at a time");
        targets.failed(begun, &refused(), false, now);
        let wait = Duration::from_millis(expected);
        assert!(dial(&mut targets, now + wait - Duration::from_millis(1), nobody).is_none());
        now += wait;
    }
    assert_eq!(waiting.try_recv().unwrap().unwrap_err().kind(), ErrorKind::Io);
}

#[test]
fn a_lost_connection_is_dialled_at_once_if_it_held_and_later_if_not() {
    let mut targets = Known::default();
    let mut now = Instant::now();
    let peer = 'p';
    let (waiter, mut waiting) = oneshot::channel();
    targets.add(1, None, Some(waiter), now);
    let begun = dial(&mut targets, now, nobody).unwrap();
    targets.connected(begun, peer, now);
    waiting.try_recv().unwrap().unwrap();

    now += STABLE;
    targets.lost(peer, now);
    let begun = dial(&mut targets, now, nobody).expect("at once");
    targets.connected(begun, peer, now);
    targets.lost(peer, now);
    assert!(dial(&mut targets, now, nobody).is_none(), "it closed at once");
    assert!(dial(&mut targets, now + FIRST_WAIT, nobody).is_some());
}

#[test]
fn a_node_that_connects_by_itself_is_not_dialled() {
    let mut targets = Known::default();
    let now = Instant::now();
    let peer = 'p';
    targets.add(1, Some(peer), None, now);
    assert!(dial(&mut targets, now, |connected| *connected == peer).is_none());

    targets.lost(peer, now + STABLE);
    targets.connected(now, peer, now + STABLE);
    assert!(dial(&mut targets, now + STABLE, nobody).is_none());
}

#[test]
fn a_second_connect_to_a_connected_address_is_answered_at_once() {
    let mut targets = Known::default();
    let now = Instant::now();
    targets.add(1, None, None, now);
    let begun = dial(&mut targets, now, nobody).unwrap();
    targets.connected(begun, 'p', now);
    let (waiter, mut waiting) = oneshot::channel();
    targets.add(1, None, Some(waiter), now);
    waiting.try_recv().unwrap().unwrap();
    assert!(dial(&mut targets, now, nobody).is_none());
}

#[test]
fn who_must_answer_is_told_for_named_and_discovered_nodes_only() {
    let now = Instant::now();
    let mut targets = Known::default();
    targets.add(1, None, None, now);
    targets.add(2, Some('n'), None, now);
    targets.discovered('l', 'p', 3, false, now);
    targets.connected(now, 'x', now);
    let mut begun = Vec::new();
    let later = now + COURTESY;
    while let Some(dial) = targets.next_dial(later, nobody, |named, at| (later, (named, at.to_vec()))) {
        begun.push(dial);
    }
    assert_eq!(begun, [(None, vec![1]), (Some('n'), vec![2]), (Some('p'), vec![3])]);
}

#[test]
fn a_dial_that_goes_on_under_another_name_is_still_one() {
    let mut now = Instant::now();
    let mut targets = Known::default();
    targets.add(1, None, None, now);
    let first = dial(&mut targets, now, nobody).unwrap();
    now += FIRST_WAIT;
    targets.renamed(first, now);
    targets.failed(first, &refused(), false, now);
    assert!(dial(&mut targets, now + LONGEST_WAIT, nobody).is_none(), "the old name means nothing");
    targets.failed(now, &refused(), false, now);
    assert!(dial(&mut targets, now + LONGEST_WAIT, nobody).is_some());
}

#[test]
fn a_hopeless_address_is_dropped() {
    let mut targets = Known::default();
    let now = Instant::now();
    targets.add(1, None, None, now);
    let begun = dial(&mut targets, now, nobody).unwrap();
    targets.failed(begun, &refused(), true, now);
    assert!(dial(&mut targets, now + LONGEST_WAIT, nobody).is_none());
}

#[test]
fn of_two_nodes_that_discover_each_other_one_waits() {
    let now = Instant::now();
    let (a, b) = ('l', 'p');
    let dials_at_once = |local, peer| {
        let mut targets = Known::default();
        targets.discovered(local, peer, 1, false, now);
        let at_once = dial(&mut targets, now, nobody).is_some();
        assert!(at_once || dial(&mut targets, now + COURTESY, nobody).is_some());
        at_once
    };
    assert_ne!(dials_at_once(a, b), dials_at_once(b, a));
}

#[test]
fn a_discovered_node_is_given_up_when_it_expires_or_fails_too_often() {
    let mut now = Instant::now();
    let (local, peer) = ('l', 'p');
    let mut targets = Known::default();
    targets.discovered(local, peer, 1, false, now);
    targets.expired(peer, &1);
    assert!(dial(&mut targets, now + COURTESY, nobody).is_none());

    targets.discovered(local, peer, 1, false, now);
    let mut dials = 0;
    loop {
        now += LONGEST_WAIT;
        let Some(begun) = dial(&mut targets, now, nobody) else { break };
        dials += 1;
        targets.failed(begun, &refused(), false, now);
    }
    assert_eq!(dials, DISCOVERED_ATTEMPTS);
}
