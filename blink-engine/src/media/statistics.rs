//! What happened to a stream of sound.

use std::time::Duration;

use serde::Serialize;

/// What happened to one participant's sound since its stream was added. Packets and frames are counted; times are as of now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct AudioStatistics {
    /// Packets that came, whatever became of them.
    pub received: u64,
    /// Packets that were decoded and played.
    pub decoded: u64,
    /// Missing frames that the next packet's copy restored ([`DecoderInput::Recover`](blink_api::DecoderInput::Recover)).
    pub recovered: u64,
    /// Missing frames that the decoder made up ([`DecoderInput::Lost`](blink_api::DecoderInput::Lost)). Pauses of the sender are not among them.
    pub concealed: u64,
    /// Packets that came in time and were not played: too many at once, or skipped to get back to the target delay.
    pub discarded: u64,
    /// Packets that came after their time.
    pub late: u64,
    /// Packets that came before.
    pub duplicated: u64,
    /// Packets that could not be read as packets of the stream's codec.
    pub corrupt: u64,
    /// Frames that were made up while nothing is missing, to get back to the target delay.
    pub stretched: u64,
    /// Times that the sender began anew with other sequence numbers or timestamps.
    pub restarts: u64,
    /// Sound that is waiting, from the next frame due to the end of the newest packet.
    pub buffered: Duration,
    /// The time from the arrival of the fastest packets of late to their decoding; zero before the first.
    pub delay: Duration,
    /// What that delay should be.
    pub target: Duration,
}
