//! Call machines of two people with three devices: any message of one of them, or of a stranger, in
//! any order, changed or forged.

use std::time::Duration;

use blink_api::{
    CallSettings, CodecName, DeviceId, DtlsState, Endpoint, FailureReason, IceState, StreamId, TrackKind,
    TransportState,
};
use blink_proto::call::{Input as MachineInput, Machine, SessionInput, Signal, StreamInfo};
use blink_proto::secure::{Channel, Identity, inbox_topic};
use blink_proto::wire::{ChannelMessage, Content, cbor};
use blink_sim::simulation::{Network, Simulation};

use crate::input::Input;

/// Longest input. More is only slower.
const MAX_LENGTH: usize = 4_096;
/// Deliveries on their way at most.
const MAX_IN_FLIGHT: usize = 512;
/// Person and device. The second person has two devices.
const DEVICES: [(u8, u8); 3] = [(1, 1), (2, 2), (2, 3)];
/// Duration of a step of time, in milliseconds.
const STEPS: [u64; 16] = [1, 3, 10, 50, 100, 250, 300, 500, 1_000, 2_000, 3_000, 5_000, 10_000, 15_000, 30_000, 60_000];

/// Microphones are open in calls only, no session is open outside of one, and time goes on.
pub fn run(data: &[u8]) {
    if data.len() > MAX_LENGTH {
        return;
    }
    let mut input = Input::new(data);
    let mut simulation = Simulation::of_devices(&DEVICES, 1, Network::PERFECT, CallSettings::default());
    simulation.trace.disable();
    simulation.hold_deliveries(MAX_IN_FLIGHT);
    while !input.is_empty() {
        let choice = input.byte();
        step(&mut simulation, choice & 15, choice >> 4, &mut input);
        check(&simulation);
    }
}

/// Invariants at every moment.
fn check(simulation: &Simulation) {
    for node in &simulation.nodes {
        let current = node.machine.current();
        assert_eq!(node.active_call, current, "a microphone is open in a call, and there only");
        assert!(current.is_some() || node.sessions.is_empty(), "no session without a call");
    }
}

fn step(simulation: &mut Simulation, choice: u8, argument: u8, input: &mut Input<'_>) {
    let node = usize::from(argument) % simulation.nodes.len();
    match choice {
        0 | 1 => (0..=argument).for_each(|_| simulation.deliver_next()),
        2 => simulation.drop_next(),
        3 => simulation.duplicate_next(),
        4 => (0..=argument).for_each(|_| simulation.postpone_next()),
        5 => {
            let (at, value) = (usize::from(input.u16()), input.byte());
            simulation.mutate_next(|bytes| {
                let length = bytes.len();
                bytes[at % length] ^= value;
            });
        }
        6 => {
            let channel = channel(simulation, input.byte());
            if let Ok(content) = Content::decode(input.chunk()) {
                let from = endpoint(simulation, argument);
                deliver(simulation, node, channel, from, content);
            }
        }
        7 => simulation.advance(Duration::from_millis(STEPS[usize::from(argument)])),
        8 => offer(simulation, node, input.byte()),
        9 => simulation.act(node, |machine, now| {
            let call = machine.pending().first().copied();
            // A call that is over by now is refused.
            call.map(|call| machine.answer(now, call).ok());
        }),
        10 => simulation.act(node, |machine, now| {
            let call = machine.pending().first().copied();
            call.map(|call| machine.reject(now, call).ok());
        }),
        // A device that is in no call is refused.
        11 => simulation.act(node, |machine, now| drop(machine.leave(now))),
        12 => change_own_state(simulation, node, input),
        13 => {
            let choice = input.byte();
            session_input(simulation, node, choice, SessionInput::Connected);
            session_input(simulation, node, choice, SessionInput::ChannelOpen);
        }
        14 => session_event(simulation, node, input),
        _ => match input.byte() % 4 {
            0 => simulation.restart_with_memory(node),
            1 => {
                let topic = inbox_topic(&endpoint(simulation, input.byte()).did);
                simulation.input(node, MachineInput::SubscriberJoined(topic));
            }
            2 => rejoin(simulation, node),
            _ => {
                if let Ok(message) = cbor::decode::<ChannelMessage>(input.chunk()) {
                    session_input(simulation, node, argument, SessionInput::Channel(message));
                }
            }
        },
    }
}

