//! Recorders of the Blink call engine, and tools for their files.
//!
//! A program that links this crate (`use blink_recorders as _;`) finds the recorders `wav` and
//! `mp4` in the registry.

mod config;
mod mp4;
mod opus_packet;
mod output_file;
mod timeline;
mod wav;
mod wav_file;

pub use config::{Mp4Config, RtpLogConfig, SampleFormat, WavConfig};
pub use mp4::Mp4Recorder;
pub use wav::WavRecorder;

use std::sync::Arc;

use blink_api::macros::{async_trait, submit};
use blink_api::{Context, Entry, Plugin, Recorder, RecorderCapabilities, Result};

#[async_trait]
impl Plugin<dyn Recorder> for WavRecorder {
    type Config = WavConfig;
    const NAME: &'static str = wav::NAME;
    const SUMMARY: &'static str = "a WAV file of decoded audio per track, all aligned; a mix on request";
    const CAPABILITIES: RecorderCapabilities = wav::CAPABILITIES;

    fn check(config: &WavConfig) -> Result<()> {
        config.check()
    }

    async fn create(config: WavConfig, _: &Context) -> Result<Arc<dyn Recorder>> {
        Ok(Arc::new(Self::new(config)?))
    }
}

submit! { Entry::<dyn Recorder>::of::<WavRecorder>() }

#[async_trait]
impl Plugin<dyn Recorder> for Mp4Recorder {
    type Config = Mp4Config;
    const NAME: &'static str = mp4::NAME;
    const SUMMARY: &'static str = "the whole call in one MP4 file: Opus, H.264 and VP8 without transcoding";
    const CAPABILITIES: RecorderCapabilities = mp4::CAPABILITIES;

    fn check(config: &Mp4Config) -> Result<()> {
        config.check()
    }

    async fn create(config: Mp4Config, _: &Context) -> Result<Arc<dyn Recorder>> {
        Ok(Arc::new(Self::new(config)?))
    }
}

submit! { Entry::<dyn Recorder>::of::<Mp4Recorder>() }
