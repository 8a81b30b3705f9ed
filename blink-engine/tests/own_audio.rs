//! A program's own samples as microphone, and the decoded audio of each participant, through whole
//! engines on the memory backends.

mod people;

use std::f64::consts::PI;
use std::time::Duration;

use blink_api::{ErrorKind, StreamId, TrackKey, TrackKind, TrackSource};
use blink_engine::{AudioFrame, AudioFrames, CallConfig, Event, LeftReason, Microphone, RequestedStream, StreamConfig};
use people::{Person, TestNetwork};

fn tone(rate: u32, hertz: f64, seconds: f64) -> Vec<f32> {
    let samples = (f64::from(rate) * seconds) as usize;
    (0..samples).map(|n| (0.5 * (n as f64 * hertz / f64::from(rate) * 2.0 * PI).sin()) as f32).collect()
}

/// Share of the power that is at a frequency.
fn share_at(samples: &[f32], hertz: f64) -> f64 {
    let (mut re, mut im, mut total) = (0.0, 0.0, 1e-12);
    for (n, sample) in samples.iter().enumerate() {
        let (angle, sample) = (n as f64 * hertz / 48_000.0 * 2.0 * PI, f64::from(*sample));
        re += sample * angle.cos();
        im += sample * angle.sin();
        total += sample * sample;
    }
    2.0 * (re * re + im * im) / (samples.len() as f64 * total)
}

async fn take(frames: &mut AudioFrames, count: usize) -> Vec<AudioFrame> {
    let mut taken = Vec::new();
    while taken.len() < count {
        let next = tokio::time::timeout(Duration::from_secs(10), frames.next()).await;
        taken.push(next.expect("frames keep coming").expect("the track goes on"));
    }
    taken
}

fn samples(frames: &[AudioFrame]) -> Vec<f32> {
    frames.iter().flat_map(|frame| frame.samples.iter().copied()).collect()
}

async fn ends(frames: &mut AudioFrames) {
    let end = async { while frames.next().await.is_some() {} };
    tokio::time::timeout(Duration::from_secs(10), end).await.expect("the frames end");
}

async fn call(caller: &mut Person, others: &mut [&mut Person]) {
    let people: Vec<_> = others.iter().map(|other| other.blink.did()).collect();
    caller.blink.offer_call(&people, CallConfig::default()).await.unwrap();
    for other in &mut *others {
        other.answers().await;
    }
    for other in others {
        let endpoint = other.blink.endpoint();
        let joined =
            |event: &Event| matches!(event, Event::ParticipantJoined { participant, .. } if *participant == endpoint);
        caller.until("joined", joined).await;
        let endpoint = caller.blink.endpoint();
        let joined =
            |event: &Event| matches!(event, Event::ParticipantJoined { participant, .. } if *participant == endpoint);
        other.until("joined", joined).await;
    }
}

#[tokio::test(start_paused = true)]
async fn pushed_samples_are_heard_and_read_with_their_times_at_the_other_side() {
    for (rate, channels) in [(48_000, 1), (16_000, 2)] {
        let network = TestNetwork::new();
        let microphone = Microphone::samples(rate, channels).unwrap();
        let mut alice = network.person_built(1, "silence", &[], |engine| engine.microphone(&microphone)).await;
        let mut bob = network.person(2, "silence").await;
        call(&mut alice, &mut [&mut bob]).await;
        let track = TrackKey::microphone(alice.blink.endpoint());
        let mut frames = bob.blink.audio_frames(track).await.unwrap();
        let mut own = alice.blink.audio_frames(track).await.unwrap();
        let text: Vec<_> = tone(rate, 700.0, 4.0)
            .into_iter()
            .flat_map(|sample| std::iter::repeat_n(sample, channels.into()))
            .collect();
        let push = tokio::spawn(async move {
            microphone.push(&text).await.unwrap();
            microphone.drained().await;
            microphone
        });
        let (heard, said) = tokio::join!(take(&mut frames, 300), take(&mut own, 300));
        for frames in [&heard, &said] {
            assert!(share_at(&samples(&frames[150..290]), 700.0) > 0.98);
        }
        let steps: Vec<_> =
            heard.windows(2).map(|pair| pair[1].at.0.as_secs_f64() - pair[0].at.0.as_secs_f64()).collect();
        let (first, last) = (heard[0].at.0, heard[299].at.0);
        assert!(steps[100..].iter().all(|step| (0.005..0.015).contains(step)), "{steps:?}");
        assert!((last - first).abs_diff(Duration::from_millis(2_990)) < Duration::from_millis(60));
        assert!(heard.iter().all(|frame| frame.samples.len() == 480));
        assert_eq!(frames.dropped(), 0);
        let microphone = push.await.unwrap();
        microphone.finish();
        let event = alice.until("ended", |event| matches!(event, Event::SourceEnded { .. })).await;
        let Event::SourceEnded { track: ended, name, .. } = event else { unreachable!("just matched") };
        assert_eq!((ended, &*name), (track, "program/samples"));
    }
}

