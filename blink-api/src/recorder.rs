//! Keeping a call on disk. Recorders take what comes over the wire as well as decoded sound, on the
//! call's one clock.

use std::path::PathBuf;

use bytes::Bytes;
use serde::Serialize;

use crate::{AudioFormat, CallTime, Did, RecordingId, Result, RtpCodec, TrackId};

/// Starts recordings in one file format.
pub trait Recorder: Send + Sync {
    /// What this recorder can do. The same value its registry entry has.
    fn capabilities(&self) -> RecorderCapabilities;

    /// Creates the files and begins.
    ///
    /// # Errors
    /// [`Io`](crate::ErrorKind::Io) and [`Busy`](crate::ErrorKind::Busy), naming the path.
    fn start(&self, config: RecordingConfig) -> Result<Box<dyn Recording>>;
}

/// What a recorder can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct RecorderCapabilities {
    /// Takes decoded sound.
    pub samples: bool,
    /// Takes encoded packets.
    pub packets: bool,
    /// Takes video.
    pub video: bool,
    /// A file whose writer was killed can be read, but for the last second.
    pub survives_kill: bool,
}

/// What a recording is started with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordingConfig {
    /// Names the recording.
    pub id: RecordingId,
    /// The folder for its files; it exists.
    pub directory: PathBuf,
}

/// A track to record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordedTrack {
    /// Unique in the recording.
    pub id: TrackId,
    /// Whose it is.
    pub participant: Did,
    /// What `push` will bring.
    pub format: TrackFormat,
}

/// What a recorded track consists of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TrackFormat {
    /// Decoded sound.
    Samples(AudioFormat),
    /// Encoded packets or frames.
    Encoded(RtpCodec),
}

/// One piece of a track.
#[derive(Debug, Clone)]
pub enum Sample<'a> {
    /// Interleaved samples.
    Audio(&'a [f32]),
    /// One packet or frame as the codec made it.
    Encoded {
        /// Its bytes.
        data: Bytes,
        /// Whether it can be decoded without any other.
        key: bool,
    },
}

/// A recording in progress. Dropping it leaves what was written so far.
pub trait Recording: Send {
    /// Adds a track from now on.
    ///
    /// # Errors
    /// [`Unsupported`](crate::ErrorKind::Unsupported) for a format it cannot keep,
    /// [`Io`](crate::ErrorKind::Io).
    fn add_track(&mut self, track: RecordedTrack) -> Result<()>;

    /// Adds a piece of a track that begins at `at`. Pieces of one track come in order; gaps are
    /// silence.
    ///
    /// # Errors
    /// [`NotFound`](crate::ErrorKind::NotFound) for an unknown track, [`Io`](crate::ErrorKind::Io).
    fn push(&mut self, track: TrackId, at: CallTime, sample: Sample<'_>) -> Result<()>;

    /// Called about every 100 ms, to write out what is due.
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

/// What a recording left behind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RecordingSummary {
    /// The files, in the order they were begun.
    pub files: Vec<PathBuf>,
    /// Bytes of all files.
    pub bytes: u64,
}
