//! Who takes part changes: devices, invitations, removals.

use blink_api::{CallId, CallSettings, Topic};
use blink_proto::call::{CancelledReason, EndReason, Event, LeftReason};
use blink_proto::wire::Kind;
use blink_sim::simulation::{Network, Simulation, SimulationConfig};

use crate::{A, B, C, SECOND, cancelled_with, connected, ended, ended_with, idle, incoming, joined, left, two_devices};

#[test]
fn of_two_devices_one_accepts_and_the_other_stops_ringing() {
    let mut world = two_devices(26);
    let call = world.offer(A, &[B]);
    world.until(B, SECOND, "incoming", incoming);
    world.until(C, SECOND, "incoming", incoming);
    world.answer(B, call);
    world.until(C, SECOND, "answered elsewhere", cancelled_with(CancelledReason::AnsweredElsewhere));
    world.until(A, SECOND, "joined", joined);
    world.advance(60 * SECOND);
    assert_eq!(
        (world.count(A, joined), world.count(A, left), world.paths.open_at(A)),
        (1, 0, 1),
        "{}",
        world.transcript()
    );
    idle(&world, C);
}

#[test]
fn of_two_devices_one_rejects_and_the_other_stops_ringing() {
    let mut world = two_devices(27);
    let call = world.offer(A, &[B]);
    world.until(B, SECOND, "incoming", incoming);
    world.until(C, SECOND, "incoming", incoming);
    world.reject(C, call);
    world.until(B, SECOND, "rejected elsewhere", cancelled_with(CancelledReason::RejectedElsewhere));
    world.until(A, SECOND, "ended", ended_with(EndReason::Rejected));
    world.advance(60 * SECOND);
    (0..3).for_each(|node| idle(&world, node));
}

#[test]
fn a_second_device_takes_over_a_groups_call() {
    let devices = [(1, 1), (2, 2), (2, 3), (4, 4)];
    let mut world = Simulation::of_devices(&devices, 28, Network::PERFECT, CallSettings::default());
    let call = world.offer(A, &[B, 3]);
    for node in [B, C, 3] {
        world.until(node, SECOND, "incoming", incoming);
    }
    world.answer(B, call);
    world.answer(3, call);
    world.advance(2 * SECOND);
    world.answer(C, call);
    world.until(B, SECOND, "the other device", ended_with(EndReason::OtherDevice));
    world.advance(10 * SECOND);
    for node in [A, 3] {
        assert_eq!((world.count(node, joined), world.count(node, left)), (3, 1), "{}", world.transcript());
        assert_eq!(world.paths.open_at(node), 2);
    }
    assert_eq!((world.count(C, joined), world.paths.open_at(B)), (2, 0));
}

#[test]
fn somebody_added_rings_joins_and_meets_everybody() {
    for network in [Network::PERFECT, Network::ROUGH] {
        let mut world = Simulation::with(4, 29, network, CallSettings::default());
        let call = connected(&mut world, &[B]);
        let carol = world.did(C);
        world.act(B, |machine, now| machine.add(now, carol)).unwrap();
        world.until(C, 20 * SECOND, "incoming", incoming);
        world.answer(C, call);
        world.advance(20 * SECOND);
        assert_eq!(
            (world.count(A, joined), world.count(B, joined), world.count(C, joined)),
            (2, 2, 2),
            "{}",
            world.transcript()
        );
        world.network = Network::PERFECT;
        world.leave(A);
        world.advance(5 * SECOND);
        assert_eq!((world.count(B, ended), world.count(C, ended)), (0, 0), "it is a group's call since then");
        let errors = [
            world.act(B, |machine, now| machine.add(now, carol).unwrap_err()),
            world.act(B, |machine, now| machine.remove(now, carol).unwrap_err()),
        ];
        assert!(errors.iter().all(|error| error.kind() == blink_api::ErrorKind::State));
    }
}

#[test]
fn somebody_added_after_the_ring_time_is_asked_all_the_same() {
    let mut world = Simulation::new(3, 33);
    let call = connected(&mut world, &[B]);
    world.advance(90 * SECOND);
    let carol = world.did(C);
    world.act(A, |machine, now| machine.add(now, carol)).unwrap();
    world.until(C, SECOND, "incoming", incoming);
    world.advance(30 * SECOND);
    assert_eq!(world.nodes[C].machine.pending(), [call]);
    world.until(C, 40 * SECOND, "missed", |event| matches!(event, Event::MissedCall { .. }));
}

