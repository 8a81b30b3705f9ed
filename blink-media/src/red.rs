//! Redundant audio (RFC 2198): packets that carry copies of earlier ones.

mod sender;

pub(crate) use sender::LONGEST_PAYLOAD;
pub use sender::RedSender;

use blink_api::{CodecName, Error, ErrorKind, Result};
use bytes::Bytes;

/// Payload type of Opus in the blocks: both network transports use this one, as browsers do.
/// Receivers go by that of the packet's own block.
pub(crate) const OPUS: u8 = 111;

/// Most copies in a packet that is read, far more than any sender puts there.
const MOST_COPIES: usize = 16;

/// Longest copy, in bytes, and its greatest distance, in ticks: the header has 10 and 14 bits for
/// them.
const LONGEST_COPY: usize = (1 << 10) - 1;
const FURTHEST_COPY: u32 = (1 << 14) - 1;

/// Whether packets of a codec may carry copies of earlier ones: Opus only, as in browsers.
pub fn is_copied(codec: &CodecName) -> bool {
    codec.as_str().eq_ignore_ascii_case("opus")
}

/// Block of a packet: a copy of an earlier payload, or the packet's own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Block {
    /// Payload type, 0 to 127.
    pub payload_type: u8,
    /// Ticks by which it begins before the packet's timestamp; 0 for the packet's own.
    pub offset: u32,
    /// Payload of the codec.
    pub payload: Bytes,
}

/// Blocks of a packet: copies in the order of the packet, then the packet's own.
#[derive(Debug, Clone)]
pub struct Blocks {
    headers: Bytes,
    bodies: Bytes,
}

/// Splits a payload into its blocks, without copying.
///
/// # Errors
/// [`Invalid`](ErrorKind::Invalid) for bytes that are no such payload, or one of more than 17
/// blocks.
pub fn unpack(payload: &Bytes) -> Result<Blocks> {
    let (mut at, mut bodies) = (0, 0);
    for _ in 0..=MOST_COPIES {
        match payload[at..] {
            [last, ..] if last & 0x80 == 0 => {
                let begin = at + 1;
                if payload.len() - begin < bodies {
                    return Err(invalid("a block ends after the packet").with("bytes", payload.len()));
                }
                return Ok(Blocks { headers: payload.slice(..begin), bodies: payload.slice(begin..) });
            }
            [_, _, high, low, ..] => {
                bodies += usize::from(high & 3) << 8 | usize::from(low);
                at += 4;
            }
            _ => return Err(invalid("a header ends after the packet").with("bytes", payload.len())),
        }
    }
    Err(invalid("there are too many blocks"))
}

impl Iterator for Blocks {
    type Item = Block;

    fn next(&mut self) -> Option<Block> {
        match self.headers[..] {
            [own] => {
                self.headers.clear();
                Some(Block { payload_type: own & 0x7f, offset: 0, payload: self.bodies.split_off(0) })
            }
            [payload_type, offset, both, length, ..] => {
                let length = usize::from(both & 3) << 8 | usize::from(length);
                let block = Block {
                    payload_type: payload_type & 0x7f,
                    offset: u32::from(offset) << 6 | u32::from(both >> 2),
                    payload: self.bodies.split_to(length.min(self.bodies.len())),
                };
                self.headers = self.headers.slice(4..);
                Some(block)
            }
            _ => None,
        }
    }
}

