//! The call machine on virtual time: what everyone must see in each situation, and what nobody may.

mod world;

use std::time::Duration;

use blink_api::{BusyPolicy, CallId, CallSettings};
use blink_engine::call::{CallState, CancelledReason, EndReason, Event, LeftReason, ParticipantStatus};
use blink_engine::wire::Kind;
use world::{Network, World};

const A: usize = 0;
const B: usize = 1;
const C: usize = 2;
const SECOND: Duration = Duration::from_secs(1);

fn incoming(event: &Event) -> bool {
    matches!(event, Event::IncomingCall { .. })
}

fn joined(event: &Event) -> bool {
    matches!(event, Event::ParticipantJoined { .. })
}

fn left(event: &Event) -> bool {
    matches!(event, Event::ParticipantLeft { .. })
}

fn ended(event: &Event) -> bool {
    matches!(event, Event::CallEnded { .. })
}

fn ended_with(reason: EndReason) -> impl Fn(&Event) -> bool {
    move |event| matches!(event, Event::CallEnded { reason: why, .. } if *why == reason)
}

/// A calls the others and all of them answer.
fn connected(world: &mut World, callees: &[usize]) -> CallId {
    let call = world.offer(A, callees);
    for callee in callees {
        world.until(*callee, 20 * SECOND, "incoming", incoming);
        world.answer(*callee, call);
    }
    for node in 0..=callees.len() {
        for _ in 0..400 {
            if world.count(node, joined) >= callees.len() {
                break;
            }
            world.advance(Duration::from_millis(50));
        }
        assert_eq!(world.count(node, joined), callees.len(), "node {node}\n{}", world.story());
    }
    call
}

/// No calls, no sessions, no open microphone.
fn idle(world: &World, node: usize) {
    let snapshot = world.nodes[node].machine.snapshot();
    assert!(snapshot.calls.is_empty(), "node {node}: {:?}\n{}", snapshot.calls, world.story());
    assert_eq!((world.paths.open_at(node), world.nodes[node].gate), (0, None), "node {node}\n{}", world.story());
}

#[test]
fn accept_connects_both_once_and_quickly() {
    let mut world = World::new(2, 1);
    let call = world.offer(A, &[B]);
    world.until(B, SECOND, "incoming", incoming);
    let answered = world.now;
    world.answer(B, call);
    world.until(A, SECOND, "joined", joined);
    world.until(B, SECOND, "joined", joined);
    assert!(world.now - answered < Duration::from_millis(50), "took {:?}\n{}", world.now - answered, world.story());
    world.advance(90 * SECOND);
    for node in [A, B] {
        assert_eq!(world.count(node, joined), 1);
        assert_eq!(world.count(node, |event| matches!(event, Event::CallJoined { .. })), 1);
        assert_eq!(world.nodes[node].machine.current(), Some(call));
        assert_eq!(world.nodes[node].gate, Some(call));
        assert_eq!(world.count(node, |event| left(event) || ended(event)), 0);
        assert!(world.nodes[node].refusals.is_empty());
    }
    assert_eq!(world.count(B, incoming), 1);
}

#[test]
fn nothing_of_media_before_accept() {
    let mut world = World::new(2, 2);
    world.offer(A, &[B]);
    world.until(B, SECOND, "incoming", incoming);
    world.advance(20 * SECOND);
    assert_eq!((world.nodes[B].gate, world.nodes[B].sessions_opened), (None, 0));
    assert!(world.sent.iter().all(|(node, kind)| *node != B || *kind == Kind::Ringing), "{}", world.story());
}

#[test]
fn reject_ends_the_callers_offer() {
    let mut world = World::new(2, 3);
    let call = world.offer(A, &[B]);
    world.until(B, SECOND, "incoming", incoming);
    world.reject(B, call);
    world.until(A, SECOND, "rejected", |event| matches!(event, Event::ParticipantRejected { .. }));
    world.until(A, SECOND, "ended", ended_with(EndReason::Rejected));
    world.advance(40 * SECOND);
    idle(&world, A);
    idle(&world, B);
    assert_eq!(world.count(B, incoming), 1);
}

#[test]
fn cancel_while_ringing_is_seen_within_a_second() {
    let mut world = World::new(2, 4);
    world.offer(A, &[B]);
    world.until(B, SECOND, "incoming", incoming);
    world.leave(A);
    world.until(B, SECOND, "cancelled", |event| {
        matches!(event, Event::CallCancelled { reason: CancelledReason::CallerLeft, .. })
    });
    world.advance(40 * SECOND);
    idle(&world, A);
    idle(&world, B);
}

