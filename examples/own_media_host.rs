//! Custom backend: a media host whose microphone is a metronome and whose speaker measures the
//! level.
//!
//! Two engines of this program call each other over the memory transport and signaling, and the
//! metronome is heard on the other side:
//!
//! ```sh
//! cargo run -p blink-examples --bin own_media_host
//! ```

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use blink_api::macros::{async_trait, submit};
use blink_api::{
    AudioFormat, AudioSink, AudioSource, Configuration, Context, DeviceChange, DeviceInfo, Entry, Error, ErrorKind,
    MediaCapabilities, MediaHost, OpenRequest, Plugin, ReadResult, Registry, Result,
};
use blink_engine::{Blink, CallConfig, Event, EventItem};
use serde::{Deserialize, Serialize};
use tokio::sync::broadcast;

// The other backends. A crate that is not named is not linked, and its entries are missing from the
// registry.
use {blink_media_cpal_opus as _, blink_signaling_memory as _, blink_transport_memory as _};

submit! { Entry::<dyn MediaHost>::of::<Metronome>() }

/// Name in the configuration: `media_host = "metronome"`.
const NAME: &str = "metronome";

const CAPABILITIES: MediaCapabilities = MediaCapabilities {
    audio_sources: true,
    audio_sinks: true,
    video_sources: false,
    hotplug: false,
    hardware_clock: false,
};

/// `[media_hosts.metronome]`
#[derive(Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct MetronomeConfig {
    beats_per_minute: u32,
}

impl Default for MetronomeConfig {
    fn default() -> Self {
        Self { beats_per_minute: 60 }
    }
}

/// The media host.
struct Metronome {
    config: MetronomeConfig,
    loudness: Arc<Loudness>,
}

#[async_trait]
impl Plugin<dyn MediaHost> for Metronome {
    type Config = MetronomeConfig;
    const NAME: &'static str = NAME;
    const SUMMARY: &'static str = "a metronome, and a speaker that only measures";
    const CAPABILITIES: MediaCapabilities = CAPABILITIES;

    fn check(config: &MetronomeConfig) -> Result<()> {
        match config.beats_per_minute {
            1..=600 => Ok(()),
            _ => Err(Error::new(ErrorKind::Invalid, "a metronome beats 1 to 600 times a minute")
                .backend(NAME)
                .with("key", "media_hosts.metronome.beats_per_minute")),
        }
    }

    async fn create(config: MetronomeConfig, context: &Context) -> Result<Arc<dyn MediaHost>> {
        Ok(Arc::new(Self { config, loudness: context.shared.of::<Loudness>() }))
    }
}

#[async_trait]
impl MediaHost for Metronome {
    fn capabilities(&self) -> MediaCapabilities {
        CAPABILITIES
    }

    async fn devices(&self) -> Result<Vec<DeviceInfo>> {
        Ok(Vec::new())
    }

    async fn open_audio_source(&self, name: &str, request: OpenRequest) -> Result<Box<dyn AudioSource>> {
        known(name)?;
        let pause = request.format.sample_rate * 60 / self.config.beats_per_minute;
        Ok(Box::new(Beats { format: request.format, pause, frame: 0 }))
    }

    async fn open_audio_sink(&self, name: &str, request: OpenRequest) -> Result<Box<dyn AudioSink>> {
        known(name)?;
        Ok(Box::new(Meter { format: request.format, loudness: self.loudness.clone() }))
    }

    fn changes(&self) -> Option<broadcast::Receiver<DeviceChange>> {
        None
    }
}

fn known(name: &str) -> Result<()> {
    match name {
        "default" => Ok(()),
        _ => Err(Error::new(ErrorKind::NotFound, "there is only `default`").backend(NAME).with("device", name)),
    }
}

/// Source of beats, each 50 ms of 1 kHz.
struct Beats {
    format: AudioFormat,
    /// Frames between beats.
    pause: u32,
    frame: u32,
}

impl AudioSource for Beats {
    fn format(&self) -> AudioFormat {
        self.format
    }

    /// Fills the buffer, since it has no clock of its own.
    fn read(&mut self, out: &mut [f32]) -> Result<ReadResult> {
        let rate = self.format.sample_rate;
        for frame in out.chunks_mut(usize::from(self.format.channels)) {
            let phase = self.frame as f32 * 1_000.0 / rate as f32 * std::f32::consts::TAU;
            frame.fill(if self.frame < rate / 20 { phase.sin() * 0.5 } else { 0.0 });
            self.frame = (self.frame + 1) % self.pause;
        }
        Ok(ReadResult::new(out.len()))
    }

    fn latency(&self) -> Duration {
        Duration::ZERO
    }
}

/// Sink that measures the peak level.
struct Meter {
    format: AudioFormat,
    loudness: Arc<Loudness>,
}

impl AudioSink for Meter {
    fn format(&self) -> AudioFormat {
        self.format
    }

    fn write(&mut self, samples: &[f32]) -> Result<usize> {
        let loudest = samples.iter().fold(0.0_f32, |loudest, sample| loudest.max(sample.abs()));
        self.loudness.0.fetch_max((loudest * 1_000.0) as u32, Ordering::Relaxed);
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

/// Peak level played by any speaker of this program, in thousandths. One per registry: there are no
/// globals.
#[derive(Default)]
struct Loudness(AtomicU32);

#[tokio::main]
async fn main() -> Result<()> {
    let registry = Registry::discovered()?;
    // Of the other kinds this program has one backend each, which needs no selection.
    let configuration = Configuration::builder(&registry)
        .set("example", "media_host", NAME)
        .set("example", "media_hosts.metronome.beats_per_minute", 240)
        .build()?;
    let (alice, bob) = (Blink::start(&configuration).await?, Blink::start(&configuration).await?);
    let mut events = bob.events();
    alice.offer_call(&[bob.did()], CallConfig::default()).await?;
    while let Some(item) = events.next().await {
        println!("bob: {item:?}");
        match item {
            EventItem::Event(Event::IncomingCall { call, .. }) => drop(bob.answer_call(call).await?),
            EventItem::Event(Event::MediaStarted { .. }) => break,
            _ => {}
        }
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    let loudest = registry.shared().of::<Loudness>().0.load(Ordering::Relaxed);
    println!("the loudest sample that was heard: 0.{loudest:03}");
    alice.shutdown().await;
    bob.shutdown().await;
    Ok(())
}
