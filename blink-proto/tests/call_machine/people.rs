//! Changes of membership: devices, invitations, removals.

use blink_api::{CallId, CallSettings, Topic};
use blink_proto::call::{CancelledReason, EndReason, Event, LeftReason};
use blink_proto::wire::Kind;
use blink_sim::simulation::{Network, Simulation, SimulationConfig};

use crate::{A, B, C, SECOND, cancelled_with, connected, ended, ended_with, idle, incoming, joined, left, two_devices};

#[test]
fn of_two_devices_one_accepts_and_the_other_stops_ringing() {
    let mut simulation = two_devices(26);
    let call = simulation.offer(A, &[B]);
    simulation.until(B, SECOND, "incoming", incoming);
    simulation.until(C, SECOND, "incoming", incoming);
    simulation.answer(B, call);
    simulation.until(C, SECOND, "answered elsewhere", cancelled_with(CancelledReason::AnsweredElsewhere));
    simulation.until(A, SECOND, "joined", joined);
    simulation.advance(60 * SECOND);
    assert_eq!(
        (simulation.count(A, joined), simulation.count(A, left), simulation.paths.open_at(A)),
        (1, 0, 1),
        "{}",
        simulation.transcript()
    );
    idle(&simulation, C);
}

#[test]
fn of_two_devices_one_rejects_and_the_other_stops_ringing() {
    let mut simulation = two_devices(27);
    let call = simulation.offer(A, &[B]);
    simulation.until(B, SECOND, "incoming", incoming);
    simulation.until(C, SECOND, "incoming", incoming);
    simulation.reject(C, call);
    simulation.until(B, SECOND, "rejected elsewhere", cancelled_with(CancelledReason::RejectedElsewhere));
    simulation.until(A, SECOND, "ended", ended_with(EndReason::Rejected));
    simulation.advance(60 * SECOND);
    (0..3).for_each(|node| idle(&simulation, node));
}

#[test]
fn a_second_device_takes_over_a_groups_call() {
    let devices = [(1, 1), (2, 2), (2, 3), (4, 4)];
    let mut simulation = Simulation::of_devices(&devices, 28, Network::PERFECT, CallSettings::default());
    let call = simulation.offer(A, &[B, 3]);
    for node in [B, C, 3] {
        simulation.until(node, SECOND, "incoming", incoming);
    }
    simulation.answer(B, call);
    simulation.answer(3, call);
    simulation.advance(2 * SECOND);
    simulation.answer(C, call);
    simulation.until(B, SECOND, "the other device", ended_with(EndReason::OtherDevice));
    simulation.advance(10 * SECOND);
    for node in [A, 3] {
        assert_eq!(
            (simulation.count(node, joined), simulation.count(node, left)),
            (3, 1),
            "{}",
            simulation.transcript()
        );
        assert_eq!(simulation.paths.open_at(node), 2);
    }
    assert_eq!((simulation.count(C, joined), simulation.paths.open_at(B)), (2, 0));
}

#[test]
fn an_added_participant_rings_joins_and_connects_to_all() {
    for network in [Network::PERFECT, Network::ROUGH] {
        let mut simulation = Simulation::with(4, 29, network, CallSettings::default());
        let call = connected(&mut simulation, &[B]);
        let carol = simulation.did(C);
        simulation.act(B, |machine, now| machine.add(now, carol)).unwrap();
        simulation.until(C, 20 * SECOND, "incoming", incoming);
        simulation.answer(C, call);
        simulation.advance(20 * SECOND);
        assert_eq!(
            (simulation.count(A, joined), simulation.count(B, joined), simulation.count(C, joined)),
            (2, 2, 2),
            "{}",
            simulation.transcript()
        );
        simulation.network = Network::PERFECT;
        simulation.leave(A);
        simulation.advance(5 * SECOND);
        assert_eq!((simulation.count(B, ended), simulation.count(C, ended)), (0, 0), "it is a group's call since then");
        let errors = [
            simulation.act(B, |machine, now| machine.add(now, carol).unwrap_err()),
            simulation.act(B, |machine, now| machine.remove(now, carol).unwrap_err()),
        ];
        assert!(errors.iter().all(|error| error.kind() == blink_api::ErrorKind::State));
    }
}

#[test]
fn a_participant_added_after_the_ring_time_is_asked() {
    let mut simulation = Simulation::new(3, 33);
    let call = connected(&mut simulation, &[B]);
    simulation.advance(90 * SECOND);
    let carol = simulation.did(C);
    simulation.act(A, |machine, now| machine.add(now, carol)).unwrap();
    simulation.until(C, SECOND, "incoming", incoming);
    simulation.advance(30 * SECOND);
    assert_eq!(simulation.nodes[C].machine.pending(), [call]);
    simulation.until(C, 40 * SECOND, "missed", |event| matches!(event, Event::MissedCall { .. }));
}

