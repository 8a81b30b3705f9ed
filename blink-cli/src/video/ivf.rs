//! IVF, a simple container for VP8: a header of 32 bytes, then each frame after a header of 12
//! bytes.

/// File header for a stream that begins with this key frame, which contains the size (RFC 6386
/// §9.1). The clock is RTP's 90 kHz; the number of frames is 0, which readers ignore.
pub(super) fn header(key_frame: &[u8]) -> [u8; 32] {
    let mut header = [0; 32];
    header[..4].copy_from_slice(b"DKIF");
    header[6] = 32;
    header[8..12].copy_from_slice(b"VP80");
    if let Some(size) = key_frame.get(6..10) {
        header[12..16].copy_from_slice(&[size[0], size[1] & 0x3f, size[2], size[3] & 0x3f]);
    }
    header[16..20].copy_from_slice(&90_000_u32.to_le_bytes());
    header[20..24].copy_from_slice(&1_u32.to_le_bytes());
    header
}

/// Frame header: length in bytes, and time, which does not wrap.
pub(super) fn frame_header(length: usize, timestamp: u64) -> [u8; 12] {
    let mut header = [0; 12];
    let length = u32::try_from(length).unwrap_or(u32::MAX);
    header[..4].copy_from_slice(&length.to_le_bytes());
    header[4..].copy_from_slice(&timestamp.to_le_bytes());
    header
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2³² ticks are 13 hours of video.
    #[test]
    fn times_do_not_wrap() {
        let header = frame_header(7, (1 << 32) + 1);
        assert_eq!(header, [7, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0]);
    }
}