#[tokio::test(start_paused = true)]
async fn frames_of_each_participant_are_apart_and_do_not_depend_on_volume_and_deafening() {
    let network = TestNetwork::new();
    let mut alice = network.person(1, "silence").await;
    let mut bob = network.person(2, "tone:500").await;
    let mut carol = network.person(3, "tone:900").await;
    call(&mut alice, &mut [&mut bob, &mut carol]).await;
    alice.blink.set_deafened(true).await.unwrap();
    alice.blink.set_volume(bob.blink.endpoint(), 0.0).await.unwrap();
    for (person, hertz) in [(&bob, 500.0), (&carol, 900.0)] {
        let track = TrackKey::microphone(person.blink.endpoint());
        let mut frames = alice.blink.audio_frames(track).await.unwrap();
        let mut second = alice.blink.audio_frames(track).await.unwrap();
        let heard = take(&mut frames, 150).await;
        let share = share_at(&samples(&heard[100..]), hertz);
        assert!(share > 0.98, "{hertz}: {share}");
        let same = take(&mut second, 50).await;
        let begin = heard.iter().position(|frame| frame.at == same[0].at).expect("the second one began later");
        assert_eq!(heard[begin..begin + 50], same, "two readers get the same");
    }
    // The participant leaves: its frames end, those of the other go on.
    let mut of_bob = alice.blink.audio_frames(TrackKey::microphone(bob.blink.endpoint())).await.unwrap();
    let mut of_carol = alice.blink.audio_frames(TrackKey::microphone(carol.blink.endpoint())).await.unwrap();
    bob.blink.leave_call().await.unwrap();
    ends(&mut of_bob).await;
    let left = |event: &Event| matches!(event, Event::ParticipantLeft { reason: LeftReason::Left, .. });
    alice.until("left", left).await;
    take(&mut of_carol, 50).await;
    let gone = alice.blink.audio_frames(TrackKey::microphone(bob.blink.endpoint())).await.unwrap_err();
    assert_eq!(gone.kind(), ErrorKind::NotFound);
    // This device leaves: all frames end.
    alice.blink.leave_call().await.unwrap();
    ends(&mut of_carol).await;
    let without = alice.blink.audio_frames(TrackKey::microphone(carol.blink.endpoint())).await.unwrap_err();
    assert_eq!(without.kind(), ErrorKind::State);
}

#[tokio::test(start_paused = true)]
async fn a_slow_reader_loses_the_oldest_frames_and_costs_no_one_else_any() {
    let network = TestNetwork::new();
    let mut alice = network.person(1, "tone:500").await;
    let mut bob = network.person(2, "silence").await;
    call(&mut alice, &mut [&mut bob]).await;
    let track = TrackKey::microphone(alice.blink.endpoint());
    let mut slow = bob.blink.audio_frames(track).await.unwrap();
    let mut quick = bob.blink.audio_frames(track).await.unwrap();
    let read = take(&mut quick, 500).await;
    assert_eq!(quick.dropped(), 0);
    let dropped = slow.dropped();
    assert!((390..=410).contains(&dropped), "{dropped}");
    let first = slow.next().await.unwrap();
    assert!(first.at >= read[390].at, "the newest second is there");
    drop(slow);
    take(&mut quick, 100).await;
}

