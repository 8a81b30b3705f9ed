//! Packetizers of `rtc-rtp` as [`FramePacketizer`]s.

use blink_api::{EncodedVideoFrame, Error, ErrorKind, FramePacketizer, Result};
use bytes::Bytes;
use rtc_rtp::packetizer::Payloader;

/// Packetizer of `rtc-rtp` for one stream.
pub(super) struct RtcPacketizer(pub(super) Box<dyn Payloader>);

impl FramePacketizer for RtcPacketizer {
    fn packetize(&mut self, frame: &EncodedVideoFrame, max: usize) -> Result<Vec<Bytes>> {
        self.0
            .payload(max, &frame.data)
            .map_err(|source| Error::new(ErrorKind::Invalid, "a video frame cannot be packetized").source(source))
    }
}
