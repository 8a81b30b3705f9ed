//! When ticks are: the speaker's are slewed to its audio, the microphone's are not.

use std::collections::BTreeSet;
use web_time::{Duration, Instant};

use blink_api::TrackKey;

use super::super::{MediaCommand, MediaEvent, MediaOutput};
use super::room::{MICROPHONE, PATH, Room, SPEAKER, endpoint};
use crate::fake::{Heard, Script};
use crate::tick_scheduler::{TICK, last_on_grid, next_on_grid};

/// Runs, and returns the times of ticks after the start, in microseconds into 10 ms.
fn phases(room: &mut Room, time: Duration) -> BTreeSet<u128> {
    let end = room.now + time;
    let mut phases = BTreeSet::new();
    while let Some(due) = room.media.deadline().filter(|due| *due <= end) {
        room.pass(due.saturating_duration_since(room.now));
        phases.insert((due - room.start).as_micros() % TICK.as_micros());
        room.media.tick(room.now);
        room.drain();
    }
    phases
}

#[test]
fn without_a_hardware_clock_the_speaker_follows_its_audio_and_the_microphone_does_not() {
    let mut room = Room::new();
    let (heard, script) = (Heard::default(), Script::without_clock());
    script.put(std::iter::repeat_n(0.5, 480_000));
    room.command(MediaCommand::SetSpeaker { sink: Box::new(heard), hardware_clock: false, id: SPEAKER });
    room.command(MediaCommand::SetMicrophone { source: Box::new(script), hardware_clock: false, id: MICROPHONE });
    room.connect();
    room.admit();
    // Audio arrives in ticks: those of the speaker move there.
    room.run(Duration::from_micros(2_500));
    for _ in 0..200 {
        room.arrive(0.5);
        room.run(Duration::from_millis(20));
    }
    let phases = phases(&mut room, Duration::from_millis(40));
    assert_eq!(phases.len(), 2, "{phases:?}: two schedules");
    assert!(phases.contains(&0), "{phases:?}: the microphone's is where it began");
}

#[test]
fn two_hardware_clocks_share_a_grid() {
    let mut room = Room::new();
    room.open_speaker(Duration::from_millis(10));
    room.run(Duration::from_millis(33));
    room.open_microphone(0.5, Duration::ZERO);
    room.connect();
    room.admit();
    room.talk(50);
    assert_eq!(phases(&mut room, Duration::from_millis(100)).len(), 1);
}

#[test]
fn ticks_begin_on_the_grid_of_the_thread() {
    let mut room = Room::new();
    let grid = room.start.checked_sub(Duration::from_micros(3_700)).unwrap_or(room.start);
    assert_eq!(next_on_grid(grid, room.start), grid + TICK);
    assert_eq!(next_on_grid(grid, grid + TICK * 3), grid + TICK * 3);
    for (micros, last) in [(0, 0), (1, 0), (9_999, 0), (10_000, 10_000), (34_567, 30_000)] {
        let (now, last) = (grid + Duration::from_micros(micros), grid + Duration::from_micros(last));
        for grid in [grid, grid + TICK * 9] {
            assert_eq!(last_on_grid(grid, now), last);
        }
    }
    room.run(Duration::from_millis(50));
    assert_eq!(room.media.deadline(), None, "without paths and devices there is nothing to do");
}

/// Nothing is lost of what arrives before the speaker is open: it waits in the jitter buffer.
#[test]
fn what_arrives_before_the_speaker_is_open_is_played() {
    let mut room = Room::new();
    room.connect();
    room.admit();
    for _ in 0..3 {
        room.arrive(0.5);
        room.run(Duration::from_millis(20));
    }
    room.open_speaker(Duration::ZERO);
    room.talk(20);
    let started = TrackKey::microphone(endpoint(2));
    let is_started =
        |output: &&MediaOutput| matches!(output, MediaOutput::Event(MediaEvent::Started(track)) if *track == started);
    assert_eq!(room.outputs.iter().filter(is_started).count(), 1);
    let statistics = room.media.audio_statistics(&started).unwrap();
    assert_eq!(statistics.packets_received, 23);
    assert_eq!(statistics.packets_lost, 0);
    assert!(room.media.path_statistics(Instant::now(), PATH).is_some());
}
