//! Names and creation of the files of a recording.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use blink_api::{Error, ErrorKind, RecordedTrack, RecordingConfig, Result, TrackKey, TrackSource, private};

/// Letters of a participant's name that a file name keeps.
const LONGEST_NAME: usize = 40;
/// Files of one name in a directory, at most.
const MOST_OF_A_NAME: u32 = 1_000;

/// Creates the files of one recording.
///
/// Names are `TIME_CALL_RECORDING[_TRACK_PARTICIPANT_SOURCE][_partN].EXTENSION`: they sort by time,
/// then by track. Files are created anew with the permissions 0600, never opened.
#[derive(Debug, Clone)]
pub(crate) struct OutputFiles {
    directory: PathBuf,
    prefix: String,
    backend: &'static str,
}

impl OutputFiles {
    pub(crate) fn new(config: &RecordingConfig, backend: &'static str) -> Self {
        let mut prefix = String::new();
        if let Some(started) = config.started {
            let since = started.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
            prefix += &format!("{}_", utc(since));
        }
        if let Some(call) = config.call {
            prefix += &format!("{}_", &call.to_string()[..8]);
        }
        prefix += &config.id.to_string()[..8];
        Self { directory: config.directory.clone(), prefix, backend }
    }

    /// Checks that the directory exists, before anything is to be written.
    pub(crate) fn check_directory(&self) -> Result<()> {
        let about = std::fs::metadata(&self.directory).map_err(|source| self.failed(&self.directory, source))?;
        if about.is_dir() {
            return Ok(());
        }
        Err(self.error("recordings go to a directory, and this is none").with("path", self.directory.display()))
    }

    /// Creates a file for the whole recording.
    pub(crate) fn create(&self, part: u32, extension: &str) -> Result<(File, PathBuf)> {
        self.create_named(&format!("{}{}", self.prefix, part_suffix(part)), extension)
    }

    /// Creates a file for what `label` says, such as `mix`.
    pub(crate) fn create_labelled(&self, label: &str, part: u32, extension: &str) -> Result<(File, PathBuf)> {
        self.create_named(&format!("{}_{label}{}", self.prefix, part_suffix(part)), extension)
    }

    fn create_named(&self, stem: &str, extension: &str) -> Result<(File, PathBuf)> {
        for number in 1..=MOST_OF_A_NAME {
            let again = if number == 1 { String::new() } else { format!("-{number}") };
            let path = self.directory.join(format!("{stem}{again}.{extension}"));
            match private::create_new(&path) {
                Ok(file) => return Ok((file, path)),
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(self.failed(&path, error)),
            }
        }
        Err(self.error("there are too many files of this name").with("path", self.directory.join(stem).display()))
    }

    /// Removes a file whose beginning could not be written: no program could read it.
    pub(crate) fn discard(path: &Path) {
        // Where that fails, too, an empty or torn file stays; the error of writing is reported.
        std::fs::remove_file(path).ok();
    }

    fn failed(&self, path: &Path, source: std::io::Error) -> Error {
        self.error("the recording cannot be created").with("path", path.display()).source(source)
    }

    fn error(&self, why: &'static str) -> Error {
        Error::new(ErrorKind::Io, why).backend(self.backend)
    }
}

/// The error of writing a file of a recording.
pub(crate) fn write_error(
    backend: &'static str,
    path: &Path,
    source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
) -> Error {
    Error::new(ErrorKind::Io, "the recording cannot be written")
        .backend(backend)
        .with("path", path.display())
        .source(source)
}

/// The error of a sample for a track that was not added.
pub(crate) fn unknown_track(backend: &'static str, key: &TrackKey) -> Error {
    Error::new(ErrorKind::NotFound, "there is no such track").backend(backend).operation("push").with("track", key)
}

/// Part of a file name that identifies a track: `NN_PARTICIPANT_SOURCE`.
pub(crate) fn track_label(number: usize, track: &RecordedTrack) -> String {
    let device = &track.key.endpoint.device.to_string()[..8];
    let name = match track.name.as_deref().map(safe).filter(|name| !name.is_empty()) {
        Some(name) => format!("{name}-{device}"),
        None => device.to_owned(),
    };
    let source = match track.key.source {
        TrackSource::Microphone => "microphone".to_owned(),
        TrackSource::Stream(stream) => format!("stream-{}", &stream.to_string()[..8]),
    };
    format!("{number:02}_{name}_{source}")
}

