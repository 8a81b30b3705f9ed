//! Manners of the API: errors instead of silence and panics, streams that end with their readers,
//! counts that never go back, and restarts that wait.

mod people;

use std::time::Duration;

use blink_api::{Configuration, ErrorKind, Registry, StreamId, TrackKind};
use blink_engine::{Blink, CallConfig, Event, Frames, ParticipantStatistics, RequestedStream, StreamConfig};
use people::{Person, TestNetwork};

/// Two people in a call with these microphones.
async fn connected(network: &TestNetwork, microphones: [&str; 2]) -> (Person, Person) {
    let mut alice = network.person(1, microphones[0]).await;
    let mut bob = network.person(2, microphones[1]).await;
    alice.blink.offer_call(&[bob.blink.did()], CallConfig::default()).await.unwrap();
    bob.answers().await;
    for person in [&mut alice, &mut bob] {
        person.until("joined", |event| matches!(event, Event::ParticipantJoined { .. })).await;
    }
    (alice, bob)
}

async fn shown_clip(alice: &Person, bob: &mut Person) -> StreamId {
    let config = StreamConfig { kind: TrackKind::Video, source: "clip:vp8".to_owned(), name: "shown".to_owned() };
    let stream = alice.blink.offer_stream(config).await.unwrap();
    bob.until("offered", |event| matches!(event, Event::StreamOffered { .. })).await;
    stream
}

