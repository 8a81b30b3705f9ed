//! Parser of WAV headers (Multimedia Programming Interface and Data Specifications 1.0; RF64 as in
//! EBU Tech 3306).
//!
//! Writers differ, so only what is needed to decode the samples counts: the format and the position
//! of the samples. The lengths of the file and of `fact`, the byte rate and unknown chunks are
//! ignored.

use std::io::{self, Read};

use blink_api::Result;

use crate::file::invalid;

/// Smallest length that means "unknown", from writers that could not seek back to fill it in:
/// 0x7FFFF000 (SoX), 0x80000000 (arecord), 0xFFFFFFFF (ffmpeg). Larger than any accepted file.
const MIN_UNKNOWN_LENGTH: u64 = 0x7FFF_F000;
/// Tails of the GUIDs that contain a format tag (`KSDATAFORMAT_SUBTYPE_…`), and of those for
/// Ambisonic B-format.
const GUID_TAILS: [[u8; 14]; 2] = [
    [0, 0, 0, 0, 0x10, 0, 0x80, 0, 0, 0xaa, 0, 0x38, 0x9b, 0x71],
    [0, 0, 0x21, 0x07, 0xd3, 0x11, 0x86, 0x44, 0xc8, 0xc1, 0xca, 0, 0, 0],
];
/// Bytes of `fmt ` that are parsed: WAVEFORMATEXTENSIBLE.
const FORMAT_BYTES: usize = 40;

/// Format of the samples and their total size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) encoding: Encoding,
    pub(super) channels: u16,
    pub(super) sample_rate: u32,
    /// Size of the samples in bytes, which follow the header immediately.
    pub(super) length: u64,
}

impl Header {
    /// Bytes of one frame: a sample of each channel.
    pub(super) fn frame(&self) -> u64 {
        u64::from(self.encoding.bytes()) * u64::from(self.channels)
    }
}

/// Encoding of a sample, in little endian.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Encoding {
    /// Integer of 1 to 4 bytes; unsigned if one byte. Fewer bits are left-justified, except by
    /// faulty writers.
    Integer { bytes: u16, bits: u16 },
    /// IEEE 754 float of 4 or 8 bytes.
    Float { bytes: u16 },
    /// G.711 A-law.
    ALaw,
    /// G.711 µ-law.
    MuLaw,
}

impl Encoding {
    /// Size of a sample in bytes.
    pub(super) fn bytes(self) -> u16 {
        match self {
            Self::Integer { bytes, .. } | Self::Float { bytes } => bytes,
            Self::ALaw | Self::MuLaw => 1,
        }
    }
}

/// Reads up to the first sample. `size` is the total number of bytes in the reader.
pub(super) fn read(reader: &mut impl Read, size: u64) -> Result<Header> {
    let mut chunks = Chunks { reader, position: 0, size, carried: None };
    let outer = chunks.take::<12>().map_err(|_| invalid("this is not a WAV file"))?;
    let is_64_bit = match &outer[..4] {
        b"RIFF" => false,
        b"RF64" | b"BW64" => true,
        b"RIFX" => return Err(invalid("big-endian WAV files (RIFX) are not supported")),
        _ => return Err(invalid("this is not a WAV file")),
    };
    if &outer[8..] != b"WAVE" {
        return Err(invalid("this is not a WAV file"));
    }
    let is_unfinished = outer[4..8] == [0; 4];
    let (mut format, mut long) = (None, None);
    loop {
        let (id, declared) = chunks.next()?;
        match &id {
            b"fmt " => format = Some(chunks.format(declared)?),
            b"ds64" if is_64_bit => long = chunks.data_length(declared)?,
            b"data" => {
                let (encoding, channels, sample_rate) =
                    format.ok_or_else(|| invalid("the file's samples precede their format"))?;
                let rest = size - chunks.position.min(size);
                let declared = long.filter(|_| declared == u32::MAX).unwrap_or(declared.into());
                let length = match declared {
                    // The recorder was killed before it filled in the length.
                    0 if is_unfinished => rest,
                    MIN_UNKNOWN_LENGTH.. if declared > rest => rest,
                    length if length > rest => return Err(truncated()),
                    length => length,
                };
                return Ok(Header { encoding, channels, sample_rate, length });
            }
            _ => chunks.skip(declared.into(), declared)?,
        }
    }
}

/// Error for a file that ends early.
pub(super) fn truncated() -> blink_api::Error {
    invalid("the file is truncated")
}

/// Reader of consecutive chunks.
struct Chunks<'a, R> {
    reader: &'a mut R,
    position: u64,
    size: u64,
    /// Id of the next chunk, if it was consumed while checking for a padding byte.
    carried: Option<[u8; 4]>,
}

