//! Devices that are unplugged, in every way that real ones are, fifty times.

use std::time::{Duration, Instant};

use blink_api::{AudioFormat, AudioSink, AudioSource, DeviceChange, ErrorKind, MediaHost, OpenRequest};

use super::super::{CpalConfig, CpalHost};
use super::virtual_host::VirtualHost;
use super::virtual_spec::{Spec, Unplug};

const REQUEST: OpenRequest = OpenRequest::new(AudioFormat::CALL, Duration::from_millis(10));
const TIMES: usize = 50;
/// Seconds until a dead device is known to be: a poll, or six without a callback.
const POLLS: usize = 7;

/// Threads of devices, and descriptors of this process.
fn resources() -> (usize, usize) {
    let comm = |task: std::fs::DirEntry| std::fs::read_to_string(task.path().join("comm")).unwrap_or_default();
    let tasks = std::fs::read_dir("/proc/self/task").unwrap().flatten();
    let threads = tasks.map(comm).filter(|name| name.starts_with("device-")).count();
    (threads, std::fs::read_dir("/proc/self/fd").unwrap().count())
}

/// Waits until threads that end have ended.
fn assert_resources(before: (usize, usize)) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while resources().0 > before.0 || resources().1 > before.1 {
        assert!(Instant::now() < deadline, "{:?} became {:?}", before, resources());
        std::thread::yield_now();
    }
}

/// Runs a call's ticks until reading and writing fail, polling once a second.
fn run_until_dead(
    world: &VirtualHost,
    host: &CpalHost,
    source: &mut dyn AudioSource,
    sink: &mut dyn AudioSink,
) -> [ErrorKind; 2] {
    let mut block = [0.0; 480];
    for _ in 0..POLLS {
        host.poll();
        for _ in 0..100 {
            world.advance(Duration::from_millis(10));
            let (read, written) = (source.read(&mut block), sink.write(&block));
            if let (Err(read), Err(written)) = (read, written) {
                assert!(read.to_string().contains("the device"), "{read}");
                return [read.kind(), written.kind()];
            }
        }
    }
    panic!("the device is dead, and audio goes on");
}

#[tokio::test]
async fn every_way_of_unplugging_ends_the_stream_and_leaves_nothing_behind() {
    let ways = [
        Unplug::Moves,
        Unplug::HangsOnDrop,
        Unplug::Invalidates,
        Unplug::FloodsWithErrors,
        Unplug::KillsTheDaemon,
        Unplug::Starves,
    ];
    let before = resources();
    for how in ways {
        let world = VirtualHost::new(&[("mic", Spec::MICROPHONE), ("speaker", Spec::SPEAKER)]);
        let host = CpalHost::over(world.system(), CpalConfig::default(), world.clock.clone());
        let mut changes = host.changes().unwrap();
        host.poll();
        for time in 0..TIMES {
            let mut source = host.open_audio_source("mic", REQUEST).await.unwrap();
            let mut sink = host.open_audio_sink("default", REQUEST).await.unwrap();
            let mut block = [0.0; 480];
            for _ in 0..20 {
                world.advance(Duration::from_millis(10));
                source.read(&mut block).unwrap();
                sink.write(&block).unwrap();
            }
            world.unplug("mic", how);
            world.unplug("speaker", how);
            let kinds = run_until_dead(&world, &host, &mut *source, &mut *sink);
            assert_eq!(kinds, [ErrorKind::Closed; 2], "{how:?}, time {time}");
            assert_eq!(source.read(&mut block).unwrap_err().kind(), ErrorKind::Closed, "for good");
            let dropping = Instant::now();
            drop((source, sink));
            assert!(dropping.elapsed() < Duration::from_secs(5), "{how:?}: the drop blocks");
            host.poll();
            if how != Unplug::Starves {
                assert!(host.open_audio_source("mic", REQUEST).await.is_err(), "{how:?}");
                let told: Vec<_> = std::iter::from_fn(|| changes.try_recv().ok()).collect();
                for name in ["mic", "speaker"] {
                    assert!(told.contains(&DeviceChange::Removed(name.into())), "{how:?}, time {time}: {told:?}");
                }
            }
            world.plug("mic", Spec::MICROPHONE);
            world.plug("speaker", Spec::SPEAKER);
            world.release();
            host.poll();
            let told: Vec<_> = std::iter::from_fn(|| changes.try_recv().ok()).collect();
            let is_added = |change: &&DeviceChange| matches!(change, DeviceChange::Added(_));
            let added = told.iter().filter(is_added).count();
            assert_eq!(added, if how == Unplug::Starves { 0 } else { 2 }, "{how:?}, time {time}: {told:?}");
        }
        drop(host);
        assert_resources(before);
    }
}

/// A stream that is moved to another device without a word is ended by the watcher alone; its
/// callbacks go on.
#[tokio::test]
async fn another_default_device_is_told() {
    let world = VirtualHost::new(&[("b", Spec::SPEAKER)]);
    let host = CpalHost::over(world.system(), CpalConfig::default(), world.clock.clone());
    let mut changes = host.changes().unwrap();
    host.poll();
    assert!(changes.try_recv().is_err(), "the first list is no change");
    world.plug("a", Spec::SPEAKER);
    host.poll();
    assert!(matches!(changes.try_recv().unwrap(), DeviceChange::Added(info) if info.name == "a"));
    assert!(matches!(changes.try_recv().unwrap(), DeviceChange::DefaultChanged(info) if info.name == "a"));
}
