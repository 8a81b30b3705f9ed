//! WAV file writer.

use std::collections::HashSet;
use std::fs::File;
use std::io::BufWriter;
use std::path::{Path, PathBuf};
use std::time::Duration;

use blink_api::{AudioFormat, AudioSink, Error, ErrorKind, Result, private};
use hound::{SampleFormat, WavSpec, WavWriter};

use crate::NAME;

/// Maximum number of samples, since the header's length fields have 32 bits.
const MAX_SAMPLES: u64 = (u32::MAX as u64 - 44) / 2;

/// Path that a sink `wav:PATH` opens: `{n}` is replaced by the first number from 1 on without a
/// file, so that each call gets its own.
pub fn numbered(path: &Path) -> PathBuf {
    const NUMBER: &str = "{n}";
    match path.to_str() {
        Some(text) if text.contains(NUMBER) => {
            let mut candidates = (1u64..).map(|n| PathBuf::from(text.replace(NUMBER, &n.to_string())));
            candidates.find(|path| !path.exists()).expect("there are more numbers than files")
        }
        _ => path.to_owned(),
    }
}

/// Files that the sinks of a host wrote.
#[derive(Debug, Default)]
pub(crate) struct WrittenFiles(HashSet<PathBuf>);

impl WrittenFiles {
    /// Creates a sink at a path that no earlier sink has written. The first sink of a path gets it
    /// itself, whose file may be there from before. Later ones, such as that of a call that is
    /// joined again, get `NAME-2.wav` and so on: none overwrites what another one wrote.
    pub(crate) fn create(&mut self, path: PathBuf, format: AudioFormat) -> Result<WavSink> {
        let unused = self.unused(path.clone());
        if unused != path {
            let path = unused.display();
            tracing::info!(%path, "a sink of this name was written before: the audio goes on in another file");
        }
        let sink = WavSink::create(&unused, format)?;
        self.0.insert(unused);
        Ok(sink)
    }

    fn unused(&self, path: PathBuf) -> PathBuf {
        let is_special = std::fs::metadata(&path).is_ok_and(|about| !about.is_file());
        if is_special || !self.0.contains(&path) {
            return path;
        }
        let stem = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
        let extension = path.extension().map(|extension| format!(".{}", extension.to_string_lossy()));
        let further = |n: u64| path.with_file_name(format!("{stem}-{n}{}", extension.as_deref().unwrap_or_default()));
        let mut candidates = (2..).map(further);
        candidates.find(|path| !(path.exists() || self.0.contains(path))).expect("there are more numbers than files")
    }
}

/// Audio sink that writes a WAV file of 16-bit PCM. The header is updated once per second of audio,
/// so that the file stays readable if the process is killed.
pub(crate) struct WavSink {
    format: AudioFormat,
    path: PathBuf,
    /// `None` once finished.
    writer: Option<WavWriter<BufWriter<File>>>,
    written: u64,
    max_samples: u64,
    /// Samples since the last update of the header.
    unflushed: usize,
}

