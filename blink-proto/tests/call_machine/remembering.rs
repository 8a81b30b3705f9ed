//! Devices that start anew: what they remember, what the others see, and what no restart brings
//! back.

use std::time::Duration;

use blink_api::{CallId, CallSettings};
use blink_proto::call::{
    CallOutcome, CallState, CancelledReason, EndReason, Event, Input, LeftReason, ParticipantStatus, Signal,
};
use blink_proto::secure::{Channel, Identity, sign_call_key};
use blink_proto::wire::{Body, Member, Record, Seen, Status};
use blink_sim::simulation::{Network, Simulation, UNIX_MS};

use crate::{A, B, C, SECOND, cancelled_with, connected, ended, ended_with, idle, incoming, joined};

const HOUR: Duration = Duration::from_secs(3_600);

fn missed(event: &Event) -> bool {
    matches!(event, Event::MissedCall { .. })
}

#[test]
fn a_call_that_rang_does_not_ring_again_and_can_be_answered() {
    let mut simulation = Simulation::new(2, 60);
    let call = simulation.offer(A, &[B]);
    simulation.until(B, SECOND, "incoming", incoming);
    simulation.restart_with_memory(B);
    simulation.advance(20 * SECOND);
    assert_eq!((simulation.count(B, incoming), simulation.nodes[B].machine.pending()), (1, vec![call]));
    simulation.answer(B, call);
    simulation.until(A, SECOND, "joined", joined);
    simulation.until(B, SECOND, "joined", joined);
}

#[test]
fn a_call_that_never_rang_rings_after_a_restart() {
    let mut simulation = Simulation::new(2, 61);
    simulation.nodes[B].online = false;
    simulation.offer(A, &[B]);
    simulation.advance(5 * SECOND);
    simulation.restart_with_memory(B);
    simulation.until(B, 5 * SECOND, "incoming", incoming);
}

#[test]
fn a_ringing_call_that_was_given_up_meanwhile_is_missed() {
    let mut simulation = Simulation::new(2, 62);
    simulation.offer(A, &[B]);
    simulation.until(B, SECOND, "incoming", incoming);
    // Nothing is said of it any more.
    simulation.cut_signaling.insert((A, B));
    simulation.leave(A);
    simulation.advance(SECOND);
    simulation.restart_with_memory(B);
    assert_eq!(simulation.nodes[B].machine.pending().len(), 1);
    simulation.until(B, 31 * SECOND, "missed", missed);
    idle(&simulation, B);
    assert_eq!(simulation.nodes[B].machine.history()[0].outcome, CallOutcome::Missed);
}

#[test]
fn what_was_rejected_missed_or_cancelled_does_not_ring_again() {
    for deed in 0..3 {
        let mut simulation = Simulation::new(2, 63);
        let call = simulation.offer(A, &[B]);
        simulation.until(B, SECOND, "incoming", incoming);
        match deed {
            0 => {
                // Nothing receives the cancel, so the offer continues.
                simulation.cut_signaling.insert((B, A));
                simulation.reject(B, call);
            }
            1 => {
                simulation.cut_signaling.insert((A, B));
                simulation.until(B, 31 * SECOND, "the lease is over", missed);
            }
            _ => {
                simulation.leave(A);
                simulation.until(B, SECOND, "cancelled", cancelled_with(CancelledReason::CallerLeft));
            }
        }
        simulation.restart_with_memory(B);
        simulation.cut_signaling.clear();
        simulation.advance(90 * SECOND);
        simulation.replay_all();
        simulation.advance(5 * SECOND);
        assert_eq!(simulation.count(B, incoming), 1, "deed {deed}\n{}", simulation.transcript());
        idle(&simulation, A);
        idle(&simulation, B);
    }
}

#[test]
fn who_crashed_in_a_group_is_gone_at_once_and_can_come_back() {
    for network in [Network::PERFECT, Network::ROUGH] {
        let mut simulation = Simulation::with(3, 64, network, CallSettings::default());
        let call = connected(&mut simulation, &[B, C]);
        simulation.restart_with_memory(C);
        let restarted = |event: &Event| matches!(event, Event::ParticipantLeft { reason: LeftReason::Restarted, .. });
        for node in [A, B] {
            simulation.until(node, 15 * SECOND, "left", restarted);
        }
        simulation.network = Network::PERFECT;
        simulation.advance(15 * SECOND);
        let snapshot = simulation.nodes[C].machine.snapshot();
        assert_eq!((snapshot.calls.len(), snapshot.calls[0].state), (1, CallState::Open));
        assert!(snapshot.calls[0].participants.iter().all(|other| other.status == ParticipantStatus::Joined));
        simulation.answer(C, call);
        simulation.advance(3 * SECOND);
        let counts = [A, B, C].map(|node| simulation.count(node, joined));
        assert_eq!(counts, [3, 3, 4], "{}", simulation.transcript());
        let unanswered = |event: &Event| matches!(event, Event::ParticipantUnanswered { .. });
        assert_eq!(simulation.count(C, unanswered), 0, "who came long ago is not asked");
    }
}

