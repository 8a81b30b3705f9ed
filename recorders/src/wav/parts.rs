//! One track's WAV file, continued in further files before its lengths overflow.

use std::fs::File;
use std::io::BufWriter;
use std::path::PathBuf;

use blink_api::Result;
use hound::{WavSpec, WavWriter};

use super::NAME;
use crate::config::SampleFormat;
use crate::output_file::{OutputFiles, write_error};
use crate::wav_file;

/// Bytes of a header, at most.
const HEADER: u64 = 128;
/// Samples of silence that are written at a time.
const SILENCE: [f32; 960] = [0.0; 960];

/// Format of a file.
#[derive(Debug, Clone, Copy)]
pub(super) struct WavFormat {
    pub(super) sample_rate: u32,
    pub(super) channels: u16,
    pub(super) sample: SampleFormat,
}

impl WavFormat {
    fn spec(self) -> WavSpec {
        let (bits_per_sample, sample_format) = match self.sample {
            SampleFormat::Int16 => (16, hound::SampleFormat::Int),
            SampleFormat::Float32 => (32, hound::SampleFormat::Float),
        };
        WavSpec { channels: self.channels, sample_rate: self.sample_rate, bits_per_sample, sample_format }
    }
}

/// The files of one track, of which the last one is written.
pub(super) struct Parts {
    files: OutputFiles,
    label: String,
    format: WavFormat,
    /// Samples, all channels counted, that fit into one file.
    capacity: u64,
    part: u32,
    /// Samples in the present file.
    written: u64,
    path: PathBuf,
    /// A second handle of the present file, to repair it after a failure.
    file: File,
    /// `None` after a failure.
    writer: Option<WavWriter<BufWriter<File>>>,
}

impl Parts {
    pub(super) fn create(
        files: &OutputFiles,
        label: String,
        format: WavFormat,
        max_file_bytes: u64,
        paths: &mut Vec<PathBuf>,
    ) -> Result<Self> {
        let (writer, file, path) = begin(files, &label, format, 1)?;
        paths.push(path.clone());
        let frame = u64::from(format.spec().bits_per_sample / 8) * u64::from(format.channels);
        let capacity = max_file_bytes.saturating_sub(HEADER) / frame * u64::from(format.channels);
        let files = files.clone();
        Ok(Self { files, label, format, capacity, part: 1, written: 0, path, file, writer: Some(writer) })
    }

    /// Appends interleaved samples.
    pub(super) fn write(&mut self, mut samples: &[f32], paths: &mut Vec<PathBuf>) -> Result<()> {
        while !samples.is_empty() {
            if self.written == self.capacity {
                self.continue_in_next(paths)?;
            }
            let room = usize::try_from(self.capacity - self.written).unwrap_or(usize::MAX);
            let (now, later) = samples.split_at(samples.len().min(room));
            self.append(now)?;
            samples = later;
        }
        Ok(())
    }

    /// Appends silence of this many samples, all channels counted.
    pub(super) fn write_silence(&mut self, mut samples: u64, paths: &mut Vec<PathBuf>) -> Result<()> {
        while samples > 0 {
            let now = samples.min(SILENCE.len() as u64);
            self.write(&SILENCE[..now as usize], paths)?;
            samples -= now;
        }
        Ok(())
    }

    /// Writes everything and updates the header, so that the file can be read as it is.
    pub(super) fn flush(&mut self) -> Result<()> {
        let result = self.writer.as_mut().map_or(Ok(()), WavWriter::flush);
        result.map_err(|error| self.fail(error))
    }

    fn append(&mut self, samples: &[f32]) -> Result<()> {
        let Some(writer) = &mut self.writer else { return Ok(()) };
        let result = match self.format.sample {
            SampleFormat::Int16 => append_integers(writer, samples),
            SampleFormat::Float32 => samples.iter().try_for_each(|sample| writer.write_sample(*sample)),
        };
        self.written += samples.len() as u64;
        result.map_err(|error| self.fail(error))
    }

    fn continue_in_next(&mut self, paths: &mut Vec<PathBuf>) -> Result<()> {
        self.flush()?;
        let (writer, file, path) = begin(&self.files, &self.label, self.format, self.part + 1)?;
        paths.push(path.clone());
        (self.writer, self.file, self.path) = (Some(writer), file, path);
        self.part += 1;
        self.written = 0;
        Ok(())
    }

    /// Gives the writer up, whose header may count samples that are not in the file, and makes the
    /// header say what is.
    fn fail(&mut self, source: hound::Error) -> blink_api::Error {
        self.writer = None;
        if let Err(error) = wav_file::correct_lengths(&mut self.file) {
            tracing::warn!(%error, "the header of a recording cannot be corrected");
        }
        let source: Box<dyn std::error::Error + Send + Sync> = match source {
            hound::Error::IoError(source) => source.into(),
            other => other.into(),
        };
        write_error(NAME, &self.path, source)
    }
}

type Begun = (WavWriter<BufWriter<File>>, File, PathBuf);

fn begin(files: &OutputFiles, label: &str, format: WavFormat, part: u32) -> Result<Begun> {
    let (file, path) = files.create_labelled(label, part, "wav")?;
    let second = file.try_clone().map_err(|source| write_error(NAME, &path, source))?;
    let writer = WavWriter::new(BufWriter::with_capacity(1 << 16, file), format.spec());
    let begun = writer.and_then(|mut writer| writer.flush().map(|()| writer));
    let writer = begun.map_err(|error| {
        OutputFiles::discard(&path);
        write_error(NAME, &path, error)
    })?;
    Ok((writer, second, path))
}

fn append_integers(writer: &mut WavWriter<BufWriter<File>>, samples: &[f32]) -> Result<(), hound::Error> {
    for chunk in samples.chunks(SILENCE.len()) {
        let mut integers = writer.get_i16_writer(chunk.len() as u32);
        for sample in chunk {
            // NaN becomes 0.
            integers.write_sample((sample.clamp(-1.0, 1.0) * 32_767.0).round() as i16);
        }
        integers.flush()?;
    }
    Ok(())
}
