//! The next step of playout.

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
        /// Part of it, from its beginning on, that was concealed because it was late; possibly more
        /// than it holds.
        past: u32,
        /// It is a copy that came with a later packet.
        copy: bool,
        /// Voice flag of the sender (RFC 6464).
        loud: Option<bool>,
    },
    /// Restore missing audio from the codec's own copy in the next packet, which will come as
    /// `Packet` too.
    Fec {
        /// The packet after the missing audio.
        next: Bytes,
        /// Duration of what is missing before it.
        ticks: u32,
        /// Part before that which is concealed already, of a frame as long as the packet.
        past: u32,
    },
    /// Restore missing audio from the deep redundancy of a later packet, which will come as
    /// `Packet` too; conceal where it does not reach as far back.
    Dred {
        /// The next packet that is here.
        later: Bytes,
        /// From the beginning of what is missing to the beginning of that packet's audio.
        distance: u32,
        /// Duration of what is missing now.
        ticks: u32,
    },
    /// Conceal missing audio. Its packet may come yet.
    Conceal {
        /// Duration to conceal.
        ticks: u32,
        /// Time stands still meanwhile, because the delay is too short: what is missing will be
        /// played whole.
        held: bool,
    },
    /// Play background: the sender paused.
    Silence {
        /// Duration of the pause, or of a part of it.
        ticks: u32,
    },
    /// Play silence and ask again at the next tick: nothing is due yet.
    Wait,
}
