//! Whole engines that end and start again on the same data directory.

mod people;

use std::path::{Path, PathBuf};
use std::time::Duration;

use blink_api::ErrorKind;
use blink_engine::{
    CallConfig, CallDirection, CallOutcome, DataDirectory, Event, EventItem, ParticipantStatus, Presence,
};
use blink_signaling_memory::{Hub, Traffic};
use people::{Person, Town};

fn joined(event: &Event) -> bool {
    matches!(event, Event::ParticipantJoined { .. })
}

fn incoming(event: &Event) -> bool {
    matches!(event, Event::IncomingCall { .. })
}

fn ended(event: &Event) -> bool {
    matches!(event, Event::CallEnded { .. })
}

/// A participant with this data directory.
async fn keeping(town: &Town, seed: u8, directory: &Path) -> Person {
    town.person_with(seed, "silence", &[&format!("data_dir={}", directory.display())]).await
}

/// Copy of the data directory as a crash at this moment would leave it.
async fn image(town: &Town, of: &Path, name: &str) -> PathBuf {
    tokio::time::sleep(Duration::from_secs(1)).await;
    let image = town.directory().join(name);
    std::fs::create_dir(&image).unwrap();
    std::fs::copy(of.join("blink.redb"), image.join("blink.redb")).unwrap();
    image
}

#[tokio::test(start_paused = true)]
async fn the_history_survives_and_can_be_read_without_an_engine() {
    let town = Town::new();
    let directory = town.directory().join("bob");
    let alice = town.person(1, "silence").await;
    let mut bob = keeping(&town, 2, &directory).await;
    alice
        .blink
        .offer_call(&[bob.blink.did()], CallConfig { conversation: b"tea".to_vec(), ..CallConfig::default() })
        .await
        .unwrap();
    let answered = bob.answers().await;
    bob.until("joined", joined).await;
    tokio::time::sleep(Duration::from_secs(4)).await;
    alice.blink.leave_call().await.unwrap();
    bob.until("ended", ended).await;
    alice.blink.offer_call(&[bob.blink.did()], CallConfig::default()).await.unwrap();
    bob.until("incoming", incoming).await;
    alice.blink.leave_call().await.unwrap();
    bob.until("cancelled", |event| matches!(event, Event::CallCancelled { .. })).await;

    let history = bob.blink.call_history().await.unwrap();
    let outcomes: Vec<_> = history.iter().map(|entry| (entry.outcome, entry.direction)).collect();
    assert_eq!(
        outcomes,
        [(CallOutcome::Missed, CallDirection::Incoming), (CallOutcome::Answered, CallDirection::Incoming)]
    );
    assert_eq!((history[1].call, &history[1].conversation[..]), (answered, &b"tea"[..]));
    assert_eq!(DataDirectory::open(&directory).err().unwrap().kind(), ErrorKind::Busy);
    let endpoint = bob.blink.endpoint();
    bob.blink.shutdown().await;

    let kept = DataDirectory::open(&directory).unwrap();
    assert_eq!(kept.history().unwrap(), history);
    drop(kept);
    let bob = keeping(&town, 2, &directory).await;
    assert_eq!((bob.blink.endpoint(), bob.blink.call_history().await.unwrap()), (endpoint, history));
    bob.blink.clear_history().await.unwrap();
    bob.blink.shutdown().await;
    assert_eq!(DataDirectory::open(&directory).unwrap().history().unwrap(), []);
    let nowhere = DataDirectory::open(&town.directory().join("nowhere")).err().unwrap();
    assert_eq!(nowhere.kind(), ErrorKind::NotFound);
    assert!(!town.directory().join("nowhere").exists(), "looking makes nothing");
}

#[tokio::test(start_paused = true)]
async fn a_call_that_rings_during_a_restart_rings_once_and_can_be_answered() {
    let town = Town::new();
    let directory = town.directory().join("bob");
    let mut alice = town.person(1, "silence").await;
    let mut bob = keeping(&town, 2, &directory).await;
    let call = alice.blink.offer_call(&[bob.blink.did()], CallConfig::default()).await.unwrap();
    bob.until("incoming", incoming).await;
    bob.blink.shutdown().await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let mut bob = keeping(&town, 2, &directory).await;
    tokio::time::sleep(Duration::from_secs(10)).await;
    let pending: Vec<_> = bob.blink.pending_calls().await.unwrap().iter().map(|call| call.call).collect();
    assert_eq!(pending, [call.id()]);
    bob.blink.answer_call(call).await.unwrap();
    bob.until("joined", joined).await;
    alice.until("joined", joined).await;
    assert!(!bob.told.iter().any(incoming), "{:?}", bob.told);
    assert_eq!(alice.blink.presence(bob.blink.did()).await.unwrap(), Presence::InThisCall);
}

