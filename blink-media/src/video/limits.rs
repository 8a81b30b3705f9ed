//! Constants of all video codecs.

use blink_api::RtpOut;

/// RTP ticks per second of every video codec (RFC 7741 §4.1, RFC 6184 §5.1).
pub const CLOCK_RATE: u32 = 90_000;

/// Most bytes of payload in a packet.
pub const MAX_PAYLOAD: usize = RtpOut::MAX_PAYLOAD;
