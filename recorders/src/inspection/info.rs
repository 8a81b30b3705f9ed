//! Tracks of a recorded file.

use std::path::Path;

use blink_api::Result;
use serde::Serialize;

use super::Content;
use crate::box_reader::{Movie, MovieTrack};
use crate::rtp_log::records::{Log, Record};
use crate::wav_file::Header;

/// Format of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum FileFormat {
    /// MP4 (ISO/IEC 14496-12).
    Mp4,
    /// WAV.
    Wav,
    /// A log of RTP packets (`docs/rtp-log.md`).
    RtpLog,
}

/// Content of a recording's file.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct RecordingInfo {
    /// Its format.
    pub format: FileFormat,
    /// Whether the recording was finished. Otherwise [`repair`](super::repair) completes the file.
    pub complete: bool,
    /// Bytes at the end that belong to nothing: what was being written when the process was killed.
    pub torn_bytes: u64,
    /// Duration of the longest track in seconds.
    pub duration: f64,
    /// Its tracks.
    pub tracks: Vec<TrackInfo>,
}

/// A track of a file.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct TrackInfo {
    /// The participant and source, as the recording names them.
    pub name: String,
    /// The codec, such as `Opus`.
    pub codec: String,
    /// Time before its first sample in seconds.
    pub delay: f64,
    /// Duration in seconds, without that.
    pub duration: f64,
    /// Packets, frames or samples.
    pub samples: u64,
    /// Bytes of media.
    pub bytes: u64,
    /// Samples that can be decoded without an earlier one.
    pub key_samples: u64,
}

/// Describes a file of any recorder.
///
/// # Errors
/// [`NotFound`](blink_api::ErrorKind::NotFound), [`Io`](blink_api::ErrorKind::Io), and
/// [`Invalid`](blink_api::ErrorKind::Invalid) with the reason where it is damaged or no recording.
pub fn info(path: &Path) -> Result<RecordingInfo> {
    Content::open(path).map(|(_, content)| RecordingInfo::of(&content))
}

impl RecordingInfo {
    pub(crate) fn of(content: &Content) -> Self {
        match content {
            Content::Mp4(movie) => of_movie(movie),
            Content::Wav(header) => of_wav(header),
            Content::RtpLog(log) => of_log(log),
        }
    }
}

fn of_movie(movie: &Movie) -> RecordingInfo {
    let tracks: Vec<TrackInfo> = movie.tracks.iter().map(of_track).collect();
    let ends = tracks.iter().map(|track| track.delay + track.duration);
    RecordingInfo {
        format: FileFormat::Mp4,
        complete: movie.complete,
        torn_bytes: movie.torn,
        duration: ends.fold(0.0, f64::max),
        tracks,
    }
}

fn of_track(track: &MovieTrack) -> TrackInfo {
    let codec = String::from_utf8_lossy(&track.codec).into_owned();
    TrackInfo {
        name: track.name.clone(),
        codec: if track.video { format!("{codec} {}x{}", track.width, track.height) } else { codec },
        delay: track.delay,
        duration: track.end().saturating_sub(track.skip) as f64 / f64::from(track.timescale),
        samples: track.samples.len() as u64,
        bytes: track.samples.iter().map(|sample| u64::from(sample.size)).sum(),
        key_samples: track.samples.iter().filter(|sample| sample.sync).count() as u64,
    }
}

fn of_wav(header: &Header) -> RecordingInfo {
    let frames = header.readable() / u64::from(header.block);
    let duration = frames as f64 / f64::from(header.sample_rate);
    let codec = format!("{} bit, {} Hz, {} channels", header.bits_per_sample, header.sample_rate, header.channels);
    RecordingInfo {
        format: FileFormat::Wav,
        complete: header.declared == header.present,
        torn_bytes: header.present.saturating_sub(header.declared),
        duration,
        tracks: vec![TrackInfo {
            name: String::new(),
            codec,
            delay: 0.0,
            duration,
            samples: frames,
            bytes: header.readable(),
            key_samples: frames,
        }],
    }
}

fn of_log(log: &Log) -> RecordingInfo {
    let mut tracks: Vec<TrackInfo> = Vec::new();
    for record in log.iter() {
        match record {
            Record::Track(track) => {
                let name = if track.name.is_empty() { track.key } else { format!("{} ({})", track.name, track.key) };
                tracks.push(TrackInfo {
                    name,
                    codec: track.codec,
                    delay: f64::INFINITY,
                    duration: 0.0,
                    samples: 0,
                    bytes: 0,
                    key_samples: 0,
                });
            }
            Record::Rtp(packet) => {
                let Some(track) = tracks.get_mut(usize::from(packet.track)) else { continue };
                let at = packet.arrival.saturating_sub(log.header.begin) as f64 / 1e6;
                track.delay = track.delay.min(at);
                track.duration = track.duration.max(at);
                track.samples += 1;
                track.bytes += u64::from(packet.length);
            }
            Record::Rtcp(_) => {}
        }
    }
    for track in &mut tracks {
        track.delay = if track.delay.is_finite() { track.delay } else { 0.0 };
        track.duration -= track.delay;
        track.key_samples = track.samples;
    }
    RecordingInfo {
        format: FileFormat::RtpLog,
        complete: log.torn() == 0,
        torn_bytes: log.torn(),
        duration: tracks.iter().map(|track| track.delay + track.duration).fold(0.0, f64::max),
        tracks,
    }
}
