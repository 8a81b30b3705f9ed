//! Conformance tests for recorders, run against a minimal recorder, and against broken ones: each
//! must be detected by the test that is about it.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use blink_api::{
    CallTime, Error, ErrorKind, RecordedTrack, Recorder, RecorderCapabilities, Recording, RecordingConfig,
    RecordingSummary, Result, Sample, TrackFormat, TrackKey,
};
use blink_conformance::recorder::{self as contract, verify};

/// Fault of a recorder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    None,
    /// Accepts an undeclared kind.
    TakesVideo,
    /// Refuses a declared kind.
    TakesNothing,
    /// Ignores samples of unknown tracks.
    TakesUnknownTracks,
    /// Keeps only the first second.
    Stops,
    /// Reports a byte too many.
    MiscountsBytes,
    /// Uses one file for all recordings.
    SharesFiles,
    /// Truncates the files of an earlier recording.
    WritesOver,
    /// Writes only at the end.
    WritesAtTheEnd,
    /// Creates a missing directory.
    MakesDirectories,
    /// Returns an error that does not name the path.
    NamesNoPath,
}

/// Writes each track to a file of its own: raw samples, and packets with a length prefix.
struct Plain(Fault);

struct PlainRecording {
    fault: Fault,
    config: RecordingConfig,
    tracks: BTreeMap<TrackKey, PlainTrack>,
}

struct PlainTrack {
    path: PathBuf,
    file: File,
    /// Data to write at the next tick.
    waiting: Vec<u8>,
}

impl Recorder for Plain {
    fn capabilities(&self) -> RecorderCapabilities {
        RecorderCapabilities { samples: true, packets: true, ..RecorderCapabilities::default() }
    }

    fn start(&self, config: RecordingConfig) -> Result<Box<dyn Recording>> {
        let Self(fault) = *self;
        if fault == Fault::MakesDirectories {
            std::fs::create_dir_all(&config.directory)?;
        }
        if !config.directory.is_dir() {
            let error = Error::new(ErrorKind::Io, "there is no such directory");
            let named = fault != Fault::NamesNoPath;
            return Err(if named { error.with("path", config.directory.display()) } else { error });
        }
        Ok(Box::new(PlainRecording { fault, config, tracks: BTreeMap::new() }))
    }
}

impl Recording for PlainRecording {
    fn add_track(&mut self, track: RecordedTrack) -> Result<()> {
        let is_video = matches!(&track.format, TrackFormat::Encoded(codec) if codec.channels == 0);
        if is_video && self.fault != Fault::TakesVideo || self.fault == Fault::TakesNothing {
            return Err(Error::new(ErrorKind::Unsupported, "tracks of this kind are not supported"));
        }
        let name = match self.fault {
            Fault::SharesFiles => format!("{}.raw", track.key.endpoint.device),
            _ => format!("{}-{}.raw", self.config.id, track.key.endpoint.device),
        };
        let path = self.config.directory.join(name);
        let again = matches!(self.fault, Fault::SharesFiles | Fault::WritesOver);
        let options = File::options().write(true).create_new(!again).create(again).truncate(again).open(&path);
        let file = options.map_err(|error| {
            Error::new(ErrorKind::Io, "cannot create a track's file").with("path", path.display()).source(error)
        })?;
        self.tracks.insert(track.key, PlainTrack { path, file, waiting: Vec::new() });
        Ok(())
    }

    fn push(&mut self, track: &TrackKey, at: CallTime, sample: Sample<'_>) -> Result<()> {
        let Some(track) = self.tracks.get_mut(track) else {
            return match self.fault {
                Fault::TakesUnknownTracks => Ok(()),
                _ => Err(Error::new(ErrorKind::NotFound, "there is no such track")),
            };
        };
        if self.fault == Fault::Stops && at.0.as_secs() >= 1 {
            return Ok(());
        }
        match sample {
            Sample::Audio { samples, .. } => {
                samples.iter().for_each(|sample| track.waiting.extend(sample.to_le_bytes()));
            }
            Sample::Rtp(packet) => {
                track.waiting.extend((packet.payload.len() as u32).to_le_bytes());
                track.waiting.extend_from_slice(packet.payload);
            }
            _ => return Err(Error::new(ErrorKind::Unsupported, "samples of this kind are not kept")),
        }
        Ok(())
    }

    fn tick(&mut self, _: CallTime) -> Result<()> {
        if self.fault == Fault::WritesAtTheEnd { Ok(()) } else { self.write() }
    }

    fn finish(mut self: Box<Self>) -> Result<RecordingSummary> {
        self.write()?;
        let files: Vec<PathBuf> = self.tracks.values().map(|track| track.path.clone()).collect();
        let mut bytes = 0;
        for file in &files {
            bytes += std::fs::metadata(file)?.len();
        }
        Ok(RecordingSummary::new(files, bytes + u64::from(self.fault == Fault::MiscountsBytes)))
    }
}

impl PlainRecording {
    fn write(&mut self) -> Result<()> {
        for track in self.tracks.values_mut() {
            track.file.write_all(&track.waiting)?;
            track.waiting.clear();
        }
        Ok(())
    }
}

#[test]
fn a_minimal_recorder_fulfils_the_contract() {
    let directory = tempfile::tempdir().unwrap();
    verify(&Plain(Fault::None), directory.path());
}

/// The project's own recorders, in their default configuration.
#[test]
fn the_recorders_of_this_project_fulfil_the_contract() {
    use blink_recorders::{Mp4Config, Mp4Recorder, RtpLogConfig, RtpLogRecorder, WavConfig, WavRecorder};
    let recorders: [Box<dyn Recorder>; 3] = [
        Box::new(WavRecorder::new(WavConfig { mix: true, ..WavConfig::default() }).unwrap()),
        Box::new(Mp4Recorder::new(Mp4Config::default()).unwrap()),
        Box::new(RtpLogRecorder::new(RtpLogConfig::default()).unwrap()),
    ];
    for recorder in recorders {
        let directory = tempfile::tempdir().unwrap();
        verify(&*recorder, directory.path());
    }
}

/// One test of the suite.
type Part = fn(&dyn Recorder, &Path);

#[test]
fn broken_recorders_are_detected_by_the_matching_test() {
    let parts: [(Fault, Part); 10] = [
        (Fault::TakesVideo, contract::accepted_formats_match_the_capabilities),
        (Fault::TakesNothing, contract::accepted_formats_match_the_capabilities),
        (Fault::TakesUnknownTracks, contract::unknown_tracks_are_not_found),
        (Fault::Stops, contract::pushed_samples_are_in_the_files),
        (Fault::MiscountsBytes, contract::tracks_may_start_later_and_pause),
        (Fault::SharesFiles, contract::concurrent_recordings_have_separate_files),
        (Fault::WritesOver, contract::existing_recordings_are_never_overwritten),
        (Fault::WritesAtTheEnd, contract::written_data_survives_a_dropped_recording),
        (Fault::MakesDirectories, missing),
        (Fault::NamesNoPath, missing),
    ];
    for (fault, part) in parts {
        let run = |fault| {
            let directory = tempfile::tempdir().unwrap();
            catch_unwind(AssertUnwindSafe(|| part(&Plain(fault), directory.path())))
        };
        assert!(run(Fault::None).is_ok(), "the recorder without a fault fails the test of {fault:?} should be");
        assert!(run(fault).is_err(), "{fault:?} is not noticed");
    }
}

fn missing(recorder: &dyn Recorder, directory: &Path) {
    contract::missing_directories_are_named(recorder, &directory.join("not there"));
}
