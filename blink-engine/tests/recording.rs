//! Recordings: what recorders are given, who sees that, and that the call does not notice what
//! happens to them.

mod people;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use blink_api::{
    CallTime, Error, ErrorKind, RecordedTrack, Recorder, RecorderCapabilities, Recording, RecordingConfig,
    RecordingReport, RecordingSummary, Result, Sample, TrackFormat, TrackKey, TrackSource,
};
use blink_engine::{CallConfig, Event, Pacing, RecordingRequest, TrackSelection};
use people::{Person, TestNetwork};

/// When a recorder fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    None,
    AtStart,
    AfterAWhile,
    Panics,
}

/// Everything that a recorder was given.
#[derive(Debug, Default)]
struct Given {
    configs: Vec<RecordingConfig>,
    tracks: Vec<RecordedTrack>,
    /// Call times of the samples and packets of each track.
    pushed: BTreeMap<TrackKey, Vec<CallTime>>,
    ticks: Vec<CallTime>,
    finished: usize,
}

/// Keeps what it is given.
#[derive(Clone)]
struct Keeps {
    given: Arc<Mutex<Given>>,
    capabilities: RecorderCapabilities,
    fault: Fault,
    /// Each push waits for this.
    blocked: Option<Arc<Mutex<mpsc::Receiver<()>>>>,
}

const SAMPLES: RecorderCapabilities = RecorderCapabilities { samples: true, ..RecorderCapabilities::NONE };
const PACKETS: RecorderCapabilities = RecorderCapabilities { packets: true, ..RecorderCapabilities::NONE };

impl Keeps {
    fn new(capabilities: RecorderCapabilities) -> Self {
        Self { given: Arc::default(), capabilities, fault: Fault::None, blocked: None }
    }

    fn failing(fault: Fault) -> Self {
        Self { fault, ..Self::new(SAMPLES) }
    }
}

impl Recorder for Keeps {
    fn capabilities(&self) -> RecorderCapabilities {
        self.capabilities
    }

    fn start(&self, config: RecordingConfig) -> Result<Box<dyn Recording>> {
        if self.fault == Fault::AtStart {
            return Err(Error::new(ErrorKind::Io, "the disk is not there"));
        }
        self.given.lock().unwrap().configs.push(config);
        Ok(Box::new(self.clone()))
    }
}

impl Recording for Keeps {
    fn add_track(&mut self, track: RecordedTrack) -> Result<()> {
        let fits = match track.format {
            TrackFormat::Samples(_) => self.capabilities.samples,
            _ => self.capabilities.packets,
        };
        assert!(fits, "{track:?}");
        self.given.lock().unwrap().tracks.push(track);
        Ok(())
    }

    fn push(&mut self, track: &TrackKey, at: CallTime, sample: Sample<'_>) -> Result<()> {
        if let Some(blocked) = &self.blocked {
            blocked.lock().unwrap().recv().ok();
        }
        assert_eq!(matches!(sample, Sample::Audio { .. }), self.capabilities.samples);
        let mut given = self.given.lock().unwrap();
        assert!(given.tracks.iter().any(|known| known.key == *track), "tracks are added first");
        let pushed = given.pushed.entry(*track).or_default();
        pushed.push(at);
        match self.fault {
            Fault::AfterAWhile if pushed.len() > 50 => Err(Error::new(ErrorKind::Io, "the disk is full")),
            Fault::Panics if pushed.len() > 50 => panic!("as the test says"),
            _ => Ok(()),
        }
    }

