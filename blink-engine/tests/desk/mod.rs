//! A media host whose devices can be plugged, unplugged and broken in many ways.

#![allow(dead_code, reason = "each test binary uses its part of it")]

use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::Duration;

use blink_api::macros::async_trait;
use blink_api::{
    AudioFormat, AudioSink, AudioSource, DeviceChange, DeviceDirection, DeviceInfo, Error, ErrorKind,
    MediaCapabilities, MediaHost, OpenRequest, ReadResult, Result, TrackKind,
};
use tokio::sync::broadcast;

/// State of a device, whose microphone and speaker have the same name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Device {
    /// It works.
    Plugged,
    /// It is not there: open streams fail.
    Failing(ErrorKind),
    /// It is not there: open streams go on elsewhere.
    Moved,
    /// It is there, and in use by another program.
    Busy,
}

/// The host `desk`.
pub(crate) struct Desk {
    state: Mutex<State>,
    closing: Condvar,
    /// Held by a test while devices are not listed.
    pub(crate) listing: tokio::sync::RwLock<()>,
    changes: broadcast::Sender<DeviceChange>,
}

struct State {
    devices: BTreeMap<&'static str, Device>,
    opened: Vec<String>,
    open: usize,
    /// Samples read from and written to each open device.
    used: BTreeMap<String, usize>,
    /// Closing a device blocks.
    hangs: bool,
}

