//! Media host with a tone as microphone, and a speaker that notes its first sound.

use std::time::Duration;

use blink_api::macros::async_trait;
use blink_api::{
    AudioFormat, AudioSink, AudioSource, DeviceChange, DeviceInfo, MediaCapabilities, MediaHost, OpenRequest, Result,
};
use blink_media_synthetic::{SyntheticConfig, SyntheticHost};
use tokio::sync::broadcast;

use super::time_line::{Step, TimeLine};

/// Least amplitude of a sound.
const AUDIBLE: f32 = 1e-3;

/// A media host with one microphone and one speaker.
pub(super) struct OnsetHost {
    pub(super) line: TimeLine,
}

#[async_trait]
impl MediaHost for OnsetHost {
    fn capabilities(&self) -> MediaCapabilities {
        MediaCapabilities { audio_sources: true, audio_sinks: true, ..MediaCapabilities::NONE }
    }

    async fn devices(&self) -> Result<Vec<DeviceInfo>> {
        Ok(Vec::new())
    }

    async fn open_audio_source(&self, _: &str, request: OpenRequest) -> Result<Box<dyn AudioSource>> {
        SyntheticHost::new(SyntheticConfig::default())?.open_audio_source("tone:440", request).await
    }

    async fn open_audio_sink(&self, _: &str, request: OpenRequest) -> Result<Box<dyn AudioSink>> {
        Ok(Box::new(OnsetSink { format: request.format, line: self.line.clone() }))
    }

    fn changes(&self) -> Option<broadcast::Receiver<DeviceChange>> {
        None
    }
}

struct OnsetSink {
    format: AudioFormat,
    line: TimeLine,
}

impl AudioSink for OnsetSink {
    fn format(&self) -> AudioFormat {
        self.format
    }

    fn write(&mut self, samples: &[f32]) -> Result<usize> {
        if samples.iter().any(|sample| sample.abs() > AUDIBLE) {
            self.line.note(Step::Played);
        }
        Ok(samples.len())
    }

    fn queued(&self) -> usize {
        0
    }

    fn latency(&self) -> Duration {
        Duration::ZERO
    }

    fn finish(&mut self) -> Result<()> {
        Ok(())
    }
}
