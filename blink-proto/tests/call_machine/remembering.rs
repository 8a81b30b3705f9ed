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
    let mut world = Simulation::new(2, 60);
    let call = world.offer(A, &[B]);
    world.until(B, SECOND, "incoming", incoming);
    world.restart_with_memory(B);
    world.advance(20 * SECOND);
    assert_eq!((world.count(B, incoming), world.nodes[B].machine.pending()), (1, vec![call]));
    world.answer(B, call);
    world.until(A, SECOND, "joined", joined);
    world.until(B, SECOND, "joined", joined);
}

#[test]
fn a_call_that_never_rang_rings_after_a_restart() {
    let mut world = Simulation::new(2, 61);
    world.nodes[B].online = false;
    world.offer(A, &[B]);
    world.advance(5 * SECOND);
    world.restart_with_memory(B);
    world.until(B, 5 * SECOND, "incoming", incoming);
}

#[test]
fn a_ringing_call_that_was_given_up_meanwhile_is_missed() {
    let mut world = Simulation::new(2, 62);
    world.offer(A, &[B]);
    world.until(B, SECOND, "incoming", incoming);
    // Nothing is said of it any more.
    world.cut_signaling.insert((A, B));
    world.leave(A);
    world.advance(SECOND);
    world.restart_with_memory(B);
    assert_eq!(world.nodes[B].machine.pending().len(), 1);
    world.until(B, 31 * SECOND, "missed", missed);
    idle(&world, B);
    assert_eq!(world.nodes[B].machine.history()[0].outcome, CallOutcome::Missed);
}

#[test]
fn what_was_rejected_missed_or_cancelled_does_not_ring_again() {
    for deed in 0..3 {
        let mut world = Simulation::new(2, 63);
        let call = world.offer(A, &[B]);
        world.until(B, SECOND, "incoming", incoming);
        match deed {
            0 => {
                // Nobody hears it, so the offer goes on.
                world.cut_signaling.insert((B, A));
                world.reject(B, call);
            }
            1 => {
                world.cut_signaling.insert((A, B));
                world.until(B, 31 * SECOND, "the lease is over", missed);
            }
            _ => {
                world.leave(A);
                world.until(B, SECOND, "cancelled", cancelled_with(CancelledReason::CallerLeft));
            }
        }
        world.restart_with_memory(B);
        world.cut_signaling.clear();
        world.advance(90 * SECOND);
        world.replay_all();
        world.advance(5 * SECOND);
        assert_eq!(world.count(B, incoming), 1, "deed {deed}\n{}", world.transcript());
        idle(&world, A);
        idle(&world, B);
    }
}

#[test]
fn who_crashed_in_a_group_is_gone_at_once_and_can_come_back() {
    for network in [Network::PERFECT, Network::ROUGH] {
        let mut world = Simulation::with(3, 64, network, CallSettings::default());
        let call = connected(&mut world, &[B, C]);
        world.restart_with_memory(C);
        let restarted = |event: &Event| matches!(event, Event::ParticipantLeft { reason: LeftReason::Restarted, .. });
        for node in [A, B] {
            world.until(node, 15 * SECOND, "left", restarted);
        }
        world.network = Network::PERFECT;
        world.advance(15 * SECOND);
        let snapshot = world.nodes[C].machine.snapshot();
        assert_eq!((snapshot.calls.len(), snapshot.calls[0].state), (1, CallState::Open));
        assert!(snapshot.calls[0].participants.iter().all(|other| other.status == ParticipantStatus::Joined));
        world.answer(C, call);
        world.advance(3 * SECOND);
        let counts = [A, B, C].map(|node| world.count(node, joined));
        assert_eq!(counts, [3, 3, 4], "{}", world.transcript());
        let unanswered = |event: &Event| matches!(event, Event::ParticipantUnanswered { .. });
        assert_eq!(world.count(C, unanswered), 0, "who came long ago is not asked");
    }
}

#[test]
fn who_left_a_group_can_come_back_after_a_restart_and_for_a_day() {
    let mut world = Simulation::new(3, 65);
    let call = connected(&mut world, &[B, C]);
    world.leave(C);
    world.advance(20 * SECOND);
    world.restart_with_memory(C);
    world.advance(23 * HOUR);
    world.restart_with_memory(C);
    assert_eq!(world.nodes[C].machine.snapshot().calls.len(), 1);
    world.advance(SECOND);
    world.answer(C, call);
    world.advance(3 * SECOND);
    assert_eq!(world.count(A, joined), 3, "{}", world.transcript());
    world.leave(C);
    world.advance(20 * SECOND);
    world.nodes[C].online = false;
    world.advance(25 * HOUR);
    world.restart_with_memory(C);
    idle(&world, C);
}

