//! Datagrams, and the frames inside of encrypted ones.

use blink_api::{AudioLevel, Mid, RtpTime};
use bytes::{Buf, BufMut, Bytes};

/// A datagram.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Datagram<'a> {
    /// Offers a path: the fragments that name both ends, and the sender's public key.
    Hello { is_request: bool, to: &'a str, from: &'a str, key: [u8; 32] },
    /// An encrypted frame with the number that makes its nonce unique.
    Sealed { number: u64, sealed: &'a [u8] },
}

/// A frame between two sessions that share a key.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Frame {
    /// Keeps the path alive, with the sender's time in microseconds.
    Ping(u64),
    /// Answers a ping with its time.
    Pong(u64),
    Rtp(RtpFrame),
    RequestKeyframe(Mid),
    /// The chunk with this number of the reliable stream, and whether a message ends with it.
    Chunk {
        number: u64,
        channel: u32,
        kind: ChunkKind,
        bytes: Bytes,
    },
    /// All chunks before this number have arrived.
    Acknowledge(u64),
    /// The session is closed.
    Bye,
}

/// Part of the reliable stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ChunkKind {
    /// A channel is opened; the bytes are its label.
    Open,
    /// A message goes on.
    More,
    /// A message ends.
    Last,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) struct RtpFrame {
    pub(super) mid: Mid,
    pub(super) payload_type: u8,
    /// Number of the sender's track, as an SSRC.
    pub(super) source: u32,
    pub(super) sequence: u16,
    pub(super) timestamp: RtpTime,
    pub(super) marker: bool,
    pub(super) level: Option<AudioLevel>,
    pub(super) payload: Bytes,
}

impl<'a> Datagram<'a> {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        match self {
            Self::Hello { is_request, to, from, key } => {
                out.put_u8(u8::from(*is_request));
                for name in [to, from] {
                    out.put_u8(name.len() as u8);
                    out.put_slice(name.as_bytes());
                }
                out.put_slice(key);
            }
            Self::Sealed { number, sealed } => {
                out.put_u8(2);
                out.put_u64(*number);
                out.put_slice(sealed);
            }
        }
        out
    }

    /// Parses a datagram; `None` for whatever is none.
    pub(super) fn parse(mut bytes: &'a [u8]) -> Option<Self> {
        match bytes.try_get_u8().ok()? {
            2 => Some(Self::Sealed { number: bytes.try_get_u64().ok()?, sealed: bytes }),
            kind @ 0..2 => {
                let mut name = || {
                    let length = usize::from(bytes.try_get_u8().ok()?);
                    let (name, rest) = bytes.split_at_checked(length)?;
                    bytes = rest;
                    std::str::from_utf8(name).ok()
                };
                let (to, from) = (name()?, name()?);
                Some(Self::Hello { is_request: kind == 1, to, from, key: bytes.try_into().ok()? })
            }
            _ => None,
        }
    }
}

