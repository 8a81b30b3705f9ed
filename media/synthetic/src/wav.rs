//! WAV file reader.

mod header;

use std::io::{BufReader, Read};
use std::ops::RangeInclusive;
use std::path::Path;

use audio_codec_algorithms::{decode_alaw, decode_ulaw};
use blink_api::{AudioFormat, Result};

use crate::file::{self, invalid};
use crate::resample::resample_interleaved;
use header::{Encoding, Header};

/// Supported sample rates in Hz.
pub(crate) const RATES: RangeInclusive<u32> = 8_000..=192_000;

/// Maximum number of channels.
const MAX_CHANNELS: u16 = 8;

/// Default maximum duration in seconds.
const MAX_SECONDS: u32 = 600;

/// Bytes converted at a time, a multiple of every sample size.
const BLOCK: usize = 48 * 1024;

/// Audio in memory.
#[derive(Debug, Clone, PartialEq)]
pub struct Pcm {
    /// Sample rate and channels.
    pub format: AudioFormat,
    /// Interleaved samples in −1.0..=1.0.
    pub samples: Vec<f32>,
}

impl Pcm {
    /// Converts to another format. When the channel counts differ, every output channel is the mean
    /// of all input channels.
    pub(crate) fn into_format(self, format: AudioFormat) -> Vec<f32> {
        let samples = remix(self.samples, self.format.channels.into(), format.channels.into());
        let resampled =
            resample_interleaved(&samples, format.channels.into(), self.format.sample_rate, format.sample_rate);
        resampled.into_iter().map(|sample| sample.clamp(-1.0, 1.0)).collect()
    }
}

/// Reads a WAV file (RIFF, RF64 or BW64): integers of up to 32 bits in up to 4 bytes, floats of 32
/// or 64 bits, A-law or µ-law; 8 to 192 kHz, up to 8 channels, 10 minutes and 512 MiB.
///
/// Tolerates the header mistakes of known writers, see `docs/decisions/0041-wav-headers.md`.
///
/// # Errors
/// [`NotFound`](blink_api::ErrorKind::NotFound) if the file does not exist,
/// [`Invalid`](blink_api::ErrorKind::Invalid) if it is not such a WAV file; in one line with the
/// path and the reason.
pub fn read_wav(path: impl AsRef<Path>) -> Result<Pcm> {
    read_up_to(path.as_ref(), MAX_SECONDS)
}

/// Reads a WAV file from memory, as [`read_wav`].
pub(crate) fn parse(file: &[u8]) -> Result<Pcm> {
    decode(file, file.len() as u64, MAX_SECONDS)
}

/// Reads a WAV file of up to `longest` seconds, as [`read_wav`].
pub(crate) fn read_up_to(path: &Path, longest: u32) -> Result<Pcm> {
    file::open(path)
        .and_then(|(file, bytes)| decode(BufReader::new(file), bytes, longest))
        .map_err(|error| file::named(error, path))
}

/// Checks that a WAV file of up to `longest` seconds is there, by its header.
///
/// # Errors
/// As [`read_wav`].
pub(crate) fn check(path: &Path, longest: u32) -> Result<()> {
    file::open(path)
        .and_then(|(file, bytes)| frames(&mut BufReader::new(file), bytes, longest).map(drop))
        .map_err(|error| file::named(error, path))
}

/// Decodes a WAV file. `bytes` is the size of the file, regardless of its header.
fn decode(mut reader: impl Read, bytes: u64, longest: u32) -> Result<Pcm> {
    let (header, frames) = frames(&mut reader, bytes, longest)?;
    let length = frames * header.frame();
    let format = AudioFormat { sample_rate: header.sample_rate, channels: header.channels };
    Ok(Pcm { format, samples: samples(reader.take(length), header.encoding, length)? })
}

/// Reads the header and checks what it says. Returns it with the number of frames.
fn frames(reader: &mut impl Read, bytes: u64, longest: u32) -> Result<(Header, u64)> {
    let header = header::read(reader, bytes)?;
    if header.channels > MAX_CHANNELS {
        return Err(invalid("the file has more than 8 channels").with("channels", header.channels));
    }
    if !RATES.contains(&header.sample_rate) {
        return Err(invalid("the file's sample rate is not 8 to 192 kHz").with("rate", header.sample_rate));
    }
    // An incomplete last frame is dropped.
    let frames = header.length / header.frame();
    if frames == 0 {
        return Err(invalid("the file contains no audio"));
    }
    if frames > u64::from(longest) * u64::from(header.sample_rate) {
        let seconds = frames / u64::from(header.sample_rate);
        return Err(invalid("the file is too long").with("seconds", seconds).with("longest", longest));
    }
    Ok((header, frames))
}

