//! Recorder of the lab: raw samples of each track from the beginning of the recording on, so that a
//! sample's place in the file is its time.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::time::Duration;

use blink_api::{
    CallTime, Error, ErrorKind, RecordedTrack, Recorder, RecorderCapabilities, Recording, RecordingConfig,
    RecordingSummary, Result, Sample, TrackFormat, TrackKey, TrackSummary,
};

use super::fault::Fault;

/// Samples per second of every track.
pub(crate) const RATE: usize = 48_000;
/// Distance between the time of a block and the end of its track, in samples, up to which it
/// follows without a gap: half of a frame.
const TOLERANCE: i64 = 480;
/// Longest silence that is filled in: no scenario takes longer.
const LONGEST_GAP: i64 = RATE as i64 * 300;
/// Delay that [`Fault::RecordsLate`] adds, in samples.
const LATE: i64 = RATE as i64 / 20;

/// Writes a file of 32-bit samples per track.
pub(crate) struct LabRecorder {
    /// Bytes after which the disk is full.
    pub(crate) limit: Option<u64>,
    pub(crate) fault: Option<Fault>,
}

struct LabRecording {
    config: RecordingConfig,
    limit: Option<u64>,
    fault: Option<Fault>,
    tracks: BTreeMap<TrackKey, LabTrack>,
    written: u64,
}

struct LabTrack {
    path: PathBuf,
    file: File,
    is_local: bool,
    /// Samples so far, those that wait to be written included.
    samples: i64,
    waiting: Vec<u8>,
}

impl Recorder for LabRecorder {
    fn capabilities(&self) -> RecorderCapabilities {
        RecorderCapabilities { samples: true, survives_kill: true, ..RecorderCapabilities::NONE }
    }

    fn start(&self, config: RecordingConfig) -> Result<Box<dyn Recording>> {
        let (limit, fault) = (self.limit, self.fault);
        Ok(Box::new(LabRecording { config, limit, fault, tracks: BTreeMap::new(), written: 0 }))
    }
}

impl LabRecording {
    fn write(&mut self) -> Result<()> {
        for track in self.tracks.values_mut() {
            let bytes = track.waiting.len() as u64;
            let written = match self.limit {
                Some(limit) if self.written + bytes > limit => full_disk(),
                _ => track.file.write_all(&track.waiting),
            };
            written.map_err(|source| io_error(&track.path, source))?;
            self.written += bytes;
            track.waiting.clear();
        }
        Ok(())
    }
}

impl Recording for LabRecording {
    fn add_track(&mut self, track: RecordedTrack) -> Result<()> {
        if !matches!(&track.format, TrackFormat::Samples(format) if format.channels == 1) {
            return Err(Error::unsupported("lab", "add_track"));
        }
        // Two recorders of one recording share its directory.
        let disk = if self.limit.is_some() { "full" } else { "large" };
        let name = format!("{}-{disk}-{}.f32", self.config.id, track.key.endpoint.device);
        let path = self.config.directory.join(name);
        let file = OpenOptions::new().write(true).create_new(true).open(&path);
        let file = file.map_err(|source| io_error(&path, source))?;
        let added = LabTrack { path, file, is_local: track.local, samples: 0, waiting: Vec::new() };
        self.tracks.insert(track.key, added);
        Ok(())
    }

    fn push(&mut self, track: &TrackKey, at: CallTime, sample: Sample<'_>) -> Result<()> {
        let known = self.tracks.get_mut(track).ok_or_else(|| Error::new(ErrorKind::NotFound, "no such track"))?;
        let Sample::Audio { samples, .. } = sample else { return Err(Error::unsupported("lab", "push")) };
        let begin = self.config.begin.unwrap_or_default();
        let place = |time: CallTime| (time.0.as_secs_f64() * RATE as f64).round() as i64;
        let mut at = place(at) - place(begin);
        if matches!(self.fault, Some(Fault::RecordsLate)) && !known.is_local {
            at += LATE;
        }
        let gap = at - known.samples;
        if !(-TOLERANCE..=LONGEST_GAP).contains(&gap) {
            return Ok(());
        }
        if gap > TOLERANCE {
            known.waiting.resize(known.waiting.len() + gap.unsigned_abs() as usize * size_of::<f32>(), 0);
            known.samples += gap;
        }
        samples.iter().for_each(|sample| known.waiting.extend_from_slice(&sample.to_le_bytes()));
        known.samples += samples.len() as i64;
        Ok(())
    }

    fn tick(&mut self, _: CallTime) -> Result<()> {
        if matches!(self.fault, Some(Fault::RecordsAtTheEnd)) { Ok(()) } else { self.write() }
    }

    fn finish(mut self: Box<Self>) -> Result<RecordingSummary> {
        // After a failure, what was written before is the recording.
        self.write().ok();
        let mut duration = Duration::ZERO;
        let mut tracks = Vec::new();
        for (key, track) in &self.tracks {
            let mut summary = TrackSummary::new(*key);
            summary.duration = Duration::from_secs_f64(track.samples as f64 / RATE as f64);
            duration = duration.max(summary.duration);
            tracks.push(summary);
        }
        let files = self.tracks.values().map(|track| track.path.clone()).collect();
        Ok(RecordingSummary::new(files, self.written).with_tracks(duration, tracks))
    }
}

/// The system's own error of a full disk, where it has a device for that.
fn full_disk() -> io::Result<()> {
    match OpenOptions::new().write(true).open("/dev/full") {
        Ok(mut full) => full.write_all(&[0]),
        Err(_) => Err(io::Error::from(io::ErrorKind::StorageFull)),
    }
}

fn io_error(path: &std::path::Path, source: io::Error) -> Error {
    Error::new(ErrorKind::Io, "the recording cannot be written").with("path", path.display()).source(source)
}

/// Samples of a file of this recorder; one that is cut off has as many as it has.
///
/// # Errors
/// The file cannot be read.
pub(crate) fn read(path: &std::path::Path) -> io::Result<Vec<f32>> {
    let bytes = std::fs::read(path)?;
    Ok(bytes
        .chunks_exact(size_of::<f32>())
        .map(|sample| f32::from_le_bytes([sample[0], sample[1], sample[2], sample[3]]))
        .collect())
}
