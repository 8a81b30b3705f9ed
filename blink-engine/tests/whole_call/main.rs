//! Recordings of whole calls with real recorders and Opus: tracks stay in sync, nothing leaks, and
//! a killed process leaves good files. ffmpeg and ffprobe read the files; `script/setup` installs
//! them.

mod ffmpeg;
mod people;

use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use blink_api::RecordingReport;
use blink_engine::{CallConfig, Event, Pacing, RecordingRequest};
use people::{CHIRP, Network, Person, chirp};

/// Largest difference between tracks.
const ALIGNED_MS: f64 = 20.0;
/// A chirp of which less than this is left (correlation) cannot be placed.
const RECOGNIZED: f32 = 0.5;
/// Every fourth sample is compared: the chirp ends at 2 kHz.
const STEP: usize = 4;
const RATE: usize = 48_000;

/// By how many samples a chirp that begins at `expected` is late, up to `reach`; `None` where it is
/// not recognized.
fn lag(samples: &[f32], expected: isize, reach: isize) -> Option<isize> {
    let length = (CHIRP.as_secs_f64() * RATE as f64) as usize;
    let template: Vec<f32> = (0..length).step_by(STEP).map(|n| chirp(n as f64 / RATE as f64)).collect();
    let energy: f32 = template.iter().map(|sample| sample * sample).sum();
    let likeness = |lag: isize| {
        let heard = (0..template.len()).map(|n| {
            let at = usize::try_from(expected + lag + (n * STEP) as isize).ok();
            at.and_then(|at| samples.get(at)).copied().unwrap_or(0.0)
        });
        heard.zip(&template).map(|(heard, said)| heard * said).sum::<f32>() / energy
    };
    let lags = (-reach..=reach).step_by(6).map(|lag| (lag, likeness(lag)));
    let (lag, likeness) = lags.max_by(|a, b| a.1.total_cmp(&b.1))?;
    (likeness > RECOGNIZED).then_some(lag)
}

/// Where a track has the chirp of each second, in ms after it was made.
fn lags(samples: &[f32], phase: isize) -> Vec<Option<f64>> {
    let seconds = samples.len() / RATE;
    let reach = RATE as isize * 60 / 1_000;
    let at = |second: usize| lag(samples, phase + (second * RATE) as isize, reach);
    (0..seconds).map(|second| at(second).map(|lag| lag as f64 * 1e3 / RATE as f64)).collect()
}

fn files_of(report: &RecordingReport, recorder: &str) -> Vec<PathBuf> {
    let found = report.recorders.iter().find(|found| found.recorder == recorder).expect("it was asked for");
    assert!(found.error.is_none() && found.dropped == 0, "{found:?}");
    found.summary.files.clone()
}

async fn passes(milliseconds: u64) {
    tokio::time::sleep(Duration::from_millis(milliseconds)).await;
}

/// The samples of a participant in WAV files and in an MP4 file.
fn tracks_of(name: &str, wav: &[PathBuf], mp4: &Path) -> [Vec<f32>; 2] {
    let is_theirs = |file: &&PathBuf| file.file_name().is_some_and(|file| file.to_string_lossy().contains(name));
    let file = wav.iter().find(is_theirs).expect("each participant has a file");
    let info = blink_recorders::info(mp4).expect("a finished file can be read");
    let number = info.tracks.iter().position(|track| track.name.contains(name)).expect("each participant has a track");
    [ffmpeg::decode(file, 0), ffmpeg::decode(mp4, number)]
}

/// A tone each second from each participant, 10 % loss, a mute of 2 s, a late join, one who leaves
/// and comes back, and one whose microphone is unplugged: all tracks stay within 20 ms of each
/// other, and both recorders within one frame.
#[tokio::test(start_paused = true)]
async fn tracks_of_a_whole_call_are_aligned() {
    let network = Network::new(Pacing::Tasks);
    network.hub().lose(0.1, 7);
    let directory = network.directory().join("recordings");
    let mut alice = network.person(1, "chimes/built-in", &["wav", "mp4", "rtp-log"]).await;
    let mut bob = network.person(2, "chimes/built-in", &[]).await;
    let mut carol = network.person(3, "chimes/usb", &[]).await;
    let mut dave = network.person(4, "chimes/built-in", &[]).await;
    let all = [bob.blink.did(), carol.blink.did(), dave.blink.did()];
    let call = alice.blink.offer_call(&all, CallConfig::default()).await.unwrap().id();
    bob.answers().await;
    dave.answers().await;
    alice.until("bob", |event| joined(event, &bob)).await;
    let names = [(&alice, "alice"), (&bob, "bob"), (&carol, "carol"), (&dave, "../dave")];
    let request =
        names.iter().fold(RecordingRequest::new(&directory), |all, (person, name)| all.name(person.blink.did(), *name));
    alice.blink.start_recording(request).await.unwrap();
    passes(3_300).await;
    carol.answers().await;
    passes(2_900).await;
    bob.blink.set_muted(true).await.unwrap();
    passes(2_000).await;
    bob.blink.set_muted(false).await.unwrap();
    passes(1_100).await;
    dave.blink.leave_call().await.unwrap();
    carol.chimes.is_unplugged.store(true, Ordering::Relaxed);
    passes(4_700).await;
    dave.blink.answer_call(call).await.unwrap();
    passes(8_000).await;
    let report = alice.blink.stop_recording().await.unwrap();
    assert!(carol.chimes.opened.lock().unwrap().iter().any(|name| name != "usb"), "another microphone is in use");

    let (wav, mp4) = (files_of(&report, "wav"), files_of(&report, "mp4"));
    let [mp4] = &mp4[..] else { panic!("{mp4:?}") };
    assert_eq!(wav.len(), 4, "{wav:?}");
    assert!(wav.iter().all(|file| file.parent() == Some(&*directory)), "{wav:?}");
    for file in wav.iter().chain([mp4]) {
        ffmpeg::probe(file);
    }
    let own = tracks_of("alice", &wav, mp4);
    let reach = RATE as isize / 2;
    let phase = lag(&own[0], RATE as isize * 3 / 2, reach).expect("the own tone is there") + RATE as isize / 2;
    let own_lags = lags(&own[0], phase);
    for (name, least) in [("alice", 19), ("bob", 14), ("carol", 12), ("dave", 10)] {
        let tracks = tracks_of(name, &wav, mp4);
        for track in &tracks {
            let difference = track.len().abs_diff(own[0].len());
            assert!(difference <= RATE / 50, "{name} is {difference} samples longer or shorter than alice");
        }
        let [in_wav, in_mp4] = tracks.map(|track| lags(&track, phase));
        for (format, lags) in [("wav", &in_wav), ("mp4", &in_mp4)] {
            let found = lags.iter().flatten().count();
            assert!(found >= least, "{name} in {format}: {found} of {least} tones: {lags:?}");
            for (second, (lag, own)) in lags.iter().zip(&own_lags).enumerate() {
                let (Some(lag), Some(own)) = (lag, own) else { continue };
                assert!((lag - own).abs() <= ALIGNED_MS, "{name} in {format} is {lag} ms off at {second} s: {lags:?}");
            }
        }
        for (second, pair) in in_wav.iter().zip(&in_mp4).enumerate() {
            let (Some(wav), Some(mp4)) = pair else { continue };
            assert!((wav - mp4).abs() <= ALIGNED_MS, "{name} at {second} s: {wav} ms in wav, {mp4} ms in mp4");
        }
    }
    let concealed = &report.recorders[1].summary.tracks;
    assert!(concealed.iter().any(|track| track.concealed > Duration::from_millis(200)), "{concealed:?}");
}

