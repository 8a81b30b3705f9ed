//! Payload formats of a call's video, in order of preference.

use std::fmt;
use std::sync::Arc;

use blink_api::{CodecName, Error, ErrorKind, PayloadFormat, Result, RtpCodec};

use super::h264::H264;
use super::vp8::Vp8;

/// The payload formats of video that a call can carry. Cheap to clone.
///
/// VP8 (RFC 7741) and H.264 (RFC 6184) are always among them. VP8 comes first: it is free of patent
/// claims.
#[derive(Clone)]
pub struct PayloadFormats(Arc<[Arc<dyn PayloadFormat>]>);

impl PayloadFormats {
    /// VP8, H.264, and the registered ones. A registered format replaces the one of the same name.
    pub fn new(registered: impl IntoIterator<Item = Arc<dyn PayloadFormat>>) -> Self {
        let mut formats: Vec<Arc<dyn PayloadFormat>> = vec![Arc::new(Vp8), Arc::new(H264)];
        for format in registered {
            let name = format.rtp().name;
            match formats.iter_mut().find(|known| known.rtp().name == name) {
                Some(known) => *known = format,
                None => formats.push(format),
            }
        }
        Self(formats.into())
    }

    /// The codecs as sessions negotiate them, the preferred one first.
    pub fn codecs(&self) -> Vec<RtpCodec> {
        self.0.iter().map(|format| format.rtp()).collect()
    }

    /// The payload format of a codec.
    ///
    /// # Errors
    /// [`Unsupported`](ErrorKind::Unsupported) for a codec without one, naming those that have one.
    pub fn of(&self, codec: &CodecName) -> Result<Arc<dyn PayloadFormat>> {
        self.0.iter().find(|format| format.rtp().name == *codec).cloned().ok_or_else(|| {
            let names: Vec<_> = self.0.iter().map(|format| format.rtp().name.to_string()).collect();
            let why = format!("this video codec has no RTP payload format; there is: {}", names.join(", "));
            Error::new(ErrorKind::Unsupported, why).with("codec", codec)
        })
    }
}

impl Default for PayloadFormats {
    fn default() -> Self {
        Self::new([])
    }
}

impl fmt::Debug for PayloadFormats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.codecs().iter().map(|codec| codec.name.as_str())).finish()
    }
}

#[cfg(test)]
mod tests {
    use blink_api::FramePacketizer;
    use bytes::Bytes;

    use super::*;

    /// VP8 under another name.
    struct Renamed(&'static str);

    impl PayloadFormat for Renamed {
        fn capabilities(&self) -> blink_api::PayloadFormatCapabilities {
            Vp8.capabilities()
        }

        fn rtp(&self) -> RtpCodec {
            RtpCodec { name: CodecName::new(self.0), fmtp: "renamed".to_owned(), ..Vp8.rtp() }
        }

        fn packetizer(&self) -> Box<dyn FramePacketizer> {
            Vp8.packetizer()
        }

        fn parse(&self, payload: &Bytes) -> Option<blink_api::FrameFragment> {
            Vp8.parse(payload)
        }

        fn join(&self, fragments: &[&blink_api::FrameFragment]) -> Option<(Bytes, bool)> {
            Vp8.join(fragments)
        }
    }

    #[test]
    fn registered_formats_follow_the_built_in_ones_or_replace_them() {
        let formats = PayloadFormats::new([Arc::new(Renamed("h264")) as _, Arc::new(Renamed("VP7")) as _]);
        let codecs = formats.codecs();
        let names: Vec<_> = codecs.iter().map(|codec| codec.name.as_str()).collect();
        assert_eq!(names, ["VP8", "h264", "VP7"]);
        assert_eq!(formats.of(&CodecName::new("H264")).unwrap().rtp().fmtp, "renamed");
        let error = formats.of(&CodecName::new("AV1")).err().unwrap();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        assert!(error.to_string().contains("VP8, h264, VP7"), "{error}");
    }
}
