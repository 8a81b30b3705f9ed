//! Whole engines on the memory backends: signaling, sealing, paths and sound together.

mod people;

use std::time::Duration;

use blink_api::ErrorKind;
use blink_engine::{Blink, CallConfig, EndReason, Event, EventItem};
use people::TestNetwork;

fn joined(event: &Event) -> bool {
    matches!(event, Event::ParticipantJoined { .. })
}

fn media(event: &Event) -> bool {
    matches!(event, Event::MediaStarted { .. })
}

/// How strong a tone is in what was heard, against everything that was (0 to 1), from the middle of
/// the file.
fn share_of_tone(path: &std::path::Path, hertz: f32) -> f32 {
    let pcm = blink_media_synthetic::read_wav(path).unwrap();
    let middle = &pcm.samples[pcm.samples.len() / 3..pcm.samples.len() * 2 / 3];
    let step = std::f32::consts::TAU * hertz / pcm.format.sample_rate as f32;
    let (mut sine, mut cosine, mut power) = (0.0, 0.0, 0.0);
    for (n, sample) in middle.iter().enumerate() {
        sine += sample * (step * n as f32).sin();
        cosine += sample * (step * n as f32).cos();
        power += sample * sample;
    }
    2.0 * (sine * sine + cosine * cosine) / (middle.len() as f32 * power.max(1e-9))
}

/// Configuration of an engine that keeps its identity.
fn stored_configuration(network: &TestNetwork) -> blink_api::Configuration {
    let setting = format!("data_dir={}", network.directory().join("data").display());
    blink_api::Configuration::builder(network.registry())
        .set("test", "media_host", "synthetic")
        .set_argument("test", &setting)
        .build()
        .unwrap()
}

#[tokio::test(start_paused = true)]
async fn two_people_hear_each_others_tone() {
    let network = TestNetwork::new();
    let mut alice = network.person(1, "tone:440").await;
    let mut bob = network.person(2, "tone:1000").await;
    let config = CallConfig { conversation: b"hello".to_vec(), ..CallConfig::default() };
    let call = alice.blink.offer_call(&[bob.blink.did()], config).await.unwrap();
    assert_eq!(bob.answers().await, call.id());
    for person in [&mut alice, &mut bob] {
        person.until("joined", joined).await;
        person.until("media", media).await;
    }
    tokio::time::sleep(Duration::from_secs(3)).await;
    let statistics = bob.blink.statistics().await.unwrap();
    assert_eq!(statistics.len(), 1);
    assert!(statistics[0].audio.packets_decoded > 100 && statistics[0].audio.concealed_samples == 0, "{statistics:?}");
    let clock = statistics[0].clock.expect("pings were answered for 3 s");
    assert!(clock.offset_us.unsigned_abs() <= clock.round_trip_us + 1_000, "one clock drives both: {clock:?}");
    assert_eq!(bob.blink.current_call().await.unwrap().unwrap().conversation, b"hello");
    alice.blink.leave_call().await.unwrap();
    bob.until("ended", |event| matches!(event, Event::CallEnded { reason: EndReason::RemoteLeft, .. })).await;
    alice.blink.shutdown().await;
    bob.blink.shutdown().await;
    let (alice_heard, bob_heard) = (share_of_tone(&alice.heard, 1000.0), share_of_tone(&bob.heard, 440.0));
    assert!(alice_heard > 0.8 && bob_heard > 0.8, "{alice_heard} {bob_heard}");
}

