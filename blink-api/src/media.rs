//! Where sound and pictures come from and go to.

use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use serde::Serialize;
use tokio::sync::broadcast;

use crate::{Error, Result, RtpCodec};

/// Audio or video.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum TrackKind {
    /// Sound.
    Audio,
    /// Pictures.
    Video,
}

/// Lists and opens devices, files and generators.
#[async_trait]
pub trait MediaHost: Send + Sync {
    /// What this host can do. The same value its registry entry has.
    fn capabilities(&self) -> MediaCapabilities;

    /// The devices there are now. Names that take a parameter (`wav:PATH`) appear as a pattern.
    ///
    /// # Errors
    /// [`Io`](crate::ErrorKind::Io) where the sound system does not answer.
    async fn devices(&self) -> Result<Vec<DeviceInfo>>;

    /// Opens a device to read sound from. `"default"` is the host's default.
    ///
    /// # Errors
    /// [`NotFound`](crate::ErrorKind::NotFound) for a name that is not there,
    /// [`Invalid`](crate::ErrorKind::Invalid) for a file that cannot be read as media (named in the
    /// error), [`Busy`](crate::ErrorKind::Busy).
    async fn open_source(&self, name: &str, request: OpenRequest) -> Result<Box<dyn AudioSource>>;

    /// Opens a device to read video from. `"default"` is the host's default for video. Needs
    /// [`video_sources`](MediaCapabilities::video_sources).
    ///
    /// # Errors
    /// As [`open_source`](MediaHost::open_source); [`Unsupported`](crate::ErrorKind::Unsupported)
    /// where the host has no video, or where it does not know the codec of a file.
    async fn open_video(&self, name: &str) -> Result<Box<dyn VideoSource>> {
        Err(Error::unsupported("media host", "open_video").with("name", name))
    }

    /// Opens a device to write sound to. `"default"` is the host's default.
    ///
    /// # Errors
    /// As [`open_source`](MediaHost::open_source).
    async fn open_sink(&self, name: &str, request: OpenRequest) -> Result<Box<dyn AudioSink>>;

    /// Devices that come and go from now on; `None` where the host's devices never change.
    fn changes(&self) -> Option<broadcast::Receiver<DeviceChange>>;
}

/// What a media host can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct MediaCapabilities {
    /// Has audio to read.
    pub audio_sources: bool,
    /// Takes audio to play.
    pub audio_sinks: bool,
    /// Has video to read.
    pub video_sources: bool,
    /// Reports devices that come and go.
    pub hotplug: bool,
    /// Runs on a device's own clock; otherwise sources and sinks run on that of their caller.
    pub hardware_clock: bool,
}

/// How a device should be opened. A host converts where the device itself is different.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OpenRequest {
    /// Sample rate and channels that `read` and `write` will use.
    pub format: AudioFormat,
    /// How much is read or written at a time.
    pub period: Duration,
}

/// Interleaved f32 samples in −1.0..=1.0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
pub struct AudioFormat {
    /// Samples per second and channel.
    pub sample_rate: u32,
    /// Channels.
    pub channels: u16,
}

impl AudioFormat {
    /// What a call runs on: 48 kHz, one channel.
    pub const CALL: Self = Self { sample_rate: 48_000, channels: 1 };

    /// Samples of all channels in a duration, rounded down to whole frames.
    pub fn samples_in(self, duration: Duration) -> usize {
        let frames = u128::from(self.sample_rate) * duration.as_nanos() / 1_000_000_000;
        frames as usize * usize::from(self.channels)
    }
}

/// Something to read sound from: a microphone, a file, a generator. Used by one thread, which it
/// never blocks.
pub trait AudioSource: Send {
    /// The format of the samples that `read` gives.
    fn format(&self) -> AudioFormat;

    /// Reads interleaved samples that were captured, at most `out.len()`.
    ///
    /// * A source with a clock of its own gives what it has, possibly nothing.
    /// * One without (a file, a generator) gives all that is asked; after a file's end it gives
    ///   silence.
    ///
    /// # Errors
    /// [`Closed`](crate::ErrorKind::Closed) where the device is gone, for good.
    fn read(&mut self, out: &mut [f32]) -> Result<ReadResult>;

