//! Transports that open no session: both sides learn the same reason.

use std::time::Duration;

use blink_api::{CallId, CallSettings, FailureReason, FailureSide, PathFailure, TransportState};
use blink_proto::call::{EndReason, Event, ParticipantStatus};
use blink_proto::secure::Channel;
use blink_proto::wire::{Body, Cause, Member, Record, Status};
use blink_sim::simulation::{Network, Simulation};

use crate::{A, B, C, SECOND, connected, ended, idle, incoming, joined, two_devices};

/// The devices of A and B: either is the offerer once.
const ORDERS: [[(u8, u8); 2]; 2] = [[(1, 1), (2, 2)], [(2, 2), (1, 1)]];

/// The failures with which a node's calls ended.
fn failures(simulation: &Simulation, node: usize) -> Vec<(EndReason, Option<PathFailure>)> {
    let events = simulation.nodes[node].events.iter();
    let ends = events.filter_map(|event| match event {
        Event::CallEnded { reason, failure, .. } => Some((*reason, *failure)),
        _ => None,
    });
    ends.collect()
}

/// B answers A's call; A or B opens no session.
fn call_of_two(order: &[(u8, u8)], seed: u64, network: Network, closed: usize) -> Simulation {
    let mut simulation = Simulation::of_devices(order, seed, network, CallSettings::default());
    simulation.paths.closed.insert(closed);
    let call = simulation.offer(A, &[B]);
    simulation.until(B, 20 * SECOND, "incoming", incoming);
    simulation.answer(B, call);
    simulation
}

fn no_session(node: usize, closed: usize) -> Vec<(EndReason, Option<PathFailure>)> {
    let state = TransportState::default();
    let failure = match node == closed {
        true => PathFailure::local(FailureReason::NoSession, state),
        false => PathFailure::remote(FailureReason::NoSession, state),
    };
    vec![(EndReason::Failed, Some(failure))]
}

#[test]
fn in_a_call_of_two_both_sides_report_the_same_reason_at_once() {
    for order in &ORDERS {
        for closed in [A, B] {
            let mut simulation = call_of_two(order, 1, Network::PERFECT, closed);
            simulation.advance(SECOND);
            for node in [A, B] {
                let text = simulation.transcript();
                assert_eq!(
                    failures(&simulation, node),
                    no_session(node, closed),
                    "{order:?}, {closed} is closed\n{text}"
                );
            }
            simulation.advance(60 * SECOND);
            for node in [A, B] {
                idle(&simulation, node);
                assert_eq!(simulation.count(node, ended), 1);
            }
        }
    }
}

/// The messages of a join that lasts a moment may be lost, and arrive in any order.
#[test]
fn on_a_rough_network_both_sides_report_the_same_reason() {
    for seed in 0..200 {
        for order in &ORDERS {
            for closed in [A, B] {
                let mut simulation = call_of_two(order, seed, Network::ROUGH, closed);
                simulation.advance(20 * SECOND);
                for node in [A, B] {
                    let text = || simulation.transcript();
                    let found = failures(&simulation, node);
                    assert_eq!(found, no_session(node, closed), "seed {seed} {order:?} {closed} is closed\n{}", text());
                }
            }
        }
    }
}

#[test]
fn in_a_group_both_sides_report_the_unreachable_participant_and_it_is_tried_again() {
    for closed in [A, B] {
        let mut simulation = Simulation::new(3, 2);
        let call = simulation.offer(A, &[B, C]);
        for node in [B, C] {
            simulation.until(node, SECOND, "incoming", incoming);
        }
        simulation.answer(C, call);
        simulation.until(C, SECOND, "joined", joined);
        simulation.paths.closed.insert(closed);
        simulation.answer(B, call);
        simulation.advance(SECOND);
        let endpoints = [A, B].map(|node| simulation.nodes[node].endpoint);
        for (node, other) in [(A, B), (B, A)] {
            let found_by = if node == closed { FailureSide::Local } else { FailureSide::Remote };
            let is = |event: &Event| {
                matches!(event, Event::ParticipantUnreachable { participant, failure, .. }
                    if *participant == endpoints[other]
                        && failure.reason == FailureReason::NoSession
                        && failure.found_by == found_by)
            };
            assert_eq!(simulation.count(node, is), 1, "{closed} is closed\n{}", simulation.transcript());
        }
        simulation.advance(60 * SECOND);
        for (node, other) in [(A, B), (B, A)] {
            let again = |event: &Event| matches!(event, Event::ParticipantUnreachable { participant, .. } if *participant == endpoints[other]);
            assert_eq!(simulation.count(node, again), 1, "told once\n{}", simulation.transcript());
        }
        simulation.paths.closed.clear();
        simulation.advance(40 * SECOND);
        for node in [A, B, C] {
            let status = simulation.nodes[node].machine.snapshot().calls[0].participants.clone();
            let all = status.iter().all(|person| person.status == ParticipantStatus::Connected);
            assert!(all, "{closed} was closed\n{}", simulation.transcript());
        }
    }
}

/// C, whose person has this key in the call, leaves with the word that its path failed.
fn says_that_its_path_failed(simulation: &mut Simulation, call: CallId, key: [u8; 32]) {
    let key = simulation.signed_key(&simulation.nodes[C].endpoint, &call, &key);
    let failure = PathFailure::local(FailureReason::NoSession, TransportState::default());
    let record = Record { failed: Some(true), cause: Some(Cause::from(failure)), ..Record::new(key, 99, Status::Left) };
    let (_, keys) = simulation.known_call_keys(A).unwrap();
    let recipients: Vec<_> = keys.iter().map(|(_, key)| *key).collect();
    let body = Body::Member(Box::new(Member { record, entries: Vec::new(), secret: None }));
    simulation.send_raw(C, Channel::Call(call), &recipients, call, body);
    simulation.advance(Duration::from_millis(500));
    for node in [A, B] {
        let text = simulation.transcript();
        assert_eq!(
            (simulation.count(node, ended), simulation.nodes[node].machine.current()),
            (0, Some(call)),
            "{text}"
        );
    }
}

#[test]
fn in_a_group_no_member_can_end_the_call_of_others_by_a_failure() {
    let mut simulation = Simulation::new(3, 3);
    let call = connected(&mut simulation, &[B, C]);
    let (_, keys) = simulation.known_call_keys(C).unwrap();
    says_that_its_path_failed(&mut simulation, call, keys[0].1);
    let left = |event: &Event| matches!(event, Event::ParticipantLeft { .. });
    assert_eq!((simulation.count(A, left), simulation.count(B, left)), (1, 1), "it left");
}

#[test]
fn a_second_device_of_a_person_cannot_end_a_call_of_two_by_a_failure() {
    let mut simulation = two_devices(4);
    let call = simulation.offer(A, &[B]);
    simulation.until(B, SECOND, "incoming", incoming);
    simulation.answer(B, call);
    simulation.until(A, SECOND, "joined", joined);
    says_that_its_path_failed(&mut simulation, call, [9; 32]);
    let left = |event: &Event| matches!(event, Event::ParticipantLeft { .. });
    assert_eq!(simulation.count(A, left), 0);
}
