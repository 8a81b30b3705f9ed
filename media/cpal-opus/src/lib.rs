//! Opus audio codec of the Blink call engine (RFC 6716, RTP as in RFC 7587), based on libopus.
//!
//! A program that links this crate (`use blink_media_cpal_opus as _;`) finds the codec `opus` in
//! the registry. Its configuration is [`OpusConfig`]. With the cargo feature `cpal` it also finds
//! the media host `cpal`: microphones and loudspeakers of the sound system.

mod codec;
mod config;
mod decoder;
#[cfg(feature = "cpal")]
mod devices;
mod encoder;
mod libopus;
#[cfg(test)]
mod speech_tests;

pub use codec::OpusCodec;
pub use config::OpusConfig;
#[cfg(feature = "cpal")]
pub use devices::{CpalConfig, CpalHost, SoundSystem};

use std::sync::Arc;

use blink_api::macros::{async_trait, submit};
use blink_api::{AudioCodec, AudioCodecCapabilities, Context, Entry, Plugin, Result};
#[cfg(feature = "cpal")]
use blink_api::{MediaCapabilities, MediaHost};

/// Name of the codec in configurations and errors.
const NAME: &str = "opus";

#[async_trait]
impl Plugin<dyn AudioCodec> for OpusCodec {
    type Config = OpusConfig;
    const NAME: &'static str = NAME;
    const SUMMARY: &'static str = "Opus: forward error correction, loss concealment, 6 to 510 kbit/s";
    const CAPABILITIES: AudioCodecCapabilities = codec::CAPABILITIES;

    fn check(config: &OpusConfig) -> Result<()> {
        config.check()
    }

    async fn create(config: OpusConfig, _: &Context) -> Result<Arc<dyn AudioCodec>> {
        Ok(Arc::new(OpusCodec::new(config)?))
    }
}

submit! { Entry::<dyn AudioCodec>::of::<OpusCodec>() }

#[cfg(feature = "cpal")]
#[async_trait]
impl Plugin<dyn MediaHost> for CpalHost {
    type Config = CpalConfig;
    const NAME: &'static str = devices::NAME;
    const SUMMARY: &'static str = "microphones and loudspeakers (PipeWire, PulseAudio, ALSA, JACK)";
    const CAPABILITIES: MediaCapabilities = devices::CAPABILITIES;

    fn check(config: &CpalConfig) -> Result<()> {
        config.check()
    }

    async fn create(config: CpalConfig, context: &Context) -> Result<Arc<dyn MediaHost>> {
        Ok(Arc::new(CpalHost::new(config, context.clock.clone()).await?))
    }
}

#[cfg(feature = "cpal")]
submit! { Entry::<dyn MediaHost>::of::<CpalHost>() }
