//! File parsers for the fuzz targets in `fuzz/`; not part of the public API.

use blink_api::Result;
use bytes::Bytes;

use crate::Pcm;
use crate::video::{annex_b, ivf};

/// Parses the frames of an IVF file.
///
/// # Errors
/// As `clip:FILE`.
pub fn read_ivf(file: &Bytes) -> Result<Vec<Bytes>> {
    ivf::parse(file).map(|clip| clip.frames.into_iter().map(|frame| frame.data).collect())
}

/// Parses the frames of an H.264 file in the byte stream format.
///
/// # Errors
/// As `clip:FILE`.
pub fn read_annex_b(file: &Bytes) -> Result<Vec<Bytes>> {
    annex_b::parse(file).map(|clip| clip.frames.into_iter().map(|frame| frame.data).collect())
}

/// Parses a WAV file.
///
/// # Errors
/// As [`read_wav`](crate::read_wav).
pub fn read_wav(file: &[u8]) -> Result<Pcm> {
    crate::wav::parse(file)
}
