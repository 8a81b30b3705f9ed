//! Stream offers and requests.

use blink_api::{Endpoint, StreamId, TrackKind};
use minicbor::{Decode, Decoder, Encode, Encoder, decode, encode};

use super::fields::{WireEndpoint, expect_array, fixed};

/// Longest codec name in bytes.
const MAX_CODEC: usize = 16;
/// Longest stream name in bytes.
pub const MAX_STREAM_NAME: usize = 64;
/// Maximum number of streams that one record offers.
pub const MAX_STREAMS: usize = 8;

/// Stream that a device offers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamOffer {
    /// Identifier.
    pub id: StreamId,
    /// Audio or video.
    pub kind: TrackKind,
    /// Encoding name as in SDP; at most 16 bytes.
    pub codec: String,
    /// Display name; at most 64 bytes.
    pub name: String,
}

impl<C> Encode<C> for StreamOffer {
    fn encode<W: encode::Write>(&self, e: &mut Encoder<W>, _: &mut C) -> Result<(), encode::Error<W::Error>> {
        let kind = match self.kind {
            TrackKind::Audio => 0,
            TrackKind::Video => 1,
        };
        e.array(4)?.bytes(self.id.as_bytes())?.u8(kind)?.str(&self.codec)?.str(&self.name)?.ok()
    }
}

impl<'b, C> Decode<'b, C> for StreamOffer {
    fn decode(d: &mut Decoder<'b>, _: &mut C) -> Result<Self, decode::Error> {
        expect_array(d, 4)?;
        let id = StreamId::from_bytes(fixed(d)?);
        let kind = match d.u8()? {
            0 => TrackKind::Audio,
            1 => TrackKind::Video,
            _ => return Err(decode::Error::message("neither audio nor video")),
        };
        let (codec, name) = (d.str()?, d.str()?);
        if codec.len() > MAX_CODEC || name.len() > MAX_STREAM_NAME {
            return Err(decode::Error::message("a name that is too long"));
        }
        Ok(Self { id, kind, codec: codec.to_owned(), name: name.to_owned() })
    }
}

/// Stream that a device requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct StreamRequest {
    /// Endpoint that offers it.
    pub endpoint: Endpoint,
    /// The stream.
    pub stream: StreamId,
}

impl<C> Encode<C> for StreamRequest {
    fn encode<W: encode::Write>(&self, e: &mut Encoder<W>, ctx: &mut C) -> Result<(), encode::Error<W::Error>> {
        e.array(2)?;
        WireEndpoint(self.endpoint).encode(e, ctx)?;
        e.bytes(self.stream.as_bytes())?.ok()
    }
}

impl<'b, C> Decode<'b, C> for StreamRequest {
    fn decode(d: &mut Decoder<'b>, ctx: &mut C) -> Result<Self, decode::Error> {
        expect_array(d, 2)?;
        let WireEndpoint(endpoint) = WireEndpoint::decode(d, ctx)?;
        Ok(Self { endpoint, stream: StreamId::from_bytes(fixed(d)?) })
    }
}
