//! What the user is shown of calls that were, and who can be reached.

use std::time::Duration;

use blink_api::{BusyPolicy, CallSettings};
use blink_proto::call::{CallDirection, CallOutcome, HistoryEntry, Presence};
use blink_sim::simulation::{Network, Simulation};

use crate::{A, B, C, SECOND, connected, ended, incoming, joined, two_devices};

fn history(world: &Simulation, node: usize) -> Vec<HistoryEntry> {
    world.nodes[node].machine.history()
}

fn outcomes(world: &Simulation, node: usize) -> Vec<CallOutcome> {
    history(world, node).iter().map(|entry| entry.outcome).collect()
}

#[test]
fn an_answered_call_is_listed_on_both_sides_with_its_times_and_people() {
    let mut world = Simulation::new(2, 50);
    let call = connected(&mut world, &[B]);
    assert_eq!((outcomes(&world, A), outcomes(&world, B)), (vec![CallOutcome::Ongoing], vec![CallOutcome::Ongoing]));
    world.advance(10 * SECOND);
    world.leave(A);
    world.advance(5 * SECOND);
    for (node, direction) in [(A, CallDirection::Outgoing), (B, CallDirection::Incoming)] {
        let entries = history(&world, node);
        let [entry] = &entries[..] else { panic!("{entries:?}") };
        assert_eq!((entry.call, entry.from, entry.direction), (call, world.did(A), direction));
        assert_eq!((entry.members.len(), &entry.participants[..]), (2, &[world.did(1 - node)][..]));
        assert_eq!(entry.outcome, CallOutcome::Answered);
        let (answered, over) = (entry.answered_ms.unwrap(), entry.ended_ms.unwrap());
        assert!(entry.started_ms <= answered && (10_000..10_500).contains(&(over - answered)), "{entry:?}");
    }
}

#[test]
fn each_way_in_which_nobody_talks_has_its_name_on_either_side() {
    use CallOutcome::{Cancelled, Missed, Rejected, Unanswered};
    type Deed = fn(&mut Simulation, blink_api::CallId);
    let deeds: [(Deed, CallOutcome, CallOutcome); 3] = [
        (|world, _| world.leave(A), Cancelled, Missed),
        (|world, call| world.reject(B, call), Rejected, Rejected),
        (|_, _| {}, Unanswered, Missed),
    ];
    for (deed, of_caller, of_callee) in deeds {
        let mut world = Simulation::new(2, 51);
        let call = world.offer(A, &[B]);
        world.until(B, SECOND, "incoming", incoming);
        deed(&mut world, call);
        world.advance(70 * SECOND);
        assert_eq!((outcomes(&world, A), outcomes(&world, B)), (vec![of_caller], vec![of_callee]));
    }
}

#[test]
fn busy_and_another_device_are_told_apart() {
    let settings = CallSettings { busy: BusyPolicy::Reject, ..CallSettings::default() };
    let mut world = Simulation::with(3, 52, Network::PERFECT, settings);
    connected(&mut world, &[B]);
    world.offer(C, &[B]);
    world.until(C, 10 * SECOND, "ended", ended);
    assert_eq!(outcomes(&world, B), [CallOutcome::Busy, CallOutcome::Ongoing], "the newest first");
    assert_eq!(outcomes(&world, C), [CallOutcome::Busy]);

    let mut world = two_devices(53);
    let call = world.offer(A, &[B]);
    world.advance(SECOND);
    world.answer(B, call);
    world.advance(SECOND);
    assert_eq!((outcomes(&world, B), outcomes(&world, C)), (vec![CallOutcome::Ongoing], vec![CallOutcome::Elsewhere]));
}

#[test]
fn two_calls_that_cross_are_one_entry() {
    for seed in 0..6 {
        let mut world = Simulation::new(2, seed);
        world.offer(A, &[B]);
        world.offer(B, &[A]);
        world.until(A, 10 * SECOND, "joined", joined);
        for node in [A, B] {
            let entries = history(&world, node);
            let [entry] = &entries[..] else { panic!("seed {seed}: {entries:?}") };
            assert_eq!((Some(entry.call), entry.outcome), (world.nodes[node].machine.current(), CallOutcome::Ongoing));
            assert_eq!(entry.direction, CallDirection::Outgoing, "each of them called");
        }
    }
}

#[test]
fn the_oldest_goes_where_the_limit_is_reached_and_clearing_leaves_what_is_ongoing() {
    for limit in [0, 2] {
        let mut world =
            Simulation::with(2, 54, Network::PERFECT, CallSettings { history: limit, ..CallSettings::default() });
        for _ in 0..4 {
            world.offer(A, &[B]);
            world.advance(SECOND);
            world.leave(A);
            world.advance(SECOND);
        }
        assert_eq!((history(&world, A).len(), history(&world, B).len()), (limit, limit));
        let call = world.offer(A, &[B]);
        world.advance(SECOND);
        world.act(A, |machine, _| machine.clear_history());
        let calls: Vec<_> = history(&world, A).iter().map(|entry| entry.call).collect();
        assert_eq!(calls, [call][..limit.min(1)]);
        world.restart_with_memory(A);
        assert_eq!(history(&world, A).len(), limit.min(1), "what is cleared is cleared for good");
    }
}

#[test]
fn calls_are_listed_as_they_were_recorded_whatever_the_clock_said() {
    let mut world = Simulation::new(2, 56);
    let mut calls = Vec::new();
    let year: i64 = 365 * 24 * 3_600_000;
    // Before 1970, far ahead, and right again, each over a restart or not.
    for (error, restart) in [(0, false), (-100 * year, true), (100 * year, true), (0, false), (-year, true), (0, true)]
    {
        world.nodes[A].clock_error_ms = error;
        if restart {
            world.restart_with_memory(A);
        }
        calls.insert(0, world.offer(A, &[B]));
        world.advance(SECOND);
        world.leave(A);
        world.advance(SECOND);
    }
    let listed = |world: &Simulation| history(world, A).iter().map(|entry| entry.call).collect::<Vec<_>>();
    assert_eq!(listed(&world), calls);
    world.restart_with_memory(A);
    assert_eq!(listed(&world), calls);
}

#[test]
fn presence_follows_what_is_heard_and_who_is_in_the_call() {
    let mut world = Simulation::new(3, 55);
    let presence = |world: &mut Simulation, of: usize| {
        let did = world.did(of);
        world.act(A, |machine, now| machine.presence(now, &did))
    };
    assert_eq!(presence(&mut world, B), Presence::Unknown);
    let call = world.offer(A, &[B, C]);
    world.advance(SECOND);
    assert_eq!(presence(&mut world, B), Presence::Online);
    world.answer(B, call);
    world.until(A, SECOND, "joined", joined);
    assert_eq!((presence(&mut world, B), presence(&mut world, C)), (Presence::InThisCall, Presence::Online));
    world.leave(B);
    world.advance(Duration::from_millis(100));
    assert_eq!(presence(&mut world, B), Presence::Online);
    world.nodes[B].online = false;
    world.advance(120 * SECOND);
    assert_eq!(presence(&mut world, B), Presence::Unknown);
}
