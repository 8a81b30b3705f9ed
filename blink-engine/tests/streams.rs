//! Streams through whole engines on the memory backends: what is shown arrives, frame by frame, and
//! what is played beside the voice is heard.

mod people;

use std::time::Duration;

use blink_api::{ErrorKind, StreamId, TrackKind, TrackSource};
use blink_engine::{
    CallConfig, Event, Frames, Identity, ReceivedFrame, RequestedStream, StreamConfig, StreamEndReason,
};
use people::{Person, TestNetwork};

fn config(kind: TrackKind, source: &str) -> StreamConfig {
    StreamConfig { kind, source: source.to_owned(), name: "shown".to_owned() }
}

/// Two people in a call.
async fn connected(network: &TestNetwork) -> (Person, Person) {
    let mut alice = network.person(1, "silence").await;
    let mut bob = network.person(2, "silence").await;
    alice.blink.offer_call(&[bob.blink.did()], CallConfig::default()).await.unwrap();
    bob.answers().await;
    for person in [&mut alice, &mut bob] {
        person.until("joined", |event| matches!(event, Event::ParticipantJoined { .. })).await;
    }
    (alice, bob)
}

async fn offered(person: &mut Person, stream: StreamId) {
    let is = |event: &Event| matches!(event, Event::StreamOffered { stream: of, .. } if of.stream == stream);
    person.until("offered", is).await;
}

async fn video(viewer: &Person, from: &Person, stream: StreamId) -> Frames {
    match viewer.blink.request_stream(from.blink.endpoint(), stream).await.unwrap() {
        RequestedStream::Video(frames) => frames,
        stream => panic!("not video: {stream:?}"),
    }
}

async fn take(frames: &mut Frames, count: usize) -> Vec<ReceivedFrame> {
    let mut taken = Vec::new();
    while taken.len() < count {
        let next = tokio::time::timeout(Duration::from_secs(5), frames.next()).await;
        taken.push(next.expect("frames keep coming").expect("the stream goes on"));
    }
    taken
}

#[tokio::test(start_paused = true)]
async fn a_shown_clip_arrives_frame_by_frame_in_both_codecs() {
    for source in ["clip:vp8", "clip:h264"] {
        let network = TestNetwork::new();
        let (alice, mut bob) = connected(&network).await;
        let stream = alice.blink.offer_stream(config(TrackKind::Video, source)).await.unwrap();
        offered(&mut bob, stream).await;
        let mut frames = video(&bob, &alice, stream).await;
        let seen = take(&mut frames, 30).await;
        assert!(seen[0].frame.key, "{source}");
        let steps: Vec<_> = seen.windows(2).map(|pair| pair[1].timestamp.since(pair[0].timestamp)).collect();
        assert!(steps.iter().all(|step| (5_990..=6_010).contains(step)), "{source}: 15 frames a second, {steps:?}");
        let event =
            bob.until("media", |event| matches!(event, Event::MediaStarted { kind: TrackKind::Video, .. })).await;
        assert!(matches!(event, Event::MediaStarted { track, .. } if track.source == TrackSource::Stream(stream)));
    }
}

#[tokio::test(start_paused = true)]
async fn requests_close_and_are_made_again_and_revoking_ends_them() {
    let network = TestNetwork::new();
    let (alice, mut bob) = connected(&network).await;
    let stream = alice.blink.offer_stream(config(TrackKind::Video, "clip:vp8")).await.unwrap();
    offered(&mut bob, stream).await;
    let sender = alice.blink.endpoint();
    for _ in 0..3 {
        let mut frames = video(&bob, &alice, stream).await;
        assert_eq!(bob.blink.request_stream(sender, stream).await.unwrap_err().kind(), ErrorKind::State);
        assert!(take(&mut frames, 10).await[0].frame.key);
        bob.blink.close_stream(sender, stream).await.unwrap();
        while frames.next().await.is_some() {}
    }
    let mut frames = video(&bob, &alice, stream).await;
    take(&mut frames, 3).await;
    alice.blink.revoke_stream(stream).await.unwrap();
    let revoked = |event: &Event| matches!(event, Event::StreamEnded { reason: StreamEndReason::Revoked, .. });
    bob.until("revoked", revoked).await;
    while frames.next().await.is_some() {}
    assert_eq!(bob.blink.request_stream(sender, stream).await.unwrap_err().kind(), ErrorKind::NotFound);
}

#[tokio::test(start_paused = true)]
async fn a_slow_viewer_goes_on_at_a_key_frame() {
    let network = TestNetwork::new();
    let (alice, mut bob) = connected(&network).await;
    let stream = alice.blink.offer_stream(config(TrackKind::Video, "clip:vp8")).await.unwrap();
    offered(&mut bob, stream).await;
    let mut frames = video(&bob, &alice, stream).await;
    tokio::time::sleep(Duration::from_secs(20)).await;
    let seen = take(&mut frames, 200).await;
    let gap = seen.windows(2).position(|pair| pair[1].timestamp.since(pair[0].timestamp) > 6_100);
    let gap = gap.expect("more frames came than could wait");
    assert!(seen[gap + 1].frame.key);
}

