//! Reading WAV files.

use std::io::{BufReader, Read};
use std::ops::RangeInclusive;
use std::path::Path;

use blink_api::{AudioFormat, Error, Result};
use hound::{SampleFormat, WavReader, WavSpec};

use crate::file::{self, invalid};
use crate::resample::resample_interleaved;

/// Sample rates that are read and written, in Hz.
pub(crate) const RATES: RangeInclusive<u32> = 8_000..=192_000;

/// Most channels in a file.
const MOST_CHANNELS: u16 = 8;

/// Longest file, in seconds, where nobody set another limit.
const LONGEST: u32 = 600;

/// Sound in memory.
#[derive(Debug, Clone, PartialEq)]
pub struct Pcm {
    /// Sample rate and channels.
    pub format: AudioFormat,
    /// Interleaved samples in −1.0..=1.0.
    pub samples: Vec<f32>,
}

impl Pcm {
    /// The same sound in another format. Fewer channels get the mean of all, and so does each of more channels.
    pub(crate) fn into_format(self, format: AudioFormat) -> Vec<f32> {
        let samples = remix(self.samples, self.format.channels.into(), format.channels.into());
        let resampled =
            resample_interleaved(&samples, format.channels.into(), self.format.sample_rate, format.sample_rate);
        resampled.into_iter().map(|sample| sample.clamp(-1.0, 1.0)).collect()
    }
}

/// Reads a WAV file: 8, 16, 24 or 32-bit integers or 32-bit floats, 8 to 192 kHz, up to 8 channels, 10 minutes and 512 MiB.
///
/// # Errors
/// [`NotFound`](blink_api::ErrorKind::NotFound) where there is no such file, [`Invalid`](blink_api::ErrorKind::Invalid) for everything that is
/// no such WAV file; one line that names the path and what is wrong.
pub fn read_wav(path: impl AsRef<Path>) -> Result<Pcm> {
    read_up_to(path.as_ref(), LONGEST)
}

/// As [`read_wav`], from memory.
pub(crate) fn parse(file: &[u8]) -> Result<Pcm> {
    decode(file, file.len() as u64, LONGEST)
}

/// As [`read_wav`], up to `longest` seconds.
pub(crate) fn read_up_to(path: &Path, longest: u32) -> Result<Pcm> {
    file::open(path)
        .and_then(|(file, bytes)| decode(BufReader::new(file), bytes, longest))
        .map_err(|error| file::named(error, path))
}

/// `bytes` is how much there is to read, whatever a header says.
fn decode(reader: impl Read, bytes: u64, longest: u32) -> Result<Pcm> {
    let reader = WavReader::new(reader.take(bytes)).map_err(broken)?;
    let spec = reader.spec();
    if spec.channels > MOST_CHANNELS {
        return Err(invalid("the file has more than 8 channels").with("channels", spec.channels));
    }
    if !RATES.contains(&spec.sample_rate) {
        return Err(invalid("the file's sample rate is not 8 to 192 kHz").with("rate", spec.sample_rate));
    }
    if reader.len() == 0 {
        return Err(invalid("the file holds no sound"));
    }
    if u64::from(reader.len()) > bytes {
        return Err(invalid("the file is cut off"));
    }
    if u64::from(reader.duration()) > u64::from(longest) * u64::from(spec.sample_rate) {
        let seconds = reader.duration() / spec.sample_rate;
        return Err(invalid("the file is too long").with("seconds", seconds).with("longest", longest));
    }
    let format = AudioFormat { sample_rate: spec.sample_rate, channels: spec.channels };
    Ok(Pcm { format, samples: samples(reader, spec)? })
}

fn samples(reader: WavReader<impl Read>, spec: WavSpec) -> Result<Vec<f32>> {
    match (spec.sample_format, spec.bits_per_sample) {
        (SampleFormat::Float, 32) => reader
            .into_samples::<f32>()
            .map(|sample| match sample {
                Ok(sample) if sample.is_finite() => Ok(sample.clamp(-1.0, 1.0)),
                Ok(_) => Err(invalid("the file holds numbers that are no sound")),
                Err(source) => Err(broken(source)),
            })
            .collect(),
        (SampleFormat::Int, bits @ (8 | 16 | 24 | 32)) => {
            let full_scale = (1u64 << (bits - 1)) as f32;
            let samples = reader.into_samples::<i32>();
            samples.map(|sample| sample.map(|sample| sample as f32 / full_scale).map_err(broken)).collect()
        }
        (_, bits) => {
            Err(invalid("this sample format is not read; 8, 16, 24 and 32-bit integers and 32-bit floats are")
                .with("bits", bits))
        }
    }
}

fn remix(samples: Vec<f32>, from: usize, to: usize) -> Vec<f32> {
    if from == to {
        return samples;
    }
    let mean = |frame: &[f32]| frame.iter().sum::<f32>() / from as f32;
    samples.chunks_exact(from).flat_map(|frame| std::iter::repeat_n(mean(frame), to)).collect()
}

fn broken(source: hound::Error) -> Error {
    match source {
        hound::Error::IoError(source) if source.kind() == std::io::ErrorKind::UnexpectedEof => {
            invalid("the file is cut off")
        }
        // What hound says for the end of the file within a value.
        hound::Error::IoError(source) if source.kind() == std::io::ErrorKind::Other => {
            invalid("the file is cut off or unreadable").source(source)
        }
        hound::Error::Unsupported => invalid("this WAV format is not read; PCM and IEEE float are"),
        source => invalid("this is no WAV file that can be read").source(source),
    }
}

#[cfg(test)]
mod tests;