/// A name of which a file name can be made: letters and digits of any script, `-` for the rest.
fn safe(name: &str) -> String {
    let mut safe = String::new();
    for letter in name.chars().take(4 * LONGEST_NAME) {
        if letter.is_alphanumeric() {
            safe.push(letter);
        } else if !safe.ends_with('-') && !safe.is_empty() {
            safe.push('-');
        }
        // File systems limit bytes, not letters.
        if safe.len() >= 2 * LONGEST_NAME || safe.chars().count() >= LONGEST_NAME {
            break;
        }
    }
    safe.trim_end_matches('-').to_owned()
}

fn part_suffix(part: u32) -> String {
    if part <= 1 { String::new() } else { format!("_part{part}") }
}

/// A time of day as `20261130T024642Z` (ISO 8601 basic format).
fn utc(since_epoch: Duration) -> String {
    let seconds = since_epoch.as_secs();
    let (days, of_day) = (seconds / 86_400, seconds % 86_400);
    let (year, month, day) = civil(days);
    let (hour, minute, second) = (of_day / 3_600, of_day / 60 % 60, of_day % 60);
    format!("{year:04}{month:02}{day:02}T{hour:02}{minute:02}{second:02}Z")
}

/// Year, month and day of a number of days since 1970-01-01 (proleptic Gregorian calendar). Years
/// are counted from March, so that the leap day is the last.
fn civil(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (era, of_era) = (days / 146_097, days % 146_097);
    let of_year_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * of_year_era + of_year_era / 4 - of_year_era / 100);
    let from_march = (5 * of_year + 2) / 153;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    (of_year_era + era * 400 + u64::from(month <= 2), month, of_year - (153 * from_march + 2) / 5 + 1)
}

#[cfg(test)]
mod tests {
    use blink_api::{AudioFormat, CallId, CallTime, DeviceId, Did, Endpoint, RecordingId, TrackFormat};

    use super::*;

    #[test]
    fn names_sort_and_tell_call_time_and_participant() {
        let started = SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_747_602);
        let config = RecordingConfig::new(RecordingId::from_bytes([7; 16]), "/tmp")
            .call(CallId::from_bytes([0xab; 16]))
            .begin(started, CallTime::default());
        assert_eq!(OutputFiles::new(&config, "wav").prefix, "20261127T024642Z_abababab_07070707");
        for (seconds, text) in [(0, "19700101T000000Z"), (951_782_400, "20000229T000000Z")] {
            assert_eq!(utc(Duration::from_secs(seconds)), text);
        }
    }

    #[test]
    fn a_hostile_name_cannot_leave_the_directory() {
        let endpoint = Endpoint { did: Did::from_public_key([1; 32]), device: DeviceId::from_random([1; 16]) };
        let long = "ä".repeat(10_000);
        for name in ["../../etc/passwd", "/", "..", "a\0b", "C:\\x", "\u{202e}gpj", "", "nul\n", &long, "😀"] {
            let track = RecordedTrack::new(TrackKey::microphone(endpoint), TrackFormat::Samples(AudioFormat::CALL));
            let label = track_label(1, &track.named(name));
            assert!(!label.contains(['/', '\\', '\0', '.', ':', '\n', '\u{202e}']), "{label}");
            assert!(label.len() < 150, "{label}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn files_are_the_owners_alone_and_never_replaced() {
        use std::os::unix::fs::PermissionsExt;
        let directory = tempfile::tempdir().unwrap();
        let config = RecordingConfig::new(RecordingId::from_bytes([7; 16]), directory.path());
        let files = OutputFiles::new(&config, "wav");
        let paths: Vec<_> = (0..3).map(|_| files.create(1, "wav").unwrap().1).collect();
        for path in &paths {
            assert_eq!(std::fs::metadata(path).unwrap().permissions().mode() & 0o777, 0o600);
        }
        assert!(paths[0] != paths[1] && paths[1] != paths[2]);
    }
}
