//! G.711 audio codecs (ITU-T G.711, RTP as in RFC 3551 §4.5.14), which every WebRTC stack must
//! support (RFC 7874 §3).
//!
//! A program that links this crate (`use blink_media_g711 as _;`) finds the codecs `pcmu` and
//! `pcma` in the registry. They have no settings: 64 kbit/s, narrowband, without error correction.
//! A fallback for when no better codec is shared.

mod codec;
mod config;
mod decoder;
mod encoder;
mod resampler;

pub use codec::{G711Codec, Law};
pub use config::G711Config;

use std::sync::Arc;

use blink_api::macros::{async_trait, submit};
use blink_api::{AudioCodec, AudioCodecCapabilities, Context, Entry, Plugin, Result};

/// Plugin of PCMU (µ-law).
#[derive(Debug, Clone, Copy)]
struct Pcmu;

/// Plugin of PCMA (A-law).
#[derive(Debug, Clone, Copy)]
struct Pcma;

#[async_trait]
impl Plugin<dyn AudioCodec> for Pcmu {
    type Config = G711Config;
    const NAME: &'static str = "pcmu";
    const SUMMARY: &'static str = "G.711 µ-law: 64 kbit/s, telephone quality, supported by every stack";
    const CAPABILITIES: AudioCodecCapabilities = codec::CAPABILITIES;

    fn check(_: &G711Config) -> Result<()> {
        Ok(())
    }

    async fn create(_: G711Config, _: &Context) -> Result<Arc<dyn AudioCodec>> {
        Ok(Arc::new(G711Codec::new(Law::Mu)))
    }
}

#[async_trait]
impl Plugin<dyn AudioCodec> for Pcma {
    type Config = G711Config;
    const NAME: &'static str = "pcma";
    const SUMMARY: &'static str = "G.711 A-law: 64 kbit/s, telephone quality, supported by every stack";
    const CAPABILITIES: AudioCodecCapabilities = codec::CAPABILITIES;

    fn check(_: &G711Config) -> Result<()> {
        Ok(())
    }

    async fn create(_: G711Config, _: &Context) -> Result<Arc<dyn AudioCodec>> {
        Ok(Arc::new(G711Codec::new(Law::A)))
    }
}

submit! { Entry::<dyn AudioCodec>::of::<Pcmu>() }
submit! { Entry::<dyn AudioCodec>::of::<Pcma>() }
