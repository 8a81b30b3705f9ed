//! Tracks that stay in sync, whatever happens to their packets.

use std::time::Duration;

use blink_api::{Recorder, RecordingSummary};
use blink_recorders::{Mp4Config, Mp4Recorder, RtpLogConfig, RtpLogRecorder, WavConfig, WavRecorder, analyze};

use crate::call::{CHIRP, Participant, Stream, opus, record, signal};
use crate::tools;

const DURATION: Duration = Duration::from_secs(16);
/// Every fourth sample is compared: the chirp ends at 2 kHz.
const STEP: usize = 4;
/// A chirp of which less than this is left (correlation) cannot be placed.
const RECOGNIZED: f32 = 0.5;

fn participants() -> [Participant; 5] {
    let mut all = [(1, "self"), (2, "lossy"), (3, "muted"), (4, "late"), (5, "../back")]
        .map(|(number, name)| Participant::new(number, name));
    all[1].loss = 0.1;
    all[2].muted = 5.0..7.0;
    all[2].loss = 0.1;
    all[3].present = vec![3.3..f64::MAX];
    all[3].device_change = 8.5;
    all[4].present = vec![0.0..4.7, 9.42..f64::MAX];
    all
}

/// By how much the chirp at a second is late, in ms; `None` where it is not recognized.
fn lag(samples: &[f32], second: usize) -> Option<f64> {
    let length = CHIRP.as_millis() as usize * 48;
    let template: Vec<f32> = (0..length).step_by(STEP).map(signal).collect();
    let energy: f32 = template.iter().map(|sample| sample * sample).sum();
    let reach = 48 * 60;
    let likeness = |lag: isize| {
        let first = (second * 48_000) as isize + lag;
        let heard = (0..template.len()).map(|n| {
            let at = usize::try_from(first + (n * STEP) as isize).ok();
            at.and_then(|at| samples.get(at)).copied().unwrap_or(0.0)
        });
        heard.zip(&template).map(|(heard, said)| heard * said).sum::<f32>() / energy
    };
    let lags = (-reach..=reach).step_by(6).map(|lag| (lag, likeness(lag)));
    let (lag, likeness) = lags.max_by(|a, b| a.1.total_cmp(&b.1))?;
    (likeness > RECOGNIZED).then_some(lag as f64 / 48.0)
}

/// Checks that each chirp that was sent is where it was sent; returns the lags of all.
fn lags(tracks: &[Vec<f32>], participants: &[Participant]) -> Vec<Vec<Option<f64>>> {
    let seconds = DURATION.as_secs() as usize;
    let all: Vec<Vec<Option<f64>>> =
        tracks.iter().map(|samples| (0..seconds).map(|second| lag(samples, second)).collect()).collect();
    for (participant, lags) in participants.iter().zip(&all) {
        for (second, lag) in lags.iter().enumerate() {
            let heard = participant.is_heard(second as f64) && participant.is_heard(second as f64 + 0.2);
            let silent = !participant.is_heard(second as f64) && !participant.is_heard(second as f64 + 0.2);
            assert!(!(silent && lag.is_some()), "{} is heard at {second} s", participant.name);
            match lag {
                Some(lag) => assert!(lag.abs() < 10.0, "{} is off by {lag} ms at {second} s", participant.name),
                None => assert!(!heard || participant.loss > 0.0, "{} is missing at {second} s", participant.name),
            }
        }
        let recognized = lags.iter().flatten().count();
        assert!(recognized >= 7, "{}: only {recognized} chirps are recognized", participant.name);
    }
    all
}

fn mp4_recorder() -> Mp4Recorder {
    Mp4Recorder::new(Mp4Config::default()).expect("the default is valid")
}