/// Delivers a message at once.
fn deliver(simulation: &mut Simulation, to: usize, channel: Channel, from: Endpoint, content: Content) {
    let Content { boot, call, body, .. } = content;
    // A device receives nothing from itself: its envelopes keep that out.
    if from != simulation.nodes[to].endpoint {
        simulation.input(to, MachineInput::Signal(Signal { channel, from, boot, call, body }));
    }
}

fn offer(simulation: &mut Simulation, node: usize, choice: u8) {
    let people: Vec<_> =
        (0..4).filter(|person| choice >> person & 1 != 0).map(|person| endpoint(simulation, person).did).collect();
    // An offer to no one else is refused.
    simulation.act(node, |machine, now| machine.offer(now, &people, &[choice]).ok());
}

/// An endpoint of one of the machines, or of a stranger.
fn endpoint(simulation: &Simulation, choice: u8) -> Endpoint {
    let stranger = || Endpoint { did: Identity::from_seed(&[9; 32]).did(), device: DeviceId::from_random([9; 16]) };
    simulation.nodes.get(usize::from(choice % 4)).map_or_else(stranger, |node| node.endpoint)
}

fn channel(simulation: &Simulation, choice: u8) -> Channel {
    let calls = simulation.nodes.iter().flat_map(|node| node.machine.snapshot().calls).map(|call| call.call);
    let calls: Vec<_> = calls.collect();
    match calls.get(usize::from(choice >> 1)) {
        Some(call) if choice & 1 != 0 => Channel::Call(*call),
        _ => Channel::Inbox(endpoint(simulation, choice >> 1).did),
    }
}

fn stream(choice: u8) -> StreamInfo {
    let kind = if choice & 4 == 0 { TrackKind::Video } else { TrackKind::Audio };
    let stream = StreamId::from_bytes([choice >> 3 & 3; 16]);
    StreamInfo { stream, kind, codec: CodecName::new("VP8").to_string(), name: "screen".to_owned() }
}

fn session_event(simulation: &mut Simulation, node: usize, input: &mut Input<'_>) {
    let (choice, what) = (input.byte(), input.byte());
    let stream = StreamId::from_bytes([what >> 3 & 3; 16]);
    let event = match what % 8 {
        0 => SessionInput::Failed(FailureReason::ALL[usize::from(what >> 3) % FailureReason::ALL.len()]),
        1 => SessionInput::StreamRefused(stream),
        2 => SessionInput::FirstFrame(stream),
        3 => SessionInput::Candidate { attribute: String::from_utf8_lossy(input.chunk()).into_owned() },
        4 => {
            let (generation, sdp) = (input.u32(), String::from_utf8_lossy(input.chunk()).into_owned());
            SessionInput::Described { generation, sdp }
        }
        5 => SessionInput::State(TransportState::new(IceState::Checking, DtlsState::New)),
        _ => SessionInput::Traffic,
    };
    session_input(simulation, node, choice, event);
}

fn session_input(simulation: &mut Simulation, node: usize, choice: u8, event: SessionInput) {
    let sessions: Vec<_> = simulation.nodes[node].sessions.keys().copied().collect();
    if let Some(session) = sessions.get(usize::from(choice) % sessions.len().max(1)) {
        simulation.session_input(node, *session, event);
    }
}

fn change_own_state(simulation: &mut Simulation, node: usize, input: &mut Input<'_>) {
    let (what, whom) = (input.byte(), input.byte());
    let (endpoint, stream) = (endpoint(simulation, whom), stream(whom));
    let did = endpoint.did;
    // A command that is not possible now is refused.
    simulation.act(node, |machine, now| match what % 9 {
        0 => machine.set_muted(now, what & 128 != 0),
        1 => machine.set_deafened(now, what & 128 != 0),
        2 => drop(machine.set_recording(now, what & 128 != 0)),
        3 => drop(machine.add(now, did)),
        4 => drop(machine.remove(now, did)),
        5 => drop(machine.offer_stream(now, stream)),
        6 => drop(machine.revoke_stream(now, stream.stream)),
        7 => drop(machine.request_stream(now, endpoint, stream.stream)),
        _ => drop(machine.close_stream(now, endpoint, stream.stream)),
    });
}

fn rejoin(simulation: &mut Simulation, node: usize) {
    simulation.act(node, |machine: &mut Machine, now| {
        let call = machine.snapshot().calls.first().map(|call| call.call);
        // A call can be joined only where it goes on without this device.
        call.map(|call| machine.answer(now, call).ok());
    });
}
