//! Faults: what is lost, late, cut, gone or comes twice.

use std::time::Duration;

use blink_api::CallSettings;
use blink_proto::call::{EndReason, Event, LeftReason, ParticipantStatus};
use blink_proto::secure::{AgreementKey, Channel};
use blink_proto::wire::{Body, StaleBoot, WireEndpoint};
use blink_sim::simulation::{Network, Simulation};

use crate::{A, B, C, SECOND, connected, ended, ended_with, idle, incoming, joined, left};

#[test]
fn a_cancel_that_overtakes_its_offer_never_rings() {
    let mut world = Simulation::new(2, 13);
    world.nodes[B].online = false;
    world.offer(A, &[B]);
    world.advance(Duration::from_millis(10));
    world.leave(A);
    world.nodes[B].online = true;
    world.advance(SECOND);
    world.replay_all();
    world.advance(60 * SECOND);
    assert_eq!(world.nodes[B].events, []);
}

#[test]
fn an_invitee_who_starts_late_is_rung_at_once() {
    let mut world = Simulation::new(2, 14);
    world.nodes[B].online = false;
    world.offer(A, &[B]);
    world.advance(5 * SECOND);
    world.go_online(B);
    world.until(B, Duration::from_millis(50), "incoming", incoming);
}

#[test]
fn an_invitee_who_starts_after_the_end_learns_of_the_missed_call_and_nothing_rings() {
    for leaves in [true, false] {
        let mut world = Simulation::new(2, 31);
        world.nodes[B].online = false;
        world.offer(A, &[B]);
        world.advance(5 * SECOND);
        if leaves {
            world.leave(A);
        }
        world.advance(120 * SECOND);
        world.go_online(B);
        world.until(B, SECOND, "missed", |event| matches!(event, Event::MissedCall { .. }));
        for _ in 0..3 {
            world.advance(60 * SECOND);
            world.go_online(B);
        }
        assert_eq!(world.nodes[B].events.len(), 1, "{}", world.transcript());
        idle(&world, A);
        idle(&world, B);
    }
}

#[test]
fn a_replay_of_everything_changes_nothing() {
    let mut world = Simulation::new(2, 15);
    connected(&mut world, &[B]);
    world.leave(A);
    world.advance(60 * SECOND);
    let told: Vec<_> = world.nodes.iter().map(|node| node.events.clone()).collect();
    world.replay_all();
    world.advance(60 * SECOND);
    for node in [A, B] {
        assert_eq!(world.nodes[node].events, told[node]);
        idle(&world, node);
    }
}

#[test]
fn a_silent_restart_ends_the_old_call_and_rings_the_new_one() {
    let mut world = Simulation::new(2, 19);
    let old = connected(&mut world, &[B]);
    world.restart(A);
    let new = world.offer(A, &[B]);
    world.until(B, SECOND, "ended", |event| matches!(event, Event::CallEnded { call, .. } if *call == old));
    world.until(B, SECOND, "incoming", |event| matches!(event, Event::IncomingCall { call, .. } if *call == new));
    world.answer(B, new);
    world.advance(2 * SECOND);
    assert_eq!((world.count(A, joined), world.count(B, joined)), (2, 2), "{}", world.transcript());
}

#[test]
fn a_crash_is_noticed_and_the_others_go_on() {
    let mut world = Simulation::new(3, 20);
    connected(&mut world, &[B, C]);
    world.nodes[C].online = false;
    world.paths.cut.extend([(A, C), (B, C)]);
    world.cut_signaling.extend([(C, A), (C, B)]);
    for node in [A, B] {
        world.until(node, 4 * SECOND, "reconnecting", |event| matches!(event, Event::ParticipantReconnecting { .. }));
        world.until(node, 35 * SECOND, "timed out", |event| {
            matches!(event, Event::ParticipantLeft { reason: LeftReason::TimedOut, .. })
        });
        assert_eq!(world.count(node, ended), 0);
    }
    let snapshot = world.nodes[A].machine.snapshot();
    let status = |node: usize| snapshot.calls[0].participants.iter().find(|p| p.did == world.did(node)).unwrap().status;
    assert_eq!((status(B), status(C)), (ParticipantStatus::Connected, ParticipantStatus::Left));
}

