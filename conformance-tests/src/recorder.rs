//! Conformance tests for recorders.
//!
//! Each function verifies one property, and panics with a sentence that names it. The author of a
//! recorder calls [`verify`] from a test of their own crate, with an empty directory:
//!
//! ```no_run
//! # fn test(mine: &dyn blink_api::Recorder, directory: &std::path::Path) {
//! blink_conformance::recorder::verify(mine, directory);
//! # }
//! ```

use std::path::{Path, PathBuf};
use std::time::Duration;

use blink_api::{
    AudioFormat, CallTime, CodecName, DeviceId, Did, Endpoint, ErrorKind, RecordedTrack, Recorder, Recording,
    RecordingConfig, RecordingId, RecordingSummary, RtpSample, RtpTime, Sample, TrackFormat, TrackKey,
};

use crate::clause::Clause;
use crate::transport::{opus, vp8};

/// Duration of a sample block, and the interval of ticks.
const PIECE: Duration = Duration::from_millis(20);
const TICK: Duration = Duration::from_millis(100);
const TRACK: u8 = 1;

/// Runs all tests of this module in a temporary directory.
pub fn verify_in_temporary_directory(recorder: &dyn Recorder) {
    let directory = tempfile::tempdir().expect("there is room for a temporary directory");
    verify(recorder, directory.path());
}

/// Runs all tests of this module in `directory`, which exists and is empty.
pub fn verify(recorder: &dyn Recorder, directory: &Path) {
    let within = |name: &str| {
        let directory = directory.join(name);
        std::fs::create_dir(&directory).expect("the test's directory is empty and can be written to");
        directory
    };
    Clause(
        "accepted_formats_match_the_capabilities",
        "RecorderCapabilities: what is not declared is refused with Unsupported",
    )
    .verify(|| accepted_formats_match_the_capabilities(recorder, &within("formats")));
    Clause("unknown_tracks_are_not_found", "Recording::push: NotFound for a track that was not added")
        .verify(|| unknown_tracks_are_not_found(recorder, &within("unknown")));
    Clause("pushed_samples_are_in_the_files", "Recording::push and finish: what was pushed is in the files")
        .verify(|| pushed_samples_are_in_the_files(recorder, &within("pushed")));
    Clause("tracks_may_start_later_and_pause", "Recording::push: missing time is silence")
        .verify(|| tracks_may_start_later_and_pause(recorder, &within("later")));
    Clause(
        "concurrent_recordings_have_separate_files",
        "Recorder::start: recordings at the same time have files of their own",
    )
    .verify(|| concurrent_recordings_have_separate_files(recorder, &within("apart")));
    Clause("existing_recordings_are_never_overwritten", "Recorder::start: files that exist are left alone")
        .verify(|| existing_recordings_are_never_overwritten(recorder, &within("again")));
    Clause("written_data_survives_a_dropped_recording", "RecorderCapabilities::survives_kill")
        .verify(|| written_data_survives_a_dropped_recording(recorder, &within("dropped")));
    Clause("missing_directories_are_named", "Recorder::start: the error names the directory")
        .verify(|| missing_directories_are_named(recorder, &directory.join("missing")));
}

/// Tracks of declared kinds are accepted, and others refused as unsupported, without harm to the
/// recording.
pub fn accepted_formats_match_the_capabilities(recorder: &dyn Recorder, directory: &Path) {
    let declared = recorder.capabilities();
    assert!(declared.samples || declared.packets, "a recorder takes samples or packets");
    let mut recording = start(recorder, directory, 1);
    let kinds = [
        ("decoded audio", declared.samples, TrackFormat::Samples(AudioFormat::CALL)),
        ("encoded audio", declared.packets, TrackFormat::Encoded(opus())),
        ("video", declared.video, TrackFormat::Encoded(vp8())),
    ];
    for (number, (what, declared, format)) in (1..).zip(kinds) {
        let added = recording.add_track(track(number, format));
        match added {
            Ok(()) => assert!(declared, "{what} is accepted, but not declared"),
            Err(error) => {
                assert!(!declared, "{what} is declared, but refused: {error}");
                assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
            }
        }
    }
    finish(recording);
}

/// Samples of an unknown track are refused, and the recording continues.
pub fn unknown_tracks_are_not_found(recorder: &dyn Recorder, directory: &Path) {
    let format = usual(recorder);
    let mut recording = start_with_track(recorder, directory, 1, &format);
    let error = push(&mut *recording, 2, &format, Duration::ZERO).expect_err("the track is unknown");
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
    record(&mut *recording, &format, Duration::ZERO..Duration::from_secs(1));
    finish(recording);
}

