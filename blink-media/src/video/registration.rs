//! Registration of the built-in payload formats.

use std::sync::Arc;

use blink_api::macros::{async_trait, submit};
use blink_api::{Context, Entry, PayloadFormat, PayloadFormatCapabilities, Plugin, Result};
use serde::{Deserialize, Serialize};

use super::h264::H264;
use super::vp8::Vp8;

/// Configuration without keys.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NoConfig {}

#[async_trait]
impl Plugin<dyn PayloadFormat> for Vp8 {
    type Config = NoConfig;
    const NAME: &'static str = "vp8";
    const SUMMARY: &'static str = "RTP payload format of VP8 (RFC 7741)";
    const CAPABILITIES: PayloadFormatCapabilities = Self::CAPABILITIES_OF_FORMAT;

    async fn create(_: NoConfig, _: &Context) -> Result<Arc<dyn PayloadFormat>> {
        Ok(Arc::new(Self))
    }
}

#[async_trait]
impl Plugin<dyn PayloadFormat> for H264 {
    type Config = NoConfig;
    const NAME: &'static str = "h264";
    const SUMMARY: &'static str = "RTP payload format of H.264 (RFC 6184, packetization mode 1)";
    const CAPABILITIES: PayloadFormatCapabilities = Self::CAPABILITIES_OF_FORMAT;

    async fn create(_: NoConfig, _: &Context) -> Result<Arc<dyn PayloadFormat>> {
        Ok(Arc::new(Self))
    }
}

submit! { Entry::<dyn PayloadFormat>::of::<Vp8>() }
submit! { Entry::<dyn PayloadFormat>::of::<H264>() }