    fn tick(&mut self, now: CallTime) -> Result<()> {
        self.given.lock().unwrap().ticks.push(now);
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<RecordingSummary> {
        self.given.lock().unwrap().finished += 1;
        Ok(RecordingSummary::new(vec![PathBuf::from("kept")], 7))
    }
}

/// Alice with these recorders in a call with bob, who has joined.
async fn call(
    network: &TestNetwork,
    settings: &[&str],
    recorders: &[(&str, Keeps)],
) -> (Person, Person, blink_api::CallId) {
    let alice = network.person_built(1, "tone:440", settings, |engine| {
        recorders.iter().fold(engine, |engine, (name, recorder)| engine.recorder(name, Arc::new(recorder.clone())))
    });
    let mut alice = alice.await;
    let mut bob = network.person(2, "tone:880").await;
    let call = alice.blink.offer_call(&[bob.blink.did()], CallConfig::default()).await.unwrap().id();
    bob.answers().await;
    alice.until("joined", |event| matches!(event, Event::ParticipantJoined { .. })).await;
    bob.until("joined", |event| matches!(event, Event::ParticipantJoined { .. })).await;
    (alice, bob, call)
}

fn request(network: &TestNetwork) -> RecordingRequest {
    RecordingRequest::new(network.directory().join("recordings"))
}

async fn sees_recording(person: &mut Person, recording: bool) {
    let is =
        |event: &Event| matches!(event, Event::ParticipantStateChanged { state, .. } if state.recording == recording);
    person.until(if recording { "recording" } else { "not recording" }, is).await;
}

async fn stopped(person: &mut Person) -> RecordingReport {
    let event = person.until("stopped", |event| matches!(event, Event::RecordingStopped { .. })).await;
    let Event::RecordingStopped { report, .. } = event else { unreachable!("just matched") };
    report
}

#[tokio::test(start_paused = true)]
async fn recorders_are_given_what_they_support_of_both_sides_and_others_see_who_records() {
    let network = TestNetwork::new();
    let (samples, packets) = (Keeps::new(SAMPLES), Keeps::new(PACKETS));
    let recorders = [("samples", samples.clone()), ("packets", packets.clone())];
    let (mut alice, mut bob, call) = call(&network, &[], &recorders).await;
    let names = request(&network).name(bob.blink.did(), "Bob");
    let id = alice.blink.start_recording(names).await.unwrap();
    sees_recording(&mut bob, true).await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    let report = alice.blink.stop_recording().await.unwrap();
    sees_recording(&mut bob, false).await;
    assert_eq!(stopped(&mut alice).await, report);
    assert_eq!(report.recording, id);
    let names: Vec<_> = report.recorders.iter().map(|recorder| recorder.recorder.as_str()).collect();
    assert_eq!(names, ["samples", "packets"]);
    assert!(report.recorders.iter().all(|recorder| recorder.dropped == 0 && recorder.error.is_none()));
    assert!(report.recorders.iter().all(|recorder| recorder.summary.bytes == 7));
    for (keeps, interval) in [(&samples, 10), (&packets, 20)] {
        let given = keeps.given.lock().unwrap();
        let [config] = &given.configs[..] else { panic!("{:?}", given.configs) };
        assert_eq!((config.id, config.call), (id, Some(call)));
        let begin = config.begin.unwrap();
        assert_eq!(given.finished, 1);
        assert!(given.ticks.len() >= 29 && given.ticks.windows(2).all(|pair| pair[0] < pair[1]));
        for person in [&alice, &bob] {
            let key = TrackKey::microphone(person.blink.endpoint());
            let track = given.tracks.iter().find(|track| track.key == key).unwrap();
            let is_alice = person.blink.did() == alice.blink.did();
            assert_eq!((track.local, track.name.as_deref()), (is_alice, (!is_alice).then_some("Bob")));
            let pushed = &given.pushed[&key];
            let lasted = given.ticks[given.ticks.len() - 1].0.saturating_sub(begin.0).as_millis() as u64;
            let expected = lasted / interval;
            assert!(pushed.len() as u64 + 20 >= expected && pushed.len() as u64 <= expected + 20, "{}", pushed.len());
            let first = pushed[0].0.as_secs_f64() - begin.0.as_secs_f64();
            assert!(first.abs() < 0.2, "the first is {first} s after the beginning");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_recorder_that_fails_is_reported_and_the_others_and_the_call_go_on() {
    for fault in [Fault::AtStart, Fault::AfterAWhile, Fault::Panics] {
        let network = TestNetwork::new();
        let (bad, good) = (Keeps::failing(fault), Keeps::new(SAMPLES));
        let (mut alice, mut bob, _) = call(&network, &[], &[("bad", bad), ("good", good.clone())]).await;
        alice.blink.start_recording(request(&network)).await.unwrap();
        let failed = alice.until("failed", |event| matches!(event, Event::RecordingFailed { .. })).await;
        let Event::RecordingFailed { recorder, error, .. } = failed else { unreachable!("just matched") };
        let why = match fault {
            Fault::AtStart => "the disk is not there",
            Fault::AfterAWhile => "the disk is full",
            _ => "panicked",
        };
        assert!(recorder == "bad" && error.contains(why), "{error}");
        let count = || good.given.lock().unwrap().pushed.values().map(Vec::len).sum::<usize>();
        let before = count();
        tokio::time::sleep(Duration::from_secs(2)).await;
        assert!(count() > before + 300, "the other recorder goes on");
        sees_recording(&mut bob, true).await;
        let report = alice.blink.stop_recording().await.unwrap();
        let errors: Vec<_> = report.recorders.iter().map(|recorder| recorder.error.is_some()).collect();
        let expected: &[bool] = if fault == Fault::AtStart { &[false] } else { &[true, false] };
        assert_eq!(errors, expected);
        sees_recording(&mut bob, false).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_recording_ends_with_its_last_recorder_and_can_be_started_again() {
    let network = TestNetwork::new();
    let bad = Keeps::failing(Fault::AfterAWhile);
    let (mut alice, mut bob, _) = call(&network, &[], &[("bad", bad.clone())]).await;
    for round in 1..=2 {
        bad.given.lock().unwrap().pushed.clear();
        alice.blink.start_recording(request(&network)).await.unwrap();
        sees_recording(&mut bob, true).await;
        let report = stopped(&mut alice).await;
        assert!(report.recorders[0].error.as_deref().is_some_and(|error| error.contains("the disk is full")));
        assert_eq!(report.recorders[0].summary.bytes, 7, "what was written is completed");
        sees_recording(&mut bob, false).await;
        assert_eq!(bad.given.lock().unwrap().finished, round);
        assert_eq!(alice.blink.stop_recording().await.unwrap_err().kind(), ErrorKind::State);
    }
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_recorded_is_an_error_and_no_one_is_told_otherwise() {
    let network = TestNetwork::new();
    let kind = |result: Result<blink_api::RecordingId>| result.map_err(|error| error.kind());
    let recorders = [("bad", Keeps::failing(Fault::AtStart)), ("good", Keeps::new(SAMPLES))];
    let alone = network.person(3, "tone:440").await;
    assert_eq!(kind(alone.blink.start_recording(request(&network)).await), Err(ErrorKind::State));
    let (mut alice, bob, _) = call(&network, &[], &recorders).await;
    let unknown = alice.blink.start_recording(request(&network).recorders(["mp5"])).await.unwrap_err();
    assert_eq!(unknown.kind(), ErrorKind::NotFound);
    assert!(unknown.to_string().contains("bad, good"), "{unknown}");
    let nowhere = RecordingRequest::default();
    assert_eq!(kind(alice.blink.start_recording(nowhere).await), Err(ErrorKind::Invalid));
    assert_eq!(kind(alice.blink.start_recording(request(&network).recorders(["bad"])).await), Err(ErrorKind::Io));
    let file = network.directory().join("file");
    std::fs::write(&file, "a file").unwrap();
    let within = alice.blink.start_recording(RecordingRequest::new(file.join("x"))).await.unwrap_err();
    assert!(within.kind() == ErrorKind::Io && within.to_string().contains("file"), "{within}");
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(!bob.told.iter().any(|event| matches!(event, Event::ParticipantStateChanged { .. })));
    alice.blink.start_recording(request(&network).recorders(["good"])).await.unwrap();
    assert_eq!(kind(alice.blink.start_recording(request(&network)).await), Err(ErrorKind::State));
    assert_eq!(alice.blink.stop_recording().await.unwrap().recorders.len(), 1);
    stopped(&mut alice).await;
}

#[tokio::test(start_paused = true)]
async fn only_chosen_tracks_are_recorded() {
    let network = TestNetwork::new();
    let keeps = Keeps::new(SAMPLES);
    let (alice, bob, _) = call(&network, &[], &[("keeps", keeps.clone())]).await;
    let key = TrackKey::microphone(bob.blink.endpoint());
    let tracks = TrackSelection::Only(Arc::new([key].into()));
    alice.blink.start_recording(request(&network).tracks(tracks)).await.unwrap();
    tokio::time::sleep(Duration::from_secs(2)).await;
    alice.blink.stop_recording().await.unwrap();
    let given = keeps.given.lock().unwrap();
    assert_eq!(given.pushed.keys().copied().collect::<Vec<_>>(), [key]);
    assert_eq!(key.source, TrackSource::Microphone);
}

#[tokio::test(start_paused = true)]
async fn every_call_is_recorded_where_that_is_configured_and_its_end_completes_the_files() {
    for ends_by_shutdown in [false, true] {
        let network = TestNetwork::new();
        let keeps = Keeps::new(PACKETS);
        let directory = format!("recording.directory={}", network.directory().join("all").display());
        let settings = ["recording.automatic=true", &directory];
        let (mut alice, mut bob, call) = call(&network, &settings, &[("keeps", keeps.clone())]).await;
        sees_recording(&mut bob, true).await;
        tokio::time::sleep(Duration::from_secs(2)).await;
        if ends_by_shutdown {
            alice.blink.shutdown().await;
        } else {
            bob.blink.leave_call().await.unwrap();
        }
        let report = stopped(&mut alice).await;
        assert_eq!((report.recorders[0].recorder.as_str(), report.recorders[0].dropped), ("keeps", 0));
        let given = keeps.given.lock().unwrap();
        assert_eq!((given.configs[0].call, given.finished), (Some(call), 1));
        assert_eq!(given.configs[0].directory, network.directory().join("all"));
        assert_eq!(given.pushed.len(), 2);
    }
}

#[tokio::test(start_paused = true)]
async fn an_own_recorder_is_shown_beside_that_of_the_engine() {
    let network = TestNetwork::new();
    let (alice, mut bob, _) = call(&network, &[], &[("keeps", Keeps::new(SAMPLES))]).await;
    alice.blink.set_recording(true).await.unwrap();
    sees_recording(&mut bob, true).await;
    alice.blink.start_recording(request(&network)).await.unwrap();
    alice.blink.stop_recording().await.unwrap();
    tokio::time::sleep(Duration::from_secs(2)).await;
    alice.blink.set_recording(false).await.unwrap();
    let told = bob.told.len();
    sees_recording(&mut bob, false).await;
    assert_eq!(bob.told.len(), told + 1, "it was shown until both have ended");
}

/// In real time, on threads: a recorder waits for its disk, and the call does not.
#[tokio::test]
async fn a_disk_that_blocks_is_not_noticed_by_the_call() {
    let network = TestNetwork::new();
    let (unblock, blocked) = mpsc::channel();
    let recorder = Keeps { blocked: Some(Arc::new(Mutex::new(blocked))), ..Keeps::new(PACKETS) };
    let given = recorder.given.clone();
    let alice = network.person_built(1, "tone:440", &[], |engine| {
        let clock = Arc::new(blink_api::SystemClock);
        engine.recorder("blocked", Arc::new(recorder)).clock(clock, Pacing::Threads)
    });
    let (alice, mut bob) = (alice.await, network.person(2, "silence").await);
    alice.blink.offer_call(&[bob.blink.did()], CallConfig::default()).await.unwrap();
    bob.answers().await;
    bob.until("joined", |event| matches!(event, Event::ParticipantJoined { .. })).await;
    alice.blink.start_recording(request(&network)).await.unwrap();
    sees_recording(&mut bob, true).await;
    while given.lock().unwrap().tracks.is_empty() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    // The recorder waits from here on.
    alice.blink.set_muted(true).await.unwrap();
    alice.blink.set_muted(false).await.unwrap();
    let stop = tokio::spawn({
        let blink = alice.blink.clone();
        async move { blink.stop_recording().await }
    });
    sees_recording(&mut bob, false).await;
    bob.blink.statistics().await.unwrap();
    assert!(!stop.is_finished(), "the files are not complete");
    drop(unblock);
    let report = stop.await.unwrap().unwrap();
    assert_eq!((report.recorders[0].dropped, given.lock().unwrap().finished), (0, 1));
}
