//! RTP packets with header extensions and padding, from datagrams to audio and receive statistics.

use std::time::{Duration, Instant};

use blink_api::{AudioCodec, AudioDecoderConfig, AudioFormat, AudioLevel, CodecName, Mid, RtpIn, RtpTime};
use blink_media::{JitterConfig, NullSink, Playout, ReceiveConfig, ReceiveStatistics};
use blink_media_cpal_opus::{OpusCodec, OpusConfig};
use blink_transport_kit::traffic::TrafficCounters;
use bytes::Bytes;
use rtc_rtp::packet::Packet;
use rtc_shared::marshal::{Marshal, MarshalSize, Unmarshal};

use crate::input::Input;

/// Parses packets as the transport `webrtc-rs` does, some as redundant audio (RFC 2198), and plays
/// them.
pub fn run(data: &[u8]) {
    let mut input = Input::new(data);
    let extension = input.byte();
    let codec = OpusCodec::new(OpusConfig::default()).expect("the defaults are valid");
    let format = AudioFormat::CALL;
    let decoder = codec.decoder(AudioDecoderConfig { format }).expect("calls are in a format that Opus has");
    let (name, red) = (CodecName::new("opus"), CodecName::new("red"));
    let mut playout: Playout<u8> = Playout::new(Box::new(NullSink::new(AudioFormat::CALL)));
    playout.add(1, ReceiveConfig { codec: name.clone(), jitter: JitterConfig::default() }, decoder);
    let (mut traffic, mut reception) = (TrafficCounters::default(), ReceiveStatistics::new(48_000));
    let mut now = Instant::now();
    while !input.is_empty() {
        let ticks = input.byte();
        for _ in 0..ticks % 8 {
            now += Duration::from_millis(10);
            let report = playout.tick(now);
            assert!(report.sink_error.is_none());
            assert!(playout.far_end().iter().all(|sample| (-1.0..=1.0).contains(sample)), "samples are in range");
        }
        if ticks & 16 != 0 {
            // A pause of up to two days.
            now += Duration::from_secs(u64::from(input.u16()) * 3);
        }
        if ticks & 32 != 0
            && let Some(report) = reception.report()
        {
            assert!(report.lost <= report.expected && report.runs <= report.lost, "{report:?}");
        }
        let Ok(packet) = Packet::unmarshal(&mut Bytes::copy_from_slice(input.chunk())) else { continue };
        let mut header = packet.header;
        traffic.received(header.ssrc, header.sequence_number, packet.payload.len());
        let level = header.get_extension(extension).and_then(|bytes| bytes.first().copied()).map(AudioLevel::from_byte);
        if let Some(level) = level
            && header.set_extension(extension, Bytes::copy_from_slice(&[level.to_byte()])).is_ok()
        {
            // A parsed header can be serialized.
            let mut bytes = vec![0; header.marshal_size()];
            header.marshal_to(&mut bytes).ok();
        }
        let arrival = now;
        reception.push(header.sequence_number, RtpTime(header.timestamp), arrival, packet.payload.len());
        let packet = RtpIn {
            mid: Mid::new("0"),
            payload_type: header.payload_type,
            codec: if ticks & 8 == 0 { name.clone() } else { red.clone() },
            sequence: header.sequence_number,
            timestamp: RtpTime(header.timestamp),
            marker: header.marker,
            level,
            payload: packet.payload,
            arrival,
        };
        playout.push(&1, packet);
    }
    let statistics = playout.statistics(&1).expect("it was added");
    assert!(statistics.packets_decoded <= statistics.packets_received);
}