#[test]
fn no_answer_ends_after_the_ring_time_on_both_sides() {
    let mut world = World::new(2, 5);
    world.offer(A, &[B]);
    world.until(B, SECOND, "incoming", incoming);
    world.advance(59 * SECOND - Duration::from_millis(100));
    assert_eq!(world.count(A, ended) + world.count(B, |event| matches!(event, Event::MissedCall { .. })), 0);
    world.until(A, 2 * SECOND, "unanswered", ended_with(EndReason::Unanswered));
    world.until(B, 2 * SECOND, "missed", |event| matches!(event, Event::MissedCall { .. }));
    world.advance(40 * SECOND);
    assert_eq!(world.count(B, |event| matches!(event, Event::CallCancelled { .. })), 0);
    idle(&world, A);
    idle(&world, B);
}

#[test]
fn leaving_a_call_of_two_ends_it_on_both_sides() {
    for leaver in [A, B] {
        let mut world = World::new(2, 6);
        connected(&mut world, &[B]);
        world.leave(leaver);
        let other = 1 - leaver;
        world.until(other, SECOND, "left", |event| {
            matches!(event, Event::ParticipantLeft { reason: LeftReason::Left, .. })
        });
        world.until(other, SECOND, "ended", ended_with(EndReason::RemoteLeft));
        world.advance(40 * SECOND);
        assert_eq!(world.count(leaver, ended_with(EndReason::Left)), 1);
        assert_eq!((world.count(leaver, left), world.count(other, ended)), (0, 1));
        idle(&world, A);
        idle(&world, B);
    }
}

#[test]
fn leaving_a_group_leaves_the_others_connected_and_lets_one_rejoin() {
    let mut world = World::new(3, 7);
    let call = connected(&mut world, &[B, C]);
    world.leave(C);
    for node in [A, B] {
        world.until(node, SECOND, "left", left);
    }
    world.advance(40 * SECOND);
    assert_eq!((world.count(A, ended), world.count(B, ended), world.count(A, joined)), (0, 0, 2));
    assert_eq!(world.nodes[C].machine.snapshot().calls[0].state, CallState::Open);
    world.answer(C, call);
    world.advance(2 * SECOND);
    assert_eq!(
        (world.count(A, joined), world.count(B, joined), world.count(C, joined)),
        (3, 3, 4),
        "{}",
        world.story()
    );
}

#[test]
fn the_last_remote_leaves_a_group_and_the_call_goes_on() {
    let mut world = World::new(3, 8);
    let call = connected(&mut world, &[B, C]);
    world.leave(B);
    world.leave(C);
    world.advance(40 * SECOND);
    assert_eq!((world.nodes[A].machine.current(), world.count(A, ended)), (Some(call), 0));
    world.answer(B, call);
    world.advance(2 * SECOND);
    assert_eq!(world.count(A, joined), 3, "{}", world.story());
}

#[test]
fn a_late_joiner_meets_everybody_once_and_learns_their_state() {
    let mut world = World::new(3, 9);
    let call = world.offer(A, &[B, C]);
    world.until(B, SECOND, "incoming", incoming);
    world.answer(B, call);
    world.until(A, SECOND, "joined", joined);
    world.act(B, |machine, now| machine.set_muted(now, true));
    world.advance(10 * SECOND);
    world.answer(C, call);
    world.advance(SECOND);
    assert_eq!(
        (world.count(A, joined), world.count(B, joined), world.count(C, joined)),
        (2, 2, 2),
        "{}",
        world.story()
    );
    let muted = |event: &Event| matches!(event, Event::ParticipantStateChanged { state, .. } if state.muted);
    assert_eq!((world.count(A, muted), world.count(C, muted)), (1, 1), "{}", world.story());
}

#[test]
fn three_who_answer_at_the_same_instant_connect_pair_by_pair_once() {
    let mut world = World::new(4, 10);
    let call = world.offer(A, &[B, C, 3]);
    for node in [B, C, 3] {
        world.until(node, SECOND, "incoming", incoming);
    }
    for node in [B, C, 3] {
        world.answer(node, call);
    }
    world.advance(3 * SECOND);
    for node in 0..4 {
        assert_eq!(world.count(node, joined), 3, "node {node}\n{}", world.story());
        assert_eq!(world.nodes[node].sessions_opened, 3);
    }
}

