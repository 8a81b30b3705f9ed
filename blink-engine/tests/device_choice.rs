//! The user chooses, lists and sees devices, in a call and before one.

mod desk;
mod people;

use std::time::Duration;

use blink_api::{DeviceDirection, Endpoint, ErrorKind};
use blink_engine::DeviceChangeReason::{Chosen, FellBack, Returned};
use blink_engine::{CallConfig, Event};
use desk::{Desk, DeskHost, Device};
use people::{Person, TestNetwork};
use std::sync::Arc;

const DEVICES: &[&str] = &["built-in", "headset", "webcam"];

/// Alice at a desk with a headset in a call with Bob.
async fn call(network: &TestNetwork, desk: &Arc<Desk>, microphone: &str) -> (Person, Person) {
    let mut alice = at_desk(network, desk, microphone, "speaker=headset").await;
    let mut bob = network.person(2, "speech").await;
    connect(&mut alice, &mut bob).await;
    (alice, bob)
}

async fn at_desk(network: &TestNetwork, desk: &Arc<Desk>, microphone: &str, speaker: &str) -> Person {
    let host = Arc::new(DeskHost(desk.clone()));
    network.person_on(1, microphone, &[speaker], &[("desk", host)]).await
}

async fn connect(alice: &mut Person, bob: &mut Person) {
    alice.blink.offer_call(&[bob.blink.did()], CallConfig::default()).await.unwrap();
    bob.answers().await;
    bob.until("heard", |event| matches!(event, Event::MediaStarted { .. })).await;
    alice.until("heard", |event| matches!(event, Event::MediaStarted { .. })).await;
}

fn changed(event: &Event, direction: DeviceDirection) -> bool {
    matches!(event, Event::DeviceChanged { direction: of, .. } if *of == direction)
}