/// Reads `length` bytes of samples.
fn samples(mut reader: impl Read, encoding: Encoding, length: u64) -> Result<Vec<f32>> {
    let mut samples = Vec::new();
    let mut block = vec![0; BLOCK];
    let mut justification = Justification::default();
    let mut left = length;
    while left > 0 {
        let block = &mut block[..BLOCK.min(usize::try_from(left).unwrap_or(BLOCK))];
        reader.read_exact(block).map_err(|source| match source.kind() {
            std::io::ErrorKind::UnexpectedEof => header::truncated(),
            _ => invalid("the file cannot be read").source(source),
        })?;
        left -= block.len() as u64;
        append(&mut samples, block, encoding, &mut justification)?;
    }
    if let Encoding::Integer { bytes, bits } = encoding
        && justification.is_right()
    {
        let gain = 2f32.powi(i32::from(8 * bytes) - i32::from(bits));
        samples.iter_mut().for_each(|sample| *sample *= gain);
    }
    Ok(samples)
}

fn append(samples: &mut Vec<f32>, block: &[u8], encoding: Encoding, justification: &mut Justification) -> Result<()> {
    match encoding {
        Encoding::Integer { bytes: 1, .. } => {
            samples.extend(block.iter().map(|byte| (f32::from(*byte) - 128.0) / 128.0));
        }
        Encoding::Integer { bytes, bits } => {
            samples.extend(block.chunks_exact(bytes.into()).map(|sample| {
                // Left-justified in 32 bits, so that the sign bit is in place.
                let mut wide = [0; 4];
                wide[4 - sample.len()..].copy_from_slice(sample);
                let value = i32::from_le_bytes(wide);
                justification.add(value >> (8 * (4 - sample.len())), bytes, bits);
                value as f32 / 2_147_483_648.0
            }));
        }
        Encoding::Float { bytes } => {
            for sample in block.chunks_exact(bytes.into()) {
                let value = match *sample {
                    [a, b, c, d] => f32::from_le_bytes([a, b, c, d]),
                    [a, b, c, d, e, f, g, h] => f64::from_le_bytes([a, b, c, d, e, f, g, h]) as f32,
                    _ => unreachable!("a float has 4 or 8 bytes"),
                };
                if !value.is_finite() {
                    return Err(invalid("the file contains samples that are not finite"));
                }
                samples.push(value.clamp(-1.0, 1.0));
            }
        }
        Encoding::ALaw => samples.extend(block.iter().map(|byte| f32::from(decode_alaw(*byte)) / 32_768.0)),
        Encoding::MuLaw => samples.extend(block.iter().map(|byte| f32::from(decode_ulaw(*byte)) / 32_768.0)),
    }
    Ok(())
}

/// Detection of the alignment of samples in a larger container.
///
/// The specification has them left-justified with zero padding on the right. Some writers of 24
/// bits in 32 right-justify them with sign extension. Such a file is recognised when the padding is
/// not zero and every sample fits into its bits.
#[derive(Debug, Default)]
struct Justification {
    uses_padding: bool,
    exceeds_bits: bool,
}

impl Justification {
    fn add(&mut self, value: i32, bytes: u16, bits: u16) {
        let padding = u32::from((8 * bytes).saturating_sub(bits));
        if padding > 0 {
            self.uses_padding |= value.trailing_zeros() < padding;
            let unused = 32 - u32::from(bits);
            self.exceeds_bits |= value << unused >> unused != value;
        }
    }

    fn is_right(&self) -> bool {
        self.uses_padding && !self.exceeds_bits
    }
}

fn remix(samples: Vec<f32>, from: usize, to: usize) -> Vec<f32> {
    if from == to {
        return samples;
    }
    let mean = |frame: &[f32]| frame.iter().sum::<f32>() / from as f32;
    samples.chunks_exact(from).flat_map(|frame| std::iter::repeat_n(mean(frame), to)).collect()
}

#[cfg(test)]
mod tests;
