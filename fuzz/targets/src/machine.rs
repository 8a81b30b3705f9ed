//! Call machines of two people with three devices: what anybody among them, or a stranger, may say,
//! in any order, changed or made up.

mod town;

use std::time::Duration;

use blink_proto::call::{Machine, SessionInput};
use blink_proto::wire::{ChannelMessage, Content, cbor};

use crate::input::Input;
use town::{News, Town};

/// More is only slower.
const LONGEST: usize = 4_096;

/// How long a step of time takes, in milliseconds.
const STEPS: [u64; 16] = [1, 3, 10, 50, 100, 250, 300, 500, 1_000, 2_000, 3_000, 5_000, 10_000, 15_000, 30_000, 60_000];

/// Microphones are open in calls only, no session is open outside of one, and time goes on.
pub fn run(data: &[u8]) {
    if data.len() > LONGEST {
        return;
    }
    let mut input = Input::new(data);
    let mut town = Town::new();
    while !input.is_empty() {
        let choice = input.byte();
        step(&mut town, choice & 15, choice >> 4, &mut input);
        town.check();
    }
}

fn step(town: &mut Town, choice: u8, argument: u8, input: &mut Input<'_>) {
    let node = usize::from(argument) % town.nodes.len();
    match choice {
        0 | 1 => (0..=argument).for_each(|_| town.deliver()),
        2 => drop(town.queue.pop_front()),
        3 => {
            if let Some(front) = town.queue.front().cloned() {
                town.queue.push_back(front);
            }
        }
        4 => {
            let count = usize::from(argument + 1).min(town.queue.len());
            town.queue.rotate_left(count);
        }
        5 => change(town, input),
        6 => {
            let channel = town.channel(input.byte());
            let bytes = input.chunk();
            if let Ok(content) = Content::decode(bytes) {
                let from = town.anybody(argument);
                town.say(node, channel, from, content);
            }
        }
        7 => town.advance(Duration::from_millis(STEPS[usize::from(argument)])),
        8 => town.offer(node, input.byte()),
        9 => town.act(node, |machine, now| {
            let call = machine.pending().first().copied();
            // A call that is over by now is refused.
            call.map(|call| machine.answer(now, call).ok());
        }),
        10 => town.act(node, |machine, now| {
            let call = machine.pending().first().copied();
            call.map(|call| machine.reject(now, call).ok());
        }),
        // Who is in no call is refused.
        11 => town.act(node, |machine, now| drop(machine.leave(now))),
        12 => change_own_state(town, node, input),
        13 => town.connect(node, input.byte()),
        14 => town.session_event(node, input),
        _ => match input.byte() % 4 {
            0 => town.restart(node),
            1 => town.subscribe(node, input.byte()),
            2 => rejoin(town, node),
            _ => {
                if let Ok(message) = cbor::decode::<ChannelMessage>(input.chunk()) {
                    town.session_input(node, argument, SessionInput::Channel(message));
                }
            }
        },
    }
}

/// Changes a byte of the next message, as its sender could have.
fn change(town: &mut Town, input: &mut Input<'_>) {
    let (at, value) = (usize::from(input.u16()), input.byte());
    if let Some(News::Signal(signal)) = town.queue.front_mut().map(|(_, news)| news) {
        let (from, boot, call) = (signal.from, signal.boot, signal.call);
        let mut bytes = Content { from, boot, seq: 1, unix_ms: 1, call, body: signal.body.clone() }.encode();
        let length = bytes.len();
        bytes[at % length] ^= value;
        if let Ok(content) = Content::decode(&bytes) {
            (signal.boot, signal.call, signal.body) = (content.boot, content.call, content.body);
        }
    }
}

fn change_own_state(town: &mut Town, node: usize, input: &mut Input<'_>) {
    let (what, whom) = (input.byte(), input.byte());
    let (did, endpoint) = (town.anybody(whom).did, town.anybody(whom));
    let stream = town.stream(whom);
    // What cannot be done now is refused.
    town.act(node, |machine, now| match what % 9 {
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

fn rejoin(town: &mut Town, node: usize) {
    town.act(node, |machine: &mut Machine, now| {
        let call = machine.snapshot().calls.first().map(|call| call.call);
        // Only a call that goes on without this device can be joined.
        call.map(|call| machine.answer(now, call).ok());
    });
}
