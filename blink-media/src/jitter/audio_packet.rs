//! Packets as they arrive.

use bytes::Bytes;
use web_time::Instant;

use blink_api::{AudioLevel, RtpTime};

use crate::timeline::Numbered;

/// A packet of audio that arrived.
#[derive(Debug, Clone)]
pub struct AudioPacket {
    /// Sequence number (RFC 3550 §5.1).
    pub sequence: u16,
    /// Time at which its first sample was captured, on the sender's clock.
    pub timestamp: RtpTime,
    /// Duration of the audio in it, in ticks of the clock rate
    /// ([`AudioDecoder::duration`](blink_api::AudioDecoder::duration)).
    pub ticks: u32,
    /// Marker bit: the first packet of a talkspurt (RFC 3551 §4.1).
    pub marker: bool,
    /// Audio level extension (RFC 6464); `None` without the extension.
    pub level: Option<AudioLevel>,
    /// Whether it holds the codec's own copy of the frame before
    /// ([`AudioDecoder::has_fec`](blink_api::AudioDecoder::has_fec)).
    pub has_fec: bool,
    /// Input of the decoder.
    pub payload: Bytes,
    /// Time of arrival.
    pub arrival: Instant,
}

/// Copy of an earlier packet's audio that came with a later packet (RFC 2198).
#[derive(Debug, Clone)]
pub struct AudioCopy {
    /// Ticks by which it begins before the packet's audio.
    pub offset: u32,
    /// Duration of the audio in it, in ticks.
    pub ticks: u32,
    /// As of an [`AudioPacket`].
    pub has_fec: bool,
    /// Input of the decoder.
    pub payload: Bytes,
}

impl Numbered for AudioPacket {
    const MAX_MISORDER: i64 = 100;
    const MAX_AGE: i64 = i64::MAX;
    const SHARED_TIMESTAMPS: bool = false;

    fn sequence(&self) -> u16 {
        self.sequence
    }

    fn timestamp(&self) -> RtpTime {
        self.timestamp
    }

    fn arrival(&self) -> Instant {
        self.arrival
    }
}