/// A longer recording takes more space, and the summary lists the files and their total size.
pub fn pushed_samples_are_in_the_files(recorder: &dyn Recorder, directory: &Path) {
    let format = usual(recorder);
    let bytes = [1, 10].map(|seconds| {
        let mut recording = start_with_track(recorder, directory, seconds, &format);
        record(&mut *recording, &format, Duration::ZERO..Duration::from_secs(seconds.into()));
        let summary = finish(recording);
        assert!(summary.files.iter().all(|file| file.starts_with(directory)), "{:?} are elsewhere", summary.files);
        summary.bytes
    });
    assert!(bytes[1] > bytes[0], "ten seconds take {} bytes, and one {}", bytes[1], bytes[0]);
}

/// A track may be added during the recording, and may have gaps.
pub fn tracks_may_start_later_and_pause(recorder: &dyn Recorder, directory: &Path) {
    let (format, second) = (usual(recorder), Duration::from_secs(1));
    let mut recording = start_with_track(recorder, directory, 1, &format);
    record(&mut *recording, &format, Duration::ZERO..second);
    recording.add_track(track(2, format.clone())).expect("a track may be added later");
    for at in [second * 2, second * 2 + PIECE, second * 5] {
        push(&mut *recording, TRACK, &format, at).expect("gaps are silence");
        push(&mut *recording, 2, &format, at).expect("gaps are silence");
        recording.tick(CallTime(at)).expect("there is room");
    }
    finish(recording);
}

/// Two concurrent recordings in one directory have different files.
pub fn concurrent_recordings_have_separate_files(recorder: &dyn Recorder, directory: &Path) {
    let format = usual(recorder);
    let mut recordings = [1, 2].map(|number| start_with_track(recorder, directory, number, &format));
    for recording in &mut recordings {
        record(&mut **recording, &format, Duration::ZERO..Duration::from_secs(1));
    }
    let [one, other] = recordings.map(finish);
    assert!(one.files.iter().all(|file| !other.files.contains(file)), "{:?} are of both recordings", one.files);
}

/// A second recording with the same id is refused or uses other files; existing files stay
/// unchanged.
pub fn existing_recordings_are_never_overwritten(recorder: &dyn Recorder, directory: &Path) {
    let format = usual(recorder);
    let mut recording = start_with_track(recorder, directory, 1, &format);
    record(&mut *recording, &format, Duration::ZERO..Duration::from_secs(1));
    let files = finish(recording).files;
    let content = |file: &PathBuf| std::fs::read(file).expect("a file of the summary can be read");
    let before: Vec<Vec<u8>> = files.iter().map(content).collect();
    let again = recorder.start(RecordingConfig::new(id(1), directory));
    let again = again.and_then(|mut again| again.add_track(track(TRACK, format.clone())).map(|()| again));
    match again {
        Err(error) => assert!(matches!(error.kind(), ErrorKind::Busy | ErrorKind::Io), "{error}"),
        Ok(mut again) => {
            record(&mut *again, &format, Duration::ZERO..Duration::from_secs(2));
            finish(again);
        }
    }
    let after: Vec<Vec<u8>> = files.iter().map(content).collect();
    assert!(before == after, "an earlier recording was overwritten");
}

/// A recording that is dropped, as by a crash, keeps all data up to the last tick.
pub fn written_data_survives_a_dropped_recording(recorder: &dyn Recorder, directory: &Path) {
    let format = usual(recorder);
    let mut recording = start_with_track(recorder, directory, 1, &format);
    record(&mut *recording, &format, Duration::ZERO..Duration::from_secs(10));
    drop(recording);
    let left = size_of_all(directory);
    let whole = directory.join("whole");
    std::fs::create_dir(&whole).expect("the test's directory can be written to");
    let mut recording = start_with_track(recorder, &whole, 2, &format);
    record(&mut *recording, &format, Duration::ZERO..Duration::from_secs(10));
    let finished = finish(recording).bytes;
    assert!(left >= finished / 2, "{left} bytes are left of {finished}");
}

