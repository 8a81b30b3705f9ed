//! Sound system in this process: devices of any format that run on virtual time, and that can be
//! unplugged in every way that real ones are.

use std::collections::BTreeMap;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use blink_api::Clock;
use cpal::traits::{DeviceTrait, HostTrait, StreamTrait};
use cpal::{
    Data, DeviceDescription, DeviceDescriptionBuilder, DeviceId, Error, ErrorKind, FrameCount, HostId,
    InputCallbackInfo, InputStreamTimestamp, OutputCallbackInfo, OutputStreamTimestamp, SampleFormat, StreamConfig,
    StreamInstant, SupportedBufferSize, SupportedStreamConfig, SupportedStreamConfigRange,
};

use super::super::sound_system::ChosenSystem;
use super::device_samples::DeviceSamples;
use super::virtual_clock::VirtualClock;
use super::virtual_spec::{AMPLITUDE, LATENCY, Spec, TONE, Unplug};

type OnData = Box<dyn FnMut(&mut Data, Duration) + Send>;
type OnError = Box<dyn FnMut(Error) + Send>;

struct Running {
    spec: Spec,
    name: String,
    on_data: Mutex<OnData>,
    on_error: Mutex<OnError>,
    is_playing: AtomicBool,
    is_dead: AtomicBool,
    hangs: Arc<(Mutex<bool>, Condvar)>,
    started: u64,
    callbacks: AtomicU64,
}

#[derive(Default)]
struct Bus {
    devices: BTreeMap<String, Spec>,
    streams: Vec<Weak<Running>>,
    is_down: bool,
    hangs: Arc<(Mutex<bool>, Condvar)>,
    /// Allocations in callbacks.
    allocations: u64,
    /// First channel of what the speakers played.
    heard: BTreeMap<String, Vec<f32>>,
}

/// The sound system.
#[derive(Clone)]
pub(super) struct VirtualHost {
    bus: Arc<Mutex<Bus>>,
    pub(super) clock: Arc<VirtualClock>,
}

impl VirtualHost {
    pub(super) fn new(devices: &[(&str, Spec)]) -> Self {
        let host = Self { bus: Arc::default(), clock: Arc::new(VirtualClock::new()) };
        devices.iter().for_each(|(name, spec)| host.plug(name, spec.clone()));
        host
    }

    pub(super) fn system(&self) -> ChosenSystem {
        let this = self.clone();
        let connect = move || match this.lock().is_down {
            true => Err(Error::new(ErrorKind::HostUnavailable)),
            false => Ok(cpal::Host::from(cpal::platform::CustomHost::from_host(this.clone()))),
        };
        ChosenSystem { connect: Arc::new(connect), lists_changes: true, description: "virtual: for tests".into() }
    }

    pub(super) fn plug(&self, name: &str, spec: Spec) {
        let mut bus = self.lock();
        bus.is_down = false;
        bus.devices.insert(name.into(), spec);
    }

    /// Unplugs a device, or the whole system.
    pub(super) fn unplug(&self, name: &str, how: Unplug) {
        let streams: Vec<_> = {
            let mut bus = self.lock();
            bus.is_down = how == Unplug::KillsTheDaemon;
            if how != Unplug::Starves {
                bus.devices.remove(name);
            }
            *bus.hangs.0.lock().unwrap() = how == Unplug::HangsOnDrop;
            bus.streams.iter().filter_map(Weak::upgrade).filter(|stream| stream.name == name).collect()
        };
        for stream in streams {
            let mut on_error = stream.on_error.lock().unwrap();
            let (kind, count) = match how {
                Unplug::Moves => continue,
                Unplug::Starves => (ErrorKind::Xrun, 1),
                Unplug::HangsOnDrop => (ErrorKind::DeviceNotAvailable, 1),
                Unplug::Invalidates | Unplug::KillsTheDaemon => (ErrorKind::StreamInvalidated, 5),
                Unplug::FloodsWithErrors => (ErrorKind::BackendError, 100_000),
            };
            stream.is_dead.store(true, Ordering::SeqCst);
            (0..count).for_each(|_| on_error(Error::new(kind)));
        }
    }

    /// Lets the drops return that hang.
    pub(super) fn release(&self) {
        let hangs = self.lock().hangs.clone();
        *hangs.0.lock().unwrap() = false;
        hangs.1.notify_all();
    }

    pub(super) fn heard(&self, name: &str) -> Vec<f32> {
        self.lock().heard.remove(name).unwrap_or_default()
    }

    /// Allocations in callbacks since the last call.
    pub(super) fn take_callback_allocations(&self) -> u64 {
        std::mem::take(&mut self.lock().allocations)
    }

