//! WAV files as this crate writes them: their header, read tolerantly, and its repair.

use std::io::{self, Read, Seek, SeekFrom, Write};

/// Chunks before the samples, at most.
const MOST_CHUNKS: usize = 64;

/// Fields of the header, and the length of the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) channels: u16,
    pub(crate) sample_rate: u32,
    pub(crate) bits_per_sample: u16,
    /// Bytes of one frame of all channels.
    pub(crate) block: u16,
    /// Position of the samples.
    pub(crate) data: u64,
    /// Length of the samples as the header says.
    pub(crate) declared: u64,
    /// Length of the samples that the file has.
    pub(crate) present: u64,
}

impl Header {
    /// Length of the samples that can be read: whole frames within the file.
    pub(crate) fn readable(&self) -> u64 {
        let bytes = self.declared.min(self.present);
        bytes - bytes % u64::from(self.block.max(1))
    }
}

/// Reads the header of a file.
///
/// # Errors
/// [`InvalidData`](io::ErrorKind::InvalidData) for what is no WAV file, and those of reading.
pub(crate) fn read_header<F: Read + Seek>(file: &mut F) -> io::Result<Header> {
    let length = file.seek(SeekFrom::End(0))?;
    file.rewind()?;
    let riff = read_array::<12>(file)?;
    if &riff[..4] != b"RIFF" || &riff[8..] != b"WAVE" {
        return Err(invalid("this is no WAV file"));
    }
    let mut format = None;
    let mut at = 12u64;
    for _ in 0..MOST_CHUNKS {
        file.seek(SeekFrom::Start(at))?;
        let chunk = read_array::<8>(file)?;
        let size = u64::from(u32::from_le_bytes([chunk[4], chunk[5], chunk[6], chunk[7]]));
        match &chunk[..4] {
            b"fmt " if size < 16 => return Err(invalid("the WAV file's format is too short")),
            b"fmt " => format = Some(read_array::<16>(file)?),
            b"data" => {
                let format = format.ok_or_else(|| invalid("the WAV file does not say its format"))?;
                let rest = length.saturating_sub(at + 8);
                let followed = size < rest && ends_in_chunks(file, at + 8 + size + size % 2, length)?;
                let u16_at = |at: usize| u16::from_le_bytes([format[at], format[at + 1]]);
                let header = Header {
                    channels: u16_at(2),
                    sample_rate: u32::from_le_bytes([format[4], format[5], format[6], format[7]]),
                    bits_per_sample: u16_at(14),
                    block: u16_at(12),
                    data: at + 8,
                    declared: size,
                    present: if followed { size } else { rest },
                };
                let usable = header.channels > 0 && header.sample_rate > 0 && header.block > 0;
                return if usable { Ok(header) } else { Err(invalid("the WAV file's format makes no sense")) };
            }
            _ => {}
        }
        at += 8 + size + size % 2;
    }
    Err(invalid("the WAV file has no samples"))
}

/// Whether whole chunks with printable names fill the file from `at` to its end: text that other
/// programs append. Samples that the header does not count are none.
fn ends_in_chunks<F: Read + Seek>(file: &mut F, mut at: u64, length: u64) -> io::Result<bool> {
    for _ in 0..MOST_CHUNKS {
        if at >= length {
            return Ok(at == length || at == length + 1);
        }
        if length - at < 8 {
            return Ok(false);
        }
        file.seek(SeekFrom::Start(at))?;
        let chunk = read_array::<8>(file)?;
        if !chunk[..4].iter().all(|byte| byte.is_ascii_graphic() || *byte == b' ') {
            return Ok(false);
        }
        let size = u64::from(u32::from_le_bytes([chunk[4], chunk[5], chunk[6], chunk[7]]));
        at += 8 + size + size % 2;
    }
    Ok(false)
}

/// Makes the header say what the file has, and cuts off an incomplete frame.
///
/// # Errors
/// As [`read_header`], and those of writing.
pub(crate) fn correct_lengths(file: &mut std::fs::File) -> io::Result<Header> {
    let header = read_header(file)?;
    let present = header.present - header.present % u64::from(header.block);
    file.set_len(header.data + present)?;
    write_lengths(file, &header, present)?;
    Ok(Header { declared: present, present, ..header })
}

/// Writes the lengths of `present` bytes of samples into the header.
pub(crate) fn write_lengths<F: Write + Seek>(file: &mut F, header: &Header, present: u64) -> io::Result<()> {
    let too_long = |_| invalid("a WAV file has at most 4 GiB");
    let data = u32::try_from(present).map_err(too_long)?;
    let riff = u32::try_from(header.data + present - 8).map_err(too_long)?;
    file.seek(SeekFrom::Start(4))?;
    file.write_all(&riff.to_le_bytes())?;
    file.seek(SeekFrom::Start(header.data - 4))?;
    file.write_all(&data.to_le_bytes())?;
    file.flush()
}

fn read_array<const N: usize>(file: &mut impl Read) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    file.read_exact(&mut bytes).map_err(|error| match error.kind() {
        io::ErrorKind::UnexpectedEof => invalid("the WAV file is cut off in its header"),
        _ => error,
    })?;
    Ok(bytes)
}

fn invalid(why: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}