#[test]
fn a_crash_in_a_call_of_two_ends_it_for_the_other_one_at_once() {
    let mut world = Simulation::new(2, 66);
    let call = connected(&mut world, &[B]);
    world.restart_with_memory(A);
    world.until(B, SECOND, "ended", ended_with(EndReason::RemoteLeft));
    world.advance(40 * SECOND);
    idle(&world, A);
    idle(&world, B);
    assert_eq!(world.count(A, ended), 0, "it is no news to whoever starts anew");
    let entry = &world.nodes[A].machine.history()[0];
    assert_eq!((entry.call, entry.outcome, entry.ended_ms), (call, CallOutcome::Answered, None));
}

#[test]
fn a_crash_while_calling_takes_the_offer_back_and_tells_who_missed_it() {
    let mut world = Simulation::new(3, 67);
    world.nodes[C].online = false;
    world.offer(A, &[B, C]);
    world.until(B, SECOND, "incoming", incoming);
    world.restart_with_memory(A);
    world.until(B, SECOND, "cancelled", cancelled_with(CancelledReason::CallerLeft));
    assert_eq!(world.nodes[A].machine.history()[0].outcome, CallOutcome::Failed);
    world.advance(60 * SECOND);
    world.restart_with_memory(A);
    world.go_online(C);
    world.until(C, SECOND, "missed", missed);
    world.advance(60 * SECOND);
    assert_eq!((world.count(B, missed), world.count(C, missed), world.count(C, incoming)), (0, 1, 0));
    (0..3).for_each(|node| idle(&world, node));
    world.restart_with_memory(A);
    world.go_online(C);
    world.advance(10 * SECOND);
    assert_eq!(world.count(C, missed), 1, "once it is known it is told no more");
}

/// As of a device without a battery for its clock: what it did before the clock was set is
/// remembered after a restart as anything else.
#[test]
fn a_clock_that_is_set_between_two_starts_costs_nothing_but_time_stamps() {
    let mut world = Simulation::new(5, 70);
    // The first hour of 1970.
    for node in [B, C] {
        world.nodes[node].clock_error_ms = 1_800_000 - UNIX_MS as i64;
        world.restart_with_memory(node);
    }
    let group = connected(&mut world, &[B, C]);
    world.leave(C);
    let (absent, other) = (3, 4);
    world.nodes[absent].online = false;
    world.offer(C, &[absent]);
    world.advance(5 * SECOND);
    world.leave(C);
    let ringing = world.offer(other, &[B]);
    let rings = |event: &Event| matches!(event, Event::IncomingCall { call, .. } if *call == ringing);
    world.until(B, SECOND, "incoming", rings);
    for node in [B, C] {
        world.nodes[node].clock_error_ms = 0;
        world.restart_with_memory(node);
    }
    world.advance(5 * SECOND);
    assert_eq!(world.count(B, rings), 1, "{}", world.transcript());
    assert_eq!(world.nodes[B].machine.pending(), [ringing], "it rings on");
    for node in [B, C] {
        let calls = world.nodes[node].machine.snapshot().calls;
        assert!(calls.iter().any(|call| call.call == group), "the group's call goes on\n{}", world.transcript());
    }
    assert_eq!(world.nodes[C].machine.history().len(), 2);
    world.go_online(absent);
    world.advance(10 * SECOND);
    assert_eq!(world.count(absent, missed), 1, "whoever was called hears of it");
}

