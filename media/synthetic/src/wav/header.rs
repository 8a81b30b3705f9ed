//! The header of a WAV file (Multimedia Programming Interface and Data Specifications 1.0, RF64 as
//! in EBU Tech 3306).
//!
//! Writers differ in what they put there, and readers are known to take it. So only what the
//! samples' meaning depends on counts: the format, and where the samples are. The length of the
//! file and of `fact`, the byte rate and every unknown chunk are ignored.

use std::io::{self, Read};

use blink_api::Result;

use crate::file::invalid;

/// Lengths from here on are those of a writer that could not go back to fill them in: 0x7FFFF000
/// (SoX), 0x80000000 (arecord), 0xFFFFFFFF (ffmpeg). No file that is read is that large.
const STREAMED: u64 = 0x7FFF_F000;
/// Tail of the GUIDs that stand for a format tag (`KSDATAFORMAT_SUBTYPE_…`), and of those for
/// Ambisonic B-format.
const GUID_TAILS: [[u8; 14]; 2] = [
    [0, 0, 0, 0, 0x10, 0, 0x80, 0, 0, 0xaa, 0, 0x38, 0x9b, 0x71],
    [0, 0, 0x21, 0x07, 0xd3, 0x11, 0x86, 0x44, 0xc8, 0xc1, 0xca, 0, 0, 0],
];
/// Bytes of `fmt ` that are looked at: WAVEFORMATEXTENSIBLE.
const FORMAT_BYTES: usize = 40;

/// What the samples mean, and how many bytes of them follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) encoding: Encoding,
    pub(super) channels: u16,
    pub(super) sample_rate: u32,
    /// Bytes of samples, which follow at once.
    pub(super) length: u64,
}

/// How a sample is written, in little endian.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Encoding {
    /// An integer of 1 to 4 bytes; of one byte unsigned. Fewer bits than that stand left-justified,
    /// unless the writer was wrong.
    Integer { bytes: u16, bits: u16 },
    /// IEEE 754, of 4 or 8 bytes.
    Float { bytes: u16 },
    /// G.711 A-law.
    ALaw,
    /// G.711 µ-law.
    MuLaw,
}

impl Encoding {
    /// Bytes of a sample.
    pub(super) fn bytes(self) -> u16 {
        match self {
            Self::Integer { bytes, .. } | Self::Float { bytes } => bytes,
            Self::ALaw | Self::MuLaw => 1,
        }
    }
}

/// Reads up to the first sample. `size` is how many bytes the reader has in all.
pub(super) fn read(reader: &mut impl Read, size: u64) -> Result<Header> {
    let mut chunks = Chunks { reader, position: 0, size, carried: None };
    let outer = chunks.take::<12>().map_err(|_| invalid("this is no WAV file"))?;
    let is_64_bit = match &outer[..4] {
        b"RIFF" => false,
        b"RF64" | b"BW64" => true,
        b"RIFX" => return Err(invalid("WAV files in big endian (RIFX) are not read")),
        _ => return Err(invalid("this is no WAV file")),
    };
    if &outer[8..] != b"WAVE" {
        return Err(invalid("this is no WAV file"));
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
                    format.ok_or_else(|| invalid("the file's samples come before their format"))?;
                let rest = size - chunks.position.min(size);
                let declared = long.filter(|_| declared == u32::MAX).unwrap_or(declared.into());
                let length = match declared {
                    // A recorder that was killed before it filled in the first length.
                    0 if is_unfinished => rest,
                    STREAMED.. if declared > rest => rest,
                    length if length > rest => return Err(cut_off()),
                    length => length,
                };
                return Ok(Header { encoding, channels, sample_rate, length });
            }
            _ => chunks.skip(declared.into(), declared)?,
        }
    }
}

/// What is said of a file that ends too early.
pub(super) fn cut_off() -> blink_api::Error {
    invalid("the file is cut off")
}

/// Chunks one after another.
struct Chunks<'a, R> {
    reader: &'a mut R,
    position: u64,
    size: u64,
    /// The id of the next chunk, where it was read already to see whether padding precedes it.
    carried: Option<[u8; 4]>,
}

impl<R: Read> Chunks<'_, R> {
    /// The id and length of the next chunk.
    fn next(&mut self) -> Result<([u8; 4], u32)> {
        let id = match self.carried.take() {
            Some(id) => id,
            None if self.position >= self.size => return Err(invalid("the file holds no sound")),
            None => self.take()?,
        };
        Ok((id, u32::from_le_bytes(self.take()?)))
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N]> {
        let mut bytes = [0; N];
        self.reader.read_exact(&mut bytes).map_err(|source| match source.kind() {
            io::ErrorKind::UnexpectedEof => cut_off(),
            _ => invalid("the file cannot be read").source(source),
        })?;
        self.position += N as u64;
        Ok(bytes)
    }

    /// Skips the rest of a chunk, and its padding where its length is odd.
    fn skip(&mut self, rest: u64, length: u32) -> Result<()> {
        if rest > self.size.saturating_sub(self.position) {
            return Err(cut_off());
        }
        let skipped = io::copy(&mut self.reader.take(rest), &mut io::sink())
            .map_err(|source| invalid("the file cannot be read").source(source))?;
        self.position += skipped;
        if length % 2 == 1 {
            self.pad()?;
        }
        Ok(())
    }

    /// Skips the byte behind a chunk of odd length, which some writers leave out.
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

    /// The length of the samples in `ds64`, which stands for one that does not fit.
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

    /// Reads `fmt `, however long.
    fn format(&mut self, length: u32) -> Result<(Encoding, u16, u32)> {
        let mut bytes = [0; FORMAT_BYTES];
        let known = FORMAT_BYTES.min(length as usize);
        if known < 14 {
            return Err(invalid("the file's format is cut off"));
        }
        for byte in &mut bytes[..known] {
            [*byte] = self.take()?;
        }
        self.skip(u64::from(length) - known as u64, length)?;
        let at = |place: usize| u16::from_le_bytes([bytes[place], bytes[place + 1]]);
        let (mut tag, channels, alignment) = (at(0), at(2), at(12));
        let sample_rate = u32::from_le_bytes([bytes[4], bytes[5], bytes[6], bytes[7]]);
        // In a PCM file of 1991 they are not there: then the alignment says it.
        let mut bits = if known >= 16 { at(14) } else { 0 };
        if channels == 0 {
            return Err(invalid("the file has no channels"));
        }
        // The alignment is wrong at times, and is needed only where the bits do not say how many
        // bytes they take.
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
                    "this size of a sample is not read; integers of 8 to 32 bits and floats of 32 or 64 are",
                )
                .with("bits", bits));
            }
            _ => return Err(unknown()),
        };
        Ok((encoding, channels, sample_rate))
    }
}

fn unknown() -> blink_api::Error {
    invalid("this WAV format is not read; PCM, IEEE float, A-law and µ-law are")
}
