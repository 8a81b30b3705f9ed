//! Packetization of encoded video frames.

use std::fmt;
use web_time::Instant;

use blink_api::{
    CodecName, EncodedVideoFrame, Error, ErrorKind, FramePacketizer, PayloadFormat, Result, RtpOut, RtpTime,
};

use super::limits::{CLOCK_RATE, MAX_PAYLOAD};

/// Packetizes the frames of one source in the payload format of its codec.
///
/// One is made for each stream, whatever the number of receivers; a sender to several numbers the
/// packets anew for each.
pub struct Packetizer {
    codec: CodecName,
    payloads: Box<dyn FramePacketizer>,
    next_sequence: u16,
}

impl Packetizer {
    /// Creates a packetizer whose first packet has this sequence number.
    pub fn new(format: &dyn PayloadFormat, first_sequence: u16) -> Self {
        Self { codec: format.rtp().name, payloads: format.packetizer(), next_sequence: first_sequence }
    }

    /// The codec of the frames.
    pub fn codec(&self) -> &CodecName {
        &self.codec
    }

    /// Packets of the next frame, in order, each with a payload of at most [`MAX_PAYLOAD`] bytes
    /// and all with the timestamp given, at 90,000 ticks a second ([`VideoClock`]). The last one
    /// has the marker.
    ///
    /// H.264 comes as [`EncodedVideoFrame::data`] says. Access unit delimiters and filler data are
    /// dropped, and parameter sets go into one packet before the picture; more than one of each
    /// kind in a frame are not carried.
    ///
    /// # Errors
    /// [`Invalid`](ErrorKind::Invalid) for a frame that holds nothing to send.
    pub fn packetize(&mut self, frame: &EncodedVideoFrame, timestamp: RtpTime) -> Result<Vec<RtpOut>> {
        let invalid =
            || Error::new(ErrorKind::Invalid, "a video frame holds nothing to send").with("codec", &self.codec);
        let payloads = self.payloads.packetize(frame, MAX_PAYLOAD).map_err(|source| invalid().source(source))?;
        let last = payloads.len().checked_sub(1).ok_or_else(invalid)?;
        let packets = payloads.into_iter().enumerate().map(|(number, payload)| {
            let sequence = self.next_sequence;
            self.next_sequence = sequence.wrapping_add(1);
            RtpOut { codec: self.codec.clone(), sequence, timestamp, marker: number == last, level: None, payload }
        });
        Ok(packets.collect())
    }
}

impl fmt::Debug for Packetizer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Packetizer").field("codec", &self.codec).field("next_sequence", &self.next_sequence).finish()
    }
}

/// Capture time to RTP timestamps.
#[derive(Debug, Clone, Copy)]
pub struct VideoClock {
    origin: Instant,
    first: RtpTime,
}

impl VideoClock {
    /// Creates a clock that shows `first` at `origin`, such as the capture of the first frame.
    pub fn new(origin: Instant, first: RtpTime) -> Self {
        Self { origin, first }
    }

    /// Timestamp of a capture time, around the wrap; that of the origin for earlier times.
    pub fn timestamp(&self, at: Instant) -> RtpTime {
        let elapsed = at.saturating_duration_since(self.origin);
        let ticks = elapsed.as_nanos() * u128::from(CLOCK_RATE) / 1_000_000_000;
        // The upper bits are cut off: RTP time is modulo 2³².
        self.first.wrapping_add(ticks as u32)
    }
}
