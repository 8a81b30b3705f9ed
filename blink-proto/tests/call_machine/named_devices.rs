//! Devices that events name: those that signed what the event tells.

use std::time::Duration;

use blink_api::{BusyPolicy, CallSettings, DeviceId};
use blink_proto::call::Event;
use blink_sim::simulation::{Network, Simulation, SimulationConfig};

use crate::{A, B, C, SECOND, connected, incoming};

/// A with one device, B with two (nodes B and C). Messages travel in envelopes.
fn with_envelopes(busy: BusyPolicy) -> Simulation {
    let devices = [(1, 1), (2, 2), (2, 3)];
    let settings = CallSettings { busy, ..CallSettings::default() };
    Simulation::configured(SimulationConfig {
        devices: &devices,
        seed: 7,
        network: Network::PERFECT,
        settings,
        sealed: true,
    })
}

fn device(simulation: &Simulation, node: usize) -> DeviceId {
    simulation.nodes[node].endpoint.device
}

/// The device that the only such event of a node names.
fn named(simulation: &Simulation, node: usize, name: &str) -> Option<DeviceId> {
    let mut events = simulation.nodes[node].events.iter().filter(|event| event.name() == name);
    let event = events.next().unwrap_or_else(|| panic!("no {name} at {node}\n{}", simulation.transcript()));
    assert!(events.next().is_none(), "{name} comes once\n{}", simulation.transcript());
    event.endpoint().map(|endpoint| endpoint.device)
}

#[test]
fn a_call_names_the_device_that_calls_and_ringing_the_one_that_rings() {
    for rings in [B, C] {
        let mut simulation = with_envelopes(BusyPolicy::default());
        simulation.nodes[B + C - rings].online = false;
        simulation.offer(A, &[B]);
        simulation.until(rings, SECOND, "incoming", incoming);
        simulation.advance(SECOND);
        assert_eq!(named(&simulation, rings, "incoming_call"), Some(device(&simulation, A)));
        assert_eq!(named(&simulation, A, "participant_ringing"), Some(device(&simulation, rings)));
    }
}

#[test]
fn of_two_devices_of_a_person_the_one_that_calls_is_named() {
    for calls in [B, C] {
        let mut simulation = with_envelopes(BusyPolicy::default());
        simulation.offer(calls, &[A]);
        simulation.until(A, SECOND, "incoming", incoming);
        assert_eq!(named(&simulation, A, "incoming_call"), Some(device(&simulation, calls)));
        simulation.leave(calls);
        simulation.offer(B + C - calls, &[A]);
        simulation.advance(SECOND);
        let last = simulation.nodes[A].events.iter().rfind(|event| incoming(event)).and_then(Event::endpoint);
        assert_eq!(last, Some(simulation.nodes[B + C - calls].endpoint));
    }
}

#[test]
fn a_rejection_names_the_device_that_rejected() {
    for rejects in [B, C] {
        let mut simulation = with_envelopes(BusyPolicy::default());
        let call = simulation.offer(A, &[B]);
        for node in [B, C] {
            simulation.until(node, SECOND, "incoming", incoming);
        }
        simulation.reject(rejects, call);
        simulation.advance(SECOND);
        assert_eq!(named(&simulation, A, "participant_rejected"), Some(device(&simulation, rejects)));
    }
}

/// The rejection of C reaches B only through A.
#[test]
fn a_rejection_that_another_member_reports_names_no_device() {
    let mut simulation = Simulation::new(3, 8);
    let call = simulation.offer(A, &[B, C]);
    for node in [B, C] {
        simulation.until(node, SECOND, "incoming", incoming);
    }
    simulation.answer(B, call);
    simulation.advance(2 * SECOND);
    simulation.cut_signaling.insert((C, B));
    simulation.reject(C, call);
    simulation.advance(10 * SECOND);
    assert_eq!(named(&simulation, A, "participant_rejected"), Some(device(&simulation, C)));
    assert_eq!(named(&simulation, B, "participant_rejected"), None);
}

#[test]
fn busy_names_the_device_that_is_in_another_call() {
    let devices = [(1, 1), (2, 2), (3, 3)];
    let settings = CallSettings { busy: BusyPolicy::Reject, ..CallSettings::default() };
    let network = Network::PERFECT;
    let mut simulation =
        Simulation::configured(SimulationConfig { devices: &devices, seed: 9, network, settings, sealed: true });
    connected(&mut simulation, &[B]);
    simulation.offer(C, &[B]);
    simulation.advance(5 * SECOND);
    assert_eq!(named(&simulation, C, "participant_busy"), Some(device(&simulation, B)));
}

#[test]
fn a_missed_call_names_the_device_that_called() {
    let is = |simulation: &Simulation| {
        assert_eq!(named(simulation, B, "missed_call"), Some(device(simulation, A)), "{}", simulation.transcript());
    };
    // It rang until the end.
    let mut simulation = Simulation::new(2, 10);
    simulation.offer(A, &[B]);
    simulation.advance(70 * SECOND);
    is(&simulation);
    // Its process ended while it rang.
    let mut simulation = Simulation::new(2, 11);
    simulation.offer(A, &[B]);
    simulation.until(B, SECOND, "incoming", incoming);
    simulation.nodes[A].online = false;
    simulation.restart_with_memory(B);
    simulation.advance(70 * SECOND);
    is(&simulation);
    // It was offline, and is told later.
    let mut simulation = Simulation::new(2, 12);
    simulation.nodes[B].online = false;
    simulation.offer(A, &[B]);
    simulation.advance(120 * SECOND);
    simulation.go_online(B);
    simulation.advance(Duration::from_secs(5));
    is(&simulation);
}

#[test]
fn an_invitation_that_no_one_answers_names_no_device() {
    let mut simulation = with_envelopes(BusyPolicy::default());
    simulation.offer(A, &[B]);
    simulation.advance(70 * SECOND);
    assert_eq!(named(&simulation, A, "participant_unanswered"), None);
}