async fn video(viewer: &Person, from: &Person, stream: StreamId) -> Frames {
    match viewer.blink.request_stream(from.blink.endpoint(), stream).await.unwrap() {
        RequestedStream::Video(frames) => frames,
        stream => panic!("not video: {stream:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn volumes_that_cannot_be_played_are_refused() {
    let network = TestNetwork::new();
    let (alice, bob) = connected(&network, ["silence", "silence"]).await;
    let of_bob = bob.blink.endpoint();
    for volume in [9.0, 4.1, -1.0, -0.1, f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let error = alice.blink.set_volume(of_bob, volume).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid, "{volume}: {error}");
        assert!(error.to_string().contains("from 0 to 4"), "{error}");
    }
    for volume in [0.0, 0.5, 1.0, 4.0] {
        alice.blink.set_volume(of_bob, volume).await.unwrap();
    }
    let own = alice.blink.set_volume(alice.blink.endpoint(), 1.0).await.unwrap_err();
    assert_eq!(own.kind(), ErrorKind::Invalid, "{own}");
}

/// A stream whose frames are dropped is no longer requested, and can be requested again.
#[tokio::test(start_paused = true)]
async fn dropped_frames_close_their_stream() {
    let network = TestNetwork::new();
    let (alice, mut bob) = connected(&network, ["silence", "silence"]).await;
    let stream = shown_clip(&alice, &mut bob).await;
    let mut frames = video(&bob, &alice, stream).await;
    for _ in 0..3 {
        frames.next().await.expect("a frame");
        let again = bob.blink.request_stream(alice.blink.endpoint(), stream).await.unwrap_err();
        assert_eq!(again.kind(), ErrorKind::State, "it is requested: {again}");
        drop(frames);
        let end = tokio::time::Instant::now() + Duration::from_secs(10);
        frames = loop {
            match bob.blink.request_stream(alice.blink.endpoint(), stream).await {
                Ok(RequestedStream::Video(frames)) => break frames,
                other => assert!(tokio::time::Instant::now() < end, "it is still requested: {other:?}"),
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        };
    }
}

/// The frames of an earlier request, dropped late, do not close a later one.
#[tokio::test(start_paused = true)]
async fn late_drops_of_earlier_frames_close_nothing() {
    let network = TestNetwork::new();
    let (alice, mut bob) = connected(&network, ["silence", "silence"]).await;
    let stream = shown_clip(&alice, &mut bob).await;
    let earlier = video(&bob, &alice, stream).await;
    bob.blink.close_stream(alice.blink.endpoint(), stream).await.unwrap();
    let mut later = video(&bob, &alice, stream).await;
    drop(earlier);
    for _ in 0..30 {
        let next = tokio::time::timeout(Duration::from_secs(5), later.next()).await;
        next.expect("frames keep coming").expect("the stream goes on");
    }
}

async fn of(person: &Person, participant: &Person) -> ParticipantStatistics {
    let all = person.blink.statistics().await.unwrap();
    all.into_iter().find(|one| one.participant == participant.blink.endpoint()).expect("they are in the call")
}

#[tokio::test(start_paused = true)]
async fn received_video_and_jitter_have_statistics() {
    let network = TestNetwork::new();
    let (alice, mut bob) = connected(&network, ["tone:440", "silence"]).await;
    let stream = shown_clip(&alice, &mut bob).await;
    assert!(of(&bob, &alice).await.video.is_empty());
    let mut frames = video(&bob, &alice, stream).await;
    for _ in 0..30 {
        frames.next().await.expect("a frame");
    }
    let statistics = of(&bob, &alice).await;
    let [video] = &statistics.video[..] else { panic!("{:?}", statistics.video) };
    assert_eq!((video.stream, video.codec.as_str()), (stream, "VP8"));
    assert!(video.counts.frames_received >= 30 && video.counts.key_frames_received >= 1, "{video:?}");
    assert!(video.counts.packets_received >= video.counts.frames_received, "{video:?}");
    assert!(video.jitter.is_some() && statistics.jitter.is_some(), "{statistics:?}");
    let json = serde_json::to_value(&statistics).unwrap();
    assert!(json["video"][0]["frames_received"].is_u64(), "{json}");
}

/// A participant of a group that leaves and joins again has a new path and a new decoder.
#[tokio::test(start_paused = true)]
async fn counts_of_audio_never_go_back() {
    let network = TestNetwork::new();
    let mut alice = network.person(1, "silence").await;
    let mut bob = network.person(2, "tone:440").await;
    let mut carol = network.person(3, "silence").await;
    let people = [bob.blink.did(), carol.blink.did()];
    alice.blink.offer_call(&people, CallConfig::default()).await.unwrap();
    let call = bob.answers().await;
    carol.answers().await;
    let of_bob = bob.blink.endpoint();
    let joined =
        |event: &Event| matches!(event, Event::ParticipantJoined { participant, .. } if *participant == of_bob);
    alice.until("Bob joined", joined).await;
    network.registry().shared().of::<blink_transport_memory::Hub>().lose(0.2, 1);
    tokio::time::sleep(Duration::from_secs(5)).await;
    network.registry().shared().of::<blink_transport_memory::Hub>().lose(0.0, 1);
    let before = of(&alice, &bob).await.audio;
    assert!(before.packets_received > 100 && before.packets_lost > 10, "{before:?}");
    bob.blink.leave_call().await.unwrap();
    alice.until("Bob left", |event| matches!(event, Event::ParticipantLeft { .. })).await;
    bob.blink.answer_call(call).await.unwrap();
    alice.until("Bob is back", joined).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let after = of(&alice, &bob).await.audio;
    assert!(after.packets_received > before.packets_received, "{before:?}\n{after:?}");
    assert!(after.packets_lost >= before.packets_lost, "{before:?}\n{after:?}");
    assert!(after.concealed_samples >= before.concealed_samples, "{before:?}\n{after:?}");
}

/// An engine that is dropped closes its data file after farewells; the next one waits for that.
#[tokio::test(start_paused = true)]
async fn a_restart_in_the_same_process_waits_for_the_data_file() {
    let network = TestNetwork::new();
    let data_dir = format!("data_dir={}", network.directory().join("data").display());
    let mut did = None;
    for _ in 0..3 {
        let mut alice = network.person_with(1, "silence", &[&data_dir]).await;
        let mut bob = network.person(2, "silence").await;
        alice.blink.offer_call(&[bob.blink.did()], CallConfig::default()).await.unwrap();
        bob.answers().await;
        alice.until("joined", |event| matches!(event, Event::ParticipantJoined { .. })).await;
        assert_eq!(*did.get_or_insert(alice.blink.did()), alice.blink.did());
        // No shutdown: the engine ends in the background.
        drop(alice);
        bob.blink.shutdown().await;
    }
}

/// Two engines at once on one directory are refused, and the error names the process.
#[tokio::test(start_paused = true)]
async fn a_directory_in_use_is_refused_with_the_process() {
    let network = TestNetwork::new();
    let directory = network.directory().join("data");
    let data_dir = format!("data_dir={}", directory.display());
    let alice = network.person_with(1, "silence", &[&data_dir]).await;
    // Another process cannot be told from this one but by its number.
    std::fs::write(directory.join("blink.pid"), "1").unwrap();
    let configuration = Configuration::builder(network.registry())
        .set("test", "media_host", "synthetic")
        .set_argument("test", &data_dir)
        .build()
        .unwrap();
    let error = Blink::start(&configuration).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Busy);
    assert!(error.to_string().contains("process=1"), "{error}");
    alice.blink.shutdown().await;
}

#[test]
fn runtimes_without_timers_are_an_error() {
    let registry = Registry::discovered().unwrap();
    let configuration = Configuration::builder(&registry).set("test", "media_host", "synthetic").build().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let error = runtime.block_on(Blink::start(&configuration)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::State);
    assert!(error.to_string().contains("enable_time"), "{error}");
    let outside = ready(Blink::start(&configuration)).unwrap_err();
    assert!(outside.to_string().contains("within a tokio runtime"), "{outside}");
}

/// Polls a future that is ready at once, outside of any runtime.
fn ready<T>(future: impl Future<Output = T>) -> T {
    let mut future = std::pin::pin!(future);
    match future.as_mut().poll(&mut std::task::Context::from_waker(std::task::Waker::noop())) {
        std::task::Poll::Ready(output) => output,
        std::task::Poll::Pending => panic!("it waits"),
    }
}
