//! Packets to their tracks, and tracks to their sections.

use std::sync::{Arc, Mutex};
use web_time::Duration;

use blink_api::{CodecName, Mid, RtpIn, StreamId, TrackId, TrackKey};
use bytes::Bytes;

use super::super::{AnnouncedSection, FrameSink, MediaCommand, MediaOutput, StreamSink, VideoCommand};
use super::room::{PATH, Room, endpoint};
use crate::fake::{Script, numbered, received};
use crate::video::ReceivedFrame;

const STREAM: [u8; 16] = [5; 16];

pub(super) fn stream() -> StreamId {
    StreamId::from_bytes(STREAM)
}

/// Packets that come before the path is verified wait; the newest 32 are played then.
#[test]
fn early_packets_are_held_until_the_path_is_verified() {
    let mut room = Room::new();
    room.open_speaker(Duration::ZERO);
    room.connect();
    for _ in 0..40 {
        room.arrive(0.5);
    }
    let track = TrackKey::microphone(endpoint(2));
    assert_eq!(room.media.audio_statistics(&track), None);
    room.admit();
    assert_eq!(room.media.audio_statistics(&track).unwrap().packets_received, 32);
    room.admit();
    assert_eq!(room.media.audio_statistics(&track).unwrap().packets_received, 32, "once");
}

/// A stream takes a section of its kind, its packets go on with the section's numbers, and its end
/// is announced.
#[test]
fn an_audio_stream_is_announced_and_sent_on_its_section() {
    let mut room = Room::new();
    room.connect();
    room.admit();
    let script = Script::without_clock();
    script.put(std::iter::repeat_n(0.5, 48_000));
    room.command(MediaCommand::OfferAudio(stream(), Box::new(script)));
    room.command(MediaCommand::StartSending(PATH, stream()));
    let announced = |room: &mut Room| {
        room.outputs.retain(|output| !matches!(output, MediaOutput::Report { .. }));
        match room.outputs.remove(0) {
            MediaOutput::Announce { path, mid, stream, first_sequence } => (path, mid, stream, first_sequence),
            _ => panic!("nothing is announced"),
        }
    };
    let (path, mid, sent, first) = announced(&mut room);
    assert_eq!((path, mid, sent), (PATH, Mid::new("1"), Some(stream())));
    room.run(Duration::from_millis(200));
    let sent: Vec<_> = room.sent.iter().map(|(track, packet)| (*track, packet.sequence)).collect();
    assert_eq!(sent.len(), 11, "the first one at once");
    assert!(sent.iter().enumerate().all(|(n, sent)| *sent == (TrackId(2), first.wrapping_add(n as u16))));
    room.command(MediaCommand::StopSending(PATH, stream()));
    assert_eq!(announced(&mut room), (PATH, Mid::new("1"), None, first.wrapping_add(11)));
    room.command(MediaCommand::StartSending(PATH, stream()));
    assert_eq!(announced(&mut room), (PATH, Mid::new("1"), Some(stream()), first.wrapping_add(11)));
    let other = StreamId::from_bytes([6; 16]);
    room.command(MediaCommand::OfferAudio(other, Box::new(Script::without_clock())));
    room.command(MediaCommand::StartSending(PATH, other));
    assert!(matches!(room.outputs.remove(0), MediaOutput::Unsendable { stream, .. } if stream == other));
}

#[test]
fn a_video_stream_is_commanded_through_its_sender() {
    let mut room = Room::new();
    room.connect();
    room.admit();
    room.command(MediaCommand::OfferVideo(stream()));
    room.command(MediaCommand::StartSending(PATH, stream()));
    room.command(MediaCommand::KeyframeRequested(PATH, Mid::new("2")));
    room.command(MediaCommand::BandwidthEstimate(PATH, 300_000));
    room.command(MediaCommand::RemovePath(PATH));
    let commands: Vec<_> = room
        .outputs
        .drain(..)
        .filter_map(|output| match output {
            MediaOutput::Video { command, .. } => Some(command),
            _ => None,
        })
        .collect();
    let [
        VideoCommand::AddReceiver(_, track),
        VideoCommand::RequestKeyframe,
        VideoCommand::SetRate(_, Some(rate)),
        VideoCommand::RemoveReceiver(_),
    ] = &commands[..]
    else {
        panic!("{commands:?}")
    };
    assert_eq!(track.track, TrackId(3));
    assert!((1..300_000).contains(rate), "{rate}");
}

/// Keeps whole frames.
#[derive(Clone, Default)]
pub(super) struct Frames(pub(super) Arc<Mutex<Vec<ReceivedFrame>>>);

impl FrameSink for Frames {
    fn try_push(&mut self, frame: ReceivedFrame) -> bool {
        self.0.lock().unwrap().push(frame);
        true
    }
}