#[tokio::test(start_paused = true)]
async fn after_a_crash_a_groups_call_is_left_for_the_others_and_can_be_joined_again() {
    let town = Town::new();
    let directory = town.directory().join("carol");
    let mut alice = town.person(1, "silence").await;
    let mut bob = town.person(2, "silence").await;
    let mut carol = keeping(&town, 3, &directory).await;
    let people = [bob.blink.did(), carol.blink.did()];
    let call = alice.blink.offer_call(&people, CallConfig::default()).await.unwrap();
    bob.answers().await;
    carol.answers().await;
    for _ in 0..2 {
        carol.until("joined", joined).await;
        alice.until("joined", joined).await;
    }
    let crashed = image(&town, &directory, "crashed").await;
    carol.blink.shutdown().await;
    alice.until("left", |event| matches!(event, Event::ParticipantLeft { .. })).await;

    let mut carol = keeping(&town, 3, &crashed).await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(carol.blink.current_call().await.unwrap(), None, "the user has not said so");
    let ongoing = carol.blink.ongoing_calls().await.unwrap();
    assert_eq!(ongoing.iter().map(|call| call.call).collect::<Vec<_>>(), [call.id()]);
    assert!(ongoing[0].participants.iter().all(|other| other.status == ParticipantStatus::Joined), "{ongoing:?}");
    carol.blink.answer_call(call).await.unwrap();
    for _ in 0..2 {
        carol.until("joined again", joined).await;
    }
    bob.until("carol again", joined).await;
    assert_eq!(carol.blink.call_history().await.unwrap().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn presence_tells_who_listens() {
    let town = Town::new();
    let alice = town.person(1, "silence").await;
    let bob = town.person(2, "silence").await;
    assert_eq!(alice.blink.presence(bob.blink.did()).await.unwrap(), Presence::Online);
    let did = bob.blink.did();
    bob.blink.shutdown().await;
    assert_eq!(alice.blink.presence(did).await.unwrap(), Presence::Unknown);
}

#[tokio::test(start_paused = true)]
async fn of_a_device_that_was_copied_the_one_that_started_first_stops() {
    let town = Town::new();
    let directory = town.directory().join("bob");
    let alice = town.person(1, "silence").await;
    keeping(&town, 2, &directory).await.blink.shutdown().await;
    let copy = image(&town, &directory, "copy").await;
    let mut first = keeping(&town, 2, &directory).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let mut second = keeping(&town, 2, &copy).await;
    assert_eq!(first.blink.endpoint(), second.blink.endpoint());

    alice.blink.offer_call(&[first.blink.did()], CallConfig::default()).await.unwrap();
    first.until("incoming", incoming).await;
    second.answers().await;
    first.until("cloned", |event| matches!(event, Event::DeviceCloned)).await;
    let mut events = first.blink.events();
    while let Some(item) = events.next().await {
        assert!(!matches!(item, EventItem::Event(Event::ParticipantJoined { .. })));
    }
    let refused = first.blink.snapshot().await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Busy, "{refused}");
    assert!(refused.to_string().contains("copied"), "{refused}");
    second.until("joined", joined).await;
}

#[tokio::test(start_paused = true)]
async fn old_words_of_a_device_that_are_played_back_stop_nothing() {
    let town = Town::new();
    let hub = town.registry().shared().of::<Hub>();
    let mut tap = hub.tap();
    let directory = town.directory().join("bob");
    let alice = town.person(1, "silence").await;
    for _ in 0..2 {
        let mut bob = keeping(&town, 2, &directory).await;
        alice.blink.offer_call(&[bob.blink.did()], CallConfig::default()).await.unwrap();
        bob.answers().await;
        bob.until("joined", joined).await;
        bob.blink.shutdown().await;
        tokio::time::sleep(Duration::from_secs(20)).await;
    }
    let bob = keeping(&town, 2, &directory).await;
    for (n, sent) in tap.take().into_iter().enumerate() {
        let Traffic::Published { topic, message, .. } = sent else { continue };
        let mut origin = [9; 16];
        origin[..8].copy_from_slice(&n.to_be_bytes());
        hub.inject(blink_api::Origin(origin), topic, message);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let counters = bob.blink.security_counters().await.unwrap();
    assert!(counters.own_endpoint > 0 && counters.cloned_device == 0, "{counters:?}");
    assert_eq!(bob.blink.pending_calls().await.unwrap(), []);
}