#[test]
fn one_who_rejected_before_another_was_reached_is_asked_by_nobody() {
    let mut world = Simulation::new(3, 35);
    world.nodes[B].online = false;
    let call = world.offer(A, &[B, C]);
    world.until(C, SECOND, "incoming", incoming);
    world.reject(C, call);
    world.advance(2 * SECOND);
    world.go_online(B);
    world.until(B, SECOND, "incoming", incoming);
    world.answer(B, call);
    world.advance(90 * SECOND);
    assert_eq!(world.count(C, incoming), 1, "{}", world.transcript());
    assert_eq!((world.count(A, joined), world.count(B, joined)), (1, 1));
}

#[test]
fn somebody_removed_is_out_for_good_and_hears_nothing_more() {
    let mut world = Simulation::new(3, 30);
    let call = connected(&mut world, &[B, C]);
    let carol = world.did(C);
    world.act(A, |machine, now| machine.remove(now, carol)).unwrap();
    world.until(C, SECOND, "removed", ended_with(EndReason::Removed));
    for node in [A, B] {
        world.until(node, SECOND, "left", |event| {
            matches!(event, Event::ParticipantLeft { reason: LeftReason::Removed, .. })
        });
    }
    world.advance(60 * SECOND);
    idle(&world, C);
    assert!(world.act(C, |machine, now| machine.answer(now, call)).is_err());
    assert!(world.act(A, |machine, now| machine.add(now, carol)).is_err(), "removal is for good");
    assert_eq!((world.paths.open_at(A), world.paths.open_at(B)), (1, 1));
    world.advance(30 * SECOND);
    assert_eq!((world.count(A, ended), world.count(B, ended)), (0, 0));
}

#[test]
fn a_person_that_is_removed_while_away_is_sent_no_notice_with_the_calls_secret() {
    for removed in [true, false] {
        let mut world = Simulation::new(3, 36);
        world.nodes[C].online = false;
        let call = world.offer(A, &[B, C]);
        world.until(B, SECOND, "incoming", incoming);
        world.answer(B, call);
        world.until(A, 70 * SECOND, "unanswered", |event| matches!(event, Event::ParticipantUnanswered { .. }));
        if removed {
            let carol = world.did(C);
            world.act(A, |machine, now| machine.remove(now, carol)).unwrap();
        }
        let offers = |world: &Simulation| world.sent.iter().filter(|sent| **sent == (A, Kind::Offer)).count();
        let before = offers(&world);
        world.go_online(C);
        world.advance(5 * SECOND);
        assert_eq!(offers(&world) == before, removed, "{}", world.transcript());
    }
}

/// Four people whose messages travel in envelopes; the fourth was not called.
fn sealed(seed: u64) -> Simulation {
    let devices = [(1, 1), (2, 2), (3, 3), (4, 4)];
    let (network, settings) = (Network::PERFECT, CallSettings::default());
    Simulation::configured(SimulationConfig { devices: &devices, seed, network, settings, sealed: true })
}

fn topic(world: &Simulation, node: usize, call: CallId) -> Option<Topic> {
    world.nodes[node].topic_of(&call)
}

/// Three people are connected, and A removes C.
fn removed(world: &mut Simulation) -> CallId {
    let call = connected(world, &[B, C]);
    let carol = world.did(C);
    world.act(A, |machine, now| machine.remove(now, carol)).unwrap();
    call
}