#[test]
fn a_participant_that_rejected_is_not_asked_again_by_another() {
    let mut simulation = Simulation::new(3, 35);
    simulation.nodes[B].online = false;
    let call = simulation.offer(A, &[B, C]);
    simulation.until(C, SECOND, "incoming", incoming);
    simulation.reject(C, call);
    simulation.advance(2 * SECOND);
    simulation.go_online(B);
    simulation.until(B, SECOND, "incoming", incoming);
    simulation.answer(B, call);
    simulation.advance(90 * SECOND);
    assert_eq!(simulation.count(C, incoming), 1, "{}", simulation.transcript());
    assert_eq!((simulation.count(A, joined), simulation.count(B, joined)), (1, 1));
}

#[test]
fn a_removed_participant_stays_out_and_receives_nothing_more() {
    let mut simulation = Simulation::new(3, 30);
    let call = connected(&mut simulation, &[B, C]);
    let carol = simulation.did(C);
    simulation.act(A, |machine, now| machine.remove(now, carol)).unwrap();
    simulation.until(C, SECOND, "removed", ended_with(EndReason::Removed));
    for node in [A, B] {
        simulation.until(node, SECOND, "left", |event| {
            matches!(event, Event::ParticipantLeft { reason: LeftReason::Removed, .. })
        });
    }
    simulation.advance(60 * SECOND);
    idle(&simulation, C);
    assert!(simulation.act(C, |machine, now| machine.answer(now, call)).is_err());
    assert!(simulation.act(A, |machine, now| machine.add(now, carol)).is_err(), "removal is for good");
    assert_eq!((simulation.paths.open_at(A), simulation.paths.open_at(B)), (1, 1));
    simulation.advance(30 * SECOND);
    assert_eq!((simulation.count(A, ended), simulation.count(B, ended)), (0, 0));
}

#[test]
fn a_person_that_is_removed_while_away_is_sent_no_notice_with_the_calls_secret() {
    for removed in [true, false] {
        let mut simulation = Simulation::new(3, 36);
        simulation.nodes[C].online = false;
        let call = simulation.offer(A, &[B, C]);
        simulation.until(B, SECOND, "incoming", incoming);
        simulation.answer(B, call);
        simulation.until(A, 70 * SECOND, "unanswered", |event| matches!(event, Event::ParticipantUnanswered { .. }));
        if removed {
            let carol = simulation.did(C);
            simulation.act(A, |machine, now| machine.remove(now, carol)).unwrap();
        }
        let offers = |simulation: &Simulation| simulation.sent.iter().filter(|sent| **sent == (A, Kind::Offer)).count();
        let before = offers(&simulation);
        simulation.go_online(C);
        simulation.advance(5 * SECOND);
        assert_eq!(offers(&simulation) == before, removed, "{}", simulation.transcript());
    }
}

/// Four people whose messages travel in envelopes; the fourth was not called.
fn sealed(seed: u64) -> Simulation {
    let devices = [(1, 1), (2, 2), (3, 3), (4, 4)];
    let (network, settings) = (Network::PERFECT, CallSettings::default());
    Simulation::configured(SimulationConfig { devices: &devices, seed, network, settings, sealed: true })
}

fn topic(simulation: &Simulation, node: usize, call: CallId) -> Option<Topic> {
    simulation.nodes[node].topic_of(&call)
}

/// Three people are connected, and A removes C.
fn removed(simulation: &mut Simulation) -> CallId {
    let call = connected(simulation, &[B, C]);
    let carol = simulation.did(C);
    simulation.act(A, |machine, now| machine.remove(now, carol)).unwrap();
    call
}

#[test]
fn after_a_removal_nothing_is_said_on_a_topic_that_the_removed_one_knows() {
    let mut simulation = sealed(37);
    let call = removed(&mut simulation);
    let old = topic(&simulation, C, call).unwrap();
    simulation.until(C, SECOND, "removed", ended_with(EndReason::Removed));
    simulation.advance(SECOND);
    assert!(topic(&simulation, A, call) == topic(&simulation, B, call) && topic(&simulation, A, call) != Some(old));
    let (before, late) = (simulation.published.len(), simulation.now + 29 * SECOND);
    simulation.act(A, |machine, now| machine.set_muted(now, true));
    simulation.advance(20 * SECOND);
    let theirs = |envelope: &&std::rc::Rc<blink_sim::simulation::Envelope>| {
        envelope.topic == old && envelope.origin != simulation.nodes[C].origin()
    };
    assert_eq!(simulation.published[before..].iter().filter(theirs).count(), 0, "{}", simulation.transcript());
    assert!(simulation.nodes[A].subscribes(&old), "for those who are behind");
    simulation.advance(late - simulation.now + SECOND);
    assert!(!simulation.nodes[A].subscribes(&old) && !simulation.nodes[B].subscribes(&old));
    assert_eq!(simulation.count(A, left), 1, "{}", simulation.transcript());
}