/// Writes a payload to `out`, which is cleared first.
///
/// # Errors
/// [`Invalid`](ErrorKind::Invalid) for a payload type over 127, a copy of more than 1,023 bytes or
/// more than 16,383 ticks ago, or more than 16 copies.
pub fn pack<'a>(
    copies: impl Iterator<Item = &'a Block> + Clone,
    (payload_type, payload): (u8, &[u8]),
    out: &mut Vec<u8>,
) -> Result<()> {
    out.clear();
    for (n, copy) in copies.clone().enumerate() {
        let length = copy.payload.len();
        if n == MOST_COPIES || length > LONGEST_COPY || copy.offset > FURTHEST_COPY || copy.payload_type > 127 {
            return Err(invalid("the header has no room for this copy")
                .with("bytes", length)
                .with("ticks", copy.offset));
        }
        let [_, offset_high, offset_low, _] = (copy.offset << 10).to_be_bytes();
        let both = offset_low & 0xfc | (length >> 8) as u8;
        out.extend([0x80 | copy.payload_type, offset_high, both, length as u8]);
    }
    if payload_type > 127 {
        return Err(invalid("a payload type is at most 127").with("payload type", payload_type));
    }
    out.push(payload_type);
    copies.for_each(|copy| out.extend_from_slice(&copy.payload));
    out.extend_from_slice(payload);
    Ok(())
}

fn invalid(why: &'static str) -> Error {
    Error::new(ErrorKind::Invalid, why).operation("redundant audio")
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    fn copy(payload_type: u8, offset: u32, payload: &'static [u8]) -> Block {
        Block { payload_type, offset, payload: Bytes::from_static(payload) }
    }

    /// Example of RFC 2198 §5: two payload types, the copy 1,600 ticks before, 14 bytes of it.
    #[test]
    fn the_bytes_are_those_of_the_standard() {
        let mut out = Vec::new();
        pack([copy(7, 0x1234, b"copy")].iter(), (5, b"own"), &mut out).unwrap();
        assert_eq!(out, [&[0x87, 0x48, 0xd0, 4, 5][..], b"copyown"].concat());
    }

    #[test]
    fn what_was_packed_is_unpacked() {
        let copies = [copy(0, 3_840, b"far"), copy(127, FURTHEST_COPY, b""), copy(96, 960, &[9; LONGEST_COPY])];
        for count in 0..=copies.len() {
            let mut out = Vec::new();
            pack(copies[..count].iter(), (111, b"own"), &mut out).unwrap();
            let blocks: Vec<_> = unpack(&Bytes::from(out)).unwrap().collect();
            assert_eq!(blocks[..count], copies[..count]);
            assert_eq!(blocks[count..], [copy(111, 0, b"own")]);
        }
    }

    #[test]
    fn what_the_header_has_no_room_for_is_refused() {
        let mut out = Vec::new();
        for copy in [copy(0, FURTHEST_COPY + 1, b""), copy(0, 0, &[0; LONGEST_COPY + 1]), copy(128, 0, b"")] {
            assert!(pack([copy].iter(), (0, b""), &mut out).is_err());
        }
        assert!(pack([].iter(), (128, b""), &mut out).is_err());
        assert!(pack(vec![copy(0, 1, b""); 17].iter(), (0, b""), &mut out).is_err());
    }

    #[test]
    fn whatever_comes_is_refused_or_taken_apart_within_its_bounds() {
        for bytes in [&[][..], &[0x80], &[0x80, 0, 0], &[0x80, 0, 0, 1], &[0x80, 0, 0, 1, 0], &[0x80; 200]] {
            assert!(unpack(&Bytes::copy_from_slice(bytes)).is_err(), "{bytes:?}");
        }
        let mut random = ChaCha8Rng::seed_from_u64(1);
        let mut taken = 0;
        for _ in 0..50_000 {
            let mut bytes = vec![0; random.random_range(0..80)];
            random.fill(&mut bytes[..]);
            let Ok(blocks) = unpack(&Bytes::from(bytes.clone())) else { continue };
            taken += 1;
            let blocks: Vec<_> = blocks.collect();
            let (headers, bodies) = (4 * (blocks.len() - 1) + 1, blocks.iter().map(|block| block.payload.len()));
            assert_eq!(headers + bodies.sum::<usize>(), bytes.len());
            assert!(blocks.len() <= MOST_COPIES + 1 && blocks.last().unwrap().offset == 0);
        }
        assert!(taken > 1_000, "{taken}");
    }
}