#[tokio::test(start_paused = true)]
async fn three_people_all_hear_each_other() {
    let network = TestNetwork::new();
    let mut alice = network.person(1, "tone:440").await;
    let mut bob = network.person(2, "tone:700").await;
    let mut carol = network.person(3, "tone:1000").await;
    alice.blink.offer_call(&[bob.blink.did(), carol.blink.did()], CallConfig::default()).await.unwrap();
    bob.answers().await;
    carol.answers().await;
    for person in [&mut alice, &mut bob, &mut carol] {
        person.until("first", media).await;
        person.until("second", media).await;
    }
    tokio::time::sleep(Duration::from_secs(3)).await;
    for person in [&alice, &bob, &carol] {
        person.blink.shutdown().await;
    }
    for (listener, tones) in [(&alice, [700.0, 1000.0]), (&bob, [440.0, 1000.0]), (&carol, [440.0, 700.0])] {
        for tone in tones {
            let share = share_of_tone(&listener.heard, tone);
            assert!((0.3..0.7).contains(&share), "{tone} Hz is {share} of what was heard");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn before_the_answer_no_device_is_opened_and_a_missing_microphone_is_told() {
    let network = TestNetwork::new();
    // A name that is only refused when it is opened.
    let missing = "speech:9";
    let alice = network.person(1, "tone:440").await;
    let mut bob = network.person(2, missing).await;
    let mut carol = network.person_with(3, missing, &["call.require_microphone=true"]).await;
    alice.blink.offer_call(&[bob.blink.did()], CallConfig::default()).await.unwrap();
    bob.until("incoming", |event| matches!(event, Event::IncomingCall { .. })).await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert!(!bob.heard.exists(), "the speaker's file is made when the user answers");
    let call = bob.blink.pending_calls().await.unwrap()[0].call;
    bob.blink.answer_call(call).await.unwrap();
    bob.until("no microphone", |event| matches!(event, Event::NoMicrophone { call: of, .. } if *of == call)).await;
    bob.until("hears all the same", media).await;

    alice.blink.offer_call(&[carol.blink.did()], CallConfig::default()).await.unwrap();
    carol.until("incoming", |event| matches!(event, Event::IncomingCall { .. })).await;
    let call = carol.blink.pending_calls().await.unwrap()[0].call;
    assert_eq!(carol.blink.answer_call(call).await.unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(carol.blink.pending_calls().await.unwrap().len(), 1, "the call still rings");
}

#[tokio::test(start_paused = true)]
async fn nothing_is_told_of_a_call_of_two_after_its_end() {
    for wait in [0, 1, 5, 20, 60, 200, 1_000] {
        let network = TestNetwork::new();
        let alice = network.person(1, "tone:440").await;
        let mut bob = network.person(2, "speech:9").await;
        let mut events = bob.blink.events();
        alice.blink.offer_call(&[bob.blink.did()], CallConfig::default()).await.unwrap();
        bob.answers().await;
        tokio::time::sleep(Duration::from_millis(wait)).await;
        bob.blink.leave_call().await.unwrap();
        tokio::time::sleep(Duration::from_secs(20)).await;
        bob.blink.shutdown().await;
        let mut told = Vec::new();
        while let Some(EventItem::Event(event)) = events.next().await {
            told.push(event);
        }
        let last = told.iter().rfind(|event| !matches!(event, Event::SignalingChanged { .. }));
        assert!(matches!(last, Some(Event::CallEnded { .. })), "after {wait} ms: {told:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn after_shutdown_the_data_directory_is_free_at_once() {
    let network = TestNetwork::new();
    let configuration = stored_configuration(&network);
    for _ in 0..30 {
        Blink::start(&configuration).await.unwrap().shutdown().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_muted_microphone_sends_no_sound() {
    let network = TestNetwork::new();
    let mut alice = network.person(1, "tone:440").await;
    let mut bob = network.person(2, "silence").await;
    alice.blink.set_muted(true).await.unwrap();
    alice.blink.offer_call(&[bob.blink.did()], CallConfig::default()).await.unwrap();
    bob.answers().await;
    alice.until("joined", joined).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let snapshot = bob.blink.current_call().await.unwrap().unwrap();
    assert!(snapshot.participants[0].state.muted, "{snapshot:?}");
    bob.blink.shutdown().await;
    let heard = blink_media_synthetic::read_wav(&bob.heard).unwrap();
    assert!(heard.samples.iter().all(|sample| sample.abs() < 0.001), "something was heard of a muted microphone");
}

#[tokio::test(start_paused = true)]
async fn what_a_call_publishes_shows_no_identity_and_no_content() {
    let network = TestNetwork::new();
    let mut tap = network.registry().shared().of::<blink_signaling_memory::Hub>().tap();
    let mut alice = network.person(1, "tone:440").await;
    let mut bob = network.person(2, "tone:1000").await;
    let call = alice
        .blink
        .offer_call(&[bob.blink.did()], CallConfig { conversation: b"secret".to_vec(), ..CallConfig::default() })
        .await
        .unwrap();
    bob.answers().await;
    for person in [&mut alice, &mut bob] {
        person.until("media", media).await;
    }
    alice.blink.set_muted(true).await.unwrap();
    tokio::time::sleep(Duration::from_secs(8)).await;
    alice.blink.leave_call().await.unwrap();
    bob.until("ended", |event| matches!(event, Event::CallEnded { .. })).await;
    tokio::time::sleep(Duration::from_secs(5)).await;

    let published = tap.take_messages();
    assert!(published.len() > 20, "only {} messages", published.len());
    let (alice, bob) = (alice.blink.endpoint(), bob.blink.endpoint());
    let mut needles: Vec<Vec<u8>> =
        ["did:key", "a=fingerprint", "candidate:", "sha-256", "secret"].map(Into::into).into();
    for endpoint in [alice, bob] {
        needles.push(endpoint.did.public_key().to_vec());
        needles.push(endpoint.did.to_string().into_bytes());
        needles.push(endpoint.device.as_bytes().to_vec());
    }
    needles.push(call.id().as_bytes().to_vec());
    needles.push(call.to_string().into_bytes());
    for needle in &needles {
        let shows = |message: &&bytes::Bytes| message.windows(needle.len()).any(|window| window == &needle[..]);
        assert_eq!(published.iter().find(shows), None, "{needle:?} is published");
    }
}

#[tokio::test(start_paused = true)]
async fn replaying_all_that_was_published_changes_nothing_and_is_counted() {
    let network = TestNetwork::new();
    let hub = network.registry().shared().of::<blink_signaling_memory::Hub>();
    let mut tap = hub.tap();
    let alice = network.person(1, "silence").await;
    let mut bob = network.person(2, "silence").await;
    let call = alice.blink.offer_call(&[bob.blink.did()], CallConfig::default()).await.unwrap();
    bob.answers().await;
    bob.until("media", media).await;
    let mut traffic = tap.take();
    let mut events = bob.blink.events();
    let before = bob.blink.snapshot().await.unwrap();
    for round in 0..2 {
        for (n, sent) in traffic.iter().enumerate() {
            let blink_signaling_memory::Traffic::Published { topic, message, .. } = sent else { continue };
            // From everywhere, so that it is no limit of rates that keeps it out.
            let mut origin = [round; 16];
            origin[..8].copy_from_slice(&n.to_be_bytes());
            hub.inject(blink_api::Origin(origin), *topic, message.clone());
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(bob.blink.snapshot().await.unwrap(), before);
    let counters = bob.blink.security_counters().await.unwrap();
    assert!(counters.replayed > 0, "{counters:?}");

    alice.blink.leave_call().await.unwrap();
    bob.until("ended", |event| matches!(event, Event::CallEnded { .. })).await;
    tokio::time::sleep(Duration::from_secs(20)).await;
    traffic.extend(tap.take());
    while tokio::time::timeout(Duration::ZERO, events.next()).await.is_ok() {}
    for (n, sent) in traffic.iter().enumerate() {
        let blink_signaling_memory::Traffic::Published { topic, message, .. } = sent else { continue };
        let mut origin = [9; 16];
        origin[..8].copy_from_slice(&n.to_be_bytes());
        hub.inject(blink_api::Origin(origin), *topic, message.clone());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(tokio::time::timeout(Duration::from_secs(5), events.next()).await.is_err(), "a replay told something");
    assert!(bob.blink.snapshot().await.unwrap().calls.is_empty(), "{call} came back");
}

#[tokio::test(start_paused = true)]
async fn a_slow_listener_is_told_what_it_missed_and_how_things_stand() {
    let network = TestNetwork::new();
    let alice = network.person(1, "silence").await;
    let bob = network.person(2, "silence").await;
    let mut slow = alice.blink.events();
    for _ in 0..1_200 {
        alice.blink.offer_call(&[bob.blink.did()], CallConfig::default()).await.unwrap();
        tokio::time::sleep(Duration::from_millis(20)).await;
        alice.blink.leave_call().await.unwrap();
    }
    let call = alice.blink.offer_call(&[bob.blink.did()], CallConfig::default()).await.unwrap();
    let Some(EventItem::Lagged { missed, snapshot }) = slow.next().await else { panic!("not told") };
    assert!(missed > 0);
    assert_eq!(snapshot.calls.iter().map(|call| call.call).collect::<Vec<_>>(), [call.id()]);
}

#[tokio::test(start_paused = true)]
async fn identity_and_device_survive_a_restart_and_the_directory_has_one_owner() {
    let network = TestNetwork::new();
    let configuration = stored_configuration(&network);
    let first = Blink::start(&configuration).await.unwrap();
    let endpoint = first.endpoint();
    let busy = Blink::start(&configuration).await.err().unwrap();
    assert_eq!(busy.kind(), ErrorKind::Busy);
    assert!(busy.to_string().contains("data"), "{busy}");
    let mut events = first.events();
    first.shutdown().await;
    while events.next().await.is_some() {}
    assert_eq!(first.events().next().await, None, "nothing more happens");
    assert_eq!(first.snapshot().await.unwrap_err().kind(), ErrorKind::Closed);
    let again = Blink::start(&configuration).await.unwrap();
    assert_eq!(again.endpoint(), endpoint);
    again.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn a_call_comes_about_whatever_the_clock_says() {
    // Before 1970 (which the system's clock gives as 0), its first hour, 2100, and as far as it can
    // be written.
    for unix_ms in [0, 1_800_000, 4_102_444_800_000, u64::MAX] {
        let network = TestNetwork::at(unix_ms);
        let alice = network.person(1, "none").await;
        let mut bob = network.person(2, "none").await;
        for _ in 0..2 {
            let call = alice.blink.offer_call(&[bob.blink.did()], CallConfig::default()).await.unwrap();
            bob.answers().await;
            bob.until("joined", joined).await;
            alice.blink.leave_call().await.unwrap();
            bob.until("ended", |event| matches!(event, Event::CallEnded { reason: EndReason::RemoteLeft, .. })).await;
            let history = bob.blink.call_history().await.unwrap();
            assert_eq!((history[0].call, history[0].started_ms >= unix_ms), (call.id(), true), "at {unix_ms}");
        }
        let counters = bob.blink.security_counters().await.unwrap();
        assert_eq!(format!("{counters:?}"), format!("{:?}", blink_engine::SecurityCounters::default()), "at {unix_ms}");
        alice.blink.shutdown().await;
        bob.blink.shutdown().await;
    }
}