#[test]
fn a_member_that_missed_a_new_secret_is_given_it_once_reachable() {
    // Nothing lost, less than a lease, and longer.
    for seconds in [0, 5, 20, 50] {
        let mut simulation = Simulation::new(4, 38);
        let call = connected(&mut simulation, &[B, C, 3]);
        simulation.cut_signaling.extend([(A, B), (B, A), (3, B), (B, 3)]);
        simulation.paths.cut.extend([(A, B), (B, 3)]);
        let carol = simulation.did(C);
        simulation.act(A, |machine, now| machine.remove(now, carol)).unwrap();
        simulation.advance(seconds * SECOND);
        assert_ne!(topic(&simulation, A, call), topic(&simulation, B, call));
        simulation.cut_signaling.clear();
        simulation.paths.cut.clear();
        simulation.advance(40 * SECOND);
        let topics = [A, B, 3].map(|node| topic(&simulation, node, call));
        assert!(topics.iter().all(|topic| *topic == topics[0]), "after {seconds} s\n{}", simulation.transcript());
        for node in [A, B, 3] {
            assert_eq!(simulation.paths.open_at(node), 2, "after {seconds} s\n{}", simulation.transcript());
        }
    }
}

#[test]
fn two_removals_at_once_on_a_bad_network_end_on_one_topic() {
    for seed in 0..10 {
        let mut simulation = Simulation::new(4, seed);
        let call = connected(&mut simulation, &[B, C, 3]);
        simulation.network = Network::ROUGH;
        for removed in [C, 3] {
            let did = simulation.did(removed);
            simulation.act(A, |machine, now| machine.remove(now, did)).unwrap();
        }
        simulation.advance(30 * SECOND);
        assert_eq!(
            topic(&simulation, A, call),
            topic(&simulation, B, call),
            "seed {seed}\n{}",
            simulation.transcript()
        );
        assert_eq!(
            (simulation.paths.open_at(A), simulation.paths.open_at(B)),
            (1, 1),
            "seed {seed}\n{}",
            simulation.transcript()
        );
    }
}

#[test]
fn who_is_invited_or_comes_back_after_a_removal_joins_on_the_new_topic() {
    for network in [Network::PERFECT, Network::ROUGH] {
        let mut simulation = Simulation::new(4, 39);
        let call = connected(&mut simulation, &[B, C]);
        let (carol, dave) = (simulation.did(C), simulation.did(3));
        // One rings, the other left, when the secret changes.
        simulation.act(A, |machine, now| machine.add(now, dave)).unwrap();
        simulation.until(3, 5 * SECOND, "incoming", incoming);
        simulation.leave(B);
        simulation.advance(SECOND);
        simulation.network = network;
        simulation.act(A, |machine, now| machine.remove(now, carol)).unwrap();
        simulation.answer(B, call);
        simulation.answer(3, call);
        simulation.advance(20 * SECOND);
        let topics = [A, B, 3].map(|node| topic(&simulation, node, call));
        assert!(topics.iter().all(|topic| topic.is_some() && *topic == topics[0]), "{}", simulation.transcript());
        for node in [A, B, 3] {
            assert_eq!(simulation.paths.open_at(node), 2, "{}", simulation.transcript());
        }
    }
}

#[test]
fn a_restart_comes_back_on_the_topic_of_the_newest_secret() {
    let mut simulation = Simulation::new(4, 40);
    let call = connected(&mut simulation, &[B, C, 3]);
    let carol = simulation.did(C);
    simulation.act(A, |machine, now| machine.remove(now, carol)).unwrap();
    simulation.advance(2 * SECOND);
    simulation.restart_with_memory(B);
    simulation.advance(SECOND);
    simulation.answer(B, call);
    simulation.advance(5 * SECOND);
    assert_eq!(topic(&simulation, A, call), topic(&simulation, B, call));
    assert_eq!(simulation.paths.open_at(B), 2, "{}", simulation.transcript());
}
