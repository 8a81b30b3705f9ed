//! The far end: what a processor's `render` sees is what the speaker plays, at the time at which it
//! plays it.

use web_time::Duration;

use super::room::{Room, assert_rendered};
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
    assert!(room.observer.captured.lock().unwrap().is_empty(), "the microphone has no receiver yet");
    room.connect();
    room.admit();
    room.talk(20);
    assert_rendered(&room.observer, &room.loudspeakers);
    let captured = room.observer.captured.lock().unwrap();
    assert!(captured.len() >= 38, "{}", captured.len());
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
    assert_rendered(&room.observer, &room.loudspeakers);
}

#[test]
fn another_microphone_resets_the_processors_and_leaves_the_far_end_alone() {
    let mut room = talking();
    room.open_microphone(0.25, ms(7));
    room.talk(5);
    let resets = *room.observer.resets.lock().unwrap();
    room.open_microphone(0.75, ms(40));
    assert_eq!(*room.observer.resets.lock().unwrap(), resets + 1);
    room.talk(10);
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
