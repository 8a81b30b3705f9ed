//! Media host of the lab: a microphone with a tone of its own per participant, and a loudspeaker
//! that records what it plays.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use blink_api::macros::async_trait;
use blink_api::{
    AudioFormat, AudioSink, AudioSource, DeviceChange, DeviceInfo, Error, ErrorKind, MediaCapabilities, MediaHost,
    OpenRequest, ReadResult, Result, VideoSource,
};
use tokio::sync::broadcast;

use super::camera::Camera;
use super::clock::LabClock;
use super::headset::{HEADSET, Headset};
use super::playback::{AMPLITUDE, PlaybackRecording, tone_of};
use super::profile::Profile;
use super::recorded::{BEEP, BEEP_INTERVAL};
use super::speech::{SpeechClip, SpeechRecording};

/// A participant's microphone and loudspeaker, kept over all runs of its engine.
pub(crate) struct Devices {
    pub(crate) recording: PlaybackRecording,
    /// Recordings of a participant with real speech: its own, and that of the loudspeaker.
    pub(crate) speech: Option<[SpeechRecording; 2]>,
    /// Number of the participant.
    owner: usize,
    hertz: f32,
    pub(crate) clock: LabClock,
    has_microphone: bool,
    /// Produces silence if there is no microphone.
    fakes_microphone: bool,
    /// `None` where there is none.
    pub(crate) headset: Option<Headset>,
    /// The microphone captures speech in place of its tone.
    pub(crate) speaks: AtomicBool,
    /// Number of times that the microphone was opened.
    pub(crate) microphones_opened: AtomicUsize,
    /// Number of times that the loudspeaker was opened.
    pub(crate) speakers_opened: AtomicUsize,
    /// Number of open devices.
    pub(crate) open: AtomicUsize,
    /// The microphone beeps instead of having a lasting tone.
    pub(crate) beeps: AtomicBool,
}

impl Devices {
    pub(crate) fn new(owner: usize, clock: LabClock, profile: &Profile, fakes_microphone: bool) -> Self {
        Self {
            recording: PlaybackRecording::default(),
            speech: profile.speaks.then(Default::default),
            owner,
            hertz: tone_of(owner),
            clock,
            has_microphone: profile.has_microphone,
            fakes_microphone,
            headset: profile.has_headset.then(Headset::new),
            speaks: AtomicBool::new(false),
            microphones_opened: AtomicUsize::new(0),
            speakers_opened: AtomicUsize::new(0),
            open: AtomicUsize::new(0),
            beeps: AtomicBool::new(false),
        }
    }

    /// Approximate memory of its recordings, in bytes.
    pub(crate) fn size(&self) -> usize {
        let speech: usize = self.speech.iter().flatten().map(SpeechRecording::size).sum();
        self.recording.size() + speech
    }

    /// Counts a device as open until the returned guard is dropped.
    ///
    /// # Errors
    /// [`NotFound`](ErrorKind::NotFound) for a headset that is not plugged in.
    fn opened(self: &Arc<Self>, name: &str, counter: impl Fn(&Self) -> &AtomicUsize) -> Result<OpenDevice> {
        let is_headset = name == HEADSET;
        match self.headset.as_ref().filter(|_| is_headset) {
            Some(headset) => headset.check_plugged()?,
            None if is_headset => return Err(Error::new(ErrorKind::NotFound, "there is no headset")),
            None => {}
        }
        counter(self).fetch_add(1, Ordering::Relaxed);
        self.open.fetch_add(1, Ordering::Relaxed);
        Ok(OpenDevice { devices: self.clone(), is_headset })
    }
}

/// Media host of one engine.
pub(crate) struct LabHost(pub(crate) Arc<Devices>);

#[async_trait]
impl MediaHost for LabHost {
    fn capabilities(&self) -> MediaCapabilities {
        MediaCapabilities {
            audio_sources: true,
            audio_sinks: true,
            video_sources: true,
            hotplug: self.0.headset.is_some(),
            ..MediaCapabilities::default()
        }
    }

    async fn devices(&self) -> Result<Vec<DeviceInfo>> {
        Ok(self.0.headset.as_ref().map(Headset::devices).unwrap_or_default())
    }