fn joined(event: &Event, who: &Person) -> bool {
    matches!(event, Event::ParticipantJoined { participant, .. } if participant.did == who.blink.did())
}

/// Alice and bob in a call, in real time on threads.
async fn real_call(network: &Network) -> (Person, Person) {
    let mut alice = network.person(1, "chimes/built-in", &["wav", "mp4", "rtp-log"]).await;
    let mut bob = network.person(2, "chimes/built-in", &[]).await;
    alice.blink.offer_call(&[bob.blink.did()], CallConfig::default()).await.unwrap();
    bob.answers().await;
    alice.until("bob", |event| joined(event, &bob)).await;
    (alice, bob)
}

/// Threads and open files of this process.
#[cfg(target_os = "linux")]
fn resources() -> [usize; 2] {
    ["/proc/self/task", "/proc/self/fd"].map(|path| std::fs::read_dir(path).unwrap().count())
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_recordings_of_one_call_leak_nothing() {
    let network = Network::new(Pacing::Threads);
    let (alice, _bob) = real_call(&network).await;
    let directory = network.directory().join("recordings");
    let round = async || {
        alice.blink.start_recording(RecordingRequest::new(&directory)).await.unwrap();
        passes(20).await;
        alice.blink.stop_recording().await.unwrap()
    };
    round().await;
    passes(500).await;
    let before = resources();
    for _ in 0..100 {
        let report = round().await;
        assert!(report.recorders.iter().all(|recorder| recorder.error.is_none()), "{report:?}");
    }
    // Threads of a pool end some time after their work.
    let end = Instant::now() + Duration::from_secs(30);
    while resources().iter().zip(before).any(|(now, before)| *now > before) {
        assert!(Instant::now() < end, "{:?} threads and files are left of {before:?}", resources());
        passes(100).await;
    }
}

/// Where the process that is killed records.
const INTO: &str = "BLINK_TEST_RECORD_INTO";

/// Not a test: the process that the test below kills.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "run by the test that kills it"]
async fn records_until_it_is_killed() {
    let Some(into) = std::env::var_os(INTO) else { return };
    let network = Network::new(Pacing::Threads);
    let (alice, _bob) = real_call(&network).await;
    alice.blink.start_recording(RecordingRequest::new(PathBuf::from(into))).await.unwrap();
    passes(60_000).await;
}

/// A process is killed in the middle of a recording (SIGKILL): at most a second is lost.
#[cfg(unix)]
#[test]
fn a_killed_process_loses_at_most_a_second() {
    let directory = tempfile::tempdir().unwrap();
    let into = directory.path().join("recordings");
    let mut child = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "records_until_it_is_killed", "--ignored"])
        .env(INTO, &into)
        .spawn()
        .unwrap();
    let files = || -> Vec<PathBuf> {
        let entries = std::fs::read_dir(&into).into_iter().flatten();
        entries
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.extension().is_some_and(|e| e != "rtplog"))
            .collect()
    };
    let end = Instant::now() + Duration::from_secs(60);
    while files().len() < 3 {
        assert!(Instant::now() < end && child.try_wait().unwrap().is_none(), "it does not record: {:?}", files());
        std::thread::sleep(Duration::from_millis(5));
    }
    let began = Instant::now();
    std::thread::sleep(Duration::from_millis(4_456));
    child.kill().unwrap();
    let recorded = began.elapsed().as_secs_f64();
    child.wait().unwrap();
    assert_eq!(files().len(), 3);
    for file in files() {
        let left = ffmpeg::decode(&file, 0).len() as f64 / RATE as f64;
        assert!(recorded - left <= 1.0, "{left} s of {recorded} s are left in {}", file.display());
    }
}