/// A missing directory fails with an error that names it.
pub fn missing_directories_are_named(recorder: &dyn Recorder, directory: &Path) {
    let started = recorder.start(RecordingConfig::new(id(1), directory));
    let error = started.err().expect("nothing can be recorded where there is no directory");
    assert_eq!(error.kind(), ErrorKind::Io, "{error}");
    let name = directory.file_name().and_then(|name| name.to_str()).expect("the test's directory has a name");
    assert!(error.to_string().contains(name), "\"{error}\" does not say where");
}

fn id(number: u8) -> RecordingId {
    RecordingId::from_bytes([number; 16])
}

fn start(recorder: &dyn Recorder, directory: &Path, number: u8) -> Box<dyn Recording> {
    let config = RecordingConfig::new(id(number), directory);
    recorder.start(config).expect("a recording begins where there is a directory")
}

/// A recording with one track, [`TRACK`].
fn start_with_track(recorder: &dyn Recorder, directory: &Path, number: u8, format: &TrackFormat) -> Box<dyn Recording> {
    let mut recording = start(recorder, directory, number);
    recording.add_track(track(TRACK, format.clone())).expect("a track of a kind that is declared is taken");
    recording
}

/// The microphone of the participant of this number.
fn key(number: u8) -> TrackKey {
    let (did, device) = (Did::from_public_key([number; 32]), DeviceId::from_random([number; 16]));
    TrackKey::microphone(Endpoint { did, device })
}

fn track(number: u8, format: TrackFormat) -> RecordedTrack {
    RecordedTrack::new(key(number), format)
}

/// Most common format that the recorder supports.
fn usual(recorder: &dyn Recorder) -> TrackFormat {
    if recorder.capabilities().samples { TrackFormat::Samples(AudioFormat::CALL) } else { TrackFormat::Encoded(opus()) }
}

/// Pushes sample blocks over a time range, with the ticks that are due.
fn record(recording: &mut dyn Recording, format: &TrackFormat, range: std::ops::Range<Duration>) {
    let mut at = range.start;
    while at < range.end {
        push(recording, TRACK, format, at).expect("a piece of a track that was added is taken");
        at += PIECE;
        if at.as_millis().is_multiple_of(TICK.as_millis()) {
            recording.tick(CallTime(at)).expect("there is room");
        }
    }
}

/// Pushes a block of a 440 Hz tone, or of encoded silence.
fn push(recording: &mut dyn Recording, track: u8, format: &TrackFormat, at: Duration) -> blink_api::Result<()> {
    let timestamp = RtpTime((at.as_micros() * 48 / 1_000) as u32);
    match format {
        TrackFormat::Samples(format) => {
            let (rate, channels) = (f64::from(format.sample_rate), usize::from(format.channels));
            let first = at.as_secs_f64() * rate;
            let sample = |n: usize| {
                let seconds = (first + (n / channels) as f64) / rate;
                (0.5 * (seconds * 440.0 * std::f64::consts::TAU).sin()) as f32
            };
            let samples: Vec<f32> = (0..format.samples_in(PIECE)).map(sample).collect();
            recording.push(&key(track), CallTime(at), Sample::Audio { timestamp, samples: &samples })
        }
        // A frame of 20 ms: SILK at 16 kHz without voice activity (RFC 6716 §3.1).
        _ => {
            let (codec, sequence) = (CodecName::new("opus"), (at.as_millis() / PIECE.as_millis()) as u16);
            let payload = &[0x48, 0x0b, 0xe4, 0xc1, 0x36, 0xec, 0xc5, 0x80];
            let packet = RtpSample::new(&codec, sequence, timestamp, payload);
            recording.push(&key(track), CallTime(at), Sample::Rtp(packet))
        }
    }
}

/// Finishes the recording, and verifies the summary.
fn finish(recording: Box<dyn Recording>) -> RecordingSummary {
    let summary = recording.finish().expect("a recording can be finished");
    let size = |file: &PathBuf| std::fs::metadata(file).expect("a file of the summary is there").len();
    assert_eq!(
        summary.files.iter().map(size).sum::<u64>(),
        summary.bytes,
        "the summary counts the bytes of {:?}",
        summary.files
    );
    summary
}

/// Total size of the files in a directory.
fn size_of_all(directory: &Path) -> u64 {
    let entries = std::fs::read_dir(directory).expect("the test's directory can be read");
    entries
        .map(|entry| {
            let entry = entry.expect("the test's directory can be read");
            let about = entry.metadata().expect("an entry can be looked at");
            if about.is_dir() { size_of_all(&entry.path()) } else { about.len() }
        })
        .sum()
}
