//! Real clips over a network that loses, delays, repeats and invents, on virtual time.

mod damage;
mod order;

use std::sync::Arc;
use web_time::{Duration, Instant};

use blink_api::{CodecName, EncodedVideoFrame, ErrorKind, MediaHost, Mid, PayloadFormat, RtpIn, RtpOut, RtpTime};
use blink_media_synthetic::{SyntheticConfig, SyntheticHost};
use bytes::Bytes;
use rand::seq::IndexedRandom;
use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rtc_rtp::codec::h264::H264Packet;
use rtc_rtp::codec::vp8::Vp8Packet;
use rtc_rtp::packetizer::Depacketizer;

use super::*;

const CODECS: [&str; 2] = ["VP8", "H264"];

/// Frames as sent: 15 a second, with a key frame every 15.
struct Sent {
    codec: CodecName,
    start: Instant,
    frames: Vec<EncodedVideoFrame>,
    /// Of each frame.
    packets: Vec<Vec<RtpOut>>,
    clock: VideoClock,
}

impl Sent {
    /// Frames of a clip, with numbers that wrap soon.
    fn new(codec: &str, count: usize) -> Self {
        Self::numbered(codec, count, 65_530, RtpTime(u32::MAX - 20_000))
    }

    fn numbered(codec: &str, count: usize, sequence: u16, timestamp: RtpTime) -> Self {
        let start = Instant::now();
        let clock = VideoClock::new(start, timestamp);
        let codec = CodecName::new(codec);
        let frames = clip(&codec, start, count);
        let mut packetizer = Packetizer::new(&*format(&codec), sequence);
        let packets = frames.iter().map(|frame| packetizer.packetize(frame, clock.timestamp(frame.at)).unwrap());
        Self { packets: packets.collect(), codec, start, frames, clock }
    }

    fn assembler(&self) -> FrameAssembler {
        FrameAssembler::new(format(&self.codec), AssemblerConfig::default())
    }

    /// Number of a frame that came out, which must be as it was sent.
    fn number(&self, received: &ReceivedFrame) -> usize {
        let found = self.frames.iter().position(|frame| self.clock.timestamp(frame.at) == received.timestamp);
        let number = found.expect("a timestamp that was sent");
        let sent = &self.frames[number];
        assert_eq!((&received.frame.data, received.frame.key), (&sent.data, sent.key), "frame {number}");
        number
    }

    /// All packets, each arriving when its frame was captured.
    fn arrivals(&self) -> Vec<RtpIn> {
        let frames = self.frames.iter().zip(&self.packets);
        frames.flat_map(|(frame, packets)| packets.iter().map(|packet| arrive(packet, frame.at))).collect()
    }

    /// Gives the packets in order of arrival, and asks every 5 ms until a second after the last.
    fn receive(&self, assembler: &mut FrameAssembler, mut packets: Vec<RtpIn>) -> Vec<usize> {
        packets.sort_by_key(|packet| packet.arrival);
        let end = packets.iter().map(|packet| packet.arrival).max().unwrap_or(self.start) + Duration::from_secs(1);
        let mut packets = packets.into_iter().peekable();
        let mut numbers = Vec::new();
        let mut now = self.start;
        while now < end {
            while let Some(packet) = packets.next_if(|packet| packet.arrival <= now) {
                assembler.push(packet);
            }
            while let Some(frame) = assembler.poll(now) {
                numbers.push(self.number(&frame));
            }
            assert!(assembler.deadline().is_none_or(|deadline| deadline > now));
            now += Duration::from_millis(5);
        }
        numbers
    }

    /// Frames that can be decoded where only these are complete.
    fn decodable(&self, whole: impl Fn(usize) -> bool) -> Vec<usize> {
        let mut follows = false;
        let mut numbers = Vec::new();
        for (number, frame) in self.frames.iter().enumerate() {
            follows = whole(number) && (frame.key || follows);
            numbers.extend(follows.then_some(number));
        }
        numbers
    }
}

fn format(codec: &CodecName) -> Arc<dyn PayloadFormat> {
    PayloadFormats::default().of(codec).unwrap()
}

/// Frames of a clip of the synthetic media host, from `start` on.
fn clip(codec: &CodecName, start: Instant, count: usize) -> Vec<EncodedVideoFrame> {
    let host = SyntheticHost::new(SyntheticConfig::default()).unwrap();
    let name = format!("clip:{}", codec.as_str().to_ascii_lowercase());
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let mut source = runtime.block_on(host.open_video_source(&name)).unwrap();
    let times = (0..).map(|step| start + Duration::from_millis(10) * step);
    times.filter_map(|now| source.read_frame(now).unwrap()?.into_encoded()).take(count).collect()
}

fn arrive(packet: &RtpOut, arrival: Instant) -> RtpIn {
    RtpIn {
        mid: Mid::new("1"),
        payload_type: 96,
        codec: packet.codec.clone(),
        sequence: packet.sequence,
        timestamp: packet.timestamp,
        marker: packet.marker,
        level: None,
        payload: packet.payload.clone(),
        arrival,
    }
}

#[test]
fn packets_are_small_enough_numbered_in_turn_and_marked_at_the_end_of_a_frame() {
    for codec in CODECS {
        let sent = Sent::new(codec, 200);
        let mut sequence = 65_530u16;
        for (frame, packets) in sent.frames.iter().zip(&sent.packets) {
            for (number, packet) in packets.iter().enumerate() {
                assert_eq!(packet.sequence, sequence);
                assert_eq!(packet.timestamp, sent.clock.timestamp(frame.at));
                assert_eq!(packet.marker, number + 1 == packets.len());
                assert!((1..=MAX_PAYLOAD).contains(&packet.payload.len()));
                sequence = sequence.wrapping_add(1);
            }
        }
        assert!(sent.packets.iter().any(|packets| packets.len() >= 4), "{codec}");
    }
}

/// An independent reader of both formats.
#[test]
fn what_is_sent_is_read_by_rtc_rtp() {
    for codec in CODECS {
        let sent = Sent::new(codec, 200);
        for (frame, packets) in sent.frames.iter().zip(&sent.packets) {
            let mut depacketizer: Box<dyn Depacketizer> =
                if codec == "VP8" { Box::new(Vp8Packet::default()) } else { Box::new(H264Packet::default()) };
            let mut data = Vec::new();
            for packet in packets {
                data.extend(depacketizer.depacketize(&packet.payload).unwrap());
            }
            assert_eq!(data, frame.data);
        }
    }
}

#[test]
fn the_clock_runs_at_90_khz_around_the_wrap() {
    let start = Instant::now();
    let clock = VideoClock::new(start, RtpTime(u32::MAX - 89_999));
    assert_eq!(clock.timestamp(start), RtpTime(u32::MAX - 89_999));
    assert_eq!(clock.timestamp(start + Duration::from_millis(1_100)), RtpTime(9_000));
    assert_eq!(clock.timestamp(start + Duration::from_secs(48_000)).since(RtpTime(u32::MAX - 89_999)), 25_032_704);
}

#[test]
fn other_codecs_and_empty_frames_are_refused() {
    let other = CodecName::new("AV1");
    let error = PayloadFormats::default().of(&other).err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    for codec in CODECS {
        let mut packetizer = Packetizer::new(&*format(&CodecName::new(codec)), 0);
        let empty = EncodedVideoFrame { data: Bytes::new(), key: false, at: Instant::now() };
        assert_eq!(packetizer.packetize(&empty, RtpTime(0)).unwrap_err().kind(), ErrorKind::Invalid);
    }
}
