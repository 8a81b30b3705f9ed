//! The far end: what a processor's `render` sees is what the speaker plays, at the time at which it
//! plays it.

use blink_api::TrackKey;
use web_time::Duration;

use super::super::{MediaCommand, MediaEvent, MediaOutput};
use super::room::{Room, SPEAKER, assert_rendered, endpoint};
use crate::latency::MAX_LATENCY;
use crate::tick_scheduler::TICK;

const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// A call in which the other end speaks.
fn talking() -> Room {
    let mut room = Room::new();
    room.open_speaker(ms(13));
    room.connect();
    room.admit();
    room.talk(10);
    room
}

/// No microphone is open, and no one receives it: the far end comes from the first block on.
#[test]
fn the_far_end_is_rendered_from_the_first_block_on() {
    let mut room = Room::new();
    room.open_speaker(ms(13));
    room.run(ms(200));
    assert_eq!(room.loudspeakers[0].played().len(), 21);
    assert_rendered(&room.observer, &room.loudspeakers);
    room.connect();
    room.admit();
    room.talk(20);
    assert!(room.loudspeakers[0].played().iter().any(|(first, _)| *first > 0.0), "the other end is heard");
    assert_rendered(&room.observer, &room.loudspeakers);
    assert!(room.observer.captured.lock().unwrap().is_empty());
}

/// A block of the far end is rendered before the microphone can have captured it, and both have
/// times of one clock.
#[test]
fn a_late_receiver_changes_nothing_for_the_far_end() {
    let mut room = Room::new();
    room.open_speaker(ms(13));
    room.open_microphone(0.5, ms(7));
    room.run(ms(500));
    assert!(room.observer.captured.lock().unwrap().len() >= 48, "the microphone is read before it has a receiver");
    let is_sent = |output: &MediaOutput| matches!(output, MediaOutput::Send { .. });
    assert!(!room.outputs.iter().any(is_sent), "and sent to no one");
    room.connect();
    room.admit();
    room.talk(20);
    assert_rendered(&room.observer, &room.loudspeakers);
    let captured = room.observer.captured.lock().unwrap();
    assert!(captured.len() >= 88, "{}", captured.len());
    for pair in captured.windows(2) {
        assert_eq!(pair[1].1 - pair[0].1, TICK, "blocks follow each other");
    }
    let (first, _) = &captured[0];
    assert!(first.iter().all(|sample| *sample == 0.5));
    // What is read at a tick was captured in the 10 ms before it, less the latency.
    let newest = captured.last().unwrap().1;
    let age = room.now - newest;
    assert!((ms(17)..=ms(37)).contains(&age), "{age:?}");
}

#[test]
fn another_speaker_has_its_own_latency_from_its_first_block_on() {
    let mut room = talking();
    let resets = *room.observer.resets.lock().unwrap();
    room.open_speaker(ms(90));
    assert_eq!(*room.observer.resets.lock().unwrap(), resets + 1);
    room.talk(10);
    assert!(room.loudspeakers[1].played().len() >= 19);
    // The block in which both play is rendered once.
    room.loudspeakers[0].forget_newest();
    assert_rendered(&room.observer, &room.loudspeakers);
}

#[test]
fn another_microphone_resets_the_processors_and_leaves_the_far_end_alone() {
    let mut room = talking();
    room.open_microphone(0.25, ms(7));
    room.talk(5);
    let resets = *room.observer.resets.lock().unwrap();
    room.open_microphone(0.75, ms(40));
    room.talk(10);
    assert_eq!(*room.observer.resets.lock().unwrap(), resets + 1);
    assert_rendered(&room.observer, &room.loudspeakers);
    let captured = room.observer.captured.lock().unwrap();
    let (block, newest) = captured.last().unwrap();
    assert_eq!(block[479], 0.75);
    assert!((ms(50)..=ms(70)).contains(&(room.now - *newest)), "{:?}", room.now - *newest);
}

/// The thread comes 50 ms late: five blocks are written at once, and the loudspeaker plays them one
/// after the other.
#[test]
fn a_catch_up_of_five_blocks_has_the_times_of_five_blocks() {
    let mut room = talking();
    let before = room.loudspeakers[0].played().len();
    for _ in 0..3 {
        room.pass(ms(50));
        room.media.tick(room.now);
        room.drain();
        room.talk(2);
    }
    assert!(room.loudspeakers[0].played().len() >= before + 15);
    assert_rendered(&room.observer, &room.loudspeakers);
}

/// A full queue takes no block, and a block that is not played is not rendered.
#[test]
fn a_block_that_the_speaker_did_not_take_is_not_rendered() {
    let mut room = talking();
    room.loudspeakers[0].fill(ms(200));
    let before = room.loudspeakers[0].played().len();
    room.talk(3);
    assert_eq!(room.loudspeakers[0].played().len(), before);
    room.talk(20);
    assert!(room.loudspeakers[0].played().len() > before);
    assert_rendered(&room.observer, &room.loudspeakers);
}

/// A device's latency is its own claim: an absurd one costs the echo canceller its delay, not the
/// call its media.
#[test]
fn an_absurd_latency_of_a_device_or_processor_is_bounded() {
    let mut room = Room::new();
    room.observer.delay = Duration::MAX;
    room.set_processors(2);
    room.open_speaker(Duration::MAX / 2);
    room.open_microphone(0.5, Duration::MAX);
    room.connect();
    room.admit();
    room.talk(10);
    let rendered = room.observer.rendered.lock().unwrap();
    let (_, at) = rendered.last().expect("the far end is rendered");
    assert!(at.saturating_duration_since(room.now) <= MAX_LATENCY + ms(100));
    assert!(!room.sent.is_empty(), "the microphone is sent");
}

/// Decoding takes 6 ms, in which the loudspeaker plays on from its queue.
#[test]
fn the_work_of_a_tick_does_not_move_the_time_of_the_far_end() {
    let mut room = talking();
    room.loudspeakers[0].fill(ms(30));
    room.loudspeakers[0].set_work(ms(6));
    room.talk(20);
    assert_rendered(&room.observer, &room.loudspeakers);
}

/// Without a speaker nothing is played that a microphone could capture.
#[test]
fn without_a_speaker_processors_see_no_far_end() {
    let mut room = Room::new();
    room.command(MediaCommand::RemoveSpeaker);
    room.connect();
    room.admit();
    room.talk(20);
    assert!(room.observer.rendered.lock().unwrap().is_empty());
    assert!(
        room.media.audio_statistics(&TrackKey::microphone(endpoint(2))).is_some_and(|audio| audio.packets_received > 0)
    );
    room.open_speaker(ms(13));
    room.talk(5);
    assert_rendered(&room.observer, &room.loudspeakers);
}

/// The speaker that is in use by the time of the report may be another one.
#[test]
fn a_lost_speaker_is_named_by_its_opening() {
    let mut room = talking();
    room.loudspeakers[0].unplug();
    room.talk(2);
    let lost = |output: &MediaOutput| matches!(output, MediaOutput::Event(MediaEvent::DeviceLost(SPEAKER, _)));
    assert_eq!(room.outputs.iter().filter(|output| lost(output)).count(), 1);
}
