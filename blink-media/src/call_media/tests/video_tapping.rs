//! Taps see sent and received video: packets and complete frames.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use web_time::{Duration, Instant};

use blink_api::{
    CallTime, CodecName, EncodedVideoFrame, Result, RtpCodec, RtpTime, TrackKey, TrackKind, VideoFormat, VideoFrame,
    VideoSource,
};
use bytes::Bytes;

use super::super::{
    AnnouncedSection, MediaCommand, MediaOutput, PacketDirection, StreamSink, Tap, TapId, TappedFrame, TappedPacket,
    VideoSender,
};
use super::room::{PATH, Room, endpoint};
use super::routing::{Frames, key_frame, stream};
use crate::video::PayloadFormats;

/// A large VP8 key frame: of several packets.
const KEY: &[u8] = &[0, 0, 0, 0x9d, 0x01, 0x2a, 0, 0, 0, 0];
const FRAME_BYTES: usize = 3_000;

#[derive(Clone, Default)]
struct Sees(Arc<Mutex<Seen>>);

#[derive(Default)]
struct Seen {
    packets: Vec<(TrackKey, CallTime, PacketDirection, u16, RtpTime, bool, CallTime)>,
    frames: Vec<(TrackKey, CallTime, PacketDirection, RtpTime, usize)>,
}

impl Tap for Sees {
    fn for_sent_video(&self) -> Option<Box<dyn Tap>> {
        Some(Box::new(self.clone()))
    }

    fn on_packet(&mut self, track: &TrackKey, at: CallTime, packet: &TappedPacket<'_>) {
        assert_eq!((packet.kind, packet.codec), (TrackKind::Video, &CodecName::new("VP8")));
        let TappedPacket { direction, sequence, timestamp, marker, moment, .. } = *packet;
        self.0.lock().unwrap().packets.push((*track, at, direction, sequence, timestamp, marker, moment));
    }

    fn on_frame(&mut self, track: &TrackKey, at: CallTime, frame: &TappedFrame<'_>) {
        assert!(frame.codec == &CodecName::new("VP8") && frame.frame.key);
        let seen = (*track, at, frame.direction, frame.timestamp, frame.frame.data.len());
        self.0.lock().unwrap().frames.push(seen);
    }
}

/// Has the frames that were put into it.
#[derive(Clone, Default)]
struct Camera {
    frames: Arc<Mutex<VecDeque<Instant>>>,
    requests: Arc<Mutex<u32>>,
}

impl VideoSource for Camera {
    fn format(&self) -> VideoFormat {
        VideoFormat { width: 16, height: 16, frame_rate: 50.0 }
    }

    fn codec(&self) -> Option<RtpCodec> {
        PayloadFormats::default().codecs().into_iter().find(|codec| codec.name == CodecName::new("VP8"))
    }

    fn read_frame(&mut self, _: Instant) -> Result<Option<VideoFrame>> {
        let mut data = KEY.to_vec();
        data.resize(FRAME_BYTES, 0);
        let frame = |at| VideoFrame::Encoded(EncodedVideoFrame { data: Bytes::from(data), key: true, at });
        Ok(self.frames.lock().unwrap().pop_front().map(frame))
    }

    fn request_keyframe(&mut self) {
        *self.requests.lock().unwrap() += 1;
    }
}

/// The commands of the call's media, carried out by the sender of the stream.
fn command_sender(room: &mut Room, sender: &mut VideoSender) {
    for output in room.outputs.drain(..) {
        if let MediaOutput::Video { command, .. } = output {
            sender.handle(room.now, command);
        }
    }
}

