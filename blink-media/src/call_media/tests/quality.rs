//! Quality events of a path: from what arrives, and from round trips.

use std::time::Duration;

use super::room::{PATH, Room, endpoint};
use crate::call_clock::SyncRound;
use crate::call_media::{MediaCommand, MediaEvent, MediaOutput};

/// Names of the quality events so far.
fn told(room: &Room) -> Vec<&'static str> {
    let name = |output: &MediaOutput| match output {
        MediaOutput::Event(MediaEvent::QualityDegraded(of, reason)) => {
            assert_eq!(*of, endpoint(2));
            Some(reason.name())
        }
        MediaOutput::Event(MediaEvent::QualityRecovered(of)) => {
            assert_eq!(*of, endpoint(2));
            Some("recovered")
        }
        _ => None,
    };
    room.outputs.iter().filter_map(name).collect()
}

/// A verified path whose audio is played.
fn call() -> Room {
    let mut room = Room::new();
    room.connect();
    room.admit();
    room.open_speaker(Duration::ZERO);
    room
}

/// Audio for so many seconds; of each ten packets, the first `lost` do not arrive.
fn talk(room: &mut Room, seconds: u32, lost: u32) {
    for number in 0..seconds * 50 {
        if number % 10 < lost {
            room.skip();
        } else {
            room.arrive(0.1);
        }
        room.run(Duration::from_millis(20));
    }
}

fn sync(room: &mut Room, round_trip: Duration) {
    let sent_us = (room.now - room.start).as_micros() as u64;
    let round = SyncRound { sent_us, received_us: 77, answered_us: sent_us + round_trip.as_micros() as u64 };
    room.command(MediaCommand::ClockSynced(endpoint(2), round));
}

#[test]
fn lost_packets_and_their_concealment_degrade_a_path_until_they_end() {
    let mut room = call();
    talk(&mut room, 20, 0);
    assert_eq!(told(&room), [] as [&str; 0]);
    talk(&mut room, 20, 2);
    assert_eq!(told(&room), ["loss", "concealment"], "the fake codec has no redundancy");
    talk(&mut room, 20, 0);
    assert_eq!(told(&room), ["loss", "concealment", "recovered"]);
}

#[test]
fn a_long_round_trip_degrades_all_paths_to_the_endpoint() {
    let mut room = call();
    for round_trip_ms in [299, 301] {
        for _ in 0..8 {
            sync(&mut room, Duration::from_millis(round_trip_ms));
            talk(&mut room, 1, 0);
        }
    }
    assert_eq!(told(&room), ["round_trip"]);
}

/// A path that is replaced is measured from the beginning, and what was told of the one before does
/// not stay.
#[test]
fn a_path_that_ends_has_recovered() {
    let mut room = call();
    talk(&mut room, 10, 2);
    room.command(MediaCommand::RemovePath(PATH));
    assert_eq!(told(&room), ["loss", "concealment", "recovered"]);
    let mut room = call();
    talk(&mut room, 10, 0);
    room.command(MediaCommand::RemovePath(PATH));
    assert_eq!(told(&room), [] as [&str; 0]);
}

#[test]
fn video_frames_that_find_no_room_degrade_a_path() {
    let mut room = call();
    for (dropped, seconds) in [(0, 10), (5, 10), (0, 20)] {
        for _ in 0..seconds {
            let path = room.media.paths.get(&PATH).unwrap();
            let video = &path.outgoing.last().unwrap().track;
            (0..15 - dropped).for_each(|_| video.count_sent_frame());
            (0..dropped).for_each(|_| video.count_dropped_frame());
            talk(&mut room, 1, 0);
        }
    }
    assert_eq!(told(&room), ["bandwidth", "recovered"]);
}