#[test]
fn a_blackout_is_reconnecting_then_reconnected_never_left() {
    for seconds in [5, 20] {
        let mut world = Simulation::new(2, 21);
        connected(&mut world, &[B]);
        world.paths.cut.insert((A, B));
        world.cut_signaling.extend([(A, B), (B, A)]);
        world.advance(seconds * SECOND);
        world.paths.cut.clear();
        world.cut_signaling.clear();
        for node in [A, B] {
            world.until(node, 2 * SECOND, "reconnected", |event| matches!(event, Event::ParticipantReconnected { .. }));
        }
        world.advance(60 * SECOND);
        for node in [A, B] {
            assert_eq!(world.count(node, |event| left(event) || ended(event)), 0, "{}", world.transcript());
        }
    }
}

#[test]
fn media_gone_while_signaling_lives_ends_a_call_of_two_after_a_minute() {
    let mut world = Simulation::new(2, 22);
    connected(&mut world, &[B]);
    world.paths.cut.insert((A, B));
    world.advance(50 * SECOND);
    assert_eq!(world.count(A, ended) + world.count(B, ended), 0, "{}", world.transcript());
    world.advance(20 * SECOND);
    let failed = world.count(A, ended_with(EndReason::Failed)) + world.count(B, ended_with(EndReason::Failed));
    assert!(failed >= 1, "{}", world.transcript());
    assert_eq!((world.count(A, ended), world.count(B, ended)), (1, 1));
}

#[test]
fn two_in_a_group_who_were_cut_apart_find_each_other_again() {
    for seconds in [20, 40, 59, 90, 200, 400] {
        let mut world = Simulation::new(3, 36);
        connected(&mut world, &[B, C]);
        world.leave(C);
        world.advance(5 * SECOND);
        world.paths.cut.insert((A, B));
        world.cut_signaling.extend([(A, B), (B, A)]);
        world.advance(seconds * SECOND);
        world.paths.cut.clear();
        world.cut_signaling.clear();
        world.advance(20 * SECOND);
        for node in [A, B] {
            let snapshot = world.nodes[node].machine.snapshot();
            let other = world.did(1 - node);
            let status = snapshot.calls[0].participants.iter().find(|person| person.did == other).unwrap().status;
            assert_eq!(status, ParticipantStatus::Connected, "after {seconds} s\n{}", world.transcript());
        }
    }
}

#[test]
fn a_device_that_lost_its_count_is_told_so_and_its_calls_ring() {
    let mut world = Simulation::new(2, 39);
    world.restart_as(A, 1_000, false);
    let call = connected(&mut world, &[B]);
    world.leave(A);
    world.advance(20 * SECOND);
    // Its storage is gone, and its clock wrong.
    world.restart_as(A, 5, false);
    let new = world.offer(A, &[B]);
    assert_ne!(call, new);
    world.until(B, 5 * SECOND, "incoming", |event| matches!(event, Event::IncomingCall { call, .. } if *call == new));
    assert_eq!(world.nodes[A].boot, 1_001);
    world.answer(B, new);
    world.until(
        A,
        5 * SECOND,
        "joined",
        |event| matches!(event, Event::ParticipantJoined { call, .. } if *call == new),
    );
}

#[test]
fn who_is_not_in_its_call_tells_a_device_nothing_about_its_count() {
    let mut world = Simulation::new(3, 40);
    let call = connected(&mut world, &[B]);
    let endpoint = WireEndpoint(world.nodes[A].endpoint);
    let recipient = AgreementKey::public_of(&world.did(A)).unwrap();
    let behind = Body::StaleBoot(StaleBoot { endpoint, boot: 1_000 });
    world.send_raw(C, Channel::Inbox(world.did(A)), &[recipient], call, behind.clone());
    world.advance(SECOND);
    assert_eq!(world.nodes[A].boot, 1, "a stranger says so");
    world.send_raw(B, Channel::Inbox(world.did(A)), &[recipient], call, behind);
    world.advance(SECOND);
    assert_eq!(world.nodes[A].boot, 1_001, "a member says so");
    assert_eq!((world.count(A, ended), world.count(B, ended)), (0, 0), "{}", world.transcript());
}

