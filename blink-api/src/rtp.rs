//! RTP packets between the engine and a transport (RFC 3550).

use std::fmt;
use std::sync::Arc;
use web_time::Instant;

use bytes::Bytes;
use serde::Serialize;
use tokio::sync::mpsc;

use crate::{AudioLevel, Error, ErrorKind, Mid, Result, RtpTime};

/// A codec in SDP (`rtpmap` and `fmtp`, RFC 8866 §6.6 and §6.15).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RtpCodec {
    /// The encoding name, such as `opus`.
    pub name: CodecName,
    /// RTP clock rate in Hz.
    pub clock_rate: u32,
    /// Channels in `rtpmap`: always 2 for Opus (RFC 7587 §7), 0 for video.
    pub channels: u16,
    /// Format parameters, such as `minptime=10;useinbandfec=1`; empty for none.
    pub fmtp: String,
}

/// A codec's encoding name. Cheap to clone; compared without regard to case.
#[derive(Debug, Clone, Serialize)]
pub struct CodecName(Arc<str>);

impl CodecName {
    /// A name.
    pub fn new(name: &str) -> Self {
        Self(name.into())
    }

    /// Redundant audio (RFC 2198).
    pub fn red() -> Self {
        Self::new("red")
    }

    /// Whether it is redundant audio (RFC 2198): packets with copies of earlier payloads.
    pub fn is_red(&self) -> bool {
        self.0.eq_ignore_ascii_case("red")
    }

    /// As text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl PartialEq for CodecName {
    fn eq(&self, other: &Self) -> bool {
        // Most names are clones of a configured one: comparing the pointers suffices.
        Arc::ptr_eq(&self.0, &other.0) || self.0.eq_ignore_ascii_case(&other.0)
    }
}

impl Eq for CodecName {}

impl fmt::Display for CodecName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A packet to send. The transport adds payload type, SSRC and extension ids.
#[derive(Debug, Clone)]
pub struct RtpOut {
    /// Codec of the payload.
    pub codec: CodecName,
    /// The 16-bit sequence number (RFC 3550 §5.1).
    pub sequence: u16,
    /// The timestamp in the codec's clock rate.
    pub timestamp: RtpTime,
    /// The marker bit, set on the first packet of a talkspurt (RFC 3551 §4.1) and on the last of a
    /// video frame.
    pub marker: bool,
    /// The audio level of the packet (RFC 6464).
    pub level: Option<AudioLevel>,
    /// The payload, at most [`MAX_PAYLOAD`](Self::MAX_PAYLOAD) bytes.
    pub payload: Bytes,
}

impl RtpOut {
    /// Longest payload in bytes: with all headers it fits the MTU of every network in use.
    pub const MAX_PAYLOAD: usize = 1_200;

    /// Checks the length of the payload, for implementations of
    /// [`Session::send_rtp`](crate::Session::send_rtp).
    ///
    /// # Errors
    /// [`TooLarge`](ErrorKind::TooLarge) for more than [`MAX_PAYLOAD`](Self::MAX_PAYLOAD) bytes.
    pub fn check_length(&self) -> Result<()> {
        if self.payload.len() <= Self::MAX_PAYLOAD {
            return Ok(());
        }
        Err(Error::new(ErrorKind::TooLarge, "a payload may have at most 1,200 bytes")
            .with("length", self.payload.len()))
    }
}

/// A received packet.
#[derive(Debug, Clone)]
pub struct RtpIn {
    /// The media section.
    pub mid: Mid,
    /// The payload type on the wire.
    pub payload_type: u8,
    /// Codec of the payload type.
    pub codec: CodecName,
    /// The 16-bit sequence number.
    pub sequence: u16,
    /// The timestamp in the codec's clock rate.
    pub timestamp: RtpTime,
    /// The marker bit.
    pub marker: bool,
    /// The audio level that the sender measured (RFC 6464); `None` for a packet without one.
    pub level: Option<AudioLevel>,
    /// The payload without padding (RFC 3550 §5.1). Empty for a packet of padding alone, such as a
    /// bandwidth probe: a transport delivers it too, because its sequence number counts as
    /// received. Codec and timestamp of such a packet have no meaning.
    pub payload: Bytes,
    /// Time of arrival on the session's clock.
    pub arrival: Instant,
}

/// The receiver of a session's RTP packets: the media pipeline's queue.
///
/// A transport calls it from its own tasks or threads, possibly with its locks held. An
/// implementation neither blocks nor calls back into the session. Where its queue is full, it drops
/// the packet.
pub trait RtpSink: Send + Sync {
    /// Takes one packet, with or without payload ([`RtpIn::payload`]). Packets of one media section
    /// come in the order of their arrival.
    fn deliver(&self, packet: RtpIn);
}

/// A bounded queue of received packets: the simplest [`RtpSink`], with its receiving end.
///
/// While `capacity` packets wait, further ones are dropped.
pub fn rtp_queue(capacity: usize) -> (Arc<dyn RtpSink>, RtpReceiver) {
    let (sender, receiver) = mpsc::channel(capacity.max(1));
    (Arc::new(QueueSink(sender)), RtpReceiver(receiver))
}

struct QueueSink(mpsc::Sender<RtpIn>);

impl RtpSink for QueueSink {
    fn deliver(&self, packet: RtpIn) {
        // Full, or the reader has left: the packet is dropped, as documented.
        self.0.try_send(packet).ok();
    }
}

/// The receiving end of an [`rtp_queue`].
#[derive(Debug)]
pub struct RtpReceiver(mpsc::Receiver<RtpIn>);

impl RtpReceiver {
    /// The next packet; `None` once the sink is dropped and the queue is empty.
    ///
    /// Cancel safe: a future that is dropped before it is ready has taken no packet.
    pub async fn recv(&mut self) -> Option<RtpIn> {
        self.0.recv().await
    }

    /// The next packet, if one waits. Registers no waker.
    pub fn try_recv(&mut self) -> Option<RtpIn> {
        self.0.try_recv().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_queue_drops_the_newest_packets() {
        let (sink, mut packets) = rtp_queue(2);
        (0..3).for_each(|sequence| {
            sink.deliver(RtpIn {
                mid: Mid::new("0"),
                payload_type: 111,
                codec: CodecName::new("opus"),
                sequence,
                timestamp: RtpTime(0),
                marker: false,
                level: None,
                payload: Bytes::new(),
                arrival: Instant::now(),
            });
        });
        drop(sink);
        let sequences: Vec<_> = std::iter::from_fn(|| packets.try_recv()).map(|packet| packet.sequence).collect();
        assert_eq!(sequences, [0, 1]);
    }
}