impl Desk {
    /// A desk with these devices, of which the first is the default.
    pub(crate) fn with(devices: &[&'static str]) -> Arc<Self> {
        let state = State {
            devices: devices.iter().map(|name| (*name, Device::Plugged)).collect(),
            opened: Vec::new(),
            open: 0,
            used: BTreeMap::new(),
            hangs: false,
        };
        let (state, listing) = (Mutex::new(state), tokio::sync::RwLock::default());
        Arc::new(Self { state, closing: Condvar::new(), listing, changes: broadcast::channel(16).0 })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// Sets the state of a device, and tells that the list changed.
    pub(crate) fn set(&self, name: &'static str, device: Device) {
        let before = self.state().devices.insert(name, device);
        let (was_there, is_there) = (before.is_some_and(is_listed), is_listed(device));
        match (was_there, is_there) {
            (true, false) => self.tell(DeviceChange::Removed(name.to_owned())),
            (false, true) => infos(name).into_iter().for_each(|info| self.tell(DeviceChange::Added(info))),
            _ => {}
        }
    }

    pub(crate) fn tell(&self, change: DeviceChange) {
        // Without an engine there is no receiver.
        self.changes.send(change).ok();
    }

    /// Closing blocks from now on, or no longer.
    pub(crate) fn set_hangs(&self, hangs: bool) {
        self.state().hangs = hangs;
        self.closing.notify_all();
    }

    pub(crate) fn opened(&self) -> Vec<String> {
        self.state().opened.clone()
    }

    /// Devices that are open.
    pub(crate) fn open(&self) -> usize {
        self.state().open
    }

    /// Samples that were read from `mic NAME` or written to `speaker NAME`.
    pub(crate) fn used(&self, stream: &str) -> usize {
        self.state().used.get(stream).copied().unwrap_or(0)
    }

    /// Waits until 100 ms more of a stream were used, or more at a low sample rate.
    pub(crate) async fn is_used(&self, stream: &str) {
        let before = self.used(stream);
        let used = async {
            while self.used(stream) < before + 4_800 {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        let limit = tokio::time::timeout(Duration::from_secs(30), used).await;
        assert!(limit.is_ok(), "`{stream}` is not used: {:?}", self.opened());
    }

    fn open_stream(self: &Arc<Self>, kind: &str, name: &str) -> Result<Stream> {
        let mut state = self.state();
        let default = *state.devices.iter().find(|(name, _)| name.starts_with("built-in")).unwrap().0;
        let device = if name == "default" { default } else { name };
        let Some((device, known)) = state.devices.get_key_value(device).map(|(name, known)| (*name, *known)) else {
            return Err(Error::new(ErrorKind::NotFound, "there is no such device"));
        };
        state.opened.push(format!("{kind} {name}"));
        match known {
            Device::Plugged => {}
            Device::Busy => return Err(Error::new(ErrorKind::Busy, "another program uses the device")),
            Device::Failing(_) | Device::Moved => return Err(Error::new(ErrorKind::NotFound, "it is unplugged")),
        }
        state.open += 1;
        Ok(Stream { desk: self.clone(), device, name: format!("{kind} {device}"), at: 0 })
    }
}

fn is_listed(device: Device) -> bool {
    matches!(device, Device::Plugged | Device::Busy)
}

fn infos(name: &str) -> [DeviceInfo; 2] {
    [DeviceDirection::Source, DeviceDirection::Sink].map(|direction| {
        let mut info = DeviceInfo::new(name, format!("{name} of the desk"), direction, TrackKind::Audio);
        info.is_default = name.starts_with("built-in");
        info
    })
}

/// The host, as an engine has it.
pub(crate) struct DeskHost(pub(crate) Arc<Desk>);

#[async_trait]
impl MediaHost for DeskHost {
    fn capabilities(&self) -> MediaCapabilities {
        MediaCapabilities { audio_sources: true, audio_sinks: true, hotplug: true, ..MediaCapabilities::NONE }
    }

    async fn devices(&self) -> Result<Vec<DeviceInfo>> {
        let _listing = self.0.listing.read().await;
        let state = self.0.state();
        let listed = state.devices.iter().filter(|(_, device)| is_listed(**device));
        Ok(listed.flat_map(|(name, _)| infos(name)).collect())
    }

    async fn open_audio_source(&self, name: &str, request: OpenRequest) -> Result<Box<dyn AudioSource>> {
        Ok(Box::new(Microphone(self.0.open_stream("mic", name)?, request.format)))
    }

    async fn open_audio_sink(&self, name: &str, request: OpenRequest) -> Result<Box<dyn AudioSink>> {
        Ok(Box::new(Speaker(self.0.open_stream("speaker", name)?, request.format)))
    }

    fn changes(&self) -> Option<broadcast::Receiver<DeviceChange>> {
        Some(self.0.changes.subscribe())
    }
}

struct Stream {
    desk: Arc<Desk>,
    device: &'static str,
    name: String,
    at: usize,
}

impl Stream {
    /// Uses so many samples.
    fn use_samples(&mut self, samples: usize) -> Result<()> {
        let mut state = self.desk.state();
        match state.devices[self.device] {
            Device::Failing(kind) => Err(Error::new(kind, "the device was unplugged")),
            _ => {
                *state.used.entry(self.name.clone()).or_default() += samples;
                Ok(())
            }
        }
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        let mut state = self.desk.state();
        while state.hangs {
            state = self.desk.closing.wait(state).unwrap();
        }
        state.open -= 1;
    }
}

/// A tone of 440 Hz at half of full scale.
struct Microphone(Stream, AudioFormat);

impl AudioSource for Microphone {
    fn format(&self) -> AudioFormat {
        self.1
    }

    fn read(&mut self, out: &mut [f32]) -> Result<ReadResult> {
        self.0.use_samples(out.len())?;
        for sample in &mut *out {
            *sample = 0.5 * (self.0.at as f32 * 440.0 / 48_000.0 * std::f32::consts::TAU).sin();
            self.0.at = (self.0.at + 1) % 48_000;
        }
        Ok(ReadResult::new(out.len()))
    }

    fn latency(&self) -> Duration {
        Duration::ZERO
    }
}

struct Speaker(Stream, AudioFormat);

impl AudioSink for Speaker {
    fn format(&self) -> AudioFormat {
        self.1
    }

    fn write(&mut self, samples: &[f32]) -> Result<usize> {
        self.0.use_samples(samples.len())?;
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
