//! Sender of redundant audio: which earlier packets go along.

use std::collections::VecDeque;
use web_time::Duration;

use blink_api::{CodecName, EncoderHint, RtpTime};
use bytes::Bytes;

use super::{Block, FURTHEST_COPY, LONGEST_COPY, pack};

/// Most bytes of a payload.
pub(crate) const LONGEST_PAYLOAD: usize = 1_200;

/// Share of losses below which there are no copies.
const LOSSY: f32 = 0.01;
/// Share of losses from which on there are two copies.
const VERY_LOSSY: f32 = 0.25;
/// Packets lost in a row, on average, from which on losses are bursts. Independent losses give 1.1
/// at 10 % and 1.4 at 30 %.
const BURSTS: f32 = 2.0;

/// Factor by which copies and their headers may exceed the target bitrate; a variable bitrate does
/// so too.
const OVERHEAD: f32 = 1.06;
/// Least bitrate of an encoding, in bits per second.
const LEAST_BITRATE: f32 = 8_000.0;

/// Greatest distance of a copy, in packets: most bursts are over by then, and its delay is the
/// longest that a conversation bears.
const FURTHEST: usize = 4;

/// Carries copies of earlier packets along: as many, and at such distances, as the losses ask for.
///
/// | losses | copies of |
/// |---|---|
/// | under 1 % | none |
/// | single | the packet before; from 25 % on, the two before |
/// | bursts | the fourth packet before, whatever their length: so the delay does not change with the estimate |
///
/// The target bitrate is shared: each packet is encoded at an equal part of it. Measured on speech,
/// that gains more than the codec's own error correction at the whole bitrate.
#[derive(Debug)]
pub struct RedSender {
    codec: CodecName,
    frame: Duration,
    /// CopyDistances of the copies in packets, ascending.
    distances: CopyDistances,
    /// Packets sent last, the newest at the end; at most [`FURTHEST`].
    sent: VecDeque<(RtpTime, Bytes)>,
    copies: Vec<Block>,
    /// Ticks since the last of them for which no packet was sent.
    paused: u32,
}

/// CopyDistances of copies: at most two.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum CopyDistances {
    #[default]
    None,
    One(usize),
    Two(usize, usize),
}

impl CopyDistances {
    fn of(loss: f32, burst: f32) -> Self {
        if loss < LOSSY {
            Self::None
        } else if burst >= BURSTS {
            Self::One(FURTHEST)
        } else if loss < VERY_LOSSY {
            Self::One(1)
        } else {
            Self::Two(1, 2)
        }
    }

    fn iter(self) -> impl Iterator<Item = usize> {
        let (near, far) = match self {
            Self::None => (None, None),
            Self::One(distance) => (None, Some(distance)),
            Self::Two(near, far) => (Some(near), Some(far)),
        };
        // The furthest comes first, as in the examples of RFC 2198.
        far.into_iter().chain(near)
    }
}

impl RedSender {
    /// Creates a sender for packets of a `frame` of audio each. Without copies, until it is told of
    /// losses.
    pub fn new(frame: Duration) -> Self {
        Self {
            codec: CodecName::red(),
            frame,
            distances: CopyDistances::None,
            sent: VecDeque::with_capacity(FURTHEST + 1),
            copies: Vec::with_capacity(2),
            paused: 0,
        }
    }

    /// Prepares for losses, and returns what the encoder is to prepare for: its share of `bitrate`,
    /// in bits per second, and no losses where copies make up for them.
    pub fn hint(&mut self, hint: EncoderHint, bitrate: u32) -> EncoderHint {
        self.distances = CopyDistances::of(hint.loss, hint.burst);
        let bitrate = hint.bitrate.unwrap_or(bitrate);
        match self.distances.iter().count() as f32 {
            0.0 => EncoderHint { bitrate: Some(bitrate), ..hint },
            copies => {
                let headers = (copies * 4.0 + 1.0) * 8.0 / self.frame.as_secs_f32().max(0.001);
                let share = ((bitrate as f32 * OVERHEAD - headers) / (copies + 1.0)).max(LEAST_BITRATE);
                EncoderHint { loss: 0.0, burst: 1.0, bitrate: Some(share as u32) }
            }
        }
    }

    /// Codec of packets with copies.
    pub fn codec(&self) -> &CodecName {
        &self.codec
    }

    /// Whether packets have copies.
    pub fn is_on(&self) -> bool {
        self.distances != CopyDistances::None
    }

    /// Takes note that no packet is sent for so many ticks. Packets too long ago for a copy are
    /// forgotten: after a pause of 2³² ticks their timestamps would look new.
    pub fn skip(&mut self, ticks: u32) {
        self.paused = self.paused.saturating_add(ticks);
        if self.paused > FURTHEST_COPY {
            self.sent.clear();
        }
    }

