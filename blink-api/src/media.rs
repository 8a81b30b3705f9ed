//! Media hosts: lists of devices, files and generators, and their opening.

use async_trait::async_trait;
use serde::Serialize;
use tokio::sync::broadcast;

use crate::{AudioSink, AudioSource, Error, OpenRequest, Result, VideoSource};

/// Audio or video.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum TrackKind {
    /// Audio.
    Audio,
    /// Video.
    Video,
}

/// Lists and opens devices, files and generators.
///
/// The asynchronous methods may be called concurrently.
///
/// # Cancellation
/// Where the future of a method is dropped, the device that it was opening is closed.
#[async_trait]
pub trait MediaHost: Send + Sync {
    /// Capabilities of this host, as in its registry entry.
    fn capabilities(&self) -> MediaCapabilities;

    /// Facts about this host for users, such as which sound system it chose and why; `None` where
    /// there are none. One line.
    fn description(&self) -> Option<String> {
        None
    }

    /// The devices that exist now. Names that take a parameter (`wav:PATH`) appear as a pattern.
    ///
    /// # Errors
    /// [`Io`](crate::ErrorKind::Io) where the audio system does not answer.
    async fn devices(&self) -> Result<Vec<DeviceInfo>>;

    /// Checks that a device of this name can be opened, without opening it: for errors that a user
    /// sees at start, such as a file that is missing. A host that cannot tell accepts the name.
    ///
    /// # Errors
    /// As [`open_audio_source`](MediaHost::open_audio_source).
    async fn check(&self, name: &str, direction: DeviceDirection) -> Result<()> {
        let _ = (name, direction);
        Ok(())
    }

    /// Opens a device to read audio from. `"default"` is the host's default.
    ///
    /// # Errors
    /// [`NotFound`](crate::ErrorKind::NotFound) for a name that is not there,
    /// [`Invalid`](crate::ErrorKind::Invalid) for a file that cannot be read as media (named in the
    /// error), [`Busy`](crate::ErrorKind::Busy).
    async fn open_audio_source(&self, name: &str, request: OpenRequest) -> Result<Box<dyn AudioSource>>;

    /// Opens a device to read video from. `"default"` is the host's default for video. Needs
    /// [`video_sources`](MediaCapabilities::video_sources).
    ///
    /// # Errors
    /// As [`open_audio_source`](MediaHost::open_audio_source);
    /// [`Unsupported`](crate::ErrorKind::Unsupported) where the host has no video, or where it does
    /// not know the codec of a file.
    async fn open_video_source(&self, name: &str) -> Result<Box<dyn VideoSource>> {
        Err(Error::unsupported("media host", "open_video_source").with("name", name))
    }

    /// Opens a device to write audio to. `"default"` is the host's default.
    ///
    /// # Errors
    /// As [`open_audio_source`](MediaHost::open_audio_source).
    async fn open_audio_sink(&self, name: &str, request: OpenRequest) -> Result<Box<dyn AudioSink>>;

    /// Changes of the list of devices from now on; `None` where it never changes. A reader that
    /// lags calls [`devices`](MediaHost::devices) again.
    fn changes(&self) -> Option<broadcast::Receiver<DeviceChange>>;
}

/// Capabilities of a media host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct MediaCapabilities {
    /// Audio sources ([`MediaHost::open_audio_source`]).
    pub audio_sources: bool,
    /// Audio sinks ([`MediaHost::open_audio_sink`]).
    pub audio_sinks: bool,
    /// Video sources ([`MediaHost::open_video_source`]).
    pub video_sources: bool,
    /// Reports of added and removed devices ([`MediaHost::changes`]).
    pub hotplug: bool,
    /// Hardware clock: sources and sinks run on the clock of a device; otherwise they run on that
    /// of their caller.
    pub hardware_clock: bool,
}

impl MediaCapabilities {
    /// No capability: the base for entries, which stay valid when a field is added.
    pub const NONE: Self =
        Self { audio_sources: false, audio_sinks: false, video_sources: false, hotplug: false, hardware_clock: false };
}

/// Direction of a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum DeviceDirection {
    /// Media is read from it.
    Source,
    /// Media is written to it.
    Sink,
}

/// A device of a media host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct DeviceInfo {
    /// Its name in the configuration.
    pub name: String,
    /// Its description for users.
    pub summary: String,
    /// Its direction.
    pub direction: DeviceDirection,
    /// Audio or video.
    pub kind: TrackKind,
    /// Whether `"default"` opens it.
    pub is_default: bool,
}

impl DeviceInfo {
    /// A device that is not the default.
    pub fn new(
        name: impl Into<String>,
        summary: impl Into<String>,
        direction: DeviceDirection,
        kind: TrackKind,
    ) -> Self {
        Self { name: name.into(), summary: summary.into(), direction, kind, is_default: false }
    }
}

/// A change of the list of devices.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum DeviceChange {
    /// A device was added.
    Added(DeviceInfo),
    /// The device of this name was removed.
    Removed(String),
    /// Another device is the default now.
    DefaultChanged(DeviceInfo),
}
