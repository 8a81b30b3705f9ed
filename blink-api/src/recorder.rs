//! Recording of calls. Recorders take RTP packets, encoded frames and decoded audio, all on the
//! call's one clock.

use std::path::PathBuf;

use serde::Serialize;

use crate::{AudioFormat, CallTime, CodecName, EncodedVideoFrame, RecordingId, Result, RtpCodec, RtpTime, TrackKey};

/// Starts recordings in one file format.
pub trait Recorder: Send + Sync {
    /// Capabilities of this recorder, as in its registry entry.
    fn capabilities(&self) -> RecorderCapabilities;

    /// Creates the files and begins a recording.
    ///
    /// # Errors
    /// [`Io`](crate::ErrorKind::Io) and [`Busy`](crate::ErrorKind::Busy), naming the path.
    fn start(&self, config: RecordingConfig) -> Result<Box<dyn Recording>>;
}

/// Capabilities of a recorder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct RecorderCapabilities {
    /// Recording of decoded audio ([`Sample::Audio`]).
    pub samples: bool,
    /// Recording of audio packets ([`Sample::Rtp`]).
    pub packets: bool,
    /// Recording of encoded video frames ([`Sample::Video`]).
    pub video: bool,
    /// Files that stay readable, except for the last second, when the process is killed.
    pub survives_kill: bool,
}

impl RecorderCapabilities {
    /// No capability: the base for entries, which stay valid when a field is added.
    pub const NONE: Self = Self { samples: false, packets: false, video: false, survives_kill: false };
}

/// The configuration of a recording.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct RecordingConfig {
    /// Identifies the recording.
    pub id: RecordingId,
    /// The directory for its files; it exists.
    pub directory: PathBuf,
}

impl RecordingConfig {
    /// A recording into a directory that exists.
    pub fn new(id: RecordingId, directory: impl Into<PathBuf>) -> Self {
        Self { id, directory: directory.into() }
    }
}

/// A track to record.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct RecordedTrack {
    /// Its name, unique in the recording. Its endpoint tells two devices of one identity apart.
    pub key: TrackKey,
    /// Format of the samples passed to [`Recording::push`].
    pub format: TrackFormat,
}

impl RecordedTrack {
    /// A track in a format.
    pub fn new(key: TrackKey, format: TrackFormat) -> Self {
        Self { key, format }
    }
}

/// The format of a recorded track.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum TrackFormat {
    /// Decoded audio.
    Samples(AudioFormat),
    /// RTP packets of audio, or encoded video frames.
    Encoded(RtpCodec),
}

/// One sample of a track.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Sample<'a> {
    /// Interleaved samples, with the RTP time of the first.
    Audio {
        /// In the codec's clock rate.
        timestamp: RtpTime,
        /// −1.0..=1.0.
        samples: &'a [f32],
    },
    /// One RTP packet of audio.
    Rtp(RtpSample<'a>),
    /// One encoded video frame.
    Video {
        /// In 90,000 ticks a second.
        timestamp: RtpTime,
        /// The frame.
        frame: &'a EncodedVideoFrame,
    },
}

/// An RTP packet as it was sent or received (RFC 3550 §5.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RtpSample<'a> {
    /// The codec of the payload.
    pub codec: &'a CodecName,
    /// The sequence number.
    pub sequence: u16,
    /// The timestamp in the codec's clock rate.
    pub timestamp: RtpTime,
    /// The marker bit.
    pub marker: bool,
    /// The payload.
    pub payload: &'a [u8],
}

/// A recording in progress. Dropping it leaves what was written so far.
///
/// Used by one thread of its own, which it may block on the disk.
pub trait Recording: Send {
    /// Adds a track from now on.
    ///
    /// # Errors
    /// [`Unsupported`](crate::ErrorKind::Unsupported) for a format that it cannot keep,
    /// [`Io`](crate::ErrorKind::Io).
    fn add_track(&mut self, track: RecordedTrack) -> Result<()>;

    /// Adds a sample of a track that begins at `at`, exact to one microsecond. Samples of one track
    /// come in order; gaps are silence.
    ///
    /// # Errors
    /// [`NotFound`](crate::ErrorKind::NotFound) for an unknown track, [`Io`](crate::ErrorKind::Io).
    fn push(&mut self, track: &TrackKey, at: CallTime, sample: Sample<'_>) -> Result<()>;

    /// Writes out what is due. Called about every 100 ms.
    ///
    /// # Errors
    /// [`Io`](crate::ErrorKind::Io), after which the recording is over and what was written before
    /// is good.
    fn tick(&mut self, now: CallTime) -> Result<()>;

    /// Completes the files.
    ///
    /// # Errors
    /// As [`tick`](Recording::tick).
    fn finish(self: Box<Self>) -> Result<RecordingSummary>;
}

/// Result of a recording.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[non_exhaustive]
pub struct RecordingSummary {
    /// The files, in the order in which they were begun.
    pub files: Vec<PathBuf>,
    /// Size of all files in bytes.
    pub bytes: u64,
}

impl RecordingSummary {
    /// The summary of these files.
    pub fn new(files: Vec<PathBuf>, bytes: u64) -> Self {
        Self { files, bytes }
    }
}
