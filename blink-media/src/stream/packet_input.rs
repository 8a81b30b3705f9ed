//! Packets of a stream on their way into its jitter buffer.

use blink_api::{AudioLevel, RtpIn};
use bytes::Bytes;

use super::Stream;
use crate::jitter::{AudioCopy, AudioPacket};
use crate::red;

/// One packet of this many is asked for the span of its redundancy.
const ASKED: u64 = 25;

impl Stream {
    /// Takes a packet of the codec, alone or with copies of earlier ones (RFC 2198), or one without
    /// payload.
    pub(crate) fn push(&mut self, packet: RtpIn) {
        if packet.payload.is_empty() {
            self.jitter.push_padding(packet.sequence);
        } else if packet.codec == self.config.codec {
            self.push_with(&packet, packet.payload.clone(), std::iter::empty());
        } else if packet.codec.is_red() {
            let Ok(blocks) = red::unpack(&packet.payload) else {
                // Nothing in it can be read; it is counted as such.
                return self.push_with(&packet, Bytes::new(), std::iter::empty());
            };
            let Some(own) = blocks.clone().last().filter(|own| !own.payload.is_empty()) else {
                return self.jitter.push_padding(packet.sequence);
            };
            let of_own_codec = own.payload_type;
            let copies = blocks.filter(move |block| block.offset > 0 && block.payload_type == of_own_codec);
            self.push_with(&packet, own.payload, copies);
        } else {
            // It came, and what it holds is nothing for this decoder.
            self.foreign += 1;
            self.jitter.push_padding(packet.sequence);
        }
    }

    fn push_with(&mut self, packet: &RtpIn, payload: Bytes, copies: impl Iterator<Item = red::Block> + Clone) {
        if self.pushed.is_multiple_of(ASKED) {
            self.jitter.observe_redundancy_span(self.restoring.redundancy_span(&payload));
        }
        self.pushed += 1;
        let (restoring, rate) = (&self.restoring, self.config.jitter.clock_rate);
        let ticks = |payload: &[u8]| {
            restoring.duration(payload).map_or(0, |duration| {
                let nanos = duration.as_nanos() * u128::from(rate);
                u32::try_from((nanos + 500_000_000) / 1_000_000_000).unwrap_or(0)
            })
        };
        let copies = copies.map(|block| AudioCopy {
            offset: block.offset,
            ticks: ticks(&block.payload),
            has_fec: restoring.has_fec(&block.payload),
            payload: block.payload,
        });
        let packet = AudioPacket {
            sequence: packet.sequence,
            timestamp: packet.timestamp,
            ticks: ticks(&payload),
            marker: packet.marker,
            loud: packet.level.map(AudioLevel::is_voice),
            has_fec: restoring.has_fec(&payload),
            payload,
            arrival: packet.arrival,
        };
        self.jitter.push_with(packet, copies);
    }
}