    async fn open_audio_source(&self, name: &str, request: OpenRequest) -> Result<Box<dyn AudioSource>> {
        if !self.0.has_microphone && !self.0.fakes_microphone {
            return Err(Error::new(ErrorKind::NotFound, "this participant has no microphone"));
        }
        let hertz = if self.0.has_microphone { self.0.hertz } else { 0.0 };
        let step = hertz / request.format.sample_rate as f32;
        let device = self.0.opened(name, |devices| &devices.microphones_opened)?;
        let clip = SpeechClip::of(self.0.owner);
        if self.0.speech.is_some() {
            return Ok(Box::new(SpeechMicrophone { format: request.format, clip, device }));
        }
        Ok(Box::new(Microphone { format: request.format, step, phase: 0.0, voice: clip, beeping: None, device }))
    }

    async fn open_video_source(&self, _: &str) -> Result<Box<dyn VideoSource>> {
        Ok(Box::new(Camera::new(self.0.owner)))
    }

    async fn open_audio_sink(&self, name: &str, request: OpenRequest) -> Result<Box<dyn AudioSink>> {
        let device = self.0.opened(name, |devices| &devices.speakers_opened)?;
        Ok(Box::new(Loudspeaker { format: request.format, device }))
    }

    fn changes(&self) -> Option<broadcast::Receiver<DeviceChange>> {
        self.0.headset.as_ref().map(Headset::changes)
    }
}

struct OpenDevice {
    devices: Arc<Devices>,
    is_headset: bool,
}

impl OpenDevice {
    fn check_running(&self) -> Result<()> {
        let headset = self.devices.headset.as_ref().filter(|_| self.is_headset);
        headset.map_or(Ok(()), Headset::check_running)
    }
}

impl Drop for OpenDevice {
    fn drop(&mut self) {
        self.devices.open.fetch_sub(1, Ordering::Relaxed);
    }
}

struct Microphone {
    format: AudioFormat,
    /// Turns per sample, and the current phase in turns.
    step: f32,
    phase: f32,
    /// Speech that it captures while its user speaks.
    voice: SpeechClip,
    /// Time of the next sample on the lab's clock, once it beeps.
    beeping: Option<Duration>,
    device: OpenDevice,
}

impl AudioSource for Microphone {
    fn format(&self) -> AudioFormat {
        self.format
    }

    fn read(&mut self, out: &mut [f32]) -> Result<ReadResult> {
        self.device.check_running()?;
        if self.device.devices.speaks.load(Ordering::Relaxed) {
            for frame in out.chunks_mut(usize::from(self.format.channels.max(1))) {
                frame.fill(self.voice.next());
            }
            return Ok(ReadResult::new(out.len()));
        }
        self.voice.restart();
        let devices = &self.device.devices;
        if self.beeping.is_none() && devices.beeps.load(Ordering::Relaxed) {
            self.beeping = Some(devices.clock.elapsed());
        }
        let frame_time = Duration::from_secs(1) / self.format.sample_rate;
        for frame in out.chunks_mut(usize::from(self.format.channels.max(1))) {
            let is_audible = self.beeping.is_none_or(is_beep);
            let amplitude = if is_audible { AMPLITUDE } else { 0.0 };
            frame.fill(amplitude * (self.phase * std::f32::consts::TAU).sin());
            self.phase = (self.phase + self.step).fract();
            self.beeping = self.beeping.map(|at| at + frame_time);
        }
        Ok(ReadResult::new(out.len()))
    }

    fn latency(&self) -> Duration {
        Duration::ZERO
    }
}

/// Whether microphones that beep are audible at this time.
fn is_beep(at: Duration) -> bool {
    Duration::from_nanos((at.as_nanos() % BEEP_INTERVAL.as_nanos()) as u64) < BEEP
}

/// A microphone with recorded speech, on one channel.
struct SpeechMicrophone {
    format: AudioFormat,
    clip: SpeechClip,
    device: OpenDevice,
}

impl AudioSource for SpeechMicrophone {
    fn format(&self) -> AudioFormat {
        self.format
    }

    fn read(&mut self, out: &mut [f32]) -> Result<ReadResult> {
        out.fill_with(|| self.clip.next());
        if let Some([said, _]) = &self.device.devices.speech {
            said.take(self.device.devices.clock.elapsed(), out);
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
        self.device.check_running()?;
        let now = self.device.devices.clock.elapsed();
        self.device.devices.recording.take(now, samples);
        if let Some([_, heard]) = &self.device.devices.speech {
            heard.take(now, samples);
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
