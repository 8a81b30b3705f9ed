//! Statistics of a received video stream, with the names of W3C webrtc-stats where it has them.

use serde::Serialize;

/// Statistics of one stream of video since its assembler was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct VideoStatistics {
    /// Packets that arrived, including late, duplicated and malformed ones.
    pub packets_received: u64,
    /// Complete frames, key frames among them.
    pub frames_received: u64,
    /// Complete key frames.
    pub key_frames_received: u64,
    /// Frames of which a packet came and that were dropped: incomplete when given up, damaged, or
    /// dependent on a frame that was dropped.
    pub frames_dropped: u64,
    /// Packets that were given up, by their sequence numbers. Those that came after all are counted
    /// as late too.
    pub packets_lost: u64,
    /// Packets that came when their frame was done with.
    pub packets_late: u64,
    /// Packets that came more than once.
    pub packets_duplicated: u64,
    /// Packets of another codec, packets that cannot be read, and frames whose packets do not fit
    /// together.
    pub packets_malformed: u64,
    /// Restarts of the sender, with other sequence numbers or timestamps.
    pub restarts: u64,
}
