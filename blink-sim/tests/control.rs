//! Deliveries that a test holds back, and steps that it records.

use std::time::Duration;

use blink_api::CallSettings;
use blink_proto::call::Event;
use blink_sim::impairment::Impairments;
use blink_sim::simulation::{Network, Simulation, Step};

const SECOND: Duration = Duration::from_secs(1);

fn rings(event: &Event) -> bool {
    matches!(event, Event::IncomingCall { .. })
}

/// Two people whose messages wait until a test delivers them.
fn held(max_in_flight: usize) -> Simulation {
    let mut simulation = Simulation::new(2, 1);
    simulation.hold_deliveries(max_in_flight);
    simulation.offer(0, &[1]);
    simulation
}

#[test]
fn held_deliveries_wait_however_long_and_arrive_by_hand() {
    let mut simulation = held(100);
    simulation.advance(SECOND);
    assert_eq!(simulation.count(1, rings), 0);
    assert!(simulation.in_flight() > 0);
    while simulation.in_flight() > 0 {
        simulation.deliver_next();
    }
    assert_eq!(simulation.count(1, rings), 1);
}

#[test]
fn dropped_deliveries_never_arrive_and_those_beyond_the_limit_are_dropped() {
    let mut simulation = held(3);
    simulation.advance(20 * SECOND);
    assert_eq!(simulation.in_flight(), 3);
    (0..3).for_each(|_| simulation.drop_next());
    assert_eq!((simulation.in_flight(), simulation.count(1, rings)), (0, 0));
    // Nothing is on its way: nothing happens.
    simulation.drop_next();
    simulation.duplicate_next();
    simulation.postpone_next();
    simulation.deliver_next();
    simulation.mutate_next(|_| panic!("there is nothing to change"));
}

#[test]
fn a_duplicate_arrives_behind_all_others_and_changes_nothing() {
    let mut simulation = held(100);
    let before = simulation.in_flight();
    simulation.duplicate_next();
    assert_eq!(simulation.in_flight(), before + 1);
    simulation.postpone_next();
    assert_eq!(simulation.in_flight(), before + 1);
    while simulation.in_flight() > 0 {
        simulation.deliver_next();
    }
    assert_eq!(simulation.count(1, rings), 1);
}

#[test]
fn a_changed_message_arrives_changed_or_as_it_was() {
    let mut simulation = held(100);
    simulation.mutate_next(Vec::clear);
    let mut seen = Vec::new();
    simulation.mutate_next(|bytes| seen.clone_from(bytes));
    assert!(!seen.is_empty(), "what is no content changes nothing");
    while simulation.in_flight() > 0 {
        simulation.deliver_next();
    }
    assert_eq!(simulation.count(1, rings), 1);
}

#[test]
fn a_recording_repeats_what_a_machine_did() {
    let mut simulation = Simulation::new(2, 1);
    let mut machine = simulation.nodes[1].machine.clone();
    simulation.record(1);
    let call = simulation.offer(0, &[1]);
    simulation.until(1, 20 * SECOND, "the offer", rings);
    for (now, step) in simulation.take_recording() {
        match step {
            Step::Input(input) => machine.handle(now, *input),
            Step::Timeout => machine.handle_timeout(now),
        }
        while machine.poll().is_some() {}
    }
    assert!(machine.pending().contains(&call));
    assert!(simulation.take_recording().is_empty());
}

#[test]
fn impairments_of_the_network_apply_to_messages() {
    let network = |impairments| Network { impairments, ..Network::PERFECT };
    let lossy = network(Impairments { loss: 1.0, ..Impairments::NONE });
    let mut simulation = Simulation::with(2, 1, lossy, CallSettings::default());
    simulation.offer(0, &[1]);
    simulation.advance(20 * SECOND);
    assert_eq!(simulation.count(1, rings), 0);
    assert!(simulation.transcript().contains("never gets Offer"));

    let late = network(Impairments::delayed(3 * SECOND));
    let mut simulation = Simulation::with(2, 1, late, CallSettings::default());
    simulation.offer(0, &[1]);
    // The offer, a nonce, and the offer that echoes it.
    simulation.advance(8 * SECOND);
    assert_eq!(simulation.count(1, rings), 0);
    simulation.until(1, 20 * SECOND, "the offer", rings);
}
