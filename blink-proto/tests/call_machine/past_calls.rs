//! Call history and presence.

use std::time::Duration;

use blink_api::{BusyPolicy, CallSettings};
use blink_proto::call::{CallDirection, CallOutcome, HistoryEntry, Presence};
use blink_sim::simulation::{Network, Simulation};

use crate::{A, B, C, SECOND, connected, ended, incoming, joined, two_devices};

fn history(simulation: &Simulation, node: usize) -> Vec<HistoryEntry> {
    simulation.nodes[node].machine.history()
}

fn outcomes(simulation: &Simulation, node: usize) -> Vec<CallOutcome> {
    history(simulation, node).iter().map(|entry| entry.outcome).collect()
}

#[test]
fn an_answered_call_is_listed_on_both_sides_with_its_times_and_people() {
    let mut simulation = Simulation::new(2, 50);
    let call = connected(&mut simulation, &[B]);
    assert_eq!(
        (outcomes(&simulation, A), outcomes(&simulation, B)),
        (vec![CallOutcome::Ongoing], vec![CallOutcome::Ongoing])
    );
    simulation.advance(10 * SECOND);
    simulation.leave(A);
    simulation.advance(5 * SECOND);
    for (node, direction) in [(A, CallDirection::Outgoing), (B, CallDirection::Incoming)] {
        let entries = history(&simulation, node);
        let [entry] = &entries[..] else { panic!("{entries:?}") };
        assert_eq!((entry.call, entry.from, entry.direction), (call, simulation.did(A), direction));
        assert_eq!((entry.members.len(), &entry.participants[..]), (2, &[simulation.did(1 - node)][..]));
        assert_eq!(entry.outcome, CallOutcome::Answered);
        let (answered, over) = (entry.answered_ms.unwrap(), entry.ended_ms.unwrap());
        assert!(entry.started_ms <= answered && (10_000..10_500).contains(&(over - answered)), "{entry:?}");
    }
}

#[test]
fn each_reason_of_an_unanswered_call_is_named_at_both_ends() {
    use CallOutcome::{Cancelled, Missed, Rejected, Unanswered};
    type Deed = fn(&mut Simulation, blink_api::CallId);
    let deeds: [(Deed, CallOutcome, CallOutcome); 3] = [
        (|simulation, _| simulation.leave(A), Cancelled, Missed),
        (|simulation, call| simulation.reject(B, call), Rejected, Rejected),
        (|_, _| {}, Unanswered, Missed),
    ];
    for (deed, of_caller, of_callee) in deeds {
        let mut simulation = Simulation::new(2, 51);
        let call = simulation.offer(A, &[B]);
        simulation.until(B, SECOND, "incoming", incoming);
        deed(&mut simulation, call);
        simulation.advance(70 * SECOND);
        assert_eq!((outcomes(&simulation, A), outcomes(&simulation, B)), (vec![of_caller], vec![of_callee]));
    }
}

#[test]
fn busy_and_another_device_are_told_apart() {
    let settings = CallSettings { busy: BusyPolicy::Reject, ..CallSettings::default() };
    let mut simulation = Simulation::with(3, 52, Network::PERFECT, settings);
    connected(&mut simulation, &[B]);
    simulation.offer(C, &[B]);
    simulation.until(C, 10 * SECOND, "ended", ended);
    assert_eq!(outcomes(&simulation, B), [CallOutcome::Busy, CallOutcome::Ongoing], "the newest first");
    assert_eq!(outcomes(&simulation, C), [CallOutcome::Busy]);

    let mut simulation = two_devices(53);
    let call = simulation.offer(A, &[B]);
    simulation.advance(SECOND);
    simulation.answer(B, call);
    simulation.advance(SECOND);
    assert_eq!(
        (outcomes(&simulation, B), outcomes(&simulation, C)),
        (vec![CallOutcome::Ongoing], vec![CallOutcome::Elsewhere])
    );
}

#[test]
fn two_calls_that_cross_are_one_entry() {
    for seed in 0..6 {
        let mut simulation = Simulation::new(2, seed);
        simulation.offer(A, &[B]);
        simulation.offer(B, &[A]);
        simulation.until(A, 10 * SECOND, "joined", joined);
        for node in [A, B] {
            let entries = history(&simulation, node);
            let [entry] = &entries[..] else { panic!("seed {seed}: {entries:?}") };
            assert_eq!(
                (Some(entry.call), entry.outcome),
                (simulation.nodes[node].machine.current(), CallOutcome::Ongoing)
            );
            assert_eq!(entry.direction, CallDirection::Outgoing, "each of them called");
        }
    }
}

#[test]
fn the_oldest_goes_where_the_limit_is_reached_and_clearing_leaves_what_is_ongoing() {
    for limit in [0, 2] {
        let mut simulation =
            Simulation::with(2, 54, Network::PERFECT, CallSettings { history: limit, ..CallSettings::default() });
        for _ in 0..4 {
            simulation.offer(A, &[B]);
            simulation.advance(SECOND);
            simulation.leave(A);
            simulation.advance(SECOND);
        }
        assert_eq!((history(&simulation, A).len(), history(&simulation, B).len()), (limit, limit));
        let call = simulation.offer(A, &[B]);
        simulation.advance(SECOND);
        simulation.act(A, |machine, _| machine.clear_history());
        let calls: Vec<_> = history(&simulation, A).iter().map(|entry| entry.call).collect();
        assert_eq!(calls, [call][..limit.min(1)]);
        simulation.restart_with_memory(A);
        assert_eq!(history(&simulation, A).len(), limit.min(1), "what is cleared is cleared for good");
    }
}

#[test]
fn calls_are_listed_as_they_were_recorded_whatever_the_clock_said() {
    let mut simulation = Simulation::new(2, 56);
    let mut calls = Vec::new();
    let year: i64 = 365 * 24 * 3_600_000;
    // Before 1970, far ahead, and right again, each over a restart or not.
    for (error, restart) in [(0, false), (-100 * year, true), (100 * year, true), (0, false), (-year, true), (0, true)]
    {
        simulation.nodes[A].clock_error_ms = error;
        if restart {
            simulation.restart_with_memory(A);
        }
        calls.insert(0, simulation.offer(A, &[B]));
        simulation.advance(SECOND);
        simulation.leave(A);
        simulation.advance(SECOND);
    }
    let listed = |simulation: &Simulation| history(simulation, A).iter().map(|entry| entry.call).collect::<Vec<_>>();
    assert_eq!(listed(&simulation), calls);
    simulation.restart_with_memory(A);
    assert_eq!(listed(&simulation), calls);
}

#[test]
fn presence_follows_what_is_heard_and_who_is_in_the_call() {
    let mut simulation = Simulation::new(3, 55);
    let presence = |simulation: &mut Simulation, of: usize| {
        let did = simulation.did(of);
        simulation.act(A, |machine, now| machine.presence(now, &did))
    };
    assert_eq!(presence(&mut simulation, B), Presence::Unknown);
    let call = simulation.offer(A, &[B, C]);
    simulation.advance(SECOND);
    assert_eq!(presence(&mut simulation, B), Presence::Online);
    simulation.answer(B, call);
    simulation.until(A, SECOND, "joined", joined);
    assert_eq!((presence(&mut simulation, B), presence(&mut simulation, C)), (Presence::InThisCall, Presence::Online));
    simulation.leave(B);
    simulation.advance(Duration::from_millis(100));
    assert_eq!(presence(&mut simulation, B), Presence::Online);
    simulation.nodes[B].online = false;
    simulation.advance(120 * SECOND);
    assert_eq!(presence(&mut simulation, B), Presence::Unknown);
}
