//! Devices of a call over several media hosts: lost, replaced, and used again.

mod people;

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use blink_api::macros::async_trait;
use blink_api::{
    AudioFormat, AudioSink, AudioSource, DeviceChange, DeviceDirection, DeviceInfo, Error, ErrorKind,
    MediaCapabilities, MediaHost, OpenRequest, ReadResult, Result, TrackKind,
};
use blink_engine::DeviceChangeReason::FellBack;
use blink_engine::{CallConfig, Event};
use people::TestNetwork;
use tokio::sync::broadcast;

/// A host with the microphones and speakers `usb`, which can be unplugged, and `default`.
struct Desk {
    opened: Mutex<Vec<String>>,
    /// Samples that the default speaker played.
    played: Arc<AtomicUsize>,
    is_unplugged: Arc<AtomicBool>,
    changes: broadcast::Sender<DeviceChange>,
}

impl Desk {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            opened: Mutex::default(),
            played: Arc::default(),
            is_unplugged: Arc::default(),
            changes: broadcast::channel(8).0,
        })
    }

    fn opened(&self) -> Vec<String> {
        self.opened.lock().unwrap().clone()
    }
}

fn usb() -> DeviceInfo {
    DeviceInfo::new("usb", "A microphone", DeviceDirection::Source, TrackKind::Audio)
}

#[async_trait]
impl MediaHost for Desk {
    fn capabilities(&self) -> MediaCapabilities {
        MediaCapabilities { audio_sources: true, audio_sinks: true, hotplug: true, ..MediaCapabilities::NONE }
    }

    async fn devices(&self) -> Result<Vec<DeviceInfo>> {
        let mut default = DeviceInfo::new("built-in", "Another one", DeviceDirection::Source, TrackKind::Audio);
        default.is_default = true;
        Ok(vec![usb(), default])
    }

    async fn open_audio_source(&self, name: &str, request: OpenRequest) -> Result<Box<dyn AudioSource>> {
        self.opened.lock().unwrap().push(name.to_owned());
        let is_gone = match name {
            "usb" => self.is_unplugged.clone(),
            "default" | "built-in" => Arc::default(),
            _ => return Err(Error::new(ErrorKind::NotFound, "there is no such microphone")),
        };
        if is_gone.load(Ordering::Relaxed) {
            return Err(Error::new(ErrorKind::NotFound, "the microphone is unplugged"));
        }
        Ok(Box::new(Microphone { format: request.format, is_gone }))
    }

    async fn open_audio_sink(&self, name: &str, request: OpenRequest) -> Result<Box<dyn AudioSink>> {
        self.opened.lock().unwrap().push(format!("speaker {name}"));
        let (is_gone, played) = match name {
            "usb" => (self.is_unplugged.clone(), Arc::default()),
            "default" => (Arc::default(), self.played.clone()),
            _ => return Err(Error::new(ErrorKind::NotFound, "there is no such speaker")),
        };
        if is_gone.load(Ordering::Relaxed) {
            return Err(Error::new(ErrorKind::NotFound, "the speaker is unplugged"));
        }
        Ok(Box::new(Speaker { format: request.format, is_gone, played }))
    }

    fn changes(&self) -> Option<broadcast::Receiver<DeviceChange>> {
        Some(self.changes.subscribe())
    }
}

struct Microphone {
    format: AudioFormat,
    is_gone: Arc<AtomicBool>,
}

impl AudioSource for Microphone {
    fn format(&self) -> AudioFormat {
        self.format
    }

    fn read(&mut self, out: &mut [f32]) -> Result<ReadResult> {
        if self.is_gone.load(Ordering::Relaxed) {
            return Err(Error::new(ErrorKind::Closed, "the microphone was unplugged"));
        }
        out.fill(0.25);
        Ok(ReadResult::new(out.len()))
    }

    fn latency(&self) -> Duration {
        Duration::ZERO
    }
}