#[test]
fn sent_video_is_shown_once_as_packets_and_frames_whatever_the_order_of_tap_and_stream() {
    for tapped_first in [true, false] {
        let (mut room, sees, camera) = (Room::new(), Sees::default(), Camera::default());
        room.connect();
        room.admit();
        let formats = PayloadFormats::default();
        let mut sender =
            VideoSender::new(stream(), Box::new(camera.clone()), &formats, RtpTime(900), room.now).unwrap();
        let tap = || MediaCommand::AddTap(TapId(1), Box::new(sees.clone()));
        if tapped_first {
            room.command(tap());
        }
        room.command(MediaCommand::OfferVideo(stream()));
        room.command(MediaCommand::StartSending(PATH, stream()));
        if !tapped_first {
            room.command(tap());
        }
        command_sender(&mut room, &mut sender);
        assert!(*camera.requests.lock().unwrap() >= 1, "a recording begins with a key frame");
        let mut sent = 0;
        for _ in 0..4 {
            room.now += Duration::from_millis(20);
            camera.frames.lock().unwrap().push_back(room.now - Duration::from_millis(5));
            sender.tick(room.now, &mut |_, _, _| sent += 1).unwrap();
        }
        room.command(MediaCommand::RemoveTap(TapId(1)));
        command_sender(&mut room, &mut sender);
        camera.frames.lock().unwrap().push_back(room.now);
        sender.tick(room.now, &mut |_, _, _| {}).unwrap();
        let seen = sees.0.lock().unwrap();
        let track = TrackKey::stream(endpoint(1), stream());
        assert_eq!((seen.frames.len(), seen.packets.len()), (4, sent));
        for (number, frame) in (1..).zip(&seen.frames) {
            let captured = Duration::from_millis(20 * number - 5);
            let timestamp = RtpTime(900 + 1_800 * (number as u32 - 1));
            assert_eq!(*frame, (track, CallTime(captured), PacketDirection::Sent, timestamp, FRAME_BYTES));
            let packets: Vec<_> = seen.packets.iter().filter(|packet| packet.4 == timestamp).collect();
            assert!(packets.len() > 1 && packets.iter().all(|packet| packet.1 == CallTime(captured)));
            assert!(packets.iter().all(|packet| packet.6.0 == captured + Duration::from_millis(5)));
            assert_eq!(packets.iter().filter(|packet| packet.5).count(), 1, "a marker each");
        }
        assert!(seen.packets.iter().enumerate().all(|(number, packet)| usize::from(packet.3) == number));
    }
}

#[test]
fn received_frames_are_shown_even_where_their_reader_does_not_keep_up() {
    let (mut room, sees) = (Room::new(), Sees::default());
    room.connect();
    room.admit();
    room.command(MediaCommand::AddTap(TapId(1), Box::new(sees.clone())));
    let sink = StreamSink::Video { codec: CodecName::new("VP8"), frames: Box::new(Frames::default()) };
    room.command(MediaCommand::StartReceiving(PATH, stream(), sink));
    let section = AnnouncedSection { mid: "2".to_owned(), stream: Some(stream()), first_sequence: 100 };
    room.command(MediaCommand::Announced(PATH, section));
    for sequence in 100..103 {
        let packet = key_frame(&room, sequence);
        room.push(packet);
        room.pass(Duration::from_millis(20));
    }
    let seen = sees.0.lock().unwrap();
    let track = TrackKey::stream(endpoint(2), stream());
    assert_eq!((seen.packets.len(), seen.frames.len()), (3, 3));
    assert!(seen.packets.iter().all(|packet| packet.0 == track && packet.2 == PacketDirection::Received));
    assert!(seen.frames.iter().all(|frame| frame.0 == track && frame.2 == PacketDirection::Received));
}

#[test]
fn streams_that_go_on_in_another_call_lose_the_taps_of_this_one_and_get_its() {
    let (mut room, mut next) = (Room::new(), Room::new());
    let (first, second) = (Sees::default(), Sees::default());
    room.command(MediaCommand::AddTap(TapId(1), Box::new(first.clone())));
    next.command(MediaCommand::AddTap(TapId(2), Box::new(second.clone())));
    room.command(MediaCommand::OfferVideo(stream()));
    let streams = room.media.take_streams(room.now);
    room.drain();
    next.media.offer_streams(streams);
    next.drain();
    let camera = Camera::default();
    let mut sender =
        VideoSender::new(stream(), Box::new(camera.clone()), &PayloadFormats::default(), RtpTime(0), room.now).unwrap();
    command_sender(&mut room, &mut sender);
    command_sender(&mut next, &mut sender);
    camera.frames.lock().unwrap().push_back(room.now);
    sender.tick(room.now, &mut |_, _, _| {}).unwrap();
    assert_eq!((first.0.lock().unwrap().frames.len(), second.0.lock().unwrap().frames.len()), (0, 1));
}