impl Frame {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        match self {
            Self::Ping(time) | Self::Pong(time) => {
                out.put_u8(if matches!(self, Self::Ping(_)) { 0 } else { 1 });
                out.put_u64(*time);
            }
            Self::Rtp(rtp) => {
                out.put_u8(2);
                put_mid(&mut out, &rtp.mid);
                out.put_u8(rtp.payload_type);
                out.put_u32(rtp.source);
                out.put_u16(rtp.sequence);
                out.put_u32(rtp.timestamp.0);
                let voice = rtp.level.is_some_and(|level| level.is_voice());
                out.put_u8(u8::from(rtp.marker) | u8::from(rtp.level.is_some()) << 1 | u8::from(voice) << 2);
                out.put_u8(rtp.level.map_or(127, |level| level.minus_dbov()));
                out.put_slice(&rtp.payload);
            }
            Self::RequestKeyframe(mid) => {
                out.put_u8(3);
                put_mid(&mut out, mid);
            }
            Self::Chunk { number, channel, kind, bytes } => {
                out.put_u8(4 + *kind as u8);
                out.put_u64(*number);
                out.put_u32(*channel);
                out.put_slice(bytes);
            }
            Self::Acknowledge(next) => {
                out.put_u8(7);
                out.put_u64(*next);
            }
            Self::Bye => out.put_u8(8),
        }
        out
    }

    /// Parses what a peer has sealed; `None` for whatever is no frame.
    pub(super) fn parse(mut bytes: Bytes) -> Option<Self> {
        let bytes = &mut bytes;
        Some(match bytes.try_get_u8().ok()? {
            0 => Self::Ping(bytes.try_get_u64().ok()?),
            1 => Self::Pong(bytes.try_get_u64().ok()?),
            2 => {
                let mid = take_mid(bytes)?;
                let payload_type = bytes.try_get_u8().ok()?;
                let (source, sequence) = (bytes.try_get_u32().ok()?, bytes.try_get_u16().ok()?);
                let timestamp = RtpTime(bytes.try_get_u32().ok()?);
                let (flags, level) = (bytes.try_get_u8().ok()?, bytes.try_get_u8().ok()?);
                let level = (flags & 2 != 0).then(|| AudioLevel::new(level, flags & 4 != 0));
                let (marker, payload) = (flags & 1 != 0, bytes.split_off(0));
                Self::Rtp(RtpFrame { mid, payload_type, source, sequence, timestamp, marker, level, payload })
            }
            3 => Self::RequestKeyframe(take_mid(bytes)?),
            kind @ 4..7 => {
                let kind = [ChunkKind::Open, ChunkKind::More, ChunkKind::Last][usize::from(kind - 4)];
                let (number, channel) = (bytes.try_get_u64().ok()?, bytes.try_get_u32().ok()?);
                Self::Chunk { number, channel, kind, bytes: bytes.split_off(0) }
            }
            7 => Self::Acknowledge(bytes.try_get_u64().ok()?),
            8 => Self::Bye,
            _ => return None,
        })
    }
}

fn put_mid(out: &mut Vec<u8>, mid: &Mid) {
    let mid = mid.as_str().as_bytes();
    out.put_u8(mid.len() as u8);
    out.put_slice(&mid[..mid.len().min(255)]);
}

fn take_mid(bytes: &mut Bytes) -> Option<Mid> {
    let length = usize::from(bytes.try_get_u8().ok()?);
    if bytes.len() < length {
        return None;
    }
    Some(Mid::new(std::str::from_utf8(&bytes.split_to(length)).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_round_trip_and_truncated_ones_do_not_panic() {
        let rtp = RtpFrame {
            mid: Mid::new("0"),
            payload_type: 111,
            source: 7,
            sequence: 65_535,
            timestamp: RtpTime(960),
            marker: true,
            level: Some(AudioLevel::new(30, true)),
            payload: Bytes::from_static(b"sound"),
        };
        let chunk = Frame::Chunk { number: 1, channel: 2, kind: ChunkKind::Last, bytes: Bytes::from_static(b"x") };
        for frame in [Frame::Ping(1), Frame::Pong(2), Frame::Rtp(rtp), chunk, Frame::Acknowledge(3), Frame::Bye] {
            let bytes = frame.encode();
            assert_eq!(Frame::parse(bytes.clone().into()), Some(frame));
            (0..bytes.len()).for_each(|end| drop(Frame::parse(Bytes::copy_from_slice(&bytes[..end]))));
        }
    }

    #[test]
    fn datagrams_round_trip_and_truncated_ones_are_ignored() {
        let hello = Datagram::Hello { is_request: true, to: "bob", from: "alice", key: [7; 32] };
        let bytes = hello.encode();
        assert_eq!(Datagram::parse(&bytes), Some(hello));
        assert!((0..bytes.len()).all(|end| Datagram::parse(&bytes[..end]).is_none()));
    }
}