/// Bob hears one tone throughout, whichever device it comes from: no gap over 100 ms, no click.
#[tokio::test(start_paused = true)]
async fn a_microphone_and_a_speaker_are_changed_in_a_call() {
    let network = TestNetwork::new();
    let desk = Desk::with(DEVICES);
    let (mut alice, mut bob) = call(&network, &desk, "headset").await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    for (name, other) in [("webcam", "headset"), ("desk/headset", "webcam")].repeat(3) {
        alice.blink.set_microphone(name).await.unwrap();
        let event = alice.until("changed", |event| changed(event, DeviceDirection::Source)).await;
        let Event::DeviceChanged { from: Some(from), to: Some(to), reason: Chosen, .. } = event else {
            panic!("{event:?}")
        };
        assert!(from.ends_with(other) && to == name, "{from} {to}");
        desk.is_used(&format!("mic {}", name.trim_start_matches("desk/"))).await;
        alice.blink.set_speaker(name).await.unwrap();
        alice.until("changed", |event| changed(event, DeviceDirection::Sink)).await;
        desk.is_used(&format!("speaker {}", name.trim_start_matches("desk/"))).await;
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    assert_eq!(desk.open(), 2, "what was used before is closed");
    let audio = bob.blink.statistics().await.unwrap()[0].audio;
    assert_eq!((audio.packets_lost, audio.packets_discarded), (0, 0), "one stream of packets");
    let started = bob.told.iter().filter(|event| matches!(event, Event::MediaStarted { .. }));
    assert_eq!(started.count(), 1, "one track");
    alice.blink.shutdown().await;
    bob.until("ended", |event| matches!(event, Event::CallEnded { .. })).await;
    bob.blink.shutdown().await;
    assert_eq!(desk.open(), 0);

    let heard = blink_media_synthetic::read_wav(&bob.heard).unwrap().samples;
    let loud = |block: &[f32]| block.iter().map(|sample| sample * sample).sum::<f32>() / block.len() as f32 > 0.02;
    let blocks: Vec<bool> = heard.chunks_exact(480).map(loud).collect();
    let first = blocks.iter().position(|loud| *loud).unwrap() + 100;
    let last = blocks.iter().rposition(|loud| *loud).unwrap();
    let quiet = blocks[first..last].split(|loud| *loud).map(<[bool]>::len).max().unwrap();
    assert!(last - first > 600 && quiet <= 10, "{quiet} quiet blocks in a row of {}", last - first);
    let samples = &heard[first * 480..last * 480];
    let step = samples.windows(2).map(|two| (two[1] - two[0]).abs()).fold(0.0, f32::max);
    // The tone itself has steps of 0.029.
    assert!(step < 0.06, "{step}");
}

#[tokio::test(start_paused = true)]
async fn a_name_that_no_host_knows_is_refused_with_similar_ones() {
    let network = TestNetwork::new();
    let desk = Desk::with(DEVICES);
    let alone = at_desk(&network, &desk, "headset", "speaker=none").await;
    for name in ["hedset", "desk/headsett", "WEBCAM2"] {
        let error = alone.blink.set_microphone(name).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
        let similar = if name == "WEBCAM2" { "`desk/webcam`" } else { "`desk/headset`" };
        let text = error.to_string();
        assert!(text.contains(name) && text.contains("similar names") && text.contains(similar), "{text}");
    }
    let error = alone.blink.set_speaker("zzz").await.unwrap_err().to_string();
    assert!(error.contains("speaker `zzz`") && error.contains("`desk/built-in`, `desk/headset`"), "{error}");
    alone.blink.shutdown().await;

    let (alice, _bob) = call(&network, &desk, "headset").await;
    assert!(alice.blink.set_microphone("hedset").await.is_err());
    desk.is_used("mic headset").await;
}

/// A device that cannot be opened leaves the one in use, in this call and in the next.
#[tokio::test(start_paused = true)]
async fn a_device_that_cannot_be_opened_changes_nothing() {
    let network = TestNetwork::new();
    let desk = Desk::with(DEVICES);
    desk.set("webcam", Device::Busy);
    let (mut alice, mut bob) = call(&network, &desk, "headset").await;
    for _ in 0..2 {
        let error = alice.blink.set_microphone("webcam").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Busy);
        assert_eq!(alice.blink.set_speaker("webcam").await.unwrap_err().kind(), ErrorKind::Busy);
    }
    desk.is_used("mic headset").await;
    desk.is_used("speaker headset").await;
    tokio::time::sleep(Duration::from_secs(30)).await;
    let opened = desk.opened().iter().filter(|name| name.contains("webcam")).count();
    assert_eq!(opened, 4, "it is not tried again");
    alice.blink.leave_call().await.unwrap();
    alice.until("ended", |event| matches!(event, Event::CallEnded { .. })).await;
    bob.until("ended", |event| matches!(event, Event::CallEnded { .. })).await;
    assert!(!alice.told.iter().any(|event| matches!(
        event,
        Event::NoMicrophone { .. } | Event::DeviceLost { .. } | Event::DeviceChanged { .. }
    )));
    assert_eq!(desk.open(), 0);
    connect(&mut alice, &mut bob).await;
    desk.is_used("mic headset").await;
}

#[tokio::test(start_paused = true)]
async fn what_is_chosen_before_a_call_is_used_in_it_and_none_is_a_choice() {
    let network = TestNetwork::new();
    let desk = Desk::with(DEVICES);
    let mut alice = at_desk(&network, &desk, "headset", "speaker=headset").await;
    alice.blink.set_microphone("webcam").await.unwrap();
    alice.blink.set_speaker("default").await.unwrap();
    assert!(desk.opened().is_empty(), "nothing opens before a call");
    let mut bob = network.person(2, "speech").await;
    connect(&mut alice, &mut bob).await;
    assert_eq!(desk.opened(), ["mic webcam", "speaker default"]);

    alice.blink.set_muted(true).await.unwrap();
    alice.blink.set_microphone("headset").await.unwrap();
    desk.is_used("mic headset").await;
    let packets = || async { bob.blink.statistics().await.unwrap()[0].audio.packets_received };
    let before = packets().await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert!(packets().await <= before + 1, "it stays muted");

    alice.blink.set_microphone("none").await.unwrap();
    let is_none = |event: &Event| matches!(event, Event::DeviceChanged { to: None, reason: Chosen, .. });
    alice.until("none", is_none).await;
    alice.blink.set_speaker("none").await.unwrap();
    alice.until("none", is_none).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(desk.open(), 0);
    alice.blink.set_microphone("default").await.unwrap();
    desk.is_used("mic built-in").await;
}