#[test]
fn a_session_that_dies_in_a_group_is_made_anew() {
    for broken in [A, B] {
        let mut world = Simulation::new(3, 37);
        connected(&mut world, &[B, C]);
        world.network.impairments.loss = 0.5;
        world.break_session(broken, 1 - broken);
        world.advance(90 * SECOND);
        for node in [A, B] {
            let snapshot = world.nodes[node].machine.snapshot();
            let connected = |status| status == ParticipantStatus::Connected;
            assert!(
                snapshot.calls[0].participants.iter().all(|person| connected(person.status)),
                "{}",
                world.transcript()
            );
            assert_eq!(world.paths.open_at(node), 2);
        }
    }
}

#[test]
fn a_caller_who_is_gone_at_once_is_not_told_of_its_own_call() {
    let mut world = Simulation::new(2, 38);
    let call = world.offer(A, &[B]);
    world.until(B, SECOND, "incoming", incoming);
    world.nodes[A].online = false;
    world.cut_signaling.extend([(A, B), (B, A)]);
    world.answer(B, call);
    world.until(B, 20 * SECOND, "unreachable", ended_with(EndReason::Unreachable));
    world.restart(A);
    world.cut_signaling.clear();
    world.go_online(A);
    world.advance(60 * SECOND);
    assert_eq!(world.nodes[A].events, [], "{}", world.transcript());
}

#[test]
fn signaling_gone_while_media_lives_does_no_harm_and_state_still_travels() {
    let mut world = Simulation::new(2, 23);
    connected(&mut world, &[B]);
    world.cut_signaling.extend([(A, B), (B, A)]);
    world.advance(60 * SECOND);
    world.act(A, |machine, now| machine.set_muted(now, true));
    world.until(B, SECOND, "muted", |event| matches!(event, Event::ParticipantStateChanged { .. }));
    assert_eq!(world.count(A, |event| left(event) || ended(event)), 0, "{}", world.transcript());
}

#[test]
fn a_session_that_cannot_connect_ends_a_call_of_two_on_both_sides() {
    for broken in [A, B] {
        let mut world = Simulation::new(2, 24);
        world.paths.broken.insert(broken);
        let call = world.offer(A, &[B]);
        world.until(B, SECOND, "incoming", incoming);
        world.answer(B, call);
        // Only the side that answers descriptions can fail to; where the other one makes the offer
        // nothing is broken.
        world.advance(40 * SECOND);
        let is_offerer = if world.nodes[A].endpoint > world.nodes[B].endpoint { A } else { B };
        if broken == is_offerer {
            assert_eq!((world.count(A, joined), world.count(B, joined)), (1, 1));
        } else {
            assert_eq!((world.count(A, ended), world.count(B, ended)), (1, 1), "{}", world.transcript());
            assert_eq!(world.count(broken, ended_with(EndReason::Failed)), 1);
            idle(&world, A);
        }
    }
}

#[test]
fn lost_duplicated_and_reordered_messages_change_nothing_in_the_end() {
    for seed in 0..60 {
        let mut world = Simulation::with(3, seed, Network::ROUGH, CallSettings::default());
        let call = connected(&mut world, &[B, C]);
        for node in 0..3 {
            assert_eq!(world.count(node, incoming), usize::from(node != A), "seed {seed}\n{}", world.transcript());
        }
        world.network = Network::PERFECT;
        world.leave(A);
        world.advance(20 * SECOND);
        assert_eq!((world.count(B, left), world.count(C, left)), (1, 1), "seed {seed}\n{}", world.transcript());
        assert_eq!(world.nodes[B].machine.current(), Some(call));
        world.leave(B);
        world.advance(SECOND);
        world.leave(C);
        world.advance(60 * SECOND);
        (0..3).for_each(|node| idle(&world, node));
    }
}
