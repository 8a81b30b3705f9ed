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
    let mut simulation = Simulation::new(2, 13);
    simulation.nodes[B].online = false;
    simulation.offer(A, &[B]);
    simulation.advance(Duration::from_millis(10));
    simulation.leave(A);
    simulation.nodes[B].online = true;
    simulation.advance(SECOND);
    simulation.replay_all();
    simulation.advance(60 * SECOND);
    assert_eq!(simulation.nodes[B].events, []);
}

#[test]
fn an_invitee_who_starts_late_is_rung_at_once() {
    let mut simulation = Simulation::new(2, 14);
    simulation.nodes[B].online = false;
    simulation.offer(A, &[B]);
    simulation.advance(5 * SECOND);
    simulation.go_online(B);
    simulation.until(B, Duration::from_millis(50), "incoming", incoming);
}

#[test]
fn an_invitee_who_starts_after_the_end_learns_of_the_missed_call_and_nothing_rings() {
    for leaves in [true, false] {
        let mut simulation = Simulation::new(2, 31);
        simulation.nodes[B].online = false;
        simulation.offer(A, &[B]);
        simulation.advance(5 * SECOND);
        if leaves {
            simulation.leave(A);
        }
        simulation.advance(120 * SECOND);
        simulation.go_online(B);
        simulation.until(B, SECOND, "missed", |event| matches!(event, Event::MissedCall { .. }));
        let started = [A, B].map(|node| simulation.nodes[node].machine.history()[0].started_ms);
        assert!(started[0].abs_diff(started[1]) < 1_000, "the time of the call, not of the notice: {started:?}");
        for _ in 0..3 {
            simulation.advance(60 * SECOND);
            simulation.go_online(B);
        }
        assert_eq!(simulation.nodes[B].events.len(), 1, "{}", simulation.transcript());
        idle(&simulation, A);
        idle(&simulation, B);
    }
}

#[test]
fn a_replay_of_everything_changes_nothing() {
    let mut simulation = Simulation::new(2, 15);
    connected(&mut simulation, &[B]);
    simulation.leave(A);
    simulation.advance(60 * SECOND);
    let told: Vec<_> = simulation.nodes.iter().map(|node| node.events.clone()).collect();
    simulation.replay_all();
    simulation.advance(60 * SECOND);
    for node in [A, B] {
        assert_eq!(simulation.nodes[node].events, told[node]);
        idle(&simulation, node);
    }
}

#[test]
fn a_silent_restart_ends_the_old_call_and_rings_the_new_one() {
    let mut simulation = Simulation::new(2, 19);
    let old = connected(&mut simulation, &[B]);
    simulation.restart(A);
    let new = simulation.offer(A, &[B]);
    simulation.until(B, SECOND, "ended", |event| matches!(event, Event::CallEnded { call, .. } if *call == old));
    simulation.until(B, SECOND, "incoming", |event| matches!(event, Event::IncomingCall { call, .. } if *call == new));
    simulation.answer(B, new);
    simulation.advance(2 * SECOND);
    assert_eq!((simulation.count(A, joined), simulation.count(B, joined)), (2, 2), "{}", simulation.transcript());
}

#[test]
fn a_crash_is_noticed_and_the_others_go_on() {
    let mut simulation = Simulation::new(3, 20);
    connected(&mut simulation, &[B, C]);
    simulation.nodes[C].online = false;
    simulation.paths.cut.extend([(A, C), (B, C)]);
    simulation.cut_signaling.extend([(C, A), (C, B)]);
    for node in [A, B] {
        simulation
            .until(node, 4 * SECOND, "reconnecting", |event| matches!(event, Event::ParticipantReconnecting { .. }));
        simulation.until(node, 35 * SECOND, "timed out", |event| {
            matches!(event, Event::ParticipantLeft { reason: LeftReason::TimedOut, .. })
        });
        assert_eq!(simulation.count(node, ended), 0);
    }
    let snapshot = simulation.nodes[A].machine.snapshot();
    let status =
        |node: usize| snapshot.calls[0].participants.iter().find(|p| p.did == simulation.did(node)).unwrap().status;
    assert_eq!((status(B), status(C)), (ParticipantStatus::Connected, ParticipantStatus::Left));
}