#[tokio::test(start_paused = true)]
async fn audio_streams_are_read_from_request_to_close_and_revoke() {
    let network = TestNetwork::new();
    let mut alice = network.person(1, "silence").await;
    let mut bob = network.person(2, "silence").await;
    call(&mut alice, &mut [&mut bob]).await;
    let config = StreamConfig { kind: TrackKind::Audio, source: "tone:700".to_owned(), name: "played".to_owned() };
    let stream = alice.blink.offer_stream(config).await.unwrap();
    let offered = |event: &Event| matches!(event, Event::StreamOffered { .. });
    bob.until("offered", offered).await;
    let sender = alice.blink.endpoint();
    let track = TrackKey::stream(sender, stream);
    assert_eq!(bob.blink.audio_frames(track).await.unwrap_err().kind(), ErrorKind::NotFound, "not requested");
    for _ in 0..2 {
        let requested = bob.blink.request_stream(sender, stream).await.unwrap();
        assert!(matches!(requested, RequestedStream::Audio));
        let mut frames = bob.blink.audio_frames(track).await.unwrap();
        assert!(share_at(&samples(&take(&mut frames, 150).await[100..]), 700.0) > 0.98);
        bob.blink.close_stream(sender, stream).await.unwrap();
        ends(&mut frames).await;
    }
    bob.blink.request_stream(sender, stream).await.unwrap();
    let mut frames = bob.blink.audio_frames(track).await.unwrap();
    let mut own = alice.blink.audio_frames(track).await.unwrap();
    take(&mut frames, 20).await;
    alice.blink.revoke_stream(stream).await.unwrap();
    ends(&mut frames).await;
    ends(&mut own).await;
    let unknown = TrackKey::stream(sender, StreamId::from_random([9; 16]));
    assert_eq!(alice.blink.audio_frames(unknown).await.unwrap_err().kind(), ErrorKind::NotFound);
}

#[tokio::test(start_paused = true)]
async fn a_file_that_is_not_looped_ends_as_microphone_and_as_stream() {
    let network = TestNetwork::new();
    let file = network.directory().join("once.wav");
    {
        use blink_api::{AudioFormat, OpenRequest};
        let host = network.registry().entry::<dyn blink_api::MediaHost>("synthetic").unwrap();
        let configuration = blink_api::Configuration::builder(network.registry()).build().unwrap();
        let clock = std::sync::Arc::new(blink_api::SystemClock);
        let context = blink_api::Context { clock, shared: network.registry().shared() };
        let host = host.create(&configuration, &context).await.unwrap();
        let request = OpenRequest::new(AudioFormat::CALL, Duration::from_millis(10));
        let mut sink = host.open_audio_sink(&format!("wav:{}", file.display()), request).await.unwrap();
        sink.write(&tone(48_000, 440.0, 2.0)).unwrap();
        sink.finish().unwrap();
    }
    let name = format!("wav:{}", file.display());
    let mut alice = network.person(1, &name).await;
    let mut bob = network.person(2, "silence").await;
    call(&mut alice, &mut [&mut bob]).await;
    let event = alice.until("ended", |event| matches!(event, Event::SourceEnded { .. })).await;
    let expected = (TrackSource::Microphone, &name);
    assert!(matches!(&event, Event::SourceEnded { track, name, .. } if (track.source, name) == expected), "{event:?}");
    let config = StreamConfig { kind: TrackKind::Audio, source: name.clone(), name: "played".to_owned() };
    let stream = alice.blink.offer_stream(config).await.unwrap();
    bob.until("offered", |event| matches!(event, Event::StreamOffered { .. })).await;
    bob.blink.request_stream(alice.blink.endpoint(), stream).await.unwrap();
    let event = alice.until("ended", |event| matches!(event, Event::SourceEnded { .. })).await;
    let expected = (TrackSource::Stream(stream), &name);
    assert!(matches!(&event, Event::SourceEnded { track, name, .. } if (track.source, name) == expected), "{event:?}");
    tokio::time::sleep(Duration::from_secs(5)).await;
    alice.blink.leave_call().await.unwrap();
    alice.until("over", |event| matches!(event, Event::CallEnded { .. })).await;
    let ended = alice.told.iter().filter(|event| matches!(event, Event::SourceEnded { .. })).count();
    assert_eq!(ended, 2, "once for each opening");
    assert!(!bob.told.iter().any(|event| matches!(event, Event::SourceEnded { .. })));
}