impl WavSink {
    /// Creates the file, accessible to its owner only, and missing directories. An existing file is
    /// overwritten: see [`WrittenFiles`]. See [`numbered`] for `{n}` in the path.
    pub(crate) fn create(path: &Path, format: AudioFormat) -> Result<Self> {
        let path = &numbered(path);
        let failed = |why: &'static str| {
            let path = path.display().to_string();
            move |source: hound::Error| Error::new(ErrorKind::Invalid, why).with("path", path).source(source)
        };
        if path.as_os_str().is_empty() {
            return Err(Error::new(ErrorKind::Invalid, "expected a path after wav:").with("name", "wav:"));
        }
        if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            let failed = failed("the file's directory cannot be created");
            std::fs::create_dir_all(parent).map_err(|source| failed(source.into()))?;
        }
        let spec = WavSpec {
            channels: format.channels,
            sample_rate: format.sample_rate,
            bits_per_sample: 16,
            sample_format: SampleFormat::Int,
        };
        let file = private::create(path).map_err(|source| failed("the file cannot be created")(source.into()))?;
        let mut writer = WavWriter::new(BufWriter::new(file), spec).map_err(failed("the file cannot be created"))?;
        writer.flush().map_err(failed("the file cannot be written"))?;
        Ok(Self {
            format,
            path: path.to_owned(),
            writer: Some(writer),
            written: 0,
            max_samples: MAX_SAMPLES,
            unflushed: 0,
        })
    }

    fn append(&mut self, samples: &[f32]) -> std::result::Result<(), hound::Error> {
        let Some(writer) = &mut self.writer else { return Ok(()) };
        for sample in samples {
            writer.write_sample((sample.clamp(-1.0, 1.0) * 32_767.0).round() as i16)?;
            self.written += 1;
        }
        self.unflushed += samples.len();
        if self.unflushed >= self.format.samples_in(Duration::from_secs(1)) {
            self.unflushed = 0;
            writer.flush()?;
        }
        Ok(())
    }

    fn error(&self, kind: ErrorKind, why: &'static str, operation: &'static str) -> Error {
        Error::new(kind, why).backend(NAME).operation(operation).with("path", self.path.display())
    }
}

impl AudioSink for WavSink {
    fn format(&self) -> AudioFormat {
        self.format
    }

    fn write(&mut self, samples: &[f32]) -> Result<usize> {
        if self.writer.is_none() {
            return Err(self.error(ErrorKind::Closed, "the sink is finished", "write"));
        }
        let whole = samples.len() - samples.len() % usize::from(self.format.channels);
        if self.written + whole as u64 > self.max_samples {
            return Err(self.error(ErrorKind::Io, "a WAV file cannot exceed 4 GiB", "write"));
        }
        let appended = self.append(&samples[..whole]);
        appended.map_err(|source| self.error(ErrorKind::Io, "the file cannot be written", "write").source(source))?;
        Ok(whole)
    }

    fn queued(&self) -> usize {
        0
    }

    fn latency(&self) -> Duration {
        Duration::ZERO
    }

