//! Custom backend: an audio processor, a noise gate. It silences the microphone while it is quiet.
//!
//! Two engines of this program call each other with it over the memory transport and signaling:
//!
//! ```sh
//! cargo run -p blink-examples --bin own_processor
//! ```

mod exchange;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use blink_api::macros::{async_trait, submit};
use blink_api::{
    AudioFormat, AudioProcessor, AudioProcessorFactory, Configuration, Context, Entry, Error, ErrorKind, Plugin,
    ProcessorCapabilities, Registry, Result,
};
use blink_engine::Blink;
use serde::{Deserialize, Serialize};

use {
    blink_media_cpal_opus as _, blink_media_synthetic as _, blink_signaling_memory as _, blink_transport_memory as _,
};

submit! { Entry::<dyn AudioProcessorFactory>::of::<Gate>() }

/// Name in the configuration: `processor = ["gate"]`.
const NAME: &str = "gate";
const CAPABILITIES: ProcessorCapabilities =
    ProcessorCapabilities { noise_suppression: true, ..ProcessorCapabilities::NONE };

/// `[processors.gate]`
#[derive(Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct GateConfig {
    /// Peak below which a block is silenced, 0 to 1.
    threshold: f32,
}

impl Default for GateConfig {
    fn default() -> Self {
        Self { threshold: 0.01 }
    }
}

struct Gate {
    config: GateConfig,
    blocks: Arc<Blocks>,
}

/// Counts of silenced and passed blocks. One per registry: there are no globals.
#[derive(Default)]
struct Blocks {
    silenced: AtomicU64,
    passed: AtomicU64,
}

#[async_trait]
impl Plugin<dyn AudioProcessorFactory> for Gate {
    type Config = GateConfig;
    const NAME: &'static str = NAME;
    const SUMMARY: &'static str = "a noise gate";
    const CAPABILITIES: ProcessorCapabilities = CAPABILITIES;

    fn check(config: &GateConfig) -> Result<()> {
        match config.threshold {
            0.0..=1.0 => Ok(()),
            _ => Err(Error::new(ErrorKind::Invalid, "a threshold is 0 to 1")
                .backend(NAME)
                .with("key", "processors.gate.threshold")),
        }
    }

    async fn create(config: GateConfig, context: &Context) -> Result<Arc<dyn AudioProcessorFactory>> {
        Ok(Arc::new(Self { config, blocks: context.shared.of::<Blocks>() }))
    }
}

impl AudioProcessorFactory for Gate {
    fn capabilities(&self) -> ProcessorCapabilities {
        CAPABILITIES
    }

    fn processor(&self, format: AudioFormat) -> Result<Box<dyn AudioProcessor>> {
        let block = format.samples_in(Duration::from_millis(10));
        Ok(Box::new(GateProcessor { threshold: self.config.threshold, block, blocks: self.blocks.clone() }))
    }
}

/// Gate of one call.
struct GateProcessor {
    threshold: f32,
    /// Samples of a block of 10 ms.
    block: usize,
    blocks: Arc<Blocks>,
}

impl GateProcessor {
    fn check(&self, block: &[f32]) -> Result<()> {
        match block.len() == self.block {
            true => Ok(()),
            false => Err(Error::new(ErrorKind::Invalid, "a block has 10 ms").backend(NAME)),
        }
    }
}

impl AudioProcessor for GateProcessor {
    fn render(&mut self, far_end: &[f32], _: Instant) -> Result<()> {
        self.check(far_end)
    }

    fn capture(&mut self, near_end: &mut [f32], _: Instant) -> Result<()> {
        self.check(near_end)?;
        let peak = near_end.iter().fold(0.0_f32, |peak, sample| peak.max(sample.abs()));
        let count = if peak < self.threshold { &self.blocks.silenced } else { &self.blocks.passed };
        count.fetch_add(1, Ordering::Relaxed);
        if peak < self.threshold {
            near_end.fill(0.0);
        }
        Ok(())
    }

    fn reset(&mut self) {}

    fn delay(&self) -> Duration {
        Duration::ZERO
    }
}

#[tokio::main]
async fn main() -> Result<()> {
    let registry = Registry::discovered()?;
    let settings = [
        "media_host=synthetic",
        "processor=[\"gate\"]",
        "processors.gate.threshold=0.02",
        "microphone=speech",
        "speaker=null",
    ];
    let configuration = settings
        .iter()
        .fold(Configuration::builder(&registry), |it, setting| it.set_argument("example", setting))
        .build()?;
    let people = [Blink::start(&configuration).await?, Blink::start(&configuration).await?];
    exchange::call(&people).await?;
    tokio::time::sleep(Duration::from_secs(1)).await;
    for person in people {
        person.shutdown().await;
    }
    let blocks = registry.shared().of::<Blocks>();
    let count = |count: &AtomicU64| count.load(Ordering::Relaxed);
    println!("blocks of 10 ms: {} passed, {} silenced", count(&blocks.passed), count(&blocks.silenced));
    Ok(())
}
