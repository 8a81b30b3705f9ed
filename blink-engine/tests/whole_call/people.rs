//! Engines on the memory backends with Opus, whose microphones chirp with each second of one clock.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use blink_api::macros::async_trait;
use blink_api::{
    AudioFormat, AudioSink, AudioSource, CallId, Clock, Configuration, DeviceChange, DeviceDirection, DeviceInfo,
    Error, ErrorKind, MediaCapabilities, MediaHost, OpenRequest, ReadResult, Registry, Result, TrackKind,
};
use blink_engine::{Blink, Event, EventItem, Events, Identity, Pacing};
use blink_media_cpal_opus as _;
use blink_recorders as _;
use blink_signaling_memory as _;
use blink_transport_memory::Hub;
use tokio::sync::broadcast;

/// Duration of the chirp at each whole second.
pub(crate) const CHIRP: Duration = Duration::from_millis(200);

/// The sample at a time since a whole second: a chirp of 400 to 2,000 Hz, then silence.
pub(crate) fn chirp(seconds: f64) -> f32 {
    if seconds >= CHIRP.as_secs_f64() {
        return 0.0;
    }
    let phase = std::f64::consts::TAU * (400.0 * seconds + 4_000.0 * seconds * seconds);
    (0.5 * phase.sin()) as f32
}

/// Tokio's clock, which a test may pause.
struct TokioClock(tokio::time::Instant);

impl Clock for TokioClock {
    fn now(&self) -> Instant {
        tokio::time::Instant::now().into_std()
    }

    fn unix_ms(&self) -> u64 {
        1_700_000_000_000 + self.0.elapsed().as_millis() as u64
    }
}

/// Engines that reach each other.
pub(crate) struct Network {
    registry: Registry,
    directory: tempfile::TempDir,
    began: tokio::time::Instant,
    pacing: Pacing,
}

/// An engine with its events.
pub(crate) struct Person {
    pub(crate) blink: Blink,
    pub(crate) chimes: Arc<Chimes>,
    events: Events,
}

impl Network {
    pub(crate) fn new(pacing: Pacing) -> Self {
        let (registry, directory) = (Registry::discovered().unwrap(), tempfile::tempdir().unwrap());
        Self { registry, directory, began: tokio::time::Instant::now(), pacing }
    }

    pub(crate) fn directory(&self) -> &Path {
        self.directory.path()
    }

    pub(crate) fn hub(&self) -> Hub {
        (*self.registry.shared().of::<Hub>()).clone()
    }

    pub(crate) async fn person(&self, seed: u8, microphone: &str, recorders: &[&str]) -> Person {
        let recorders: Vec<String> = recorders.iter().map(|name| (*name).to_owned()).collect();
        let configuration = Configuration::builder(&self.registry)
            .set("test", "transport", "memory")
            .set("test", "signaling", "memory")
            .set("test", "codec", "opus")
            .set("test", "microphone", microphone)
            .set("test", "speaker", "default")
            .set("test", "recorder", recorders)
            .build()
            .unwrap();
        let chimes = Arc::new(Chimes { began: self.began, is_unplugged: Arc::default(), opened: Mutex::default() });
        let blink = Blink::builder(&configuration)
            .identity(Identity::from_seed(&[seed; 32]))
            .seed([seed; 32])
            .media_host("chimes", chimes.clone())
            .clock(Arc::new(TokioClock(self.began)), self.pacing);
        let blink = blink.start().await.unwrap();
        let events = blink.events();
        Person { blink, chimes, events }
    }
}

impl Person {
    /// Waits for an event.
    pub(crate) async fn until(&mut self, what: &str, is: impl Fn(&Event) -> bool) -> Event {
        let wait = async {
            loop {
                match self.events.next().await {
                    Some(EventItem::Event(event)) if is(&event) => return event,
                    Some(EventItem::Event(_)) => {}
                    other => panic!("{other:?} before `{what}`"),
                }
            }
        };
        tokio::time::timeout(Duration::from_secs(60), wait).await.unwrap_or_else(|_| panic!("not told `{what}`"))
    }

    /// Waits for a call and answers it.
    pub(crate) async fn answers(&mut self) {
        let event = self.until("incoming", |event| matches!(event, Event::IncomingCall { .. })).await;
        let call: CallId = event.call().expect("it is about a call");
        self.blink.answer_call(call).await.unwrap();
    }
}

/// A host with the microphones `built-in`, which is the default, and `usb`, which can be unplugged.
pub(crate) struct Chimes {
    began: tokio::time::Instant,
    pub(crate) is_unplugged: Arc<AtomicBool>,
    pub(crate) opened: Mutex<Vec<String>>,
}

#[async_trait]
impl MediaHost for Chimes {
    fn capabilities(&self) -> MediaCapabilities {
        MediaCapabilities { audio_sources: true, audio_sinks: true, ..MediaCapabilities::NONE }
    }

    async fn devices(&self) -> Result<Vec<DeviceInfo>> {
        let device = |name: &str| DeviceInfo::new(name, name, DeviceDirection::Source, TrackKind::Audio);
        let mut default = device("built-in");
        default.is_default = true;
        Ok(vec![default, device("usb")])
    }

    async fn open_audio_source(&self, name: &str, request: OpenRequest) -> Result<Box<dyn AudioSource>> {
        let is_gone = if name == "usb" { self.is_unplugged.clone() } else { Arc::default() };
        if is_gone.load(Ordering::Relaxed) {
            return Err(Error::new(ErrorKind::NotFound, "the microphone is unplugged"));
        }
        self.opened.lock().unwrap().push(name.to_owned());
        Ok(Box::new(Microphone { format: request.format, began: self.began, next: None, is_gone }))
    }

    async fn open_audio_sink(&self, _: &str, request: OpenRequest) -> Result<Box<dyn AudioSink>> {
        Ok(Box::new(Speaker(request.format)))
    }

    fn changes(&self) -> Option<broadcast::Receiver<DeviceChange>> {
        None
    }
}

struct Microphone {
    format: AudioFormat,
    began: tokio::time::Instant,
    /// Number of the next sample since the clock began.
    next: Option<u64>,
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
        let rate = u64::from(self.format.sample_rate);
        let elapsed = self.began.elapsed().as_micros() as u64 * rate / 1_000_000;
        let next = self.next.get_or_insert(elapsed);
        for frame in out.chunks_mut(usize::from(self.format.channels.max(1))) {
            frame.fill(chirp((*next % rate) as f64 / rate as f64));
            *next += 1;
        }
        Ok(ReadResult::new(out.len()))
    }

    fn latency(&self) -> Duration {
        Duration::ZERO
    }
}

struct Speaker(AudioFormat);

impl AudioSink for Speaker {
    fn format(&self) -> AudioFormat {
        self.0
    }

    fn write(&mut self, samples: &[f32]) -> Result<usize> {
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
