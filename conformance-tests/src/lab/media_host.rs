//! A media host of the lab: a microphone that gives a participant's own tone, a loudspeaker that
//! remembers what it played.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use blink_api::macros::async_trait;
use blink_api::{
    AudioFormat, AudioSink, AudioSource, DeviceChange, DeviceInfo, Error, ErrorKind, MediaCapabilities, MediaHost,
    OpenRequest, ReadResult, Result, VideoSource,
};
use tokio::sync::broadcast;

use super::pictures::Camera;
use super::sound::{AMPLITUDE, Ear, tone_of};
use super::time::LabClock;

/// A participant's microphone and loudspeaker, the same over all lives of its engine.
pub(crate) struct Devices {
    pub(crate) ear: Ear,
    /// Whose they are, by number.
    owner: usize,
    hertz: f32,
    pub(crate) clock: LabClock,
    has_microphone: bool,
    /// Gives silence where there is no microphone.
    pretends: bool,
    /// How often the microphone was opened.
    pub(crate) microphones_opened: AtomicUsize,
    /// How often the loudspeaker was opened.
    pub(crate) speakers_opened: AtomicUsize,
    /// Devices that are open.
    pub(crate) open: AtomicUsize,
}

impl Devices {
    pub(crate) fn new(owner: usize, clock: LabClock, has_microphone: bool, pretends: bool) -> Self {
        Self {
            ear: Ear::default(),
            owner,
            hertz: tone_of(owner),
            clock,
            has_microphone,
            pretends,
            microphones_opened: AtomicUsize::new(0),
            speakers_opened: AtomicUsize::new(0),
            open: AtomicUsize::new(0),
        }
    }

    /// Counts a device as open until this is dropped.
    fn opened(self: &Arc<Self>, counter: impl Fn(&Self) -> &AtomicUsize) -> OpenDevice {
        counter(self).fetch_add(1, Ordering::Relaxed);
        self.open.fetch_add(1, Ordering::Relaxed);
        OpenDevice(self.clone())
    }
}

/// A host for one engine.
pub(crate) struct LabHost(pub(crate) Arc<Devices>);

#[async_trait]
impl MediaHost for LabHost {
    fn capabilities(&self) -> MediaCapabilities {
        MediaCapabilities {
            audio_sources: true,
            audio_sinks: true,
            video_sources: true,
            ..MediaCapabilities::default()
        }
    }

    async fn devices(&self) -> Result<Vec<DeviceInfo>> {
        Ok(Vec::new())
    }

    async fn open_audio_source(&self, _: &str, request: OpenRequest) -> Result<Box<dyn AudioSource>> {
        if !self.0.has_microphone && !self.0.pretends {
            return Err(Error::new(ErrorKind::NotFound, "this participant has no microphone"));
        }
        let hertz = if self.0.has_microphone { self.0.hertz } else { 0.0 };
        let step = hertz / request.format.sample_rate as f32;
        let device = self.0.opened(|devices| &devices.microphones_opened);
        Ok(Box::new(Microphone { format: request.format, step, phase: 0.0, _device: device }))
    }

    async fn open_video_source(&self, _: &str) -> Result<Box<dyn VideoSource>> {
        Ok(Box::new(Camera::new(self.0.owner)))
    }

    async fn open_audio_sink(&self, _: &str, request: OpenRequest) -> Result<Box<dyn AudioSink>> {
        Ok(Box::new(Loudspeaker { format: request.format, device: self.0.opened(|devices| &devices.speakers_opened) }))
    }

    fn changes(&self) -> Option<broadcast::Receiver<DeviceChange>> {
        None
    }
}

struct OpenDevice(Arc<Devices>);

impl Drop for OpenDevice {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}

struct Microphone {
    format: AudioFormat,
    /// Turns for each sample, and those done.
    step: f32,
    phase: f32,
    _device: OpenDevice,
}

impl AudioSource for Microphone {
    fn format(&self) -> AudioFormat {
        self.format
    }

    fn read(&mut self, out: &mut [f32]) -> Result<ReadResult> {
        for frame in out.chunks_mut(usize::from(self.format.channels.max(1))) {
            frame.fill(AMPLITUDE * (self.phase * std::f32::consts::TAU).sin());
            self.phase = (self.phase + self.step).fract();
        }
        Ok(ReadResult::new(out.len()))
    }

    fn latency(&self) -> Duration {
        Duration::ZERO
    }
}

struct Loudspeaker {
    format: AudioFormat,
    device: OpenDevice,
}

impl AudioSink for Loudspeaker {
    fn format(&self) -> AudioFormat {
        self.format
    }

    fn write(&mut self, samples: &[f32]) -> Result<usize> {
        self.device.0.ear.take(self.device.0.clock.elapsed(), samples);
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
