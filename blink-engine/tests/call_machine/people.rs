//! Who takes part changes: devices, invitations, removals.

use blink_api::CallSettings;
use blink_engine::call::{CancelledReason, EndReason, Event, LeftReason};
use blink_engine::wire::Kind;

use crate::world::{Network, World};
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
    assert_eq!((world.count(A, joined), world.count(A, left), world.paths.open_at(A)), (1, 0, 1), "{}", world.story());
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
    let mut world = World::of_devices(&devices, 28, Network::PERFECT, CallSettings::default());
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
        assert_eq!((world.count(node, joined), world.count(node, left)), (3, 1), "{}", world.story());
        assert_eq!(world.paths.open_at(node), 2);
    }
    assert_eq!((world.count(C, joined), world.paths.open_at(B)), (2, 0));
}

#[test]
fn somebody_added_rings_joins_and_meets_everybody() {
    for network in [Network::PERFECT, Network::ROUGH] {
        let mut world = World::with(4, 29, network, CallSettings::default());
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
            world.story()
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
    let mut world = World::new(3, 33);
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
    let mut world = World::new(3, 35);
    world.nodes[B].online = false;
    let call = world.offer(A, &[B, C]);
    world.until(C, SECOND, "incoming", incoming);
    world.reject(C, call);
    world.advance(2 * SECOND);
    world.go_online(B);
    world.until(B, SECOND, "incoming", incoming);
    world.answer(B, call);
    world.advance(90 * SECOND);
    assert_eq!(world.count(C, incoming), 1, "{}", world.story());
    assert_eq!((world.count(A, joined), world.count(B, joined)), (1, 1));
}

#[test]
fn somebody_removed_is_out_for_good_and_hears_nothing_more() {
    let mut world = World::new(3, 30);
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
        let mut world = World::new(3, 36);
        world.nodes[C].online = false;
        let call = world.offer(A, &[B, C]);
        world.until(B, SECOND, "incoming", incoming);
        world.answer(B, call);
        world.until(A, 70 * SECOND, "unanswered", |event| matches!(event, Event::ParticipantUnanswered { .. }));
        if removed {
            let carol = world.did(C);
            world.act(A, |machine, now| machine.remove(now, carol)).unwrap();
        }
        let offers = |world: &World| world.sent.iter().filter(|sent| **sent == (A, Kind::Offer)).count();
        let before = offers(&world);
        world.go_online(C);
        world.advance(5 * SECOND);
        assert_eq!(offers(&world) == before, removed, "{}", world.story());
    }
}
