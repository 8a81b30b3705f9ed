//! Audio processors: echo cancellation, noise suppression, gain control.
//!
//! A program that links this crate (`use blink_media_processing as _;`) finds the processors
//! `sonora` (a port of WebRTC's audio processing) and `nnnoiseless` (RNNoise) in the registry, and
//! chains them by `processor = ["sonora", "nnnoiseless"]`.

mod block;
mod config;
mod far_end;
mod nnnoiseless;
mod sonora;
mod suppression_depth;

pub use config::{NnnoiselessConfig, NoiseSuppressionLevel, SonoraConfig};
pub use nnnoiseless::NnnoiselessFactory;
pub use sonora::SonoraFactory;

use std::sync::Arc;

use blink_api::macros::{async_trait, submit};
use blink_api::{AudioProcessorFactory, Context, Entry, Plugin, ProcessorCapabilities, Result};

/// Names in configurations and errors.
const SONORA: &str = "sonora";
const NNNOISELESS: &str = "nnnoiseless";

#[async_trait]
impl Plugin<dyn AudioProcessorFactory> for SonoraFactory {
    type Config = SonoraConfig;
    const NAME: &'static str = SONORA;
    const SUMMARY: &'static str = "echo cancellation, noise suppression and gain control as in WebRTC";
    const CAPABILITIES: ProcessorCapabilities = sonora::CAPABILITIES;

    fn check(config: &SonoraConfig) -> Result<()> {
        config.check()
    }

    async fn create(config: SonoraConfig, _: &Context) -> Result<Arc<dyn AudioProcessorFactory>> {
        Ok(Arc::new(Self::new(config)?))
    }
}

#[async_trait]
impl Plugin<dyn AudioProcessorFactory> for NnnoiselessFactory {
    type Config = NnnoiselessConfig;
    const NAME: &'static str = NNNOISELESS;
    const SUMMARY: &'static str = "noise suppression by a neural network (RNNoise)";
    const CAPABILITIES: ProcessorCapabilities = nnnoiseless::CAPABILITIES;

    async fn create(_: NnnoiselessConfig, _: &Context) -> Result<Arc<dyn AudioProcessorFactory>> {
        Ok(Arc::new(Self))
    }
}

submit! { Entry::<dyn AudioProcessorFactory>::of::<SonoraFactory>() }
submit! { Entry::<dyn AudioProcessorFactory>::of::<NnnoiselessFactory>() }