#[test]
fn two_who_only_share_the_callers_node_meet_in_the_call() {
    let mut world = World::new(3, 32);
    world.cut_inboxes.extend([(B, C), (C, B)]);
    let call = world.offer(A, &[B, C]);
    world.until(B, SECOND, "incoming", incoming);
    world.until(C, SECOND, "incoming", incoming);
    world.answer(B, call);
    world.answer(C, call);
    world.advance(3 * SECOND);
    for node in [A, B, C] {
        assert_eq!(world.count(node, joined), 2, "node {node}\n{}", world.story());
    }
}

#[test]
fn everybody_leaves_before_one_answers() {
    let mut world = World::new(3, 11);
    let call = world.offer(A, &[B, C]);
    world.until(B, SECOND, "incoming", incoming);
    world.until(C, SECOND, "incoming", incoming);
    world.answer(C, call);
    world.until(C, SECOND, "joined", joined);
    world.leave(C);
    world.advance(SECOND);
    assert_eq!(world.nodes[B].machine.pending(), [call], "the call goes on while A is in it");
    world.leave(A);
    world.until(B, SECOND, "cancelled", |event| matches!(event, Event::CallCancelled { .. }));
    world.advance(40 * SECOND);
    idle(&world, B);
}

#[test]
fn one_of_many_leaves_and_the_call_still_rings() {
    let mut world = World::new(3, 12);
    let call = world.offer(A, &[B, C]);
    world.until(C, SECOND, "incoming", incoming);
    world.answer(C, call);
    world.until(A, SECOND, "joined", joined);
    world.leave(A);
    world.advance(5 * SECOND);
    assert_eq!(world.nodes[B].machine.pending(), [call], "{}", world.story());
    world.answer(B, call);
    world.until(B, SECOND, "joined", joined);
}

#[test]
fn a_cancel_that_overtakes_its_offer_never_rings() {
    let mut world = World::new(2, 13);
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
    let mut world = World::new(2, 14);
    world.nodes[B].online = false;
    world.offer(A, &[B]);
    world.advance(5 * SECOND);
    world.go_online(B);
    world.until(B, Duration::from_millis(50), "incoming", incoming);
}

#[test]
fn an_invitee_who_starts_after_the_end_learns_of_the_missed_call_and_nothing_rings() {
    for leaves in [true, false] {
        let mut world = World::new(2, 31);
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
        assert_eq!(world.nodes[B].events.len(), 1, "{}", world.story());
        idle(&world, A);
        idle(&world, B);
    }
}

#[test]
fn a_replay_of_everything_changes_nothing() {
    let mut world = World::new(2, 15);
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
fn busy_is_told_to_the_caller_only() {
    let settings = CallSettings { busy: BusyPolicy::Reject, ..CallSettings::default() };
    let mut world = World::with(3, 16, Network::PERFECT, settings);
    let call = connected(&mut world, &[B]);
    let events = world.nodes[B].events.len();
    world.offer(C, &[B]);
    world.until(C, 5 * SECOND, "busy", |event| matches!(event, Event::ParticipantBusy { .. }));
    world.until(C, SECOND, "ended", ended_with(EndReason::Busy));
    assert_eq!((world.nodes[B].events.len(), world.nodes[B].machine.current()), (events, Some(call)));
}

#[test]
fn answering_a_second_call_leaves_the_first() {
    let mut world = World::new(3, 17);
    connected(&mut world, &[B]);
    let second = world.offer(C, &[B]);
    world.until(B, SECOND, "incoming", |event| matches!(event, Event::IncomingCall { call, .. } if *call == second));
    world.answer(B, second);
    world.until(A, SECOND, "left", left);
    world.until(C, SECOND, "joined", joined);
    world.advance(20 * SECOND);
    idle(&world, A);
    assert_eq!(world.nodes[B].machine.current(), Some(second));
}

#[test]
fn two_calls_ring_and_answering_one_leaves_the_other_ringing() {
    let mut world = World::new(3, 18);
    let first = world.offer(A, &[B]);
    let second = world.offer(C, &[B]);
    world.advance(SECOND);
    assert_eq!(world.nodes[B].machine.pending().len(), 2);
    world.answer(B, first);
    world.until(A, SECOND, "joined", joined);
    assert_eq!(world.nodes[B].machine.pending(), [second]);
}

#[test]
fn a_silent_restart_ends_the_old_call_and_rings_the_new_one() {
    let mut world = World::new(2, 19);
    let old = connected(&mut world, &[B]);
    world.restart(A);
    let new = world.offer(A, &[B]);
    world.until(B, SECOND, "ended", |event| matches!(event, Event::CallEnded { call, .. } if *call == old));
    world.until(B, SECOND, "incoming", |event| matches!(event, Event::IncomingCall { call, .. } if *call == new));
    world.answer(B, new);
    world.advance(2 * SECOND);
    assert_eq!((world.count(A, joined), world.count(B, joined)), (2, 2), "{}", world.story());
}

#[test]
fn a_crash_is_noticed_and_the_others_go_on() {
    let mut world = World::new(3, 20);
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
        let mut world = World::new(2, 21);
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
            assert_eq!(world.count(node, |event| left(event) || ended(event)), 0, "{}", world.story());
        }
    }
}

