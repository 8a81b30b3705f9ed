//! Encoded video clips in memory, and the files they are read from.

pub(crate) mod annex_b;
pub(crate) mod ivf;

use std::io::Read;
use std::path::Path;
use std::time::Duration;

use blink_api::{Error, ErrorKind, Result, RtpCodec, VideoFormat};
use bytes::Bytes;

use crate::file::{self, invalid};

/// Minimum frame duration; shorter ones indicate a damaged file.
const MIN_FRAME_DURATION: Duration = Duration::from_millis(1);

/// Embedded video clips, described in `assets/clips/README.md`.
const VP8: &[u8] = include_bytes!("../../../assets/clips/counter.ivf");
const H264: &[u8] = include_bytes!("../../../assets/clips/counter.h264");

/// Encoded video clip.
#[derive(Debug, Clone)]
pub(crate) struct EncodedClip {
    /// Codec of the frames.
    pub(crate) codec: RtpCodec,
    /// Resolution and mean frame rate.
    pub(crate) format: VideoFormat,
    /// Frames in decoding order, which equals presentation order. The first is a key frame.
    pub(crate) frames: Vec<ClipFrame>,
}

/// Frame of a clip.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ClipFrame {
    /// Encoded frame, as in [`EncodedVideoFrame::data`](blink_api::EncodedVideoFrame::data).
    pub(crate) data: Bytes,
    /// Key frame, as in [`EncodedVideoFrame::key`](blink_api::EncodedVideoFrame::key).
    pub(crate) key: bool,
    /// Time to the next frame, or to the first one when looping; at least 1 ms.
    pub(crate) duration: Duration,
}

impl EncodedClip {
    /// Parses the embedded VP8 clip.
    ///
    /// # Errors
    /// Only in a faulty build.
    pub(crate) fn vp8() -> Result<Self> {
        ivf::parse(&Bytes::from_static(VP8))
    }

    /// Parses the embedded H.264 clip.
    ///
    /// # Errors
    /// Only in a faulty build.
    pub(crate) fn h264() -> Result<Self> {
        annex_b::parse(&Bytes::from_static(H264))
    }

    /// Reads a file of up to `longest` seconds: `.ivf` with VP8, `.h264` or `.264` in the byte
    /// stream format.
    ///
    /// # Errors
    /// [`NotFound`](ErrorKind::NotFound), [`Unsupported`](ErrorKind::Unsupported) for another
    /// codec, [`Invalid`](ErrorKind::Invalid) if it is not such a file; in one line with the path
    /// and the reason.
    pub(crate) fn read(path: &Path, longest: u32) -> Result<Self> {
        read(path, longest).map_err(|error| file::named(error, path))
    }

    /// Duration of one loop; not zero.
    pub(crate) fn duration(&self) -> Duration {
        self.frames.iter().map(|frame| frame.duration).sum()
    }
}

fn read(path: &Path, longest: u32) -> Result<EncodedClip> {
    let extension = path.extension().map(|extension| extension.to_string_lossy().to_ascii_lowercase());
    let parse = match extension.as_deref() {
        Some("ivf") => ivf::parse,
        Some("h264" | "264") => annex_b::parse,
        _ => return Err(invalid("a clip must be vp8, h264, or a file that ends in .ivf, .h264 or .264")),
    };
    let (file, bytes) = file::open(path)?;
    let mut data = Vec::new();
    file.take(bytes)
        .read_to_end(&mut data)
        .map_err(|source| Error::new(ErrorKind::Io, "the file cannot be read").source(source))?;
    let clip = parse(&data.into())?;
    let seconds = clip.duration().as_secs_f64().round();
    if seconds > f64::from(longest) {
        return Err(invalid("the file is too long").with("seconds", seconds).with("longest", longest));
    }
    Ok(clip)
}

/// Checks the requirements on frames of both formats.
fn check(frames: &[ClipFrame]) -> Result<()> {
    let Some(first) = frames.first() else { return Err(invalid("the file contains no frame")) };
    if !first.key {
        return Err(invalid("the file does not begin with a key frame"));
    }
    match frames.iter().position(|frame| frame.duration < MIN_FRAME_DURATION) {
        Some(frame) => Err(invalid("frames are less than 1 ms apart").with("frame", frame)),
        None => Ok(()),
    }
}

fn mean_rate(frames: &[ClipFrame]) -> f32 {
    let duration: Duration = frames.iter().map(|frame| frame.duration).sum();
    frames.len() as f32 / duration.as_secs_f32()
}

#[cfg(test)]
mod tests;
