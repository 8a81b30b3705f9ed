//! Devices of a call over several media hosts: lost, replaced, and used again.

mod people;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use blink_api::macros::async_trait;
use blink_api::{
    AudioFormat, AudioSink, AudioSource, DeviceChange, DeviceDirection, DeviceInfo, Error, ErrorKind,
    MediaCapabilities, MediaHost, OpenRequest, ReadResult, Result, TrackKind,
};
use blink_engine::{CallConfig, Event};
use people::Town;
use tokio::sync::broadcast;

/// A host with the microphones `usb`, which can be unplugged, and `default`.
struct Desk {
    opened: Mutex<Vec<String>>,
    is_unplugged: Arc<AtomicBool>,
    changes: broadcast::Sender<DeviceChange>,
}

impl Desk {
    fn new() -> Arc<Self> {
        Arc::new(Self { opened: Mutex::default(), is_unplugged: Arc::default(), changes: broadcast::channel(8).0 })
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
        MediaCapabilities { audio_sources: true, hotplug: true, ..MediaCapabilities::NONE }
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

    async fn open_audio_sink(&self, _: &str, _: OpenRequest) -> Result<Box<dyn AudioSink>> {
        Err(Error::new(ErrorKind::NotFound, "there is no speaker"))
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
    let town = Town::new();
    let desk = Desk::new();
    let mut alice = town.person_on(1, "usb", &["speaker=none"], &[("desk", desk.clone())]).await;
    let mut bob = town.person(2, "none").await;
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
        let town = Town::new();
        let (preferred, desk) = (Desk::new(), Desk::new());
        preferred.is_unplugged.store(true, Ordering::Relaxed);
        let hosts: [(&str, Arc<dyn MediaHost>); 2] = [("rack", preferred.clone()), ("desk", desk.clone())];
        let alice = town.person_on(1, name, &["speaker=none"], &hosts).await;
        let mut bob = town.person(2, "none").await;
        alice.blink.offer_call(&[bob.blink.did()], CallConfig::default()).await.unwrap();
        bob.answers().await;
        bob.until("heard", |event| matches!(event, Event::MediaStarted { .. })).await;
        assert_eq!(desk.opened(), ["usb"], "{name}");
    }
}