#[test]
fn a_blackout_is_reconnecting_then_reconnected_never_left() {
    for seconds in [5, 20] {
        let mut simulation = Simulation::new(2, 21);
        connected(&mut simulation, &[B]);
        simulation.paths.cut.insert((A, B));
        simulation.cut_signaling.extend([(A, B), (B, A)]);
        simulation.advance(seconds * SECOND);
        simulation.paths.cut.clear();
        simulation.cut_signaling.clear();
        for node in [A, B] {
            simulation
                .until(node, 2 * SECOND, "reconnected", |event| matches!(event, Event::ParticipantReconnected { .. }));
        }
        simulation.advance(60 * SECOND);
        for node in [A, B] {
            assert_eq!(simulation.count(node, |event| left(event) || ended(event)), 0, "{}", simulation.transcript());
        }
    }
}

#[test]
fn media_gone_while_signaling_lives_ends_a_call_of_two_after_a_minute() {
    let mut simulation = Simulation::new(2, 22);
    connected(&mut simulation, &[B]);
    simulation.paths.cut.insert((A, B));
    simulation.advance(50 * SECOND);
    assert_eq!(simulation.count(A, ended) + simulation.count(B, ended), 0, "{}", simulation.transcript());
    simulation.advance(20 * SECOND);
    let failed =
        simulation.count(A, ended_with(EndReason::Failed)) + simulation.count(B, ended_with(EndReason::Failed));
    assert!(failed >= 1, "{}", simulation.transcript());
    assert_eq!((simulation.count(A, ended), simulation.count(B, ended)), (1, 1));
}

#[test]
fn two_in_a_group_who_were_cut_apart_find_each_other_again() {
    for seconds in [20, 40, 59, 90, 200, 400] {
        let mut simulation = Simulation::new(3, 36);
        connected(&mut simulation, &[B, C]);
        simulation.leave(C);
        simulation.advance(5 * SECOND);
        simulation.paths.cut.insert((A, B));
        simulation.cut_signaling.extend([(A, B), (B, A)]);
        simulation.advance(seconds * SECOND);
        simulation.paths.cut.clear();
        simulation.cut_signaling.clear();
        simulation.advance(20 * SECOND);
        for node in [A, B] {
            let snapshot = simulation.nodes[node].machine.snapshot();
            let other = simulation.did(1 - node);
            let status = snapshot.calls[0].participants.iter().find(|person| person.did == other).unwrap().status;
            assert_eq!(status, ParticipantStatus::Connected, "after {seconds} s\n{}", simulation.transcript());
        }
    }
}

#[test]
fn a_device_that_lost_its_count_is_told_so_and_its_calls_ring() {
    let mut simulation = Simulation::new(2, 39);
    simulation.restart_as(A, 1_000, false);
    let call = connected(&mut simulation, &[B]);
    simulation.leave(A);
    simulation.advance(20 * SECOND);
    // Its storage is gone, and its clock wrong.
    simulation.restart_as(A, 5, false);
    let new = simulation.offer(A, &[B]);
    assert_ne!(call, new);
    simulation.until(
        B,
        5 * SECOND,
        "incoming",
        |event| matches!(event, Event::IncomingCall { call, .. } if *call == new),
    );
    assert_eq!(simulation.nodes[A].boot, 1_001);
    simulation.answer(B, new);
    simulation.until(
        A,
        5 * SECOND,
        "joined",
        |event| matches!(event, Event::ParticipantJoined { call, .. } if *call == new),
    );
}

#[test]
fn who_is_not_in_its_call_tells_a_device_nothing_about_its_count() {
    let mut simulation = Simulation::new(3, 40);
    let call = connected(&mut simulation, &[B]);
    let endpoint = WireEndpoint(simulation.nodes[A].endpoint);
    let recipient = AgreementKey::public_of(&simulation.did(A)).unwrap();
    let behind = Body::StaleBoot(StaleBoot { endpoint, boot: 1_000 });
    simulation.send_raw(C, Channel::Inbox(simulation.did(A)), &[recipient], call, behind.clone());
    simulation.advance(SECOND);
    assert_eq!(simulation.nodes[A].boot, 1, "a stranger says so");
    simulation.send_raw(B, Channel::Inbox(simulation.did(A)), &[recipient], call, behind);
    simulation.advance(SECOND);
    assert_eq!(simulation.nodes[A].boot, 1_001, "a member says so");
    assert_eq!((simulation.count(A, ended), simulation.count(B, ended)), (0, 0), "{}", simulation.transcript());
}