#[test]
fn a_clock_that_jumped_loses_nothing_that_must_not_ring_and_keeps_nothing_for_ever() {
    let year: i64 = 365 * 24 * 3_600_000;
    for jump in [-year, year] {
        let mut world = Simulation::new(3, 68);
        let group = connected(&mut world, &[B, C]);
        world.leave(C);
        let call = world.offer(C, &[B]);
        world.until(
            B,
            SECOND,
            "incoming",
            |event| matches!(event, Event::IncomingCall { call: of, .. } if *of == call),
        );
        world.cut_signaling.insert((B, C));
        world.reject(B, call);
        world.clock_error_ms = jump;
        for node in [B, C] {
            world.restart_with_memory(node);
        }
        world.cut_signaling.clear();
        world.advance(5 * SECOND);
        let rung = world.count(B, |event| matches!(event, Event::IncomingCall { call: of, .. } if *of == call));
        assert_eq!(rung, 1, "jump {jump}\n{}", world.transcript());
        assert!(world.nodes[B].machine.history().len() == 2);
        let open = world.nodes[C].machine.snapshot().calls.iter().any(|open| open.call == group);
        assert_eq!(open, jump < 0, "after so long by the clock nobody is expected in it");
        // Whatever the clocks say: a day later it is forgotten.
        for _ in 0..3 {
            world.advance(9 * HOUR);
            world.nodes[C].online = false;
            world.restart_with_memory(C);
            world.nodes[C].online = false;
        }
        idle(&world, C);
    }
}

#[test]
fn of_two_calls_that_cross_a_third_person_comes_along_into_the_one_that_goes_on() {
    let mut tried = 0;
    for seed in 0..20 {
        let mut world = Simulation::new(3, seed);
        world.cut_inboxes.extend([(A, B), (B, A)]);
        let given_up = world.offer(A, &[B, C]);
        let goes_on = world.offer(B, &[A, C]);
        assert!(world.nodes[B].endpoint < world.nodes[A].endpoint, "B's call goes on");
        tried += 1;
        world.advance(SECOND);
        assert_eq!(world.nodes[C].machine.pending().len(), 2);
        world.answer(C, given_up);
        world.until(C, SECOND, "joined", joined);
        world.cut_inboxes.clear();
        let replaced =
            |event: &Event| matches!(event, Event::CallReplaced { old, new } if (*old, *new) == (given_up, goes_on));
        world.until(C, 10 * SECOND, "replaced", replaced);
        world.advance(5 * SECOND);
        for node in [A, B, C] {
            assert_eq!(world.nodes[node].machine.current(), Some(goes_on), "seed {seed}\n{}", world.transcript());
            assert_eq!(world.count(node, ended), 0, "seed {seed}\n{}", world.transcript());
            assert_eq!(world.paths.open_at(node), 2, "seed {seed}\n{}", world.transcript());
        }
    }
    assert!(tried > 3);
}

/// A record of A that lists B as it would have been heard under this boot.
fn having_seen(world: &Simulation, call: CallId, boot: u64, version: u64) -> Input {
    let (a, b) = (world.nodes[A].endpoint, world.nodes[B].endpoint);
    let signed = |node: usize, key| {
        let owner = Identity::from_seed(&[world.nodes[node].seed.0; 32]);
        sign_call_key(&owner, &world.nodes[node].endpoint.device, &call, &key)
    };
    let seen = vec![Seen { endpoint: b, boot, call_key: signed(B, [5; 32]), version: 1 }];
    let record = Record {
        call_key: signed(A, [7; 32]),
        version,
        status: Status::Joined,
        seat: 1,
        muted: false,
        deafened: false,
        recording: false,
        seen,
        links: Vec::new(),
        digest: [0; 16].into(),
        streams: Vec::new(),
        wanted: Vec::new(),
    };
    let body = Body::Member(Box::new(Member { record, entries: Vec::new(), secret: None }));
    Input::Signal(Signal { channel: Channel::Call(call), from: a, boot: world.nodes[A].boot, call, body })
}

#[test]
fn a_device_whose_starts_were_miscounted_counts_on_above_what_others_heard() {
    let mut world = Simulation::new(3, 69);
    let call = connected(&mut world, &[B, C]);
    let unbelievable = having_seen(&world, call, u64::MAX, 1_000);
    world.input(B, unbelievable);
    assert_eq!(world.nodes[B].boot, 1, "nothing would be above it");
    let lower = having_seen(&world, call, 1, 1_001);
    world.input(B, lower);
    assert_eq!(world.nodes[B].boot, 1);
    let higher = having_seen(&world, call, 50, 1_002);
    world.input(B, higher);
    assert_eq!(world.nodes[B].boot, 51);
    world.advance(60 * SECOND);
    assert_eq!(world.nodes[B].machine.current(), Some(call), "{}", world.transcript());
}
