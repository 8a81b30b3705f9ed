//! The next step of playout.

use blink_api::AudioLevel;
use bytes::Bytes;

/// Next step of playout. Durations are in ticks of the RTP clock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PlayoutDecision {
    /// Decode this packet.
    Packet {
        /// Input of the decoder.
        payload: Bytes,
        /// Duration of its audio.
        ticks: u32,
        /// Duration from its beginning that was concealed because it was late; may exceed `ticks`.
        already_concealed: u32,
        /// Whether it is a redundant copy from a later packet (RFC 2198).
        redundant: bool,
        /// Level as the sender measured it (RFC 6464).
        level: Option<AudioLevel>,
    },
    /// Decode missing audio from the in-band FEC of the next packet, which will be released as
    /// `Packet` too.
    Fec {
        /// The packet after the missing audio.
        next: Bytes,
        /// Duration to decode.
        ticks: u32,
        /// Duration before that, from the frame's beginning, that is concealed already.
        already_concealed: u32,
    },
    /// Decode missing audio from the deep redundancy of a later packet, which will be released as
    /// `Packet` too. Conceal where the redundancy does not reach back far enough.
    Dred {
        /// Next packet in the buffer.
        later: Bytes,
        /// Ticks from the first missing sample to the first sample of that packet.
        distance: u32,
        /// Duration to decode.
        ticks: u32,
    },
    /// Conceal missing audio, whose packet may still arrive.
    Conceal {
        /// Duration to conceal.
        ticks: u32,
        /// Whether this extends the playout delay, which is under its target: the missing audio is
        /// still played whole if its packet arrives.
        extends_delay: bool,
    },
    /// Play background noise: the sender paused (discontinuous transmission).
    Silence {
        /// Duration to fill.
        ticks: u32,
    },
    /// Play silence until the next tick: nothing is due yet.
    Wait,
}