#[tokio::test(start_paused = true)]
async fn an_audio_stream_is_heard_beside_the_voice_and_is_not_muted_with_it() {
    let network = TestNetwork::new();
    let (alice, mut bob) = connected(&network).await;
    alice.blink.set_muted(true).await.unwrap();
    let stream = alice.blink.offer_stream(config(TrackKind::Audio, "tone:700")).await.unwrap();
    offered(&mut bob, stream).await;
    let requested = bob.blink.request_stream(alice.blink.endpoint(), stream).await.unwrap();
    assert!(matches!(requested, RequestedStream::Audio));
    let is = |event: &Event| matches!(event, Event::MediaStarted { track, .. } if track.source == TrackSource::Stream(stream));
    bob.until("media", is).await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    bob.blink.close_stream(alice.blink.endpoint(), stream).await.unwrap();
    tokio::time::sleep(Duration::from_secs(3)).await;
    bob.blink.shutdown().await;
    let heard = blink_media_synthetic::read_wav(&bob.heard).unwrap().samples;
    let power = |samples: &[f32]| samples.iter().map(|sample| sample * sample).sum::<f32>() / samples.len() as f32;
    let end = heard.len();
    let (during, after) = (power(&heard[end - 5 * 48_000..end - 4 * 48_000]), power(&heard[end - 2 * 48_000..]));
    assert!(during > 1e-3 && after < 1e-6, "{during} {after}");
    assert!(!bob.told.iter().any(|event| matches!(event, Event::SpeakingStarted { .. })), "a stream is not a voice");
}

#[tokio::test(start_paused = true)]
async fn who_cannot_be_shown_anything_is_told_why() {
    let network = TestNetwork::new();
    let alice = network.person(1, "silence").await;
    let without = alice.blink.offer_stream(config(TrackKind::Video, "clip:vp8")).await;
    assert_eq!(without.unwrap_err().kind(), ErrorKind::State);
    drop(alice);

    let network = TestNetwork::new();
    let (alice, _bob) = connected(&network).await;
    let missing = alice.blink.offer_stream(config(TrackKind::Video, "clip:/nowhere.ivf")).await.unwrap_err();
    assert_eq!(missing.kind(), ErrorKind::NotFound);
    assert!(missing.to_string().contains("/nowhere.ivf"), "{missing}");
    let unknown = alice.blink.revoke_stream(StreamId::from_random([1; 16])).await;
    assert_eq!(unknown.unwrap_err().kind(), ErrorKind::NotFound);
    assert!(alice.blink.snapshot().await.unwrap().streams.is_empty());
}

#[tokio::test(start_paused = true)]
async fn who_speaks_is_told_once_per_utterance() {
    let network = TestNetwork::new();
    let mut alice = network.person(1, "tone:440").await;
    let mut bob = network.person(2, "silence").await;
    alice.blink.offer_call(&[bob.blink.did()], CallConfig::default()).await.unwrap();
    bob.answers().await;
    let speaker = alice.blink.endpoint();
    for person in [&mut alice, &mut bob] {
        let is = |event: &Event| matches!(event, Event::SpeakingStarted { participant, .. } if *participant == speaker);
        person.until("speaking", is).await;
    }
    tokio::time::sleep(Duration::from_secs(2)).await;
    alice.blink.set_muted(true).await.unwrap();
    for person in [&mut alice, &mut bob] {
        person.until("silent", |event| matches!(event, Event::SpeakingStopped { .. })).await;
        let started = person.told.iter().filter(|event| matches!(event, Event::SpeakingStarted { .. }));
        assert_eq!(started.count(), 1);
    }
}

/// The viewer requests a stream and receives it; then it is revoked.
async fn receives(viewer: &mut Person, sender: &Person, stream: StreamId) {
    offered(viewer, stream).await;
    let requested = viewer.blink.request_stream(sender.blink.endpoint(), stream).await.unwrap();
    let is = |event: &Event| matches!(event, Event::MediaStarted { track, .. } if track.source == TrackSource::Stream(stream));
    viewer.until("media", is).await;
    if let RequestedStream::Video(mut frames) = requested {
        take(&mut frames, 5).await;
    }
    sender.blink.revoke_stream(stream).await.unwrap();
    let revoked = |event: &Event| matches!(event, Event::StreamEnded { reason: StreamEndReason::Revoked, .. });
    viewer.until("revoked", revoked).await;
}

/// A call with an offered stream that is given up for another one of the same people: the stream
/// goes on in that one.
#[tokio::test(start_paused = true)]
async fn offered_streams_go_on_in_the_call_that_continues_after_glare() {
    for (kind, source) in [(TrackKind::Video, "clip:vp8"), (TrackKind::Audio, "tone:700")] {
        let mut replaced = 0;
        for seed in 1..9 {
            let network = TestNetwork::new();
            let alice = network.person(seed, "silence").await;
            // He is not there yet, so that both call each other when he comes.
            let his_did = Identity::from_seed(&[seed + 100; 32]).did();
            let call = alice.blink.offer_call(&[his_did], CallConfig::default()).await.unwrap();
            let first = call.id();
            let stream = alice.blink.offer_stream(config(kind, source)).await.unwrap();
            let mut bob = network.person(seed + 100, "silence").await;
            bob.blink.offer_call(&[alice.blink.did()], CallConfig::default()).await.unwrap();
            receives(&mut bob, &alice, stream).await;
            replaced += usize::from(call.id() != first);
        }
        assert!(replaced > 0, "calls with streams were replaced");
    }
}