#[test]
fn media_gone_while_signaling_lives_ends_a_call_of_two_after_a_minute() {
    let mut world = World::new(2, 22);
    connected(&mut world, &[B]);
    world.paths.cut.insert((A, B));
    world.advance(50 * SECOND);
    assert_eq!(world.count(A, ended) + world.count(B, ended), 0, "{}", world.story());
    world.advance(20 * SECOND);
    let failed = world.count(A, ended_with(EndReason::Failed)) + world.count(B, ended_with(EndReason::Failed));
    assert!(failed >= 1, "{}", world.story());
    assert_eq!((world.count(A, ended), world.count(B, ended)), (1, 1));
}

#[test]
fn two_in_a_group_who_were_cut_apart_find_each_other_again() {
    for seconds in [20, 40, 59, 90, 200] {
        let mut world = World::new(3, 36);
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
            assert_eq!(status, ParticipantStatus::Connected, "after {seconds} s\n{}", world.story());
        }
    }
}

#[test]
fn a_session_that_dies_in_a_group_is_made_anew() {
    for broken in [A, B] {
        let mut world = World::new(3, 37);
        connected(&mut world, &[B, C]);
        world.network.loss = 0.5;
        world.break_session(broken, 1 - broken);
        world.advance(90 * SECOND);
        for node in [A, B] {
            let snapshot = world.nodes[node].machine.snapshot();
            let connected = |status| status == ParticipantStatus::Connected;
            assert!(snapshot.calls[0].participants.iter().all(|person| connected(person.status)), "{}", world.story());
            assert_eq!(world.paths.open_at(node), 2);
        }
    }
}

#[test]
fn a_caller_who_is_gone_at_once_is_not_told_of_its_own_call() {
    let mut world = World::new(2, 38);
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
    assert_eq!(world.nodes[A].events, [], "{}", world.story());
}

#[test]
fn signaling_gone_while_media_lives_does_no_harm_and_state_still_travels() {
    let mut world = World::new(2, 23);
    connected(&mut world, &[B]);
    world.cut_signaling.extend([(A, B), (B, A)]);
    world.advance(60 * SECOND);
    world.act(A, |machine, now| machine.set_muted(now, true));
    world.until(B, SECOND, "muted", |event| matches!(event, Event::ParticipantStateChanged { .. }));
    assert_eq!(world.count(A, |event| left(event) || ended(event)), 0, "{}", world.story());
}

#[test]
fn a_session_that_cannot_connect_ends_a_call_of_two_on_both_sides() {
    for broken in [A, B] {
        let mut world = World::new(2, 24);
        world.paths.broken.insert(broken);
        let call = world.offer(A, &[B]);
        world.until(B, SECOND, "incoming", incoming);
        world.answer(B, call);
        // Only the side that answers descriptions can fail to; where the other one dials nothing is broken.
        world.advance(40 * SECOND);
        let dials = if world.nodes[A].endpoint > world.nodes[B].endpoint { A } else { B };
        if broken == dials {
            assert_eq!((world.count(A, joined), world.count(B, joined)), (1, 1));
        } else {
            assert_eq!((world.count(A, ended), world.count(B, ended)), (1, 1), "{}", world.story());
            assert_eq!(world.count(broken, ended_with(EndReason::Failed)), 1);
            idle(&world, A);
        }
    }
}

