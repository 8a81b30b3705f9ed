//! Recorded files: MP4, WAV and RTP logs, each read, repaired and exported.

use blink_recorders::fuzzing;

/// Exported bytes per byte of the file: headers of Ogg pages and of pcapng packets.
const MOST_EXPORTED: usize = 64;
/// Bytes of an exported file without media.
const EXPORTED_HEADERS: usize = 64 << 10;

/// MP4 files.
pub fn recorded_mp4(data: &[u8]) {
    verify(data);
}

/// WAV files.
pub fn recorded_wav(data: &[u8]) {
    verify(data);
}

/// RTP logs, and payloads of redundant audio.
pub fn rtp_log(data: &[u8]) {
    verify(data);
    if let Ok(packets) = fuzzing::count_packets(data) {
        // A record of a packet has 32 bytes.
        assert!(packets <= data.len() as u64 / 32);
    }
    if let Some((bytes, _)) = fuzzing::red(data, 0) {
        assert!(bytes <= data.len());
    }
}

/// Reported figures do not exceed the size of the file, a repaired file is complete and has all
/// samples, and exports have bounded size.
fn verify(data: &[u8]) {
    let Ok(info) = fuzzing::read_info(data) else { return };
    assert!(info.duration.is_finite() && info.duration >= 0.0);
    assert!(info.torn_bytes <= data.len() as u64);
    let bytes: u64 = info.tracks.iter().map(|track| track.bytes).sum();
    let samples: u64 = info.tracks.iter().map(|track| track.samples).sum();
    if let Ok(Some(repaired)) = fuzzing::repair(data) {
        let again = fuzzing::read_info(&repaired).expect("a repaired file is readable");
        assert!(again.complete, "a repaired file is complete");
        let repaired: u64 = again.tracks.iter().map(|track| track.samples).sum();
        assert!(repaired >= samples, "{repaired} of {samples} samples are left");
    }
    if let Ok(exported) = fuzzing::export(data) {
        assert!(exported <= data.len() * MOST_EXPORTED + EXPORTED_HEADERS, "{bytes} bytes of media");
    }
}
