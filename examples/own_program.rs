//! The program `blink` with one more backend: an audio processor that lowers the microphone.
//!
//! All commands know it: `backends` lists it, `demo` and `call` use it, and `conformance` would run
//! its scenarios over a transport or a signaling network.
//!
//! ```sh
//! cargo run -p blink-examples --bin own_program -- demo --set 'processor=["attenuator"]'
//! ```

use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use blink_api::macros::{async_trait, submit};
use blink_api::{
    AudioFormat, AudioProcessor, AudioProcessorFactory, Context, Entry, Error, ErrorKind, Plugin,
    ProcessorCapabilities, Result,
};
use serde::{Deserialize, Serialize};

submit! { Entry::<dyn AudioProcessorFactory>::of::<Attenuator>() }

/// Name in the configuration.
const NAME: &str = "attenuator";

/// `[processors.attenuator]`
#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct AttenuatorConfig {
    /// Factor on each sample, 0 to 1.
    factor: f32,
}

impl Default for AttenuatorConfig {
    fn default() -> Self {
        Self { factor: 0.5 }
    }
}

struct Attenuator(AttenuatorConfig);

#[async_trait]
impl Plugin<dyn AudioProcessorFactory> for Attenuator {
    type Config = AttenuatorConfig;
    const NAME: &'static str = NAME;
    const SUMMARY: &'static str = "lowers the microphone";
    const CAPABILITIES: ProcessorCapabilities = ProcessorCapabilities::NONE;

    fn check(config: &AttenuatorConfig) -> Result<()> {
        match config.factor {
            0.0..=1.0 => Ok(()),
            _ => Err(Error::new(ErrorKind::Invalid, "a factor is 0 to 1")
                .backend(NAME)
                .with("key", "processors.attenuator.factor")),
        }
    }

    async fn create(config: AttenuatorConfig, _: &Context) -> Result<Arc<dyn AudioProcessorFactory>> {
        Ok(Arc::new(Self(config)))
    }
}

impl AudioProcessorFactory for Attenuator {
    fn capabilities(&self) -> ProcessorCapabilities {
        ProcessorCapabilities::NONE
    }

    fn processor(&self, format: AudioFormat) -> Result<Box<dyn AudioProcessor>> {
        let block = format.samples_in(Duration::from_millis(10));
        Ok(Box::new(AttenuatorProcessor { factor: self.0.factor, block }))
    }
}

/// Attenuator of one call.
struct AttenuatorProcessor {
    factor: f32,
    /// Samples of a block of 10 ms.
    block: usize,
}

impl AttenuatorProcessor {
    fn check(&self, block: &[f32]) -> Result<()> {
        match block.len() == self.block {
            true => Ok(()),
            false => Err(Error::new(ErrorKind::Invalid, "a block has 10 ms").backend(NAME)),
        }
    }
}

impl AudioProcessor for AttenuatorProcessor {
    fn render(&mut self, far_end: &[f32], _: Instant) -> Result<()> {
        self.check(far_end)
    }

    fn capture(&mut self, near_end: &mut [f32], _: Instant) -> Result<()> {
        self.check(near_end)?;
        near_end.iter_mut().for_each(|sample| *sample *= self.factor);
        Ok(())
    }

    fn reset(&mut self) {}

    fn delay(&self) -> Duration {
        Duration::ZERO
    }
}

fn main() -> ExitCode {
    blink_cli::main()
}
