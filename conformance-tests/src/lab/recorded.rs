//! Recordings that participants make with the recorder of the lab, and what is in them.

use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::time::Duration;

use blink_api::{RecordingId, RecordingReport};
use blink_engine::RecordingRequest;

use super::failure::{Failure, Result};
use super::fault::{Command, Fault};
use super::lab_recorder::{self, RATE};
use super::participant::Participant;
use super::playback::AMPLITUDE;

/// Name of the recorder that works.
pub const RECORDER: &str = "lab";
/// Name of the recorder whose disk is full after some seconds.
pub const FULL_RECORDER: &str = "lab-full";
/// Bytes that the disk of [`FULL_RECORDER`] has room for.
pub(crate) const FULL_AFTER: u64 = 500_000;
/// Interval and duration of the beeps that a microphone has instead of its tone.
pub(crate) const BEEP_INTERVAL: Duration = Duration::from_secs(1);
pub(crate) const BEEP: Duration = Duration::from_millis(100);
/// Samples in a row below half of the amplitude that end a beep: longer than any half wave.
const BEEP_END: usize = RATE / 200;
/// Durations of beeps of which nothing is missing.
const WHOLE_BEEP: std::ops::RangeInclusive<f64> = 0.085..=0.115;

/// A beep in a recorded track, in seconds since the beginning of the recording.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Beep {
    /// Its first sample.
    pub start: f64,
    /// Its last sample.
    pub end: f64,
}

impl Beep {
    /// Whether nothing of it is missing.
    pub fn is_whole(&self) -> bool {
        WHOLE_BEEP.contains(&(self.end - self.start))
    }
}

impl Participant {
    /// Has its microphone beep with each second of the lab's clock, instead of a lasting tone. All
    /// participants that beep do so at the same time.
    pub fn beeps(&self) {
        self.log_action("beeps");
        self.inner.devices.beeps.store(true, Ordering::Relaxed);
    }

    /// Starts to record its call.
    ///
    /// # Errors
    /// The engine returns an error.
    pub async fn records_with(&self, recorders: &[&str]) -> Result<RecordingId> {
        self.log_action(format!("records with {}", recorders.join(" and ")));
        if matches!(self.core.fault, Some(Fault::IgnoresCommand(Command::Record))) {
            return Ok(RecordingId::from_bytes([0; 16]));
        }
        let request = RecordingRequest::new(self.recordings()?).recorders(recorders.iter().copied());
        self.expect_ok("record", self.blink()?.start_recording(request).await)
    }

    /// Stops its recording.
    ///
    /// # Errors
    /// The engine returns an error.
    pub async fn stops_recording(&self) -> Result<RecordingReport> {
        self.log_action("stops recording");
        self.expect_ok("stop recording", self.blink()?.stop_recording().await)
    }

    /// Directory of its recordings.
    ///
    /// # Errors
    /// There is no place for files.
    pub fn recordings(&self) -> Result<PathBuf> {
        Ok(self.core.directory()?.join(format!("{self}-recordings")))
    }

    /// Recorded samples of a participant, at 48 kHz from the beginning of the recording on.
    ///
    /// # Errors
    /// The participant is in none of the files, or in several; a file cannot be read.
    pub fn recorded(&self, files: &[PathBuf], of: &Participant) -> Result<Vec<f32>> {
        let device = of.endpoint().ok_or_else(|| of.fails("was never started"))?.device.to_string();
        let is_theirs = |file: &&PathBuf| file.file_name().is_some_and(|name| name.to_string_lossy().contains(&device));
        let found: Vec<_> = files.iter().filter(is_theirs).collect();
        let [file] = found[..] else { return Err(self.fails(format!("has {} files of {of}", found.len()))) };
        lab_recorder::read(file).map_err(|error| self.fails(format!("cannot read {}: {error}", file.display())))
    }

    /// Copies the files of its recordings: as they would be left if its process were killed now.
    ///
    /// # Errors
    /// A file cannot be copied.
    pub fn copies_recordings(&self, name: &str) -> Result<Vec<PathBuf>> {
        let target = self.core.directory()?.join(name);
        copy_files(&self.recordings()?, &target).map_err(Failure::set_up)
    }
}

fn copy_files(from: &Path, to: &Path) -> std::io::Result<Vec<PathBuf>> {
    std::fs::create_dir_all(to)?;
    let mut copies = Vec::new();
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let copy = to.join(entry.file_name());
        std::fs::copy(entry.path(), &copy)?;
        copies.push(copy);
    }
    Ok(copies)
}

/// Beeps in recorded samples.
pub fn beeps_in(samples: &[f32]) -> Vec<Beep> {
    let seconds = |sample: usize| sample as f64 / RATE as f64;
    let mut beeps: Vec<(usize, usize)> = Vec::new();
    for (number, _) in samples.iter().enumerate().filter(|(_, sample)| sample.abs() > AMPLITUDE / 2.0) {
        match beeps.last_mut() {
            Some((_, end)) if number - *end < BEEP_END => *end = number,
            _ => beeps.push((number, number)),
        }
    }
    beeps.into_iter().map(|(start, end)| Beep { start: seconds(start), end: seconds(end) }).collect()
}
