//! Taps see every packet and all decoded audio, of both directions.

use std::sync::{Arc, Mutex};
use web_time::Duration;

use blink_api::{AudioFormat, CallTime, TrackKey};

use super::super::{MediaCommand, PacketDirection, Tap, TappedPacket};
use super::room::{Room, endpoint};

#[derive(Clone, Default)]
struct Keeps(Arc<Mutex<Kept>>);

#[derive(Default)]
struct Kept {
    packets: Vec<(TrackKey, CallTime, PacketDirection, u16, u32)>,
    blocks: Vec<(TrackKey, CallTime, f32)>,
}

impl Tap for Keeps {
    fn on_packet(&mut self, track: &TrackKey, at: CallTime, packet: &TappedPacket<'_>) {
        let kept = (*track, at, packet.direction, packet.sequence, packet.timestamp.0);
        self.0.lock().unwrap().packets.push(kept);
    }

    fn on_samples(&mut self, track: &TrackKey, at: CallTime, format: AudioFormat, samples: &[f32]) {
        assert_eq!((format, samples.len()), (AudioFormat::CALL, 480));
        self.0.lock().unwrap().blocks.push((*track, at, samples[479]));
    }
}

#[test]
fn a_tap_sees_packets_and_samples_of_both_directions_whatever_the_user_hears() {
    let mut room = Room::new();
    let tap = Keeps::default();
    room.command(MediaCommand::AddTap(Box::new(tap.clone())));
    room.open_speaker(Duration::ZERO);
    room.open_microphone(0.5, Duration::ZERO);
    room.connect();
    room.admit();
    // Recordings do not depend on what the user hears.
    room.command(MediaCommand::SetDeafened(true));
    room.command(MediaCommand::SetVolume(endpoint(2), 0.0));
    room.talk(50);
    let kept = tap.0.lock().unwrap();
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
    assert!(other.len() >= 90, "{}", other.len());
    assert!(other.iter().all(|block| block.2 > 0.0), "decoded, before its volume");
    assert!(other.windows(2).all(|pair| pair[0].1 < pair[1].1), "in the order of its timestamps");
}

#[test]
fn nothing_is_decoded_for_a_tap_that_is_not_there() {
    let mut room = Room::new();
    room.open_speaker(Duration::ZERO);
    room.connect();
    room.admit();
    room.command(MediaCommand::SetDeafened(true));
    room.talk(50);
    let statistics = room.media.audio_statistics(&TrackKey::microphone(endpoint(2))).unwrap();
    assert_eq!(statistics.packets_decoded, 0);
    assert!(statistics.packets_skipped >= 45);
}
