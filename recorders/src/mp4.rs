//! The recorder `mp4`: the whole call in one file, without transcoding.

pub(crate) mod fragments;
pub(crate) mod media;
pub(crate) mod movie;
mod track;

use std::path::PathBuf;
use std::time::Duration;

use blink_api::{
    CallTime, Error, ErrorKind, RecordedTrack, Recorder, RecorderCapabilities, Recording, RecordingConfig,
    RecordingSummary, Result, Sample, TrackFormat, TrackKey,
};

use crate::config::Mp4Config;
use crate::output_file::{OutputFiles, unknown_track, write_error};
use fragments::{Added, FragmentedFile};
use media::{Kind, Media};
use track::Track;

/// Name of the recorder in configurations and errors.
pub(crate) const NAME: &str = "mp4";

pub(crate) const CAPABILITIES: RecorderCapabilities =
    RecorderCapabilities { packets: true, video: true, survives_kill: true, ..RecorderCapabilities::NONE };

/// Time between two fragments. With the time that a packet waits for an earlier one, this is less
/// than the second that a killed process may lose.
const FRAGMENT: Duration = Duration::from_millis(500);
/// Bytes that are queued for a fragment, at most.
const LARGEST_FRAGMENT: usize = 16 << 20;

/// Records RTP packets of Opus and encoded video frames.
#[derive(Debug)]
pub struct Mp4Recorder {
    config: Mp4Config,
}

impl Mp4Recorder {
    /// A recorder of this configuration.
    ///
    /// # Errors
    /// [`Invalid`](ErrorKind::Invalid), naming the key.
    pub fn new(config: Mp4Config) -> Result<Self> {
        config.check()?;
        Ok(Self { config })
    }
}

impl Recorder for Mp4Recorder {
    fn capabilities(&self) -> RecorderCapabilities {
        CAPABILITIES
    }

    fn start(&self, config: RecordingConfig) -> Result<Box<dyn Recording>> {
        let files = OutputFiles::new(&config, NAME);
        files.check_directory()?;
        let mut output = Output { files, reserve: self.config.reserve, parts: Vec::new() };
        output.begin_part()?;
        let now = config.begin.unwrap_or_default();
        Ok(Box::new(Mp4Recording { output, begin: config.begin, now, cut: now, tracks: Vec::new(), failed: false }))
    }
}

/// The files: one, and further ones for tracks beyond the reserve of the first.
pub(crate) struct Output {
    files: OutputFiles,
    reserve: u32,
    parts: Vec<Part>,
}

struct Part {
    file: FragmentedFile,
    path: PathBuf,
}

/// A track in one of the files.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Slot {
    part: usize,
    track: usize,
}

impl Output {
    fn begin_part(&mut self) -> Result<()> {
        let (file, path) = self.files.create(self.parts.len() as u32 + 1, "mp4")?;
        let file = FragmentedFile::create(file, self.reserve).map_err(|source| {
            OutputFiles::discard(&path);
            write_error(NAME, &path, source)
        })?;
        self.parts.push(Part { file, path });
        Ok(())
    }

    fn add_track(&mut self, media: &Media, name: &str, first: u64) -> Result<Slot> {
        for attempt in 0..2 {
            let part = self.parts.len().saturating_sub(1);
            let Some(Part { file, path }) = self.parts.last_mut() else { break };
            let added = file.add_track(media, name, first).map_err(|source| write_error(NAME, path, source))?;
            match added {
                Added::Track(track) => return Ok(Slot { part, track }),
                Added::NoRoom if attempt == 0 => self.begin_part()?,
                Added::NoRoom => {}
            }
        }
        Err(Error::new(ErrorKind::TooLarge, "the track cannot be described").backend(NAME))
    }

    fn push(&mut self, slot: Slot, position: u64, ticks: u32, key: bool, data: &[u8]) {
        self.parts[slot.part].file.push(slot.track, position, ticks, key, data);
    }

    fn queued(&self) -> usize {
        self.parts.iter().map(|part| part.file.queued()).sum()
    }

