//! Taps see every packet and all decoded audio, of both directions.

use std::sync::{Arc, Mutex};
use web_time::Duration;

use blink_api::{AudioFormat, CallTime, RtpTime, TrackKey};

use super::super::{MediaCommand, PacketDirection, Tap, TapId, TappedPacket, TappedSamples};
use super::room::{PATH, Room, endpoint};

#[derive(Clone, Default)]
struct Keeps {
    kept: Arc<Mutex<Kept>>,
    takes: bool,
}

#[derive(Default)]
struct Kept {
    packets: Vec<(TrackKey, CallTime, PacketDirection, u16, u32)>,
    blocks: Vec<(TrackKey, CallTime, f32, RtpTime)>,
}

impl Tap for Keeps {
    fn takes_packets(&self) -> bool {
        self.takes
    }

    fn on_packet(&mut self, track: &TrackKey, at: CallTime, packet: &TappedPacket<'_>) {
        let kept = (*track, at, packet.direction, packet.sequence, packet.timestamp.0);
        self.kept.lock().unwrap().packets.push(kept);
    }

    fn on_samples(&mut self, track: &TrackKey, at: CallTime, block: &TappedSamples<'_>) {
        assert_eq!((block.format, block.samples.len()), (AudioFormat::CALL, 480));
        self.kept.lock().unwrap().blocks.push((*track, at, block.samples[479], block.timestamp));
    }
}

#[test]
fn a_tap_sees_packets_and_samples_of_both_directions_whatever_the_user_hears() {
    let mut room = Room::new();
    let tap = Keeps::default();
    room.command(MediaCommand::AddTap(TapId(1), Box::new(tap.clone())));
    room.open_speaker(Duration::ZERO);
    room.open_microphone(0.5, Duration::ZERO);
    room.connect();
    room.admit();
    // Recordings do not depend on what the user hears.
    room.command(MediaCommand::SetDeafened(true));
    room.command(MediaCommand::SetVolume(endpoint(2), 0.0));
    room.talk(50);
    let kept = tap.kept.lock().unwrap();
    let (own, other) = (TrackKey::microphone(endpoint(1)), TrackKey::microphone(endpoint(2)));
    let of = |direction| kept.packets.iter().filter(move |packet| packet.2 == direction).collect::<Vec<_>>();
    let (sent, received) = (of(PacketDirection::Sent), of(PacketDirection::Received));
    assert_eq!(received.len(), 50);
    assert!(received.iter().enumerate().all(|(number, packet)| packet.0 == other && usize::from(packet.3) == number));
    assert_eq!(sent.len(), room.sent.len());
    assert!(sent.len() >= 48 && sent.iter().all(|packet| packet.0 == own));
    let frames = sent.windows(2).map(|pair| (pair[1].4.wrapping_sub(pair[0].4), pair[1].1.0 - pair[0].1.0));
    assert!(frames.into_iter().all(|frame| frame == (960, Duration::from_millis(20))));
    let blocks = |track| kept.blocks.iter().filter(move |block| block.0 == track).collect::<Vec<_>>();
    let (own, other) = (blocks(own), blocks(other));
    assert!(own.len() >= 96 && own.iter().all(|block| block.2 == 0.5));
    let first = sent[0];
    assert_eq!((own[0].1, own[0].3.0), (first.1, first.4), "samples have the RTP time of their packet");
    assert!(own.windows(2).all(|pair| pair[1].3.0.wrapping_sub(pair[0].3.0) == 480));
    let heard = kept.packets.iter().filter(|packet| packet.2 == PacketDirection::Received);
    assert!(heard.into_iter().all(|packet| packet.1 <= CallTime(room.now - room.start)));
    assert!(other.len() >= 90, "{}", other.len());
    assert!(other.iter().all(|block| block.2 > 0.0), "decoded, before its volume");
    let times: Vec<_> = other.iter().map(|block| block.1).collect();
    // Where time stands still for a late packet, a block has the time of the one before.
    assert!(times.is_sorted(), "in the order of its timestamps: {times:?}");
}

#[test]
fn a_tap_that_was_removed_sees_nothing_more() {
    let mut room = Room::new();
    let tap = Keeps::default();
    room.command(MediaCommand::AddTap(TapId(1), Box::new(tap.clone())));
    room.open_speaker(Duration::ZERO);
    room.open_microphone(0.5, Duration::ZERO);
    room.connect();
    room.admit();
    room.talk(10);
    let count = || {
        let kept = tap.kept.lock().unwrap();
        (kept.packets.len(), kept.blocks.len())
    };
    let before = count();
    assert!(before.0 > 0 && before.1 > 0);
    room.command(MediaCommand::RemoveTap(TapId(2)));
    room.talk(1);
    assert!(count() > before, "another one's removal changes nothing");
    let before = count();
    room.command(MediaCommand::RemoveTap(TapId(1)));
    room.talk(10);
    assert_eq!(count(), before);
    assert_eq!(Arc::strong_count(&tap.kept), 1);
}

/// A recording goes on while all others are away, and is of one track when they are back.
#[test]
fn the_microphone_is_encoded_for_a_tap_while_there_are_no_receivers() {
    for takes in [true, false] {
        let mut room = Room::new();
        let tap = Keeps { takes, ..Keeps::default() };
        room.command(MediaCommand::AddTap(TapId(1), Box::new(tap.clone())));
        room.open_microphone(0.5, Duration::ZERO);
        room.run(Duration::from_millis(100));
        assert!(tap.kept.lock().unwrap().packets.is_empty(), "nothing is recorded before the first receiver");
        room.connect();
        room.admit();
        room.run(Duration::from_millis(200));
        room.command(MediaCommand::RemovePath(PATH));
        room.run(Duration::from_millis(200));
        room.connect();
        room.admit();
        room.run(Duration::from_millis(200));
        let kept = tap.kept.lock().unwrap();
        let sent = kept.packets.iter().filter(|packet| packet.2 == PacketDirection::Sent).collect::<Vec<_>>();
        let gaps = sent.windows(2).filter(|pair| pair[1].4.wrapping_sub(pair[0].4) != 960).count();
        assert_eq!(gaps, usize::from(!takes), "{} packets", sent.len());
    }
}

#[test]
fn nothing_is_decoded_for_a_tap_that_is_not_there() {
    let mut room = Room::new();
    room.open_speaker(Duration::ZERO);
    room.connect();
    room.admit();
    room.command(MediaCommand::SetDeafened(true));
    room.run(Duration::from_millis(20));
    room.talk(50);
    let statistics = room.media.audio_statistics(&TrackKey::microphone(endpoint(2))).unwrap();
    assert_eq!(statistics.packets_decoded, 0);
    assert!(statistics.packets_skipped >= 45);
}
