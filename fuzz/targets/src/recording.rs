//! Files of recordings.

use blink_recorders::fuzzing;

/// What is reported comes from the file: no more samples, bytes or packets than it has room for.
pub fn run(data: &[u8]) {
    if let Ok(info) = fuzzing::read_info(data) {
        assert!(info.duration.is_finite() && info.duration >= 0.0);
        assert!(info.torn_bytes <= data.len() as u64);
    }
    if let Ok(packets) = fuzzing::count_packets(data) {
        // A record of a packet has 32 bytes.
        assert!(packets <= data.len() as u64 / 32);
    }
    if let Some((bytes, _)) = fuzzing::red(data, 0) {
        assert!(bytes <= data.len());
    }
}