#[test]
fn mp4_and_wav_of_one_call_are_aligned_with_each_other_and_within() {
    let directory = tempfile::tempdir().unwrap();
    let mut people = participants();
    // ffmpeg looks for the parameters of a stream in the first 5 s only.
    let mut streams =
        [Stream::vp8(&people[1], Duration::from_millis(2_510)), Stream::h264(&people[2], Duration::from_millis(3_000))];
    let mp4 = record(&mp4_recorder(), directory.path(), &mut people, &mut streams, DURATION, |_| ()).unwrap();
    let [file] = &mp4.files[..] else { panic!("one file: {:?}", mp4.files) };

    // Tracks are in the order in which their first packet came.
    let order = [0, 1, 2, 4, 3];
    let people = participants();
    let mut in_mp4: Vec<Vec<f32>> = vec![Vec::new(); people.len()];
    for (track, participant) in order.into_iter().enumerate() {
        in_mp4[participant] = tools::decode(file, track);
    }
    let mp4_lags = lags(&in_mp4, &people);

    let streams = tools::probe(file);
    assert_eq!(streams.iter().filter(|(kind, ..)| kind == "video").count(), 2);
    // The duration of a stream does not count what is before its beginning.
    let audio: Vec<f64> =
        streams.iter().filter(|(kind, ..)| kind == "audio").map(|(_, duration, _)| *duration).collect();
    for duration in &audio {
        assert!((duration - DURATION.as_secs_f64()).abs() <= 0.020, "{audio:?}");
    }
    tools::decode_all(file);

    let counts: Vec<usize> = streams.iter().map(|(.., packets)| *packets).collect();
    assert_eq!(tools::symphonia(file), counts, "symphonia and ffprobe count differently");
    assert_eq!(tools::crate_mp4(file), counts);

    let wav = WavRecorder::new(WavConfig { mix: true, ..WavConfig::default() }).unwrap();
    let mut people = participants();
    let wav = record(&wav, directory.path(), &mut people, &mut [], DURATION, |_| ()).unwrap();
    assert_eq!(wav.files.len(), 6);
    let mut in_wav: Vec<Vec<f32>> = vec![Vec::new(); people.len()];
    let lengths: Vec<usize> = wav.files.iter().map(|file| tools::decode(file, 0).len()).collect();
    assert!(lengths.iter().all(|length| length.abs_diff(16 * 48_000) <= 960), "{lengths:?}");
    // The mix is the first file.
    for (track, participant) in order.into_iter().enumerate() {
        in_wav[participant] = tools::decode(&wav.files[track + 1], 0);
    }
    let wav_lags = lags(&in_wav, &people);
    for (mp4, wav) in mp4_lags.iter().flatten().zip(wav_lags.iter().flatten()) {
        if let (Some(mp4), Some(wav)) = (mp4, wav) {
            assert!((mp4 - wav).abs() < 20.0, "mp4 {mp4} ms, wav {wav} ms");
        }
    }
    assert!(lag(&tools::decode(&wav.files[0], 0), 4).is_some(), "the mix has all voices");
}

#[test]
fn the_summary_says_what_is_concealed_and_what_is_silent() {
    let directory = tempfile::tempdir().unwrap();
    let recorder = mp4_recorder();
    let summary = record(&recorder, directory.path(), &mut participants(), &mut [], DURATION, |_| ()).unwrap();
    assert_eq!(summary.duration, DURATION);
    let [own, lossy, muted, ..] = &summary.tracks[..] else { panic!("five tracks") };
    assert_eq!((own.concealed, own.silence, own.samples), (Duration::ZERO, Duration::ZERO, 800));
    assert!((Duration::from_millis(800)..Duration::from_millis(2_400)).contains(&lossy.concealed), "{lossy:?}");
    assert!((Duration::from_secs(2)..Duration::from_millis(2_500)).contains(&muted.silence), "{muted:?}");
    assert!(recorder.capabilities().survives_kill);
}