#[test]
fn after_a_removal_nothing_is_said_on_a_topic_that_the_removed_one_knows() {
    let mut world = sealed(37);
    let call = removed(&mut world);
    let old = topic(&world, C, call).unwrap();
    world.until(C, SECOND, "removed", ended_with(EndReason::Removed));
    world.advance(SECOND);
    assert!(topic(&world, A, call) == topic(&world, B, call) && topic(&world, A, call) != Some(old));
    let (before, late) = (world.published.len(), world.now + 29 * SECOND);
    world.act(A, |machine, now| machine.set_muted(now, true));
    world.advance(20 * SECOND);
    let theirs = |letter: &&std::rc::Rc<blink_sim::simulation::Envelope>| {
        letter.topic == old && letter.origin != world.nodes[C].origin()
    };
    assert_eq!(world.published[before..].iter().filter(theirs).count(), 0, "{}", world.transcript());
    assert!(world.nodes[A].subscribes(&old), "for those who are behind");
    world.advance(late - world.now + SECOND);
    assert!(!world.nodes[A].subscribes(&old) && !world.nodes[B].subscribes(&old));
    assert_eq!(world.count(A, left), 1, "{}", world.transcript());
}

#[test]
fn whoever_did_not_hear_of_a_new_secret_is_given_it_once_it_can_be_reached() {
    // Nothing lost, less than a lease, and longer.
    for seconds in [0, 5, 20, 50] {
        let mut world = Simulation::new(4, 38);
        let call = connected(&mut world, &[B, C, 3]);
        world.cut_signaling.extend([(A, B), (B, A), (3, B), (B, 3)]);
        world.paths.cut.extend([(A, B), (B, 3)]);
        let carol = world.did(C);
        world.act(A, |machine, now| machine.remove(now, carol)).unwrap();
        world.advance(seconds * SECOND);
        assert_ne!(topic(&world, A, call), topic(&world, B, call));
        world.cut_signaling.clear();
        world.paths.cut.clear();
        world.advance(40 * SECOND);
        let topics = [A, B, 3].map(|node| topic(&world, node, call));
        assert!(topics.iter().all(|topic| *topic == topics[0]), "after {seconds} s\n{}", world.transcript());
        for node in [A, B, 3] {
            assert_eq!(world.paths.open_at(node), 2, "after {seconds} s\n{}", world.transcript());
        }
    }
}

#[test]
fn two_removals_at_once_on_a_bad_network_end_on_one_topic() {
    for seed in 0..10 {
        let mut world = Simulation::new(4, seed);
        let call = connected(&mut world, &[B, C, 3]);
        world.network = Network::ROUGH;
        for removed in [C, 3] {
            let did = world.did(removed);
            world.act(A, |machine, now| machine.remove(now, did)).unwrap();
        }
        world.advance(30 * SECOND);
        assert_eq!(topic(&world, A, call), topic(&world, B, call), "seed {seed}\n{}", world.transcript());
        assert_eq!((world.paths.open_at(A), world.paths.open_at(B)), (1, 1), "seed {seed}\n{}", world.transcript());
    }
}

#[test]
fn who_is_invited_or_comes_back_after_a_removal_joins_on_the_new_topic() {
    for network in [Network::PERFECT, Network::ROUGH] {
        let mut world = Simulation::new(4, 39);
        let call = connected(&mut world, &[B, C]);
        let (carol, dave) = (world.did(C), world.did(3));
        // One rings, the other left, when the secret changes.
        world.act(A, |machine, now| machine.add(now, dave)).unwrap();
        world.until(3, 5 * SECOND, "incoming", incoming);
        world.leave(B);
        world.advance(SECOND);
        world.network = network;
        world.act(A, |machine, now| machine.remove(now, carol)).unwrap();
        world.answer(B, call);
        world.answer(3, call);
        world.advance(20 * SECOND);
        let topics = [A, B, 3].map(|node| topic(&world, node, call));
        assert!(topics.iter().all(|topic| topic.is_some() && *topic == topics[0]), "{}", world.transcript());
        for node in [A, B, 3] {
            assert_eq!(world.paths.open_at(node), 2, "{}", world.transcript());
        }
    }
}

#[test]
fn a_restart_comes_back_on_the_topic_of_the_newest_secret() {
    let mut world = Simulation::new(4, 40);
    let call = connected(&mut world, &[B, C, 3]);
    let carol = world.did(C);
    world.act(A, |machine, now| machine.remove(now, carol)).unwrap();
    world.advance(2 * SECOND);
    world.restart_with_memory(B);
    world.advance(SECOND);
    world.answer(B, call);
    world.advance(5 * SECOND);
    assert_eq!(topic(&world, A, call), topic(&world, B, call));
    assert_eq!(world.paths.open_at(B), 2, "{}", world.transcript());
}