    /// The time from the air to `read`, as far as the device knows.
    fn latency(&self) -> Duration;
}

/// Something to read encoded video from: a camera with its encoder, a screen, a file. Used by one
/// thread, which it never blocks.
pub trait VideoSource: Send {
    /// Size and rate of the frames.
    fn format(&self) -> VideoFormat;

    /// What frames are encoded with, as SDP names it. It does not change.
    fn codec(&self) -> RtpCodec;

    /// Gives the next frame that is due at `now` and was not given before; `None` where none is.
    /// Ask until there is none.
    ///
    /// * The first frame is a key frame, and so is the first after one that was left out: what is
    ///   given can be decoded in the order it is given.
    /// * Whoever asks late gets what was missed from the newest key frame on; what is older is left
    ///   out.
    /// * [`EncodedVideoFrame::at`] grows from frame to frame, and is not after `now`.
    /// * A source without a clock of its own (a file, a generator) runs on `now`, which does not go
    ///   back; its first frame is due at the first call.
    ///
    /// # Errors
    /// [`Closed`](crate::ErrorKind::Closed) where the device is gone, for good.
    fn read_frame(&mut self, now: Instant) -> Result<Option<EncodedVideoFrame>>;

    /// Asks that the next frame be a key frame, such as for a new viewer. Asking again before it
    /// came changes nothing.
    fn request_keyframe(&mut self);
}

/// What a read gave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReadResult {
    /// Samples written to the caller's buffer, all channels counted.
    pub samples: usize,
    /// When the first of them was captured; `None` where the source has no clock of its own.
    pub at: Option<Instant>,
}

/// Something to write sound to: a speaker, a file. Used by one thread, which it never blocks.
pub trait AudioSink: Send {
    /// The format of the samples that `write` takes.
    fn format(&self) -> AudioFormat;

    /// Writes interleaved samples and returns how many were taken; the rest found no room and
    /// should be dropped.
    ///
    /// # Errors
    /// [`Closed`](crate::ErrorKind::Closed) where the device is gone for good,
    /// [`Io`](crate::ErrorKind::Io) where a file cannot grow.
    fn write(&mut self, samples: &[f32]) -> Result<usize>;

    /// Samples written and not yet played.
    fn queued(&self) -> usize;

    /// The time from `write` to the air beyond what is queued.
    fn latency(&self) -> Duration;

    /// Ends the output so that what was written is kept, such as a file's header. Idempotent; also
    /// done by dropping, where errors are lost.
    ///
    /// # Errors
    /// [`Io`](crate::ErrorKind::Io).
    fn finish(&mut self) -> Result<()>;
}

/// Size and rate of video.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct VideoFormat {
    /// Pixels across.
    pub width: u32,
    /// Pixels down.
    pub height: u32,
    /// Frames per second, at most.
    pub frame_rate: f32,
}

/// One encoded frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EncodedVideoFrame {
    /// The codec's bitstream of exactly one frame. VP8: as in RFC 6386 §9. H.264: an access unit in
    /// the byte stream format (H.264 Annex B), each NAL unit behind the start code `00 00 00 01`.
    pub data: Bytes,
    /// Whether it can be decoded without any other. H.264: it holds an IDR picture and the
    /// parameter sets for it.
    pub key: bool,
    /// When it was captured, on this device's clock; for a received frame, when its first packet
    /// came.
    pub at: Instant,
}

/// Which way a device works.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum DeviceDirection {
    /// Gives media.
    Source,
    /// Takes media.
    Sink,
}

/// A device of a media host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DeviceInfo {
    /// What to write in the configuration.
    pub name: String,
    /// What to show.
    pub summary: String,
    /// Which way it works.
    pub direction: DeviceDirection,
    /// Audio or video.
    pub kind: TrackKind,
    /// Whether the host takes it for `"default"`.
    pub is_default: bool,
}

/// Devices come and go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DeviceChange {
    /// Came.
    Added(DeviceInfo),
    /// Went, by name.
    Removed(String),
    /// Another one is the default now.
    DefaultChanged(DeviceInfo),
}