#[test]
fn wav_files_continue_in_the_next_before_they_are_too_long() {
    let directory = tempfile::tempdir().unwrap();
    let recorder = WavRecorder::new(WavConfig { max_file_bytes: 200_000, ..WavConfig::default() }).unwrap();
    let mut people = [Participant::new(1, "one"), Participant::new(2, "two")];
    let duration = Duration::from_secs(5);
    let summary = record(&recorder, directory.path(), &mut people, &mut [], duration, |_| ()).unwrap();
    assert_eq!(summary.files.len(), 6, "{:?}", summary.files);
    let mut parts: Vec<_> = summary.files.iter().filter(|file| file.to_string_lossy().contains("_01_")).collect();
    parts.sort_by_key(|file| (file.to_string_lossy().len(), file.to_path_buf()));
    let whole: Vec<f32> = parts.iter().flat_map(|file| tools::decode(file, 0)).collect();
    assert_eq!(whole.len(), 5 * 48_000);
    assert!((1..5).all(|second| lag(&whole, second).is_some_and(|lag| lag.abs() < 10.0)));
    assert!(summary.files.iter().all(|file| std::fs::metadata(file).unwrap().len() <= 200_000));
}

#[test]
fn a_log_continues_in_files_that_are_logs_of_their_own() {
    let directory = tempfile::tempdir().unwrap();
    let record_log = |max_file_bytes| {
        let recorder = RtpLogRecorder::new(RtpLogConfig { max_file_bytes, ..RtpLogConfig::default() }).unwrap();
        let mut people = [Participant::new(1, "one"), Participant::new(2, "two")];
        // The second one comes when the first file is full.
        people[1].present = vec![50.0..f64::MAX];
        record(&recorder, directory.path(), &mut people, &mut [], Duration::from_secs(90), |_| ()).unwrap()
    };
    let packets = |summary: &RecordingSummary| -> u64 {
        summary.files.iter().flat_map(|file| analyze(file).unwrap().tracks).map(|track| track.packets).sum()
    };
    let (whole, parts) = (record_log(1 << 20), record_log(65_536));
    assert_eq!(whole.files.len(), 1);
    assert!(parts.files.len() >= 3, "{:?}", parts.files);
    assert_eq!(packets(&parts), packets(&whole));
    let sizes = parts.files.iter().map(|file| std::fs::metadata(file).unwrap().len());
    assert!(sizes.clone().all(|size| size <= 65_536), "{:?}", sizes.collect::<Vec<_>>());
    assert_eq!(sizes.sum::<u64>(), parts.bytes);
    let last = analyze(parts.files.last().unwrap()).unwrap();
    assert_eq!(last.tracks.len(), 2, "a track is described in every file that follows");
    assert!(RtpLogRecorder::new(RtpLogConfig { max_file_bytes: 2 << 30, ..RtpLogConfig::default() }).is_err());
}

#[test]
fn a_merged_file_has_all_voices_in_one_track_and_the_video() {
    let directory = tempfile::tempdir().unwrap();
    let mut people = [Participant::new(1, "one"), Participant::new(2, "two")];
    people[0].present = vec![0.0..3.5];
    people[1].present = vec![4.5..f64::MAX];
    let mut streams = [Stream::vp8(&people[0], Duration::from_millis(1_200))];
    let duration = Duration::from_secs(8);
    let summary = record(&mp4_recorder(), directory.path(), &mut people, &mut streams, duration, |_| ()).unwrap();
    let merged = blink_recorders::merge(&summary.files[0], None, &opus()).unwrap();
    assert!(blink_recorders::merge(&summary.files[0], None, &opus()).is_err(), "nothing is replaced");

    let original = tools::probe(&summary.files[0]);
    let streams = tools::probe(&merged);
    let [(audio, length, _), (video, _, frames)] = &streams[..] else { panic!("two tracks: {streams:?}") };
    assert_eq!((audio.as_str(), video.as_str()), ("audio", "video"));
    assert!((length - duration.as_secs_f64()).abs() < 0.05, "{length}");
    let original_frames = original.iter().find(|(kind, ..)| kind == "video").map(|(.., packets)| *packets);
    assert_eq!(Some(*frames), original_frames);
    tools::decode_all(&merged);
    let samples = tools::decode(&merged, 0);
    for second in [1, 2, 5, 6, 7] {
        let lag = lag(&samples, second).unwrap_or_else(|| panic!("no chirp at {second} s"));
        assert!(lag.abs() < 10.0, "{lag} ms at {second} s");
    }
    assert_eq!(lag(&samples, 4), None, "no one speaks at 4 s");
}