#[test]
fn who_left_a_group_can_come_back_after_a_restart_and_for_a_day() {
    let mut simulation = Simulation::new(3, 65);
    let call = connected(&mut simulation, &[B, C]);
    simulation.leave(C);
    simulation.advance(20 * SECOND);
    simulation.restart_with_memory(C);
    simulation.advance(23 * HOUR);
    simulation.restart_with_memory(C);
    assert_eq!(simulation.nodes[C].machine.snapshot().calls.len(), 1);
    simulation.advance(SECOND);
    simulation.answer(C, call);
    simulation.advance(3 * SECOND);
    assert_eq!(simulation.count(A, joined), 3, "{}", simulation.transcript());
    simulation.leave(C);
    simulation.advance(20 * SECOND);
    simulation.nodes[C].online = false;
    simulation.advance(25 * HOUR);
    simulation.restart_with_memory(C);
    idle(&simulation, C);
}

#[test]
fn a_crash_in_a_call_of_two_ends_it_for_the_other_one_at_once() {
    let mut simulation = Simulation::new(2, 66);
    let call = connected(&mut simulation, &[B]);
    simulation.restart_with_memory(A);
    simulation.until(B, SECOND, "ended", ended_with(EndReason::RemoteLeft));
    simulation.advance(40 * SECOND);
    idle(&simulation, A);
    idle(&simulation, B);
    assert_eq!(simulation.count(A, ended), 0, "a restart does not repeat the event");
    let entry = &simulation.nodes[A].machine.history()[0];
    assert_eq!((entry.call, entry.outcome, entry.ended_ms), (call, CallOutcome::Answered, None));
}

#[test]
fn a_crash_while_calling_takes_the_offer_back_and_tells_who_missed_it() {
    let mut simulation = Simulation::new(3, 67);
    simulation.nodes[C].online = false;
    simulation.offer(A, &[B, C]);
    simulation.until(B, SECOND, "incoming", incoming);
    simulation.restart_with_memory(A);
    simulation.until(B, SECOND, "cancelled", cancelled_with(CancelledReason::CallerLeft));
    assert_eq!(simulation.nodes[A].machine.history()[0].outcome, CallOutcome::Failed);
    simulation.advance(60 * SECOND);
    simulation.restart_with_memory(A);
    simulation.go_online(C);
    simulation.until(C, SECOND, "missed", missed);
    simulation.advance(60 * SECOND);
    assert_eq!((simulation.count(B, missed), simulation.count(C, missed), simulation.count(C, incoming)), (0, 1, 0));
    (0..3).for_each(|node| idle(&simulation, node));
    simulation.restart_with_memory(A);
    simulation.go_online(C);
    simulation.advance(10 * SECOND);
    assert_eq!(simulation.count(C, missed), 1, "the event is not repeated");
}

/// As of a device without a battery for its clock: what it did before the clock was set is
/// remembered after a restart as anything else.
#[test]
fn a_clock_that_is_set_between_two_starts_costs_nothing_but_time_stamps() {
    let mut simulation = Simulation::new(5, 70);
    // The first hour of 1970.
    for node in [B, C] {
        simulation.nodes[node].clock_error_ms = 1_800_000 - UNIX_MS as i64;
        simulation.restart_with_memory(node);
    }
    let group = connected(&mut simulation, &[B, C]);
    simulation.leave(C);
    let (absent, other) = (3, 4);
    simulation.nodes[absent].online = false;
    simulation.offer(C, &[absent]);
    simulation.advance(5 * SECOND);
    simulation.leave(C);
    let ringing = simulation.offer(other, &[B]);
    let rings = |event: &Event| matches!(event, Event::IncomingCall { call, .. } if *call == ringing);
    simulation.until(B, SECOND, "incoming", rings);
    for node in [B, C] {
        simulation.nodes[node].clock_error_ms = 0;
        simulation.restart_with_memory(node);
    }
    simulation.advance(5 * SECOND);
    assert_eq!(simulation.count(B, rings), 1, "{}", simulation.transcript());
    assert_eq!(simulation.nodes[B].machine.pending(), [ringing], "it rings on");
    for node in [B, C] {
        let calls = simulation.nodes[node].machine.snapshot().calls;
        assert!(calls.iter().any(|call| call.call == group), "the group's call goes on\n{}", simulation.transcript());
    }
    assert_eq!(simulation.nodes[C].machine.history().len(), 2);
    simulation.go_online(absent);
    simulation.advance(10 * SECOND);
    assert_eq!(simulation.count(absent, missed), 1, "an absent callee learns of the missed call");
}

