//! The single datagrams in what sockets send and receive at once (GSO, GRO).

use std::io::IoSliceMut;
use std::slice::Chunks;

use webrtc::runtime::{RecvMeta, Transmit};

/// Datagrams of a transmission.
pub(crate) fn sent<'a>(transmit: &Transmit<'a>) -> Chunks<'a, u8> {
    transmit.contents.chunks(segment(transmit))
}

/// Length of the datagrams of a transmission, but for the last one.
pub(crate) fn segment(transmit: &Transmit<'_>) -> usize {
    transmit.segment_size.unwrap_or(transmit.contents.len()).max(1)
}

/// Datagrams in the first buffers, which were received together.
pub(crate) fn received<'a>(
    buffers: &'a [IoSliceMut<'_>],
    metas: &'a [RecvMeta],
    buffers_filled: usize,
) -> impl Iterator<Item = &'a [u8]> {
    let filled = buffers.iter().zip(metas).take(buffers_filled);
    filled.flat_map(|(buffer, meta)| buffer[..meta.len.min(buffer.len())].chunks(meta.stride.max(1)))
}