impl<R: Read> Chunks<'_, R> {
    /// Reads the id and length of the next chunk.
    fn next(&mut self) -> Result<([u8; 4], u32)> {
        let id = match self.carried.take() {
            Some(id) => id,
            None if self.position >= self.size => return Err(invalid("the file contains no audio")),
            None => self.take()?,
        };
        Ok((id, u32::from_le_bytes(self.take()?)))
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N]> {
        let mut bytes = [0; N];
        self.reader.read_exact(&mut bytes).map_err(|source| match source.kind() {
            io::ErrorKind::UnexpectedEof => truncated(),
            _ => invalid("the file cannot be read").source(source),
        })?;
        self.position += N as u64;
        Ok(bytes)
    }

    /// Skips the rest of a chunk and its padding byte if the length is odd.
    fn skip(&mut self, rest: u64, length: u32) -> Result<()> {
        if rest > self.size.saturating_sub(self.position) {
            return Err(truncated());
        }
        let skipped = io::copy(&mut self.reader.take(rest), &mut io::sink())
            .map_err(|source| invalid("the file cannot be read").source(source))?;
        self.position += skipped;
        if length % 2 == 1 {
            self.pad()?;
        }
        Ok(())
    }

    /// Skips the padding byte after a chunk of odd length, which some writers omit.
    fn pad(&mut self) -> Result<()> {
        let [first] = self.take()?;
        if matches!(first, b'd' | b'f' | b'L') {
            let [b, c, d] = self.take()?;
            let id = [first, b, c, d];
            if matches!(&id, b"data" | b"fmt " | b"fact" | b"LIST") {
                self.carried = Some(id);
            } else {
                let [last] = self.take()?;
                self.carried = Some([b, c, d, last]);
            }
        }
        Ok(())
    }

    /// Reads the 64-bit length of the samples from `ds64`.
    fn data_length(&mut self, length: u32) -> Result<Option<u64>> {
        if length < 16 {
            self.skip(length.into(), length)?;
            return Ok(None);
        }
        let _riff_size: [u8; 8] = self.take()?;
        let data = u64::from_le_bytes(self.take()?);
        self.skip(u64::from(length) - 16, length)?;
        Ok(Some(data))
    }

    /// Parses `fmt ` of any length.
    fn format(&mut self, length: u32) -> Result<(Encoding, u16, u32)> {
        let mut bytes = [0; FORMAT_BYTES];
        let known = FORMAT_BYTES.min(length as usize);
        if known < 14 {
            return Err(invalid("the file's format chunk is truncated"));
        }
        for byte in &mut bytes[..known] {
            [*byte] = self.take()?;
        }
        self.skip(u64::from(length) - known as u64, length)?;
        let at = |offset: usize| u16::from_le_bytes([bytes[offset], bytes[offset + 1]]);
        let (mut tag, channels, alignment) = (at(0), at(2), at(12));
        let sample_rate = u32::from_le_bytes([bytes[4], bytes[5], bytes[6], bytes[7]]);
        // The original PCM format of 1991 has no bit depth; it follows from the block alignment.
        let mut bits = if known >= 16 { at(14) } else { 0 };
        if channels == 0 {
            return Err(invalid("the file has no channels"));
        }
        // The block alignment is wrong in some files and only used where the bit depth does not
        // determine the sample size.
        let aligned = if alignment % channels == 0 { alignment / channels } else { 0 };
        let is_padded = (17..32).contains(&bits) && aligned == 4;
        let bytes_of_sample = if bits == 0 || is_padded { aligned } else { bits.div_ceil(8) };
        if bits == 0 {
            bits = bytes_of_sample.saturating_mul(8);
        }
        if tag == 0xFFFE {
            if known < FORMAT_BYTES || !GUID_TAILS.iter().any(|tail| bytes[26..] == *tail) {
                return Err(unknown());
            }
            tag = at(24);
            bits = if at(18) == 0 { bits } else { at(18).min(bits) };
        }
        let encoding = match (tag, bytes_of_sample) {
            (1, 1..=4) => Encoding::Integer { bytes: bytes_of_sample, bits },
            (3, 4 | 8) => Encoding::Float { bytes: bytes_of_sample },
            (6, 1) => Encoding::ALaw,
            (7, 1) => Encoding::MuLaw,
            (1 | 3 | 6 | 7, _) => {
                return Err(invalid(
                    "unsupported sample size; supported are integers of 8 to 32 bits and floats of 32 or 64 bits",
                )
                .with("bits", bits));
            }
            _ => return Err(unknown()),
        };
        Ok((encoding, channels, sample_rate))
    }
}

fn unknown() -> blink_api::Error {
    invalid("unsupported WAV format; supported are PCM, IEEE float, A-law and µ-law")
}
