//! A microphone that is read before there is a receiver, and what the first one gets.

use blink_api::{AudioSource, ErrorKind};
use web_time::Duration;

use super::super::{MediaCommand, MediaEvent, MediaOutput};
use super::room::{MICROPHONE, Room};
use crate::fake::Script;

const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn open(room: &mut Room, source: Box<dyn AudioSource>, hardware_clock: bool) {
    room.command(MediaCommand::SetMicrophone { source, hardware_clock, id: MICROPHONE });
}

#[test]
fn the_first_receiver_gets_what_was_captured_last_with_the_path() {
    let mut room = Room::new();
    room.open_microphone(0.5, Duration::ZERO);
    room.run(ms(95));
    room.connect();
    assert!(room.sent.is_empty(), "no one receives it");
    room.admit();
    assert_eq!(room.sent.len(), 1, "before the next tick");
    room.run(ms(200));
    assert!((10..=11).contains(&room.sent.len()), "{} packets", room.sent.len());
    let steps = room.sent.windows(2).map(|pair| pair[1].1.timestamp.since(pair[0].1.timestamp));
    assert!(steps.into_iter().all(|step| step == 960), "frames follow the first one without a gap");
}

#[test]
fn a_source_that_is_read_on_demand_gives_its_first_frame_with_the_first_tick() {
    let mut room = Room::new();
    let script = Script::without_clock();
    script.put(std::iter::repeat_n(0.5, 48_000));
    open(&mut room, Box::new(script), false);
    room.run(ms(95));
    room.connect();
    room.admit();
    room.media.tick(room.now);
    room.drain();
    assert_eq!(room.sent.len(), 1);
}

/// A call rings for long: its microphone may be pulled out meanwhile.
#[test]
fn a_microphone_that_is_lost_before_there_is_a_receiver_is_told_and_retired() {
    let mut room = Room::new();
    let script = Script::with_clock();
    script.put(std::iter::repeat_n(0.5, 48_000));
    open(&mut room, Box::new(script.clone()), true);
    room.run(ms(100));
    script.fail(Some(ErrorKind::Closed));
    room.run(ms(200));
    let lost = |output: &&MediaOutput| matches!(output, MediaOutput::Event(MediaEvent::DeviceLost(id, _)) if *id == MICROPHONE);
    assert_eq!(room.outputs.iter().filter(lost).count(), 1);
    room.command(MediaCommand::RemoveMicrophone);
    room.run(ms(200));
    let retired = |output: &&MediaOutput| matches!(output, MediaOutput::Retired(_));
    assert_eq!(room.outputs.iter().filter(retired).count(), 1, "its device is closed");
}
