//! Every way in which a device dies, 50 times in a row, and devices that hang.

mod desk;
mod people;

use std::sync::Arc;
use std::time::Duration;

use blink_api::{DeviceChange, ErrorKind, SystemClock};
use blink_engine::{CallConfig, Event, Pacing};
use blink_media_g711 as _;
use desk::{Desk, DeskHost, Device};
use people::TestNetwork;
use tokio::time::Instant;

/// Ways of dying.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Death {
    /// Reading and writing fail, for good.
    Gone,
    /// They fail with an error that may pass, again and again.
    Failing,
    /// Another device plays on in its place: only the list tells.
    Moved,
    /// It fails, and the list says so many times.
    Flood,
}

const ROUNDS: usize = 50;

#[tokio::test(start_paused = true)]
async fn a_headset_that_is_gone_50_times() {
    dies_50_times(Death::Gone).await;
}

#[tokio::test(start_paused = true)]
async fn a_headset_that_fails_50_times() {
    dies_50_times(Death::Failing).await;
}

#[tokio::test(start_paused = true)]
async fn a_headset_whose_streams_are_moved_50_times() {
    dies_50_times(Death::Moved).await;
}

#[tokio::test(start_paused = true)]
async fn a_headset_that_is_removed_with_a_flood_of_reports_50_times() {
    dies_50_times(Death::Flood).await;
}

/// Audio is back on another device within 2 s each time, and on the chosen one once it returns; one
/// loss is told for each device, and all that was used before is closed.
async fn dies_50_times(death: Death) {
    let network = TestNetwork::new();
    let desk = Desk::with(&["built-in", "headset"]);
    let host = Arc::new(DeskHost(desk.clone()));
    let mut alice = network.person_on(1, "headset", &["speaker=headset", "codec=pcmu"], &[("desk", host)]).await;
    let mut bob = network.person_with(2, "tone:440", &["codec=pcmu"]).await;
    alice.blink.offer_call(&[bob.blink.did()], CallConfig::default()).await.unwrap();
    bob.answers().await;
    bob.until("heard", |event| matches!(event, Event::MediaStarted { .. })).await;
    alice.until("heard", |event| matches!(event, Event::MediaStarted { .. })).await;
    for round in 1..=ROUNDS {
        tokio::time::sleep(Duration::from_secs(12)).await;
        desk.set(
            "headset",
            match death {
                Death::Gone | Death::Flood => Device::Failing(ErrorKind::Closed),
                Death::Failing => Device::Failing(ErrorKind::Timeout),
                Death::Moved => Device::Moved,
            },
        );
        let died = Instant::now();
        if death == Death::Flood {
            for _ in 0..2_000 {
                desk.tell(DeviceChange::Removed("headset".to_owned()));
            }
        }
        desk.is_used("mic built-in").await;
        desk.is_used("speaker built-in").await;
        assert!(died.elapsed() < Duration::from_secs(2), "{death:?} {round}: {:?}", died.elapsed());
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(desk.open(), 2, "{death:?} {round}");

        desk.set("headset", Device::Plugged);
        let back = Instant::now();
        desk.is_used("mic headset").await;
        desk.is_used("speaker headset").await;
        assert!(back.elapsed() < Duration::from_secs(2), "{death:?} {round}: {:?}", back.elapsed());
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(desk.open(), 2, "{death:?} {round}");
        if round % 10 == 0 {
            // Events wait for a listener that is 1,024 of them late.
            let lost = drain(&mut alice).await;
            assert_eq!(lost, 20, "{death:?}: one loss for each device and round");
            drain(&mut bob).await;
        }
    }
    let audio = bob.blink.statistics().await.unwrap()[0].audio;
    assert_eq!(audio.packets_lost, 0, "{death:?}");
    alice.blink.shutdown().await;
    assert_eq!(desk.open(), 0, "{death:?}");
}

/// Reads the events up to now. Returns how many losses there were.
async fn drain(person: &mut people::Person) -> usize {
    let mut lost = 0;
    while let Ok(Some(event)) = tokio::time::timeout(Duration::from_millis(1), person.next()).await {
        lost += usize::from(matches!(event, Event::DeviceLost { .. }));
    }
    lost
}

fn threads() -> Vec<String> {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    let names = tasks.filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("comm")).ok());
    names.filter(|name| name.starts_with("blink-close") || name.starts_with("blink-open")).collect()
}

fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

/// In real time and on real threads. Devices that hang when they are closed are left on their
/// threads: the call goes on, ends, and the engine shuts down; no thread or descriptor is left once
/// they return.
#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn devices_that_hang_are_not_waited_for_and_nothing_is_left() {
    let network = TestNetwork::new();
    let desk = Desk::with(&["built-in", "headset"]);
    let host = Arc::new(DeskHost(desk.clone()));
    let complete = |engine: blink_engine::BlinkBuilder| {
        engine.clock(Arc::new(SystemClock), Pacing::Threads).media_host("desk", host)
    };
    let mut alice = network.person_built(1, "headset", &["speaker=headset", "codec=pcmu"], complete).await;
    let threaded = |engine: blink_engine::BlinkBuilder| engine.clock(Arc::new(SystemClock), Pacing::Threads);
    let mut bob = network.person_built(2, "silence", &["speaker=none", "codec=pcmu"], threaded).await;
    alice.blink.offer_call(&[bob.blink.did()], CallConfig::default()).await.unwrap();
    bob.answers().await;
    alice.until("heard", |event| matches!(event, Event::MediaStarted { .. })).await;
    desk.is_used("mic headset").await;
    let before = descriptors();

    desk.set_hangs(true);
    for _ in 0..ROUNDS {
        alice.blink.set_microphone("built-in").await.unwrap();
        alice.blink.set_microphone("headset").await.unwrap();
    }
    for name in ["built-in", "headset"] {
        alice.blink.set_speaker(name).await.unwrap();
        desk.is_used(&format!("speaker {name}")).await;
    }
    desk.is_used("mic headset").await;
    assert!(desk.open() > ROUNDS, "all of them hang: {}", desk.open());
    desk.set("headset", Device::Failing(ErrorKind::Closed));
    desk.is_used("mic built-in").await;
    desk.is_used("speaker built-in").await;
    assert!(!threads().is_empty());
    alice.blink.leave_call().await.unwrap();
    alice.until("ended", |event| matches!(event, Event::CallEnded { .. })).await;

    desk.set_hangs(false);
    let is_over = async {
        while desk.open() > 0 || !threads().is_empty() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let result = tokio::time::timeout(Duration::from_secs(30), is_over).await;
    assert!(result.is_ok(), "{} devices, threads {:?}", desk.open(), threads());
    assert!(descriptors() <= before, "{} descriptors, before {before}", descriptors());
    alice.blink.shutdown().await;
}