#[test]
fn a_clock_that_jumped_loses_nothing_that_must_not_ring_and_keeps_nothing_for_ever() {
    let year: i64 = 365 * 24 * 3_600_000;
    for jump in [-year, year] {
        let mut simulation = Simulation::new(3, 68);
        let group = connected(&mut simulation, &[B, C]);
        simulation.leave(C);
        let call = simulation.offer(C, &[B]);
        simulation.until(
            B,
            SECOND,
            "incoming",
            |event| matches!(event, Event::IncomingCall { call: of, .. } if *of == call),
        );
        simulation.cut_signaling.insert((B, C));
        simulation.reject(B, call);
        simulation.clock_error_ms = jump;
        for node in [B, C] {
            simulation.restart_with_memory(node);
        }
        simulation.cut_signaling.clear();
        simulation.advance(5 * SECOND);
        let rung = simulation.count(B, |event| matches!(event, Event::IncomingCall { call: of, .. } if *of == call));
        assert_eq!(rung, 1, "jump {jump}\n{}", simulation.transcript());
        assert!(simulation.nodes[B].machine.history().len() == 2);
        let open = simulation.nodes[C].machine.snapshot().calls.iter().any(|open| open.call == group);
        assert_eq!(open, jump < 0, "by the wall clock, the call has expired");
        // Whatever the clocks say: a day later it is forgotten.
        for _ in 0..3 {
            simulation.advance(9 * HOUR);
            simulation.nodes[C].online = false;
            simulation.restart_with_memory(C);
            simulation.nodes[C].online = false;
        }
        idle(&simulation, C);
    }
}

#[test]
fn of_two_calls_that_cross_a_third_person_comes_along_into_the_one_that_goes_on() {
    let mut tried = 0;
    for seed in 0..20 {
        let mut simulation = Simulation::new(3, seed);
        simulation.cut_inboxes.extend([(A, B), (B, A)]);
        let given_up = simulation.offer(A, &[B, C]);
        let goes_on = simulation.offer(B, &[A, C]);
        assert!(simulation.nodes[B].endpoint < simulation.nodes[A].endpoint, "B's call goes on");
        tried += 1;
        simulation.advance(SECOND);
        assert_eq!(simulation.nodes[C].machine.pending().len(), 2);
        simulation.answer(C, given_up);
        simulation.until(C, SECOND, "joined", joined);
        simulation.cut_inboxes.clear();
        let replaced =
            |event: &Event| matches!(event, Event::CallReplaced { old, new } if (*old, *new) == (given_up, goes_on));
        simulation.until(C, 10 * SECOND, "replaced", replaced);
        simulation.advance(5 * SECOND);
        for node in [A, B, C] {
            assert_eq!(
                simulation.nodes[node].machine.current(),
                Some(goes_on),
                "seed {seed}\n{}",
                simulation.transcript()
            );
            assert_eq!(simulation.count(node, ended), 0, "seed {seed}\n{}", simulation.transcript());
            assert_eq!(simulation.paths.open_at(node), 2, "seed {seed}\n{}", simulation.transcript());
        }
    }
    assert!(tried > 3);
}

/// A record of A that lists B as it would have been heard under this boot.
fn having_seen(simulation: &Simulation, call: CallId, boot: u64, version: u64) -> Input {
    let (a, b) = (simulation.nodes[A].endpoint, simulation.nodes[B].endpoint);
    let signed = |node: usize, key| {
        let owner = Identity::from_seed(&[simulation.nodes[node].seed.0; 32]);
        sign_call_key(&owner, &simulation.nodes[node].endpoint.device, &call, &key)
    };
    let seen = vec![Seen { endpoint: b, boot, call_key: signed(B, [5; 32]), version: 1 }];
    let record = Record { seat: 1, seen, ..Record::new(signed(A, [7; 32]), version, Status::Joined) };
    let body = Body::Member(Box::new(Member { record, entries: Vec::new(), secret: None }));
    Input::Signal(Signal { channel: Channel::Call(call), from: a, boot: simulation.nodes[A].boot, call, body })
}

#[test]
fn a_device_whose_starts_were_miscounted_counts_on_above_what_others_heard() {
    let mut simulation = Simulation::new(3, 69);
    let call = connected(&mut simulation, &[B, C]);
    let unbelievable = having_seen(&simulation, call, u64::MAX, 1_000);
    simulation.input(B, unbelievable);
    assert_eq!(simulation.nodes[B].boot, 1, "nothing would be above it");
    let lower = having_seen(&simulation, call, 1, 1_001);
    simulation.input(B, lower);
    assert_eq!(simulation.nodes[B].boot, 1);
    let higher = having_seen(&simulation, call, 50, 1_002);
    simulation.input(B, higher);
    assert_eq!(simulation.nodes[B].boot, 51);
    simulation.advance(60 * SECOND);
    assert_eq!(simulation.nodes[B].machine.current(), Some(call), "{}", simulation.transcript());
}
