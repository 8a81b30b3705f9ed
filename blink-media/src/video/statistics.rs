//! What happened to a stream of pictures.

use serde::Serialize;

/// What happened to one stream of video since its assembler was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct VideoStatistics {
    /// Packets that came, whatever became of them.
    pub received: u64,
    /// Frames that were given out, key frames among them.
    pub frames: u64,
    /// Key frames that were given out.
    pub key_frames: u64,
    /// Frames of which something came and that were not given out: not whole in time, damaged, or
    /// not to be decoded without another that was not.
    pub dropped_frames: u64,
    /// Packets that were given up, by their sequence numbers. Those that came after all are counted
    /// as late too.
    pub lost: u64,
    /// Packets that came when their frame was done with.
    pub late: u64,
    /// Packets that came before.
    pub duplicated: u64,
    /// Packets of another codec, packets that cannot be read, and frames whose packets do not fit
    /// together.
    pub malformed: u64,
    /// Times that the sender began anew with other sequence numbers or timestamps.
    pub restarts: u64,
}
