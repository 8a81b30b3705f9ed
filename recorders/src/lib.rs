//! Recorders of the Blink call engine, and tools for their files.
//!
//! A program that links this crate (`use blink_recorders as _;`) finds the recorders `wav`,
//! `mp4` and `rtp-log` in the registry. The functions [`info`], [`repair`], [`export`],
//! [`merge`] and [`analyze`] read their files.

mod analysis;
mod box_reader;
mod config;
#[doc(hidden)]
pub mod fuzzing;
mod inspection;
mod mp4;
mod opus_packet;
mod output_file;
mod rtp_log;
mod timeline;
mod wav;
mod wav_file;

pub use analysis::{Audible, Bursts, Delays, RtpAnalysis, TrackAnalysis, Verdict, analyze, delay_svg};
pub use config::{Mp4Config, RtpLogConfig, SampleFormat, WavConfig};
pub use inspection::{FileFormat, RecordingInfo, RepairReport, TrackInfo, export, info, merge, repair};
pub use mp4::Mp4Recorder;
pub use rtp_log::RtpLogRecorder;
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

#[async_trait]
impl Plugin<dyn Recorder> for RtpLogRecorder {
    type Config = RtpLogConfig;
    const NAME: &'static str = rtp_log::NAME;
    const SUMMARY: &'static str = "header and arrival of every RTP packet, and RTCP; for analysis and Wireshark";
    const CAPABILITIES: RecorderCapabilities = rtp_log::CAPABILITIES;

    fn check(config: &RtpLogConfig) -> Result<()> {
        config.check()
    }

    async fn create(config: RtpLogConfig, _: &Context) -> Result<Arc<dyn Recorder>> {
        Ok(Arc::new(Self::new(config)?))
    }
}

submit! { Entry::<dyn Recorder>::of::<RtpLogRecorder>() }