/// A VP8 key frame of one packet.
pub(super) fn key_frame(room: &Room, sequence: u16) -> RtpIn {
    const KEY: &[u8] = &[0x10, 0, 0, 0, 0x9d, 0x01, 0x2a, 0, 0, 0, 0];
    let mut packet = received(&numbered(u32::from(sequence), Bytes::from_static(KEY)), room.now);
    (packet.mid, packet.codec, packet.marker) = (Mid::new("2"), CodecName::new("VP8"), true);
    packet
}

/// Packets of a section wait for its announcement; those of the stream before on it are dropped.
#[test]
fn video_is_assembled_from_the_announced_packet_on() {
    let mut room = Room::new();
    room.connect();
    room.admit();
    let frames = Frames::default();
    let sink = StreamSink::Video { codec: CodecName::new("VP8"), frames: Box::new(frames.clone()) };
    room.command(MediaCommand::StartReceiving(PATH, stream(), sink));
    for sequence in 98..102 {
        let packet = key_frame(&room, sequence);
        room.push(packet);
    }
    assert!(frames.0.lock().unwrap().is_empty(), "not announced yet");
    let section = AnnouncedSection { mid: "2".to_owned(), stream: Some(stream()), first_sequence: 100 };
    room.command(MediaCommand::Announced(PATH, section));
    assert_eq!(frames.0.lock().unwrap().len(), 2);
    let first = |output: &&MediaOutput| matches!(output, MediaOutput::FirstFrame { stream: of, .. } if *of == stream());
    assert_eq!(room.outputs.iter().filter(first).count(), 1, "reported once");
    // Without a speaker there are ticks all the same: a key frame is requested for a lost one.
    room.command(MediaCommand::StopReceiving(PATH, stream()));
    let packet = key_frame(&room, 102);
    room.push(packet);
    assert_eq!(frames.0.lock().unwrap().len(), 2, "no longer received");
}

/// A section that was announced for another stream, or with an absurd name, changes nothing.
#[test]
fn absurd_announcements_are_ignored() {
    let mut room = Room::new();
    room.open_speaker(Duration::ZERO);
    room.connect();
    room.admit();
    for mid in ["0", &"x".repeat(17)] {
        let section = AnnouncedSection { mid: mid.to_owned(), stream: Some(stream()), first_sequence: 0 };
        room.command(MediaCommand::Announced(PATH, section));
    }
    room.talk(10);
    let statistics = room.media.audio_statistics(&TrackKey::microphone(endpoint(2))).unwrap();
    assert_eq!(statistics.packets_received, 10, "the microphone's section cannot be announced");
}

/// Once a second the other end gets a report of what arrived, and of capture times; the first of
/// those at once.
#[test]
fn reports_have_what_arrives_and_when_what_is_sent_was_captured() {
    let mut room = Room::new();
    room.open_speaker(Duration::ZERO);
    room.open_microphone(0.5, Duration::ZERO);
    room.connect();
    room.admit();
    room.talk(160);
    let reports: Vec<_> = room
        .outputs
        .iter()
        .filter_map(|output| match output {
            MediaOutput::Report { interval, sections, captures, .. } => Some((interval, sections, captures)),
            _ => None,
        })
        .collect();
    assert_eq!(reports.len(), 4);
    assert_eq!((*reports[0].0, reports[0].1.len(), reports[0].2.len()), (Duration::ZERO, 0, 1), "of the first packet");
    for (interval, sections, captures) in &reports[1..] {
        assert!((Duration::from_millis(990)..=Duration::from_millis(1_010)).contains(interval), "{interval:?}");
        assert_eq!((sections.len(), sections[0].lost), (1, 0));
        assert_eq!(captures.len(), 1);
        assert_eq!(captures[0].track, TrackKey::microphone(endpoint(1)));
    }
}

/// A muted microphone sends nothing, and its timestamps go on: reports still say when they were
/// captured.
#[test]
fn a_muted_microphone_stays_in_the_reports() {
    let mut room = Room::new();
    room.connect();
    room.admit();
    room.open_microphone(0.5, Duration::ZERO);
    room.run(Duration::from_secs(1));
    room.command(MediaCommand::SetMuted(true));
    room.run(Duration::from_secs(9));
    room.outputs.clear();
    let before = room.now;
    room.run(Duration::from_secs(2));
    let captured = room.outputs.iter().find_map(|output| match output {
        MediaOutput::Report { captures, .. } => captures.first(),
        _ => None,
    });
    let captured = captured.expect("the microphone is reported");
    assert_eq!(captured.track, TrackKey::microphone(endpoint(1)));
    assert!(captured.captured_us + 20_000 >= (before - room.start).as_micros() as u64);
}