/// The next call continues with what was not sent in the one before.
#[tokio::test(start_paused = true)]
async fn samples_wait_for_the_next_call() {
    let network = TestNetwork::new();
    let microphone = Microphone::samples(48_000, 1).unwrap();
    let mut alice = network.person_built(1, "silence", &[], |engine| engine.microphone(&microphone)).await;
    let mut bob = network.person(2, "silence").await;
    call(&mut alice, &mut [&mut bob]).await;
    alice.blink.leave_call().await.unwrap();
    bob.until("over", |event| matches!(event, Event::CallEnded { .. })).await;
    microphone.try_push(&tone(48_000, 700.0, 1.5)).unwrap();
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(microphone.queued(), Duration::from_millis(1_500));
    call(&mut alice, &mut [&mut bob]).await;
    let mut frames = bob.blink.audio_frames(TrackKey::microphone(alice.blink.endpoint())).await.unwrap();
    let heard = samples(&take(&mut frames, 100).await);
    assert!(share_at(&heard[20_000..], 700.0) > 0.98);
}

/// A source that one call at a time can read is free for the next one.
#[tokio::test(start_paused = true)]
async fn own_samples_go_on_in_each_call_that_is_held_and_resumed() {
    let network = TestNetwork::new();
    let microphone = Microphone::samples(48_000, 1).unwrap();
    let mut alice = network.person_built(1, "silence", &[], |engine| engine.microphone(&microphone)).await;
    let mut bob = network.person(2, "silence").await;
    let mut carol = network.person(3, "silence").await;
    let mut events = alice.blink.events();
    call(&mut bob, &mut [&mut alice]).await;
    let first = alice.blink.current_call().await.unwrap().unwrap().call;
    let second = carol.blink.offer_call(&[alice.blink.did()], CallConfig::default()).await.unwrap().id();
    let rings = |event: &Event| matches!(event, Event::IncomingCall { call, .. } if *call == second);
    alice.until("ringing", rings).await;
    alice.blink.hold_call().await.unwrap();
    alice.blink.answer_call(second).await.unwrap();
    carol.until("joined", |event| matches!(event, Event::ParticipantJoined { .. })).await;
    let spoken = tone(48_000, 700.0, 30.0);
    let push = tokio::spawn(async move { microphone.push(&spoken).await.map(|()| microphone) });
    let track = TrackKey::microphone(alice.blink.endpoint());
    for (call, person) in [(first, &bob), (second, &carol), (first, &bob)] {
        alice.blink.resume_call(call).await.unwrap();
        let mut frames = person.blink.audio_frames(track).await.unwrap();
        // The delay of the path and of the jitter buffer, and then the tone.
        let heard = take(&mut frames, 150).await;
        assert!(share_at(&samples(&heard[50..150]), 700.0) > 0.9);
    }
    push.abort();
    for person in [&alice, &bob, &carol] {
        person.blink.shutdown().await;
    }
    while let Some(item) = events.next().await {
        let blink_engine::EventItem::Event(event) = item else { panic!("{item:?}") };
        let disturbed =
            matches!(event, Event::NoMicrophone { .. } | Event::DeviceChanged { .. } | Event::DeviceLost { .. });
        assert!(!disturbed, "{event:?}");
    }
}

/// A person who is in two calls leaves the held one: it is heard in the other all the same.
#[tokio::test(start_paused = true)]
async fn frames_go_on_when_their_participant_leaves_a_held_call() {
    let network = TestNetwork::new();
    let mut alice = network.person(1, "silence").await;
    let mut bob = network.person(2, "tone:500").await;
    call(&mut alice, &mut [&mut bob]).await;
    let first = alice.blink.hold_call().await.unwrap();
    bob.blink.hold_call().await.unwrap();
    call(&mut alice, &mut [&mut bob]).await;
    let mut frames = alice.blink.audio_frames(TrackKey::microphone(bob.blink.endpoint())).await.unwrap();
    take(&mut frames, 50).await;
    bob.blink.leave_held_call(&first).await.unwrap();
    let left = |event: &Event| matches!(event, Event::CallEnded { call, .. } if first.is(*call));
    alice.until("the end of the held call", left).await;
    let heard = take(&mut frames, 100).await;
    assert!(share_at(&samples(&heard[50..]), 500.0) > 0.9);
}
