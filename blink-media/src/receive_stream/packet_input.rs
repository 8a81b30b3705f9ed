//! Input of received packets into the jitter buffer.

use blink_api::RtpIn;
use bytes::Bytes;

use super::ReceiveStream;
use crate::jitter::{AudioCopy, AudioPacket};
use crate::red;

/// Interval, in packets, at which the span of deep redundancy is read.
const REDUNDANCY_SPAN_INTERVAL: u64 = 25;

impl ReceiveStream {
    /// Adds a packet to the jitter buffer: audio, audio with copies of earlier packets (RFC 2198),
    /// or padding without a payload.
    pub(crate) fn push(&mut self, packet: RtpIn) {
        if packet.payload.is_empty() {
            self.jitter.push_padding(packet.sequence);
        } else if packet.codec == self.config.codec {
            self.push_with(&packet, packet.payload.clone(), std::iter::empty());
        } else if packet.codec.is_red() {
            let Ok(blocks) = red::unpack(&packet.payload) else {
                // An unreadable packet is counted as corrupt when it is decoded.
                return self.push_with(&packet, Bytes::new(), std::iter::empty());
            };
            let Some(own) = blocks.clone().last().filter(|own| !own.payload.is_empty()) else {
                return self.jitter.push_padding(packet.sequence);
            };
            let of_own_codec = own.payload_type;
            let copies = blocks.filter(move |block| block.offset > 0 && block.payload_type == of_own_codec);
            self.push_with(&packet, own.payload, copies);
        } else {
            // This decoder cannot read it, but it is not lost.
            self.other_codec_packets += 1;
            self.jitter.push_padding(packet.sequence);
        }
    }

    fn push_with(&mut self, packet: &RtpIn, payload: Bytes, copies: impl Iterator<Item = red::Block> + Clone) {
        if self.pushed.is_multiple_of(REDUNDANCY_SPAN_INTERVAL) {
            self.jitter.observe_redundancy_span(self.concealer.redundancy_span(&payload));
        }
        self.pushed += 1;
        let (concealer, rate) = (&self.concealer, self.config.jitter.clock_rate);
        let ticks = |payload: &[u8]| {
            concealer.duration(payload).map_or(0, |duration| {
                let nanos = duration.as_nanos() * u128::from(rate);
                u32::try_from((nanos + 500_000_000) / 1_000_000_000).unwrap_or(0)
            })
        };
        let copies = copies.map(|block| AudioCopy {
            offset: block.offset,
            ticks: ticks(&block.payload),
            has_fec: concealer.has_fec(&block.payload),
            payload: block.payload,
        });
        let packet = AudioPacket {
            sequence: packet.sequence,
            timestamp: packet.timestamp,
            ticks: ticks(&payload),
            marker: packet.marker,
            level: packet.level,
            has_fec: concealer.has_fec(&payload),
            payload,
            arrival: packet.arrival,
        };
        self.jitter.push_with(packet, copies);
    }
}