/// The name of the first choice is found after the second one has been followed.
#[tokio::test(start_paused = true)]
async fn a_choice_does_not_overtake_a_later_one() {
    let network = TestNetwork::new();
    let desk = Desk::with(DEVICES);
    let (alice, _bob) = call(&network, &desk, "headset").await;
    let blink = Arc::new(alice.blink);
    let listing = desk.listing.write().await;
    let first = tokio::spawn({
        let blink = blink.clone();
        async move { blink.set_microphone("webcam").await }
    });
    tokio::task::yield_now().await;
    blink.set_microphone("default").await.unwrap();
    drop(listing);
    assert_eq!(first.await.unwrap().unwrap_err().kind(), ErrorKind::State);
    desk.is_used("mic built-in").await;
    assert!(!desk.opened().contains(&"mic webcam".to_owned()));

    // A choice that was not followed is no choice.
    assert!(blink.set_microphone("nothing").await.is_err());
    blink.set_microphone("webcam").await.unwrap();
    desk.is_used("mic webcam").await;
}

#[tokio::test(start_paused = true)]
async fn devices_are_listed_and_their_changes_reported_once() {
    let network = TestNetwork::new();
    let desk = Desk::with(DEVICES);
    let (mut alice, _bob) = call(&network, &desk, "default").await;
    let devices = alice.blink.devices().await.unwrap();
    let names: Vec<_> = devices.iter().map(|device| (device.full_name(), device.direction)).collect();
    assert_eq!(names.len(), 6);
    assert!(names.contains(&("desk/webcam".to_owned(), DeviceDirection::Source)));
    let used = devices.iter().filter(|device| device.in_use).map(|device| (&*device.name, device.direction));
    assert_eq!(
        used.collect::<Vec<_>>(),
        [("built-in", DeviceDirection::Source), ("headset", DeviceDirection::Sink)],
        "the default one is what `default` stands for"
    );
    assert!(devices.iter().all(|device| device.is_default == (device.name == "built-in")));

    desk.set("webcam", Device::Moved);
    let event = alice.until("changed", |event| matches!(event, Event::DevicesChanged { .. })).await;
    let Event::DevicesChanged { devices } = event else { unreachable!("just matched") };
    assert_eq!(devices.len(), 4);
    // A flood of the same: one list, and no event as it is the same.
    for _ in 0..10_000 {
        desk.tell(blink_api::DeviceChange::Removed("webcam".to_owned()));
        tokio::task::yield_now().await;
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    alice.blink.shutdown().await;
    while let Some(event) = alice.next().await {
        assert!(!matches!(event, Event::DevicesChanged { .. }), "{event:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_lost_device_is_replaced_and_returns_with_the_names_of_both() {
    let network = TestNetwork::new();
    let desk = Desk::with(DEVICES);
    let (mut alice, _bob) = call(&network, &desk, "headset").await;
    desk.set("headset", Device::Failing(ErrorKind::Closed));
    let source = DeviceDirection::Source;
    let event = alice.until("fell back", |event| changed(event, source)).await;
    let (headset, built_in) = (Some("headset".to_owned()), Some("desk/default".to_owned()));
    let fell =
        Event::DeviceChanged { direction: source, from: headset.clone(), to: built_in.clone(), reason: FellBack };
    assert_eq!(event, fell);
    tokio::time::sleep(Duration::from_secs(20)).await;
    desk.set("headset", Device::Plugged);
    let event = alice.until("returned", |event| changed(event, source)).await;
    assert_eq!(event, Event::DeviceChanged { direction: source, from: built_in, to: headset, reason: Returned });
}

/// Levels of all, at most ten times a second; this device's own also while it is muted.
#[tokio::test(start_paused = true)]
async fn levels_are_published_for_meters() {
    let network = TestNetwork::new();
    let (alice, mut bob) = (network.person(1, "speech").await, network.person(2, "silence").await);
    let mut levels = bob.blink.levels();
    assert!(levels.borrow().is_empty());
    alice.blink.offer_call(&[bob.blink.did()], CallConfig::default()).await.unwrap();
    bob.answers().await;
    bob.until("heard", |event| matches!(event, Event::MediaStarted { .. })).await;
    let (speaker, own) = (alice.blink.endpoint(), bob.blink.endpoint());
    let start = tokio::time::Instant::now();
    let (mut updates, mut loudest, mut voiced) = (0, 127, 0);
    while start.elapsed() < Duration::from_secs(5) {
        levels.changed().await.unwrap();
        let newest = levels.borrow_and_update().clone();
        updates += 1;
        let level = newest.of(&speaker).map_or(127, blink_api::AudioLevel::minus_dbov);
        loudest = loudest.min(level);
        voiced += usize::from(newest.of(&speaker).is_some_and(blink_api::AudioLevel::is_voice));
        assert_eq!(newest.of(&own).map(blink_api::AudioLevel::minus_dbov), Some(127), "silence");
    }
    assert!((30..=51).contains(&updates), "{updates} updates in 5 s");
    assert!(loudest < 30 && voiced > 15, "-{loudest} dBov, voice in {voiced}");

    alice.blink.set_muted(true).await.unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    let mut meters = alice.blink.levels();
    meters.borrow_and_update();
    let own = alice.blink.endpoint();
    let is_loud =
        |levels: &blink_engine::Levels, of: &Endpoint| levels.of(of).is_some_and(|level| level.minus_dbov() < 40);
    tokio::time::timeout(Duration::from_secs(5), meters.wait_for(|levels| is_loud(levels, &own)))
        .await
        .unwrap()
        .unwrap();
    assert!(!is_loud(&bob.blink.levels().borrow(), &own), "others do not hear it");
    alice.blink.shutdown().await;
    bob.until("ended", |event| matches!(event, Event::CallEnded { .. })).await;
    tokio::time::timeout(Duration::from_secs(5), levels.wait_for(blink_engine::Levels::is_empty))
        .await
        .unwrap()
        .unwrap();
}

/// The own user, who is muted, and music, which is no voice.
#[tokio::test(start_paused = true)]
async fn speaking_while_muted_is_told_to_the_user_alone() {
    let network = TestNetwork::new();
    let (mut alice, mut bob) = (network.person(1, "speech").await, network.person(2, "tone:440").await);
    alice.blink.set_muted(true).await.unwrap();
    bob.blink.set_muted(true).await.unwrap();
    alice.blink.offer_call(&[bob.blink.did()], CallConfig::default()).await.unwrap();
    bob.answers().await;
    alice.until("speaking", |event| matches!(event, Event::SpeakingWhileMuted { .. })).await;
    tokio::time::sleep(Duration::from_secs(20)).await;
    alice.blink.shutdown().await;
    bob.blink.shutdown().await;
    let mut told = alice.told.iter().filter(|event| matches!(event, Event::SpeakingWhileMuted { .. })).count();
    while let Some(event) = alice.next().await {
        assert!(!matches!(event, Event::SpeakingStarted { .. }));
        told += usize::from(matches!(event, Event::SpeakingWhileMuted { .. }));
    }
    assert!(told <= 12, "{told} utterances in 20 s");
    while let Some(event) = bob.next().await {
        assert!(!matches!(event, Event::SpeakingStarted { .. } | Event::SpeakingWhileMuted { .. }), "{event:?}");
    }
}