struct Speaker {
    format: AudioFormat,
    is_gone: Arc<AtomicBool>,
    played: Arc<AtomicUsize>,
}

impl AudioSink for Speaker {
    fn format(&self) -> AudioFormat {
        self.format
    }

    fn write(&mut self, samples: &[f32]) -> Result<usize> {
        if self.is_gone.load(Ordering::Relaxed) {
            return Err(Error::new(ErrorKind::Closed, "the speaker was unplugged"));
        }
        self.played.fetch_add(samples.len(), Ordering::Relaxed);
        Ok(samples.len())
    }

    fn queued(&self) -> usize {
        0
    }

    fn latency(&self) -> Duration {
        Duration::ZERO
    }

    fn finish(&mut self) -> Result<()> {
        Ok(())
    }
}

/// Waits until the newest opening is of this device.
async fn opens(desk: &Desk, name: &str) {
    let opened = async {
        while desk.opened().last().is_none_or(|newest| newest != name) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let result = tokio::time::timeout(Duration::from_secs(30), opened).await;
    assert!(result.is_ok(), "`{name}` is not opened: {:?}", desk.opened());
}

#[tokio::test(start_paused = true)]
async fn an_unplugged_microphone_is_replaced_and_used_again_once_it_is_back() {
    let network = TestNetwork::new();
    let desk = Desk::new();
    let mut alice = network.person_on(1, "usb", &["speaker=none"], &[("desk", desk.clone())]).await;
    let mut bob = network.person(2, "none").await;
    alice.blink.offer_call(&[bob.blink.did()], CallConfig::default()).await.unwrap();
    bob.answers().await;
    bob.until("heard", |event| matches!(event, Event::MediaStarted { .. })).await;
    assert_eq!(desk.opened(), ["usb"]);

    desk.is_unplugged.store(true, Ordering::Relaxed);
    alice.until("lost", |event| matches!(event, Event::DeviceLost { name } if name == "usb")).await;
    desk.changes.send(DeviceChange::Removed("usb".to_owned())).unwrap();
    while !desk.opened().iter().any(|name| name == "default" || name == "built-in") {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }

    desk.is_unplugged.store(false, Ordering::Relaxed);
    desk.changes.send(DeviceChange::Added(usb())).unwrap();
    opens(&desk, "usb").await;
    // The call goes on with it.
    tokio::time::sleep(Duration::from_secs(1)).await;
    let statistics = bob.blink.statistics().await.unwrap();
    assert_eq!(statistics[0].audio.packets_lost, 0);
    let lost = alice.told.iter().filter(|event| matches!(event, Event::DeviceLost { .. }));
    assert_eq!(lost.count(), 1, "it is reported once");
}

/// The name of a device finds the host that has it, whichever is preferred; `HOST/NAME` says which.
#[tokio::test(start_paused = true)]
async fn a_microphone_of_the_second_host_is_found_by_its_name() {
    for name in ["usb", "desk/usb"] {
        let network = TestNetwork::new();
        let (preferred, desk) = (Desk::new(), Desk::new());
        preferred.is_unplugged.store(true, Ordering::Relaxed);
        let hosts: [(&str, Arc<dyn MediaHost>); 2] = [("rack", preferred.clone()), ("desk", desk.clone())];
        let alice = network.person_on(1, name, &["speaker=none"], &hosts).await;
        let mut bob = network.person(2, "none").await;
        alice.blink.offer_call(&[bob.blink.did()], CallConfig::default()).await.unwrap();
        bob.answers().await;
        bob.until("heard", |event| matches!(event, Event::MediaStarted { .. })).await;
        assert_eq!(desk.opened(), ["usb"], "{name}");
    }
}

fn openings(desk: &Desk, name: &str) -> usize {
    desk.opened().iter().filter(|opened| *opened == name).count()
}

/// Waits until a device was opened this many times.
async fn is_opened(desk: &Desk, name: &str, times: usize) {
    let opened = async {
        while openings(desk, name) < times {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let result = tokio::time::timeout(Duration::from_secs(30), opened).await;
    assert!(result.is_ok(), "`{name}` is not opened {times} times: {:?}", desk.opened());
}

/// Waits until the default speaker plays more than it has.
async fn plays(desk: &Desk) {
    let before = desk.played.load(Ordering::Relaxed);
    let played = async {
        while desk.played.load(Ordering::Relaxed) <= before + 48_000 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    assert!(tokio::time::timeout(Duration::from_secs(30), played).await.is_ok(), "the default speaker is silent");
}

#[tokio::test(start_paused = true)]
async fn a_stand_in_speaker_plays_on_while_the_chosen_one_cannot_be_opened() {
    let network = TestNetwork::new();
    let desk = Desk::new();
    let mut alice = network.person_on(1, "none", &["speaker=desk/usb"], &[("desk", desk.clone())]).await;
    let mut bob = network.person(2, "tone:440").await;
    alice.blink.offer_call(&[bob.blink.did()], CallConfig::default()).await.unwrap();
    bob.answers().await;
    alice.until("heard", |event| matches!(event, Event::MediaStarted { .. })).await;
    desk.is_unplugged.store(true, Ordering::Relaxed);
    alice.until("lost", |event| matches!(event, Event::DeviceLost { name } if name == "desk/usb")).await;
    is_opened(&desk, "speaker usb", 4).await;
    plays(&desk).await;
    alice.blink.shutdown().await;
    while let Some(event) = alice.next().await {
        assert!(!matches!(event, Event::DeviceLost { .. }), "one event per outage");
    }
}

#[tokio::test(start_paused = true)]
async fn a_live_stand_in_microphone_is_reported_as_such() {
    let network = TestNetwork::new();
    let desk = Desk::new();
    let mut alice = network.person_on(1, "usb", &["speaker=none"], &[("desk", desk.clone())]).await;
    let mut bob = network.person(2, "none").await;
    alice.blink.offer_call(&[bob.blink.did()], CallConfig::default()).await.unwrap();
    bob.answers().await;
    bob.until("heard", |event| matches!(event, Event::MediaStarted { .. })).await;
    desk.is_unplugged.store(true, Ordering::Relaxed);
    let is_live = |event: &Event| matches!(event, Event::DeviceChanged { to: Some(to), reason: FellBack, .. } if to == "desk/default");
    alice.until("another one is live", is_live).await;
    is_opened(&desk, "default", 1).await;
    is_opened(&desk, "usb", 3).await;
    alice.blink.shutdown().await;
    while let Some(event) = alice.next().await {
        assert!(!matches!(event, Event::NoMicrophone { .. }), "another one is live");
    }
}

/// A microphone that was opened before its call belongs to the host that opened it.
#[tokio::test(start_paused = true)]
async fn a_required_microphone_is_lost_when_its_own_host_removes_it() {
    let network = TestNetwork::new();
    let (preferred, desk) = (Desk::new(), Desk::new());
    preferred.is_unplugged.store(true, Ordering::Relaxed);
    let hosts: [(&str, Arc<dyn MediaHost>); 2] = [("rack", preferred.clone()), ("desk", desk.clone())];
    let settings = ["speaker=none", "call.require_microphone=true"];
    let mut alice = network.person_on(1, "usb", &settings, &hosts).await;
    let mut bob = network.person(2, "none").await;
    alice.blink.offer_call(&[bob.blink.did()], CallConfig::default()).await.unwrap();
    bob.answers().await;
    bob.until("heard", |event| matches!(event, Event::MediaStarted { .. })).await;
    assert_eq!(desk.opened(), ["usb"], "it is opened once");
    desk.changes.send(DeviceChange::Removed("usb".to_owned())).unwrap();
    alice.until("lost", |event| matches!(event, Event::DeviceLost { name } if name == "usb")).await;
}
