//! The recorder `wav`: a file of decoded audio per track, all of them aligned.

mod mix;
mod parts;
mod pcm_track;

use std::path::PathBuf;
use std::time::Duration;

use blink_api::{
    CallTime, Error, ErrorKind, RecordedTrack, Recorder, RecorderCapabilities, Recording, RecordingConfig,
    RecordingSummary, Result, Sample, TrackFormat, TrackKey,
};

use crate::config::WavConfig;
use crate::output_file::{OutputFiles, track_label, unknown_track};
use mix::Mix;
use parts::{Parts, WavFormat};
use pcm_track::Track;

/// Name of the recorder in configurations and errors.
pub(crate) const NAME: &str = "wav";

pub(crate) const CAPABILITIES: RecorderCapabilities =
    RecorderCapabilities { samples: true, survives_kill: true, ..RecorderCapabilities::NONE };

/// Time between two updates of the headers: what a killed process loses.
const FLUSH_INTERVAL: Duration = Duration::from_millis(500);
/// Channels and sample rates of tracks, at most.
const MOST_CHANNELS: u16 = 8;
const HIGHEST_RATE: u32 = 192_000;

/// Records decoded audio.
#[derive(Debug)]
pub struct WavRecorder {
    config: WavConfig,
}

impl WavRecorder {
    /// A recorder of this configuration.
    ///
    /// # Errors
    /// [`Invalid`](ErrorKind::Invalid), naming the key.
    pub fn new(config: WavConfig) -> Result<Self> {
        config.check()?;
        Ok(Self { config })
    }
}

impl Recorder for WavRecorder {
    fn capabilities(&self) -> RecorderCapabilities {
        CAPABILITIES
    }

    fn start(&self, config: RecordingConfig) -> Result<Box<dyn Recording>> {
        let files = OutputFiles::new(&config, NAME);
        files.check_directory()?;
        Ok(Box::new(WavRecording {
            config: self.config.clone(),
            begin: config.begin,
            now: config.begin.unwrap_or_default(),
            flushed: config.begin.unwrap_or_default(),
            files,
            tracks: Vec::new(),
            mix: None,
            paths: Vec::new(),
            failed: false,
        }))
    }
}

struct WavRecording {
    config: WavConfig,
    files: OutputFiles,
    begin: Option<CallTime>,
    now: CallTime,
    /// Time of the last update of the headers.
    flushed: CallTime,
    tracks: Vec<Track>,
    mix: Option<Mix>,
    /// Files in the order in which they were begun.
    paths: Vec<PathBuf>,
    failed: bool,
}

impl WavRecording {
    /// Sets the beginning, unless it is known.
    fn begin(&mut self, at: CallTime) {
        if self.begin.is_none() {
            self.begin = Some(at);
            (self.now, self.flushed) = (at, at);
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

    fn write(&mut self) -> Result<()> {
        for track in &mut self.tracks {
            track.write(self.mix.as_mut(), &mut self.paths)?;
        }
        if let Some(mix) = &mut self.mix {
            let end = self.tracks.iter().filter(|track| track.is_mixed(mix)).map(Track::end).min();
            mix.write_to(end.unwrap_or(0), &mut self.paths)?;
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<()> {
        self.tracks.iter_mut().try_for_each(Track::flush)?;
        self.mix.as_mut().map_or(Ok(()), Mix::flush)
    }

    /// Begins the mix with the first track: it has its sample rate.
    fn begin_mix(&mut self, sample_rate: u32) -> Result<()> {
        if self.config.mix && self.mix.is_none() {
            let format = WavFormat { sample_rate, channels: 1, sample: self.config.format };
            let parts =
                Parts::create(&self.files, "mix".to_owned(), format, self.config.max_file_bytes, &mut self.paths)?;
            self.mix = Some(Mix::new(sample_rate, parts));
        }
        Ok(())
    }
}

impl Recording for WavRecording {
    fn add_track(&mut self, track: RecordedTrack) -> Result<()> {
        let TrackFormat::Samples(format) = track.format else { return Err(Error::unsupported(NAME, "add_track")) };
        let usable = (1..=MOST_CHANNELS).contains(&format.channels) && (1..=HIGHEST_RATE).contains(&format.sample_rate);
        if !usable {
            return Err(Error::new(ErrorKind::Unsupported, "a track has 1 to 8 channels and at most 192 kHz")
                .backend(NAME)
                .with("channels", format.channels)
                .with("sample_rate", format.sample_rate));
        }
        if self.tracks.iter().any(|known| known.key == track.key) {
            return Err(Error::new(ErrorKind::State, "the track was added before").backend(NAME));
        }
        self.guarded(|this| {
            this.begin_mix(format.sample_rate)?;
            let label = track_label(this.tracks.len() + 1, &track);
            let wav =
                WavFormat { sample_rate: format.sample_rate, channels: format.channels, sample: this.config.format };
            let parts = Parts::create(&this.files, label, wav, this.config.max_file_bytes, &mut this.paths)?;
            this.tracks.push(Track::new(track.key, format, this.begin, this.now, parts));
            Ok(())
        })
    }

    fn push(&mut self, track: &TrackKey, at: CallTime, sample: Sample<'_>) -> Result<()> {
        if !self.tracks.iter().any(|known| known.key == *track) {
            return Err(unknown_track(NAME, track));
        }
        let Sample::Audio { samples, .. } = sample else { return Err(Error::unsupported(NAME, "push")) };
        self.begin(at);
        self.guarded(|this| {
            let known = this.tracks.iter_mut().find(|known| known.key == *track);
            let Some(known) = known else { return Ok(()) };
            known.push(at, samples);
            known.write(this.mix.as_mut(), &mut this.paths)
        })
    }

    fn tick(&mut self, now: CallTime) -> Result<()> {
        self.begin(now);
        self.now = self.now.max(now);
        self.guarded(|this| {
            this.tracks.iter_mut().for_each(|track| track.tick(now));
            this.write()?;
            if this.now.0.saturating_sub(this.flushed.0) >= FLUSH_INTERVAL {
                this.flushed = this.now;
                this.flush()?;
            }
            Ok(())
        })
    }

    fn finish(mut self: Box<Self>) -> Result<RecordingSummary> {
        let duration = self.tracks.iter().map(Track::duration).max().unwrap_or_default();
        let result = self.guarded(|this| {
            this.tracks.iter_mut().for_each(|track| track.fill_to(duration));
            this.write()?;
            this.flush()
        });
        // After a failure, what was written is completed as far as it goes.
        let failed_before = matches!(&result, Err(error) if error.kind() == ErrorKind::State);
        if !failed_before {
            result?;
        }
        let tracks = self.tracks.iter().map(Track::summary).collect();
        self.tracks.clear();
        self.mix = None;
        let mut bytes = 0;
        for path in &self.paths {
            bytes += std::fs::metadata(path).map_or(0, |about| about.len());
        }
        Ok(RecordingSummary::new(std::mem::take(&mut self.paths), bytes).with_tracks(duration, tracks))
    }
}
