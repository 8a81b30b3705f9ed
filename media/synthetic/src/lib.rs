//! Media devices without hardware: WAV files, recorded speech, tones, noise and silence, and video
//! clips.
//!
//! A program that links this crate (`use blink_media_synthetic as _;`) finds the media host
//! `synthetic` in the registry. Its devices have no clock of their own: audio runs as fast as it is
//! read and written, video by the time that the reader passes.
//!
//! The functions for whole clips ([`read_wav`], [`resample`], [`speech_clip`]) are for programs
//! that compare received audio with the original.

mod audio_clip;
mod config;
mod file;
#[doc(hidden)]
pub mod fuzzing;
mod generators;
mod host;
mod null_sink;
mod resample;
mod speech;
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

/// Name of the host in configurations and errors.
const NAME: &str = "synthetic";

#[async_trait]
impl Plugin<dyn MediaHost> for SyntheticHost {
    type Config = SyntheticConfig;
    const NAME: &'static str = NAME;
    const SUMMARY: &'static str = "WAV files, recorded speech, tones, noise, silence and video clips; no hardware";
    const CAPABILITIES: MediaCapabilities = host::CAPABILITIES;

    fn check(config: &SyntheticConfig) -> Result<()> {
        config.check()
    }

    async fn create(config: SyntheticConfig, _: &Context) -> Result<Arc<dyn MediaHost>> {
        Ok(Arc::new(SyntheticHost::new(config)?))
    }
}

submit! { Entry::<dyn MediaHost>::of::<SyntheticHost>() }
