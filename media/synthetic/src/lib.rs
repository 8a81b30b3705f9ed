//! WAV files, recorded speech, tones, noise and silence, and video clips, as media devices of the
//! Blink call engine.
//!
//! A program that names this crate (`use blink_media_synthetic as _;`) finds the media host
//! `synthetic` in the registry. None of its sources and sinks has a clock: sound runs as fast as it
//! is read and written, video on the time that its reader gives.
//!
//! The functions for whole clips ([`read_wav`], [`resample`], [`speech_clip`]) serve programs that
//! compare what was said with what was heard.

mod clip;
mod config;
mod file;
#[doc(hidden)]
pub mod fuzzing;
mod host;
mod resample;
mod sink;
mod speech;
mod tone;
mod video;
mod video_source;
mod wav;
mod wav_sink;

pub use config::SyntheticConfig;
pub use host::SyntheticHost;
pub use resample::resample;
pub use speech::{CLIPS, speech, speech_clip};
pub use wav::{Pcm, read_wav};
pub use wav_sink::numbered;

use std::sync::Arc;

use blink_api::macros::{async_trait, submit};
use blink_api::{Context, Entry, MediaCapabilities, MediaHost, Plugin, Result};

/// The name this host is chosen by and named with in errors.
const NAME: &str = "synthetic";

#[async_trait]
impl Plugin<dyn MediaHost> for SyntheticHost {
    type Config = SyntheticConfig;
    const NAME: &'static str = NAME;
    const SUMMARY: &'static str = "WAV files, recorded speech, tones, noise and silence, video clips; no devices";
    const CAPABILITIES: MediaCapabilities = host::CAPABILITIES;

    fn check(config: &SyntheticConfig) -> Result<()> {
        config.check()
    }

    async fn create(config: SyntheticConfig, _: &Context) -> Result<Arc<dyn MediaHost>> {
        Ok(Arc::new(SyntheticHost::new(config)?))
    }
}

submit! { Entry::<dyn MediaHost>::of::<SyntheticHost>() }