    fn finish(&mut self) -> Result<()> {
        // Dropping the writer would also finalize the file, but swallow errors.
        let Some(writer) = self.writer.take() else { return Ok(()) };
        writer
            .finalize()
            .map_err(|source| self.error(ErrorKind::Io, "the file cannot be finalized", "finish").source(source))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::read_wav;

    fn sink(path: &Path) -> WavSink {
        WavSink::create(path, AudioFormat::CALL).unwrap()
    }

    #[test]
    fn a_finished_file_contains_the_written_samples() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.wav");
        let stereo = AudioFormat { sample_rate: 44_100, channels: 2 };
        let mut sink = WavSink::create(&path, stereo).unwrap();
        assert_eq!(sink.write(&[0.0, 0.5, -1.0, 2.0, 0.25]).unwrap(), 4);
        assert_eq!(sink.write(&[f32::NAN, f32::NEG_INFINITY]).unwrap(), 2);
        sink.finish().unwrap();
        sink.finish().unwrap();
        assert_eq!(sink.write(&[0.0]).unwrap_err().kind(), ErrorKind::Closed);
        let pcm = read_wav(&path).unwrap();
        assert_eq!(pcm.format, stereo);
        let expected = [0.0, 0.5, -1.0, 1.0, 0.0, -1.0];
        assert!(pcm.samples.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-4), "{:?}", pcm.samples);
    }

    #[cfg(unix)]
    #[test]
    fn files_are_accessible_to_their_owner_only() {
        use std::os::unix::fs::PermissionsExt;
        let directory = tempfile::tempdir().unwrap();
        let (new, old) = (directory.path().join("new.wav"), directory.path().join("old.wav"));
        std::fs::write(&old, "older").unwrap();
        std::fs::set_permissions(&old, std::fs::Permissions::from_mode(0o644)).unwrap();
        for path in [&new, &old] {
            let _sink = sink(path);
            assert_eq!(std::fs::metadata(path).unwrap().permissions().mode() & 0o777, 0o600, "from creation on");
        }
    }

    #[test]
    fn later_sinks_of_a_path_go_on_in_further_files() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        std::fs::write(path("a.wav"), "from before").unwrap();
        std::fs::write(path("a-3.wav"), "of someone else").unwrap();
        let mut written = WrittenFiles::default();
        for (value, name) in [(0.1, "a.wav"), (0.2, "a-2.wav"), (0.3, "a-4.wav")] {
            let mut sink = written.create(path("a.wav"), AudioFormat::CALL).unwrap();
            sink.write(&[value; 480]).unwrap();
            sink.finish().unwrap();
            let heard = read_wav(path(name)).unwrap().samples;
            assert!(heard.len() == 480 && heard.iter().all(|sample| (sample - value).abs() < 1e-3), "{name}");
        }
        let first = read_wav(path("a.wav")).unwrap().samples;
        assert!(first.iter().all(|sample| (sample - 0.1).abs() < 1e-3), "the first is as it was");
        assert_eq!(std::fs::read(path("a-3.wav")).unwrap(), b"of someone else");
        // Names without an extension, and files that are none.
        for name in ["b", "b-2"] {
            written.create(path("b"), AudioFormat::CALL).unwrap().finish().unwrap();
            assert!(path(name).exists());
        }
        assert!(written.create(path("no\0file"), AudioFormat::CALL).is_err());
    }

    #[test]
    fn a_number_placeholder_gives_a_new_file_per_opening() {
        let directory = tempfile::tempdir().unwrap();
        let pattern = directory.path().join("new/heard-{n}.wav");
        for n in 1..=3 {
            let path = directory.path().join(format!("new/heard-{n}.wav"));
            assert_eq!(numbered(&pattern), path);
            sink(&pattern).finish().unwrap();
            assert!(path.exists());
        }
        std::fs::remove_file(directory.path().join("new/heard-2.wav")).unwrap();
        assert_eq!(numbered(&pattern), directory.path().join("new/heard-2.wav"));
        assert_eq!(numbered(Path::new("a.wav")), Path::new("a.wav"));
    }

    /// Reads the file while the sink still has it open, as if the process had been killed.
    #[test]
    fn a_killed_process_loses_at_most_the_last_second() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.wav");
        let mut sink = sink(&path);
        for _ in 0..250 {
            sink.write(&[0.1; 480]).unwrap();
        }
        std::fs::copy(&path, directory.path().join("left.wav")).unwrap();
        assert_eq!(read_wav(directory.path().join("left.wav")).unwrap().samples.len(), 96_000);
        drop(sink);
        assert_eq!(read_wav(&path).unwrap().samples.len(), 120_000);
    }

    #[test]
    fn a_file_does_not_exceed_its_size_limit() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.wav");
        let mut sink = sink(&path);
        sink.max_samples = 100;
        sink.write(&[0.1; 100]).unwrap();
        let error = sink.write(&[0.1]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Io);
        assert!(error.to_string().contains("4 GiB") && error.to_string().contains("a.wav"), "{error}");
        sink.finish().unwrap();
        assert_eq!(read_wav(&path).unwrap().samples.len(), 100);
    }

    #[test]
    fn paths_that_cannot_be_created_are_named() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("file");
        std::fs::write(&file, "x").unwrap();
        for path in [directory.path().to_owned(), file.join("below.wav"), PathBuf::new()] {
            let error = WavSink::create(&path, AudioFormat::CALL).err().unwrap();
            assert_eq!(error.kind(), ErrorKind::Invalid);
            assert!(error.to_string().contains(&path.display().to_string()), "{error}");
        }
    }
}