    pub(super) fn now(&self) -> Instant {
        self.clock.now()
    }

    /// Lets time pass: all callbacks that are due, each at its time.
    pub(super) fn advance(&self, by: Duration) {
        let until = self.clock.nanos.load(Ordering::SeqCst) + by.as_nanos() as u64;
        loop {
            let streams: Vec<_> = self.lock().streams.iter().filter_map(Weak::upgrade).collect();
            let is_running = |stream: &&Arc<Running>| {
                stream.is_playing.load(Ordering::SeqCst) && !stream.is_dead.load(Ordering::SeqCst)
            };
            let next =
                streams.iter().filter(is_running).map(|stream| (stream.due(), stream)).min_by_key(|(due, _)| *due);
            match next {
                Some((due, stream)) if due <= until => {
                    self.clock.set(due);
                    stream.run(self);
                }
                _ => break,
            }
        }
        self.clock.set(until);
    }

    fn lock(&self) -> MutexGuard<'_, Bus> {
        self.bus.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn build(&self, name: &str, on_data: OnData, on_error: OnError) -> Result<VirtualStream, Error> {
        let mut bus = self.lock();
        let spec = bus.devices.get(name).ok_or(Error::new(ErrorKind::DeviceNotAvailable))?.clone();
        let running = Arc::new(Running {
            name: name.into(),
            on_data: Mutex::new(on_data),
            on_error: Mutex::new(on_error),
            is_playing: false.into(),
            is_dead: false.into(),
            hangs: bus.hangs.clone(),
            started: self.clock.nanos.load(Ordering::SeqCst),
            callbacks: 0.into(),
            spec,
        });
        bus.streams.retain(|stream| stream.strong_count() > 0);
        bus.streams.push(Arc::downgrade(&running));
        Ok(VirtualStream(running))
    }
}

impl Running {
    /// Time of the next callback: when its frames were captured, or are wanted.
    fn due(&self) -> u64 {
        let callbacks = self.callbacks.load(Ordering::SeqCst) + u64::from(self.spec.is_input);
        let frames = callbacks as f64 * f64::from(self.spec.frames);
        self.started + (frames / (f64::from(self.spec.rate) * (1.0 + self.spec.ppm * 1e-6)) * 1e9) as u64
    }

    fn run(&self, host: &VirtualHost) {
        let first = self.callbacks.fetch_add(1, Ordering::SeqCst) * u64::from(self.spec.frames);
        let (frames, channels) = (self.spec.frames as usize, usize::from(self.spec.channels));
        let mut samples = vec![0.0_f32; frames * channels];
        if self.spec.is_input {
            // A device whose clock is fast takes more samples of the same tone.
            let turn = TONE / (f64::from(self.spec.rate) * (1.0 + self.spec.ppm * 1e-6)) * std::f64::consts::TAU;
            for (index, frame) in samples.chunks_exact_mut(channels).enumerate() {
                frame.fill((AMPLITUDE * ((first + index as u64) as f64 * turn).sin()) as f32);
            }
        }
        let mut on_data = self.on_data.lock().unwrap();
        let mut converted = DeviceSamples::new(&samples, self.spec.format);
        let data = &mut converted.data();
        let now = Duration::from_nanos(host.clock.nanos.load(Ordering::SeqCst));
        let allocations = allocation_counter::measure(|| on_data(data, now));
        host.lock().allocations += allocations.count_total;
        if !self.spec.is_input {
            let mut bus = host.lock();
            let heard = bus.heard.entry(self.name.clone()).or_default();
            heard.extend(converted.samples().chunks_exact(channels).map(|frame| frame[0]));
        }
    }
}

#[derive(Clone)]
pub(super) struct VirtualDevice(String, VirtualHost);

impl VirtualDevice {
    fn spec(&self) -> Result<Spec, Error> {
        self.1.lock().devices.get(&self.0).cloned().ok_or(Error::new(ErrorKind::DeviceNotAvailable))
    }

    fn ranges(&self, is_input: bool) -> Result<std::vec::IntoIter<SupportedStreamConfigRange>, Error> {
        let spec = self.spec()?;
        let buffer = SupportedBufferSize::Range { min: spec.frames, max: spec.frames };
        let range = SupportedStreamConfigRange::new(spec.channels, spec.rate, spec.rate, buffer, spec.format);
        Ok(Vec::from_iter((spec.is_input == is_input).then_some(range)).into_iter())
    }
}

