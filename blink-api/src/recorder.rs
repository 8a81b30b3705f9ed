//! Recording of calls. Recorders take RTP packets, encoded frames and decoded audio, all on the
//! call's one clock.

use std::path::PathBuf;
use std::time::Duration;

use serde::Serialize;
use web_time::SystemTime;

use crate::{
    AudioFormat, AudioLevel, CallId, CallTime, CodecName, EncodedVideoFrame, RecordingId, Result, RtpCodec, RtpTime,
    TrackKey,
};

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
    /// Recording of the RTP packets of every track, video too, and of RTCP ([`Sample::Rtp`],
    /// [`Sample::Rtcp`]).
    pub wire: bool,
    /// Files that stay readable, except for the last second, when the process is killed.
    pub survives_kill: bool,
}

impl RecorderCapabilities {
    /// No capability: the base for entries, which stay valid when a field is added.
    pub const NONE: Self = Self { samples: false, packets: false, video: false, wire: false, survives_kill: false };
}

/// The configuration of a recording.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct RecordingConfig {
    /// Identifies the recording.
    pub id: RecordingId,
    /// The directory for its files; it exists.
    pub directory: PathBuf,
    /// The call that is recorded, for file names.
    pub call: Option<CallId>,
    /// Time of day at the beginning of the recording, for file names.
    pub started: Option<SystemTime>,
    /// Call time of the beginning: every file starts here, and earlier samples are dropped. `None`:
    /// the time of the first sample or tick. Recorders of one recording are given the same, so that
    /// their files are aligned.
    pub begin: Option<CallTime>,
}

impl RecordingConfig {
    /// A recording into a directory that exists.
    pub fn new(id: RecordingId, directory: impl Into<PathBuf>) -> Self {
        Self { id, directory: directory.into(), call: None, started: None, begin: None }
    }

    /// Names the call.
    pub fn call(mut self, call: CallId) -> Self {
        self.call = Some(call);
        self
    }

    /// Sets the time of day and the call time of the beginning.
    pub fn begin(mut self, started: SystemTime, begin: CallTime) -> Self {
        self.started = Some(started);
        self.begin = Some(begin);
        self
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
    /// The participant's name as it is shown, for file and track names. Any text: a recorder makes
    /// it safe.
    pub name: Option<String>,
    /// Whether this endpoint sends it; otherwise it is received.
    pub local: bool,
}

impl RecordedTrack {
    /// A received track in a format.
    pub fn new(key: TrackKey, format: TrackFormat) -> Self {
        Self { key, format, name: None, local: false }
    }

    /// Sets the participant's name.
    pub fn named(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Marks it as sent by this endpoint.
    pub fn local(mut self) -> Self {
        self.local = true;
        self
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
    /// One RTP packet: of audio, or of any track where [`wire`](RecorderCapabilities::wire) is
    /// declared.
    Rtp(RtpSample<'a>),
    /// One RTCP packet of a track's session, decrypted, as on the wire (RFC 3550 §6). Only where
    /// [`wire`](RecorderCapabilities::wire) is declared.
    Rtcp {
        /// When it was sent or arrived.
        arrival: CallTime,
        /// Whether this endpoint sent it.
        sent: bool,
        /// The packet, possibly compound.
        packet: &'a [u8],
    },
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
#[non_exhaustive]
pub struct RtpSample<'a> {
    /// The codec of the payload.
    pub codec: &'a CodecName,
    /// The payload type on the wire.
    pub payload_type: u8,
    /// The sequence number.
    pub sequence: u16,
    /// The timestamp in the codec's clock rate.
    pub timestamp: RtpTime,
    /// The marker bit.
    pub marker: bool,
    /// When it was sent or arrived, where that is known.
    pub arrival: Option<CallTime>,
    /// The audio level that was sent along (RFC 6464).
    pub level: Option<AudioLevel>,
    /// The payload.
    pub payload: &'a [u8],
}

impl<'a> RtpSample<'a> {
    /// A packet without marker, level and arrival, of payload type 96.
    pub const fn new(codec: &'a CodecName, sequence: u16, timestamp: RtpTime, payload: &'a [u8]) -> Self {
        Self { codec, payload_type: 96, sequence, timestamp, marker: false, arrival: None, level: None, payload }
    }

    /// Sets the payload type and the marker bit.
    pub const fn header(mut self, payload_type: u8, marker: bool) -> Self {
        self.payload_type = payload_type;
        self.marker = marker;
        self
    }

    /// Sets when it was sent or arrived, and its audio level.
    pub const fn arrived(mut self, arrival: CallTime, level: Option<AudioLevel>) -> Self {
        self.arrival = Some(arrival);
        self.level = level;
        self
    }
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

    /// Adds a sample of a track that begins at `at`, exact to one microsecond. Gaps are silence.
    ///
    /// Decoded audio and video frames of one track come in order. RTP packets come as they arrived:
    /// the recording puts them in order and drops copies.
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
    /// Duration from the beginning to the end of the longest track.
    pub duration: Duration,
    /// The tracks, in the order in which they were added.
    pub tracks: Vec<TrackSummary>,
}

impl RecordingSummary {
    /// The summary of these files.
    pub fn new(files: Vec<PathBuf>, bytes: u64) -> Self {
        Self { files, bytes, ..Self::default() }
    }

    /// Adds duration and tracks.
    pub fn with_tracks(mut self, duration: Duration, tracks: Vec<TrackSummary>) -> Self {
        self.duration = duration;
        self.tracks = tracks;
        self
    }
}

/// Result of one recorded track.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct TrackSummary {
    /// The track.
    pub key: TrackKey,
    /// Its recorded duration, silence included.
    pub duration: Duration,
    /// Media that was lost on the way and is concealed by the decoder.
    pub concealed: Duration,
    /// Silence that was inserted: before a late join, while muted or away, in long gaps.
    pub silence: Duration,
    /// Samples that were recorded.
    pub samples: u64,
    /// Samples that were dropped: too late, copies, of another codec, or undecodable.
    pub dropped: u64,
}

impl TrackSummary {
    /// A track of which nothing is recorded.
    pub const fn new(key: TrackKey) -> Self {
        let zero = Duration::ZERO;
        Self { key, duration: zero, concealed: zero, silence: zero, samples: 0, dropped: 0 }
    }
}