#[test]
fn a_session_that_dies_in_a_group_is_made_anew() {
    for broken in [A, B] {
        let mut simulation = Simulation::new(3, 37);
        connected(&mut simulation, &[B, C]);
        simulation.network.impairments.loss = 0.5;
        simulation.break_session(broken, 1 - broken);
        simulation.advance(90 * SECOND);
        for node in [A, B] {
            let snapshot = simulation.nodes[node].machine.snapshot();
            let connected = |status| status == ParticipantStatus::Connected;
            assert!(
                snapshot.calls[0].participants.iter().all(|person| connected(person.status)),
                "{}",
                simulation.transcript()
            );
            assert_eq!(simulation.paths.open_at(node), 2);
        }
    }
}

#[test]
fn a_caller_who_is_gone_at_once_is_not_told_of_its_own_call() {
    let mut simulation = Simulation::new(2, 38);
    let call = simulation.offer(A, &[B]);
    simulation.until(B, SECOND, "incoming", incoming);
    simulation.nodes[A].online = false;
    simulation.cut_signaling.extend([(A, B), (B, A)]);
    simulation.answer(B, call);
    simulation.until(B, 20 * SECOND, "unreachable", ended_with(EndReason::Unreachable));
    simulation.restart(A);
    simulation.cut_signaling.clear();
    simulation.go_online(A);
    simulation.advance(60 * SECOND);
    assert_eq!(simulation.nodes[A].events, [], "{}", simulation.transcript());
}

#[test]
fn signaling_gone_while_media_lives_does_no_harm_and_state_still_travels() {
    let mut simulation = Simulation::new(2, 23);
    connected(&mut simulation, &[B]);
    simulation.cut_signaling.extend([(A, B), (B, A)]);
    simulation.advance(60 * SECOND);
    simulation.act(A, |machine, now| machine.set_muted(now, true));
    simulation.until(B, SECOND, "muted", |event| matches!(event, Event::ParticipantStateChanged { .. }));
    assert_eq!(simulation.count(A, |event| left(event) || ended(event)), 0, "{}", simulation.transcript());
}

#[test]
fn a_session_that_cannot_connect_ends_a_call_of_two_on_both_sides() {
    for broken in [A, B] {
        let mut simulation = Simulation::new(2, 24);
        simulation.paths.broken.insert(broken);
        let call = simulation.offer(A, &[B]);
        simulation.until(B, SECOND, "incoming", incoming);
        simulation.answer(B, call);
        // Only the side that answers descriptions can fail to; where the other one makes the offer
        // nothing is broken.
        simulation.advance(40 * SECOND);
        let is_offerer = if simulation.nodes[A].endpoint > simulation.nodes[B].endpoint { A } else { B };
        if broken == is_offerer {
            assert_eq!((simulation.count(A, joined), simulation.count(B, joined)), (1, 1));
        } else {
            assert_eq!((simulation.count(A, ended), simulation.count(B, ended)), (1, 1), "{}", simulation.transcript());
            assert_eq!(simulation.count(broken, ended_with(EndReason::Failed)), 1);
            idle(&simulation, A);
        }
    }
}

#[test]
fn lost_duplicated_and_reordered_messages_change_nothing_in_the_end() {
    for seed in 0..60 {
        let mut simulation = Simulation::with(3, seed, Network::ROUGH, CallSettings::default());
        let call = connected(&mut simulation, &[B, C]);
        for node in 0..3 {
            assert_eq!(
                simulation.count(node, incoming),
                usize::from(node != A),
                "seed {seed}\n{}",
                simulation.transcript()
            );
        }
        simulation.network = Network::PERFECT;
        simulation.leave(A);
        simulation.advance(20 * SECOND);
        assert_eq!(
            (simulation.count(B, left), simulation.count(C, left)),
            (1, 1),
            "seed {seed}\n{}",
            simulation.transcript()
        );
        assert_eq!(simulation.nodes[B].machine.current(), Some(call));
        simulation.leave(B);
        simulation.advance(SECOND);
        simulation.leave(C);
        simulation.advance(60 * SECOND);
        (0..3).for_each(|node| idle(&simulation, node));
    }
}