impl PartialEq for VirtualDevice {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

impl Eq for VirtualDevice {}

impl Hash for VirtualDevice {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}

impl fmt::Debug for VirtualDevice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for VirtualDevice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

pub(super) struct VirtualStream(Arc<Running>);

impl Drop for VirtualStream {
    fn drop(&mut self) {
        self.0.is_dead.store(true, Ordering::SeqCst);
        let (hangs, released) = &*self.0.hangs;
        drop(released.wait_while(hangs.lock().unwrap(), |hangs| *hangs));
    }
}

impl StreamTrait for VirtualStream {
    fn play(&self) -> Result<(), Error> {
        self.0.is_playing.store(true, Ordering::SeqCst);
        Ok(())
    }

    fn pause(&self) -> Result<(), Error> {
        self.0.is_playing.store(false, Ordering::SeqCst);
        Ok(())
    }

    fn now(&self) -> StreamInstant {
        StreamInstant::ZERO
    }

    fn buffer_size(&self) -> Result<FrameCount, Error> {
        Ok(self.0.spec.frames)
    }
}

impl HostTrait for VirtualHost {
    type Devices = std::vec::IntoIter<VirtualDevice>;
    type Device = VirtualDevice;

    fn is_available() -> bool {
        true
    }

    fn devices(&self) -> Result<Self::Devices, Error> {
        let bus = self.lock();
        if bus.is_down {
            return Err(Error::new(ErrorKind::StreamInvalidated));
        }
        let devices: Vec<_> = bus.devices.keys().map(|name| VirtualDevice(name.clone(), self.clone())).collect();
        Ok(devices.into_iter())
    }

    fn default_input_device(&self) -> Option<VirtualDevice> {
        self.devices().ok()?.find(DeviceTrait::supports_input)
    }

    fn default_output_device(&self) -> Option<VirtualDevice> {
        self.devices().ok()?.find(DeviceTrait::supports_output)
    }
}

impl DeviceTrait for VirtualDevice {
    type SupportedInputConfigs = std::vec::IntoIter<SupportedStreamConfigRange>;
    type SupportedOutputConfigs = std::vec::IntoIter<SupportedStreamConfigRange>;
    type Stream = VirtualStream;

    fn description(&self) -> Result<DeviceDescription, Error> {
        Ok(DeviceDescriptionBuilder::new(format!("Virtual {}", self.0)).build())
    }

    fn id(&self) -> Result<DeviceId, Error> {
        Ok(DeviceId::new(HostId::Custom, &self.0))
    }

    fn supported_input_configs(&self) -> Result<Self::SupportedInputConfigs, Error> {
        self.ranges(true)
    }

    fn supported_output_configs(&self) -> Result<Self::SupportedOutputConfigs, Error> {
        self.ranges(false)
    }

    fn default_input_config(&self) -> Result<SupportedStreamConfig, Error> {
        let mut ranges = self.ranges(true)?;
        Ok(ranges.next().ok_or(Error::new(ErrorKind::UnsupportedOperation))?.with_max_sample_rate())
    }

    fn default_output_config(&self) -> Result<SupportedStreamConfig, Error> {
        let mut ranges = self.ranges(false)?;
        Ok(ranges.next().ok_or(Error::new(ErrorKind::UnsupportedOperation))?.with_max_sample_rate())
    }

    fn build_input_stream_raw<D, E>(
        &self,
        config: StreamConfig,
        _: SampleFormat,
        mut on_data: D,
        on_error: E,
        _: Option<Duration>,
    ) -> Result<VirtualStream, Error>
    where
        D: FnMut(&Data, &InputCallbackInfo) + Send + 'static,
        E: FnMut(Error) + Send + 'static,
    {
        let duration = Duration::from_secs(self.spec()?.frames.into()) / config.sample_rate;
        let on_data = move |data: &mut Data, now: Duration| {
            let times = InputStreamTimestamp { callback: instant(now), capture: instant(now - duration - LATENCY) };
            on_data(data, &InputCallbackInfo::new(times));
        };
        self.1.build(&self.0, Box::new(on_data), Box::new(on_error))
    }

    fn build_output_stream_raw<D, E>(
        &self,
        _: StreamConfig,
        _: SampleFormat,
        mut on_data: D,
        on_error: E,
        _: Option<Duration>,
    ) -> Result<VirtualStream, Error>
    where
        D: FnMut(&mut Data, &OutputCallbackInfo) + Send + 'static,
        E: FnMut(Error) + Send + 'static,
    {
        let on_data = move |data: &mut Data, now: Duration| {
            let times = OutputStreamTimestamp { callback: instant(now), playback: instant(now + LATENCY) };
            on_data(data, &OutputCallbackInfo::new(times));
        };
        self.1.build(&self.0, Box::new(on_data), Box::new(on_error))
    }
}

fn instant(time: Duration) -> StreamInstant {
    // A callback of 100,000 frames in the first second begins before the stream does.
    StreamInstant::new(time.as_secs() + 10, time.subsec_nanos())
}