    /// Writes the payload of a packet with its copies to `out`. `payload_type` is that of the
    /// codec.
    pub fn pack(&mut self, payload_type: u8, timestamp: RtpTime, payload: &Bytes, out: &mut Vec<u8>) {
        let Self { distances, sent, copies, paused, .. } = self;
        copies.clear();
        *paused = 0;
        let mut room = LONGEST_PAYLOAD.saturating_sub(payload.len() + 1);
        for distance in distances.iter() {
            let Some((earlier, copy)) = sent.len().checked_sub(distance).and_then(|at| sent.get(at)) else { continue };
            let offset = timestamp.0.wrapping_sub(earlier.0);
            let size = copy.len() + 4;
            // Beyond a pause the header cannot express the offset, and a copy that does not fit
            // whole is useless.
            if offset <= FURTHEST_COPY && copy.len() <= LONGEST_COPY && size <= room {
                room -= size;
                copies.push(Block { payload_type, offset, payload: copy.clone() });
            }
        }
        pack(copies.iter(), (payload_type & 0x7f, payload), out).expect("the copies were checked");
        if sent.len() == FURTHEST {
            sent.pop_front();
        }
        sent.push_back((timestamp, payload.clone()));
    }
}

#[cfg(test)]
mod tests {
    use super::super::unpack;
    use super::*;

    /// Numbers of the packets, of ten, that the last one carries.
    fn carried(sender: &mut RedSender) -> Vec<u8> {
        let mut out = Vec::new();
        for number in 0..10u8 {
            let payload = Bytes::copy_from_slice(&[number; 60]);
            sender.pack(0, RtpTime(u32::from(number) * 960), &payload, &mut out);
        }
        let blocks = unpack(&Bytes::from(out)).unwrap();
        blocks
            .map(|block| {
                assert_eq!(block.offset, u32::from(9 - block.payload[0]) * 960);
                block.payload[0]
            })
            .collect()
    }

    #[test]
    fn copies_are_those_that_the_losses_ask_for_and_the_rate_is_shared() {
        for (loss, burst, expected) in [
            (0.0, 1.0, &[9][..]),
            (0.05, 1.0, &[8, 9]),
            (0.1, 1.1, &[8, 9]),
            (0.2, 1.3, &[8, 9]),
            (0.3, 1.4, &[7, 8, 9]),
            (0.17, 2.0, &[5, 9]),
            (0.17, 3.0, &[5, 9]),
            (0.17, 100.0, &[5, 9]),
        ] {
            let mut sender = RedSender::new(crate::FRAME);
            let hint = sender.hint(EncoderHint { loss, burst, bitrate: None }, 32_000);
            assert_eq!(carried(&mut sender), expected, "{loss} {burst}");
            let copies = expected.len() as u32;
            assert!((28_000..33_000).contains(&(hint.bitrate.unwrap() * copies)), "{hint:?}");
            assert_eq!(hint.loss, 0.0);
        }
    }

    /// After 24.9 hours of silence, timestamps are those of before.
    #[test]
    fn nothing_from_before_a_long_pause_is_copied() {
        for pause in [FURTHEST_COPY + 1, 100_000, u32::MAX] {
            let mut sender = RedSender::new(crate::FRAME);
            sender.hint(EncoderHint { loss: 0.05, burst: 1.0, bitrate: None }, 32_000);
            carried(&mut sender);
            (0..10).for_each(|_| sender.skip(pause / 10 + 1));
            let mut out = Vec::new();
            sender.pack(0, RtpTime(9 * 960 + 10), &Bytes::from_static(&[1]), &mut out);
            assert_eq!(unpack(&Bytes::from(out)).unwrap().count(), 1, "a pause of {pause}");
        }
    }

    #[test]
    fn a_payload_never_exceeds_what_a_packet_may_hold() {
        let mut sender = RedSender::new(crate::FRAME);
        sender.hint(EncoderHint { loss: 0.3, burst: 1.0, bitrate: None }, 32_000);
        let mut out = Vec::new();
        for (number, size) in [1_200, 1_100, 1_023, 100, 1_023, 30, 1_000, 1_200].into_iter().enumerate() {
            sender.pack(0, RtpTime(number as u32 * 960), &Bytes::from(vec![0; size]), &mut out);
            assert!(out.len() <= LONGEST_PAYLOAD + 1, "{}", out.len());
        }
    }

    #[test]
    fn nothing_is_copied_over_a_long_pause() {
        let mut sender = RedSender::new(crate::FRAME);
        sender.hint(EncoderHint { loss: 0.1, burst: 1.0, bitrate: None }, 32_000);
        let mut out = Vec::new();
        sender.pack(0, RtpTime(0), &Bytes::from_static(&[1]), &mut out);
        sender.pack(0, RtpTime(48_000), &Bytes::from_static(&[2]), &mut out);
        assert_eq!(out, [0, 2]);
    }
}
