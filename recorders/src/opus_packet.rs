//! Opus packets (RFC 6716 §3), as far as a recorder looks into them.

/// Ticks per second of RTP time and of positions (RFC 7587 §4.1).
pub(crate) const RATE: u32 = 48_000;
/// Ticks of the shortest packet, 2.5 ms.
pub(crate) const SHORTEST: u32 = 120;
/// Ticks of the longest frame that a packet of silence has, 20 ms.
pub(crate) const FRAME: u32 = 960;
/// Samples that a decoder drops at the beginning: the encoder's look-ahead at 48 kHz, as libopus
/// has it in all modes but restricted low delay.
pub(crate) const PRE_SKIP: u16 = 312;
/// Packets up to this length hold no speech: DTX, and digital silence.
const LONGEST_QUIET: usize = 8;
/// Longest packet (RFC 6716 §3.2.5 R5).
const LONGEST: u32 = 5_760;

/// Duration of a packet in ticks; `None` for bytes that are no packet.
pub(crate) fn ticks(packet: &[u8]) -> Option<u32> {
    let toc = *packet.first()?;
    let frames = match toc & 3 {
        0 => 1,
        1 | 2 => 2,
        _ => u32::from(*packet.get(1)? & 0x3f),
    };
    let ticks = frame_ticks(toc) * frames;
    (1..=LONGEST).contains(&ticks).then_some(ticks)
}

/// Whether a packet holds no speech.
pub(crate) fn is_quiet(packet: &[u8]) -> bool {
    packet.len() <= LONGEST_QUIET
}

/// Duration of one frame (RFC 6716 table 2).
fn frame_ticks(toc: u8) -> u32 {
    let config = toc >> 3;
    match config {
        0..=11 => [480, 960, 1_920, 2_880][usize::from(config & 3)],
        12..=15 => [480, 960][usize::from(config & 1)],
        _ => [120, 240, 480, 960][usize::from(config & 3)],
    }
}

/// Packets of digital silence of `ticks` in total, which is rounded down to 2.5 ms; each with its
/// duration.
pub(crate) fn silence(mut ticks: u64, channels: u8) -> impl Iterator<Item = (u32, [u8; 3])> {
    let stereo = if channels > 1 { 4 } else { 0 };
    std::iter::from_fn(move || {
        // CELT at full band: 31 is 20 ms, 28 is 2.5 ms.
        let (config, length) = [(31, FRAME), (30, 480), (29, 240), (28, SHORTEST)]
            .into_iter()
            .find(|(_, length)| u64::from(*length) <= ticks)?;
        ticks -= u64::from(length);
        Some((length, [(config << 3) | stereo, 0xff, 0xfe]))
    })
}

/// Packets that make a decoder conceal `ticks`: a TOC without a frame (RFC 6716 §3.2.1), in the
/// mode of the packet before, so that the decoder does not switch.
///
/// Where the frames of that mode do not divide `ticks`, the rest is silence.
pub(crate) fn concealed(ticks: u64, before: Option<u8>, channels: u8) -> Vec<(u32, Vec<u8>)> {
    let mut packets = Vec::new();
    let mut rest = ticks;
    if let Some(toc) = before {
        let length = frame_ticks(toc);
        while rest >= u64::from(length) {
            rest -= u64::from(length);
            packets.push((length, vec![toc & !3]));
        }
    }
    packets.extend(silence(rest, channels).map(|(length, packet)| (length, packet.to_vec())));
    packets
}

/// One block of redundant audio.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Block<'a> {
    /// Ticks before the packet's timestamp; 0 for the primary block.
    pub(crate) earlier: u32,
    pub(crate) payload: &'a [u8],
}

/// Blocks of a payload of redundant audio (RFC 2198 §3), the oldest first; empty if it is damaged.
pub(crate) fn red_blocks(payload: &[u8]) -> Vec<Block<'_>> {
    let mut headers = Vec::new();
    let mut rest = payload;
    loop {
        match rest {
            [first, ..] if first & 0x80 == 0 => {
                rest = &rest[1..];
                break;
            }
            [_, high, middle, low, ..] => {
                let earlier = (u32::from(*high) << 6) | u32::from(middle >> 2);
                headers.push((earlier, (usize::from(middle & 3) << 8) | usize::from(*low)));
                rest = &rest[4..];
            }
            _ => return Vec::new(),
        }
    }
    let mut blocks = Vec::with_capacity(headers.len() + 1);
    for (earlier, length) in headers {
        let Some((payload, after)) = rest.split_at_checked(length) else { return Vec::new() };
        blocks.push(Block { earlier, payload });
        rest = after;
    }
    blocks.push(Block { earlier: 0, payload: rest });
    blocks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_those_of_the_table_of_contents() {
        for (packet, expected) in [
            (&[0xf8, 0xff, 0xfe][..], Some(960)),
            (&[0x48, 0x0b], Some(960)),
            (&[0xe0], Some(120)),
            (&[0x18], Some(2_880)),
            (&[0xf9, 0, 0], Some(1_920)),
            (&[0xfb, 3], Some(2_880)),
            (&[0xfb], None),
            (&[0xfb, 0], None),
            (&[0xfb, 63], None),
            (&[], None),
        ] {
            assert_eq!(ticks(packet), expected, "{packet:02x?}");
        }
    }

    #[test]
    fn silence_and_concealment_last_as_long_as_asked() {
        for length in [120u64, 240, 360, 480, 960, 1_080, 96_000] {
            let silent: u64 = silence(length, 1)
                .map(|(ticks, packet)| {
                    assert_eq!(self::ticks(&packet), Some(ticks));
                    u64::from(ticks)
                })
                .sum();
            assert_eq!(silent, length);
            let concealed: u64 = concealed(length, Some(0x48), 1)
                .iter()
                .map(|(ticks, packet)| {
                    assert_eq!(self::ticks(packet), Some(*ticks));
                    u64::from(*ticks)
                })
                .sum();
            assert_eq!(concealed, length);
        }
    }

    #[test]
    fn redundant_blocks_are_found_and_damage_is_not() {
        let payload = [0x80 | 111, 0x0f, 0x00, 2, 111, 1, 2, 3, 4, 5];
        let [old, new] = red_blocks(&payload)[..] else { panic!("two blocks") };
        assert_eq!((old.earlier, old.payload), (960, &[1, 2][..]));
        assert_eq!((new.earlier, new.payload), (0, &[3, 4, 5][..]));
        for end in 0..7 {
            assert!(red_blocks(&payload[..end]).len() != 1 || end == 0, "{end}");
        }
    }
}