    fn cut(&mut self) -> Result<()> {
        for Part { file, path } in &mut self.parts {
            file.cut().map_err(|source| write_error(NAME, path, source))?;
        }
        Ok(())
    }
}

struct Mp4Recording {
    output: Output,
    begin: Option<CallTime>,
    now: CallTime,
    /// Time of the last fragment.
    cut: CallTime,
    tracks: Vec<Track>,
    failed: bool,
}

impl Mp4Recording {
    /// Sets the beginning, unless it is known.
    fn begin(&mut self, at: CallTime) {
        if self.begin.is_none() {
            self.begin = Some(at);
            (self.now, self.cut) = (at, at);
            self.tracks.iter_mut().for_each(|track| track.set_begin(at));
        }
    }

    /// Runs what writes; after its first failure the recording takes nothing.
    fn guarded(&mut self, write: impl FnOnce(&mut Self) -> Result<()>) -> Result<()> {
        if self.failed {
            return Err(Error::new(ErrorKind::State, "the recording has failed before").backend(NAME));
        }
        let result = write(self);
        self.failed |= result.as_ref().is_err_and(|error| error.kind() == ErrorKind::Io);
        result
    }
}

impl Recording for Mp4Recording {
    fn add_track(&mut self, track: RecordedTrack) -> Result<()> {
        let TrackFormat::Encoded(codec) = &track.format else { return Err(Error::unsupported(NAME, "add_track")) };
        let kind = Kind::of(codec).ok_or_else(|| {
            Error::new(ErrorKind::Unsupported, "an MP4 file has no tracks of this codec")
                .backend(NAME)
                .with("codec", &codec.name)
        })?;
        if self.tracks.iter().any(|known| known.key == track.key) {
            return Err(Error::new(ErrorKind::State, "the track was added before").backend(NAME));
        }
        self.guarded(|this| {
            let number = this.tracks.len() + 1;
            let track = Track::new(number, &track, kind, this.begin, this.now, &mut this.output)?;
            this.tracks.push(track);
            Ok(())
        })
    }

    fn push(&mut self, track: &TrackKey, at: CallTime, sample: Sample<'_>) -> Result<()> {
        if !self.tracks.iter().any(|known| known.key == *track) {
            return Err(unknown_track(NAME, track));
        }
        self.begin(at);
        self.guarded(|this| {
            let known = this.tracks.iter_mut().find(|known| known.key == *track);
            let Some(known) = known else { return Ok(()) };
            known.push(at, sample, &mut this.output)?;
            if this.output.queued() > LARGEST_FRAGMENT { this.output.cut() } else { Ok(()) }
        })
    }

    fn tick(&mut self, now: CallTime) -> Result<()> {
        self.begin(now);
        self.now = self.now.max(now);
        self.guarded(|this| {
            this.tracks.iter_mut().for_each(|track| track.tick(now, &mut this.output));
            if this.now.0.saturating_sub(this.cut.0) >= FRAGMENT {
                this.cut = this.now;
                this.output.cut()?;
            }
            Ok(())
        })
    }

    fn finish(mut self: Box<Self>) -> Result<RecordingSummary> {
        self.tracks.iter_mut().for_each(|track| track.drain(&mut self.output));
        let duration = self.tracks.iter().map(Track::duration).max().unwrap_or_default();
        self.tracks.iter_mut().for_each(|track| track.fill_to(duration, &mut self.output));
        let tracks = self.tracks.iter().map(Track::summary).collect();
        let mut files = Vec::new();
        let mut bytes = 0;
        for Part { file, path } in std::mem::take(&mut self.output.parts) {
            if self.failed {
                // What is committed stays readable where this fails, too.
                file.salvage().inspect_err(|error| tracing::warn!(%error, "a recording cannot be completed")).ok();
            } else {
                file.finish().map_err(|source| write_error(NAME, &path, source))?;
            }
            bytes += std::fs::metadata(&path).map_or(0, |about| about.len());
            files.push(path);
        }
        Ok(RecordingSummary::new(files, bytes).with_tracks(duration, tracks))
    }
}
