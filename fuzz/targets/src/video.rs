//! Video packets with any sequence numbers, times and payloads.

use std::sync::LazyLock;
use std::time::{Duration, Instant};

use blink_api::{CodecName, Mid, RtpIn, RtpTime};
use blink_media::video::{AssemblerConfig, FrameAssembler, Packetizer, PayloadFormats};
use bytes::Bytes;

use crate::input::Input;

static START: LazyLock<Instant> = LazyLock::new(|| Instant::now() + Duration::from_secs(1_000));

/// The first frame is a key frame, and so is the first one after a loss; expired frames are given
/// up; every assembled frame can be packetized again.
pub fn run(data: &[u8]) {
    let mut input = Input::new(data);
    let choice = input.byte();
    let codec = CodecName::new(if choice & 1 == 0 { "VP8" } else { "H264" });
    let config = AssemblerConfig { max_packets: 1 + usize::from(choice >> 1), ..AssemblerConfig::default() };
    let format = PayloadFormats::default().of(&codec).expect("both are known");
    let mut packetizer = Packetizer::new(&*format, 0);
    let mut assembler = FrameAssembler::new(format, config);
    let (mut now, mut sequence, mut timestamp) = (*START, 0u16, RtpTime(0));
    let mut waits_for_key = true;
    while !input.is_empty() {
        let choice = input.byte();
        match choice & 3 {
            0 | 1 => {
                sequence = sequence.wrapping_add(if choice & 4 == 0 { 1 } else { input.u16() });
                timestamp = match choice >> 3 & 3 {
                    0 | 1 => timestamp,
                    2 => timestamp.wrapping_add(3_000),
                    _ => timestamp.wrapping_add(input.u32()),
                };
                assembler.push(RtpIn {
                    mid: Mid::new("1"),
                    payload_type: 96,
                    codec: codec.clone(),
                    sequence,
                    timestamp,
                    marker: choice & 32 != 0,
                    level: None,
                    payload: Bytes::copy_from_slice(input.chunk()),
                    arrival: now,
                });
            }
            2 => now += Duration::from_millis(u64::from(choice >> 2) * 4),
            _ if choice & 4 == 0 => drop(assembler.wants_keyframe(now)),
            _ => {
                assembler.restart();
                waits_for_key = true;
            }
        }
        while let Some(frame) = assembler.poll(now) {
            assert!(frame.frame.key || !waits_for_key, "the first frame is a key frame");
            assert!(!frame.frame.data.is_empty());
            waits_for_key = false;
            // A frame without data is refused.
            packetizer.packetize(&frame.frame, frame.timestamp).ok();
        }
        assert!(assembler.deadline().is_none_or(|deadline| deadline > now), "expired frames are given up");
    }
    let statistics = assembler.statistics();
    assert!(
        statistics.key_frames_received <= statistics.frames_received
            && statistics.frames_received <= statistics.packets_received
    );
}