#[test]
fn two_who_call_each_other_at_the_same_instant_are_in_one_call() {
    for seed in 0..40 {
        let network = if seed % 2 == 0 { Network::PERFECT } else { Network::ROUGH };
        let mut world = World::with(2, seed, network, CallSettings::default());
        let calls = [world.offer(A, &[B]), world.offer(B, &[A])];
        let (survivor, given_up) = (calls[0].min(calls[1]), calls[0].max(calls[1]));
        for node in [A, B] {
            world.until(node, 30 * SECOND, "joined", joined);
        }
        world.network = Network::PERFECT;
        world.advance(60 * SECOND);
        for node in [A, B] {
            assert_eq!(world.nodes[node].machine.current(), Some(survivor), "seed {seed}\n{}", world.story());
            assert_eq!(world.count(node, |event| incoming(event) || ended(event)), 0, "seed {seed}\n{}", world.story());
            assert_eq!(
                (world.count(node, joined), world.paths.open_at(node)),
                (1, 1),
                "seed {seed}\n{}",
                world.story()
            );
        }
        let replaced = |event: &Event| matches!(event, Event::CallReplaced { .. });
        assert_eq!(world.count(A, replaced) + world.count(B, replaced), 1, "seed {seed}\n{}", world.story());
        let loser = if calls[0] == given_up { A } else { B };
        use blink_api::ErrorKind;
        let by_old_id = world.act(loser, |machine, now| machine.answer(now, given_up).unwrap_err());
        assert_eq!(by_old_id.kind(), ErrorKind::State, "the old id names the call this device is in");
        world.leave(A);
        world.advance(60 * SECOND);
        idle(&world, A);
        idle(&world, B);
    }
}

#[test]
fn one_who_hangs_up_while_calls_cross_leaves_both_idle() {
    for seed in 0..40 {
        let mut world = World::new(2, seed);
        world.offer(A, &[B]);
        world.offer(B, &[A]);
        world.advance(Duration::from_millis(seed));
        world.leave(A);
        world.advance(90 * SECOND);
        idle(&world, A);
        idle(&world, B);
    }
}

/// A with one device, B with two.
fn two_devices(seed: u64) -> World {
    World::of_devices(&[(1, 1), (2, 2), (2, 3)], seed, Network::PERFECT, CallSettings::default())
}

fn cancelled_with(reason: CancelledReason) -> impl Fn(&Event) -> bool {
    move |event| matches!(event, Event::CallCancelled { reason: why, .. } if *why == reason)
}

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
fn a_groups_call_that_was_missed_can_be_joined() {
    let mut world = World::new(4, 34);
    let call = world.offer(A, &[B, C, 3]);
    for node in [B, C] {
        world.until(node, SECOND, "incoming", incoming);
        world.answer(node, call);
    }
    world.until(3, 70 * SECOND, "missed", |event| matches!(event, Event::MissedCall { .. }));
    world.advance(10 * SECOND);
    assert_eq!(world.count(A, |event| matches!(event, Event::ParticipantUnanswered { .. })), 1);
    world.answer(3, call);
    world.advance(3 * SECOND);
    assert_eq!(
        (world.count(3, joined), world.count(A, joined), world.count(B, joined)),
        (3, 3, 3),
        "{}",
        world.story()
    );
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
fn unknown_call_ids_are_typed_errors_without_events() {
    let mut world = World::new(2, 25);
    let unknown = CallId::from_bytes([9; 16]);
    let errors = [
        world.act(A, |machine, now| machine.answer(now, unknown).unwrap_err()),
        world.act(A, |machine, now| machine.reject(now, unknown).unwrap_err()),
        world.act(A, |machine, now| machine.leave(now).unwrap_err()),
    ];
    use blink_api::ErrorKind;
    assert_eq!(errors.map(|error| error.kind()), [ErrorKind::NotFound, ErrorKind::NotFound, ErrorKind::State]);
    assert_eq!(world.nodes[A].events, []);
}

#[test]
fn lost_duplicated_and_reordered_messages_change_nothing_in_the_end() {
    for seed in 0..60 {
        let mut world = World::with(3, seed, Network::ROUGH, CallSettings::default());
        let call = connected(&mut world, &[B, C]);
        for node in 0..3 {
            assert_eq!(world.count(node, incoming), usize::from(node != A), "seed {seed}\n{}", world.story());
        }
        world.network = Network::PERFECT;
        world.leave(A);
        world.advance(20 * SECOND);
        assert_eq!((world.count(B, left), world.count(C, left)), (1, 1), "seed {seed}\n{}", world.story());
        assert_eq!(world.nodes[B].machine.current(), Some(call));
        world.leave(B);
        world.advance(SECOND);
        world.leave(C);
        world.advance(60 * SECOND);
        (0..3).for_each(|node| idle(&world, node));
    }
}
