//! Content of an envelope: sender, call and message body.

use blink_api::{CallId, DeviceId, Did, Endpoint};
use minicbor::data::Type;
use minicbor::{Decoder, Encoder, decode};

use super::body::Body;
use super::cbor;
use super::fields::fixed;

/// The signed content of an envelope.
#[derive(Debug, Clone, PartialEq)]
pub struct Content {
    /// Sender: the DID whose key signs, and the device.
    pub from: Endpoint,
    /// Boot counter of the sender: greater with every start of the device.
    pub boot: u64,
    /// Sequence number of the envelope since that start.
    pub seq: u64,
    /// Time on the sender's clock; for display only.
    pub unix_ms: u64,
    /// Call that the message is about.
    pub call: CallId,
    /// Message body.
    pub body: Body,
}

/// Error of [`Content::decode`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ContentError {
    /// Not deterministic CBOR, or fields are missing or of the wrong type.
    Malformed,
    /// Well-formed content of a kind that this version does not know.
    UnknownKind,
}

impl std::fmt::Display for ContentError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Malformed => "malformed content",
            Self::UnknownKind => "unknown kind of message",
        })
    }
}

impl std::error::Error for ContentError {}

impl Content {
    /// Encodes it as a map of fields 1 to 8.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(512);
        let mut e = Encoder::new(&mut bytes);
        let written: Result<(), minicbor::encode::Error<_>> = (|| {
            e.map(8)?.u8(1)?.bytes(self.from.did.public_key())?.u8(2)?.bytes(self.from.device.as_bytes())?;
            e.u8(3)?.u64(self.boot)?.u8(4)?.u64(self.seq)?.u8(5)?.u64(self.unix_ms)?;
            e.u8(6)?.bytes(self.call.as_bytes())?.u8(7)?.u8(self.body.kind() as u8)?.u8(8)?.encode(&self.body)?;
            Ok(())
        })();
        written.expect("writing to a Vec does not fail");
        bytes
    }

    /// Decodes content. Unknown fields are ignored.
    ///
    /// # Errors
    /// [`ContentError`].
    pub fn decode(bytes: &[u8]) -> Result<Self, ContentError> {
        cbor::check(bytes).map_err(|_| ContentError::Malformed)?;
        Self::read(&mut Decoder::new(bytes)).map_err(|_| ContentError::Malformed)?
    }

    fn read(d: &mut Decoder<'_>) -> Result<Result<Self, ContentError>, decode::Error> {
        let fields = d.map()?.ok_or_else(|| decode::Error::message("indefinite"))?;
        let (mut did, mut device, mut boot, mut seq, mut unix_ms, mut call, mut kind) = Default::default();
        let mut body = None;
        for _ in 0..fields {
            match d.u64()? {
                1 => did = Some(Did::from_public_key(fixed(d)?)),
                2 => device = Some(DeviceId::from_bytes(fixed(d)?)),
                3 => boot = Some(d.u64()?),
                4 => seq = Some(d.u64()?),
                5 => unix_ms = Some(d.u64()?),
                6 => call = Some(CallId::from_bytes(fixed(d)?)),
                7 => kind = Some(d.u64()?),
                8 => {
                    // Deterministic order puts the kind before the body.
                    let Some(kind) = kind else { return Ok(Err(ContentError::Malformed)) };
                    body = match Body::decode(kind, d) {
                        Some(read) => Some(Some(read?)),
                        // The body of an unknown kind is a map, whatever it contains.
                        None if d.datatype()? == Type::Map => {
                            d.skip()?;
                            Some(None)
                        }
                        None => return Ok(Err(ContentError::Malformed)),
                    };
                }
                _ => d.skip()?,
            }
        }
        // A missing field makes the content malformed, whatever its kind.
        let content = (|| {
            let from = Endpoint { did: did?, device: device? };
            let (boot, seq, unix_ms, call, body) = (boot?, seq?, unix_ms?, call?, body?);
            let read = body.map(|body| Self { from, boot, seq, unix_ms, call, body });
            Some(read.ok_or(ContentError::UnknownKind))
        })();
        Ok(content.unwrap_or(Err(ContentError::Malformed)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Busy;

    /// Encoded fields 1 to 6 of a map with `fields` fields, followed by the rest.
    fn with(fields: u8, rest: &[u8]) -> Vec<u8> {
        let from = Endpoint { did: Did::from_public_key([1; 32]), device: DeviceId::from_random([2; 16]) };
        let body = Body::Busy(Busy {});
        let whole = Content { from, boot: 3, seq: 4, unix_ms: 5, call: CallId::from_bytes([6; 16]), body }.encode();
        assert_eq!(whole[whole.len() - 3..], [2, 8, 0xa0]);
        [&[0xa0 | fields], &whole[1..whole.len() - 3], rest].concat()
    }

    #[test]
    fn a_content_is_whole_whatever_its_kind() {
        let of_kind = |kind: &[u8]| with(8, &[kind, &[8, 0xa0]].concat());
        for kind in
            [&[8][..], &[9], &[23], &[0x18, 0xff], &[0x19, 1, 0], &[0x1b, 255, 255, 255, 255, 255, 255, 255, 255]]
        {
            assert_eq!(Content::decode(&of_kind(kind)), Err(ContentError::UnknownKind), "{kind:?}");
        }
        assert_eq!(Content::decode(&with(9, &[9, 8, 0xa1, 0, 1, 9, 0x80])), Err(ContentError::UnknownKind));
        assert!(Content::decode(&of_kind(&[2])).is_ok() && Content::decode(&with(9, &[2, 8, 0xa0, 9, 1])).is_ok());
        let whole = of_kind(&[9]);
        let without_call = [&[0xa7], &whole[1..whole.len() - 22], &whole[whole.len() - 4..]].concat();
        for (bytes, why) in [
            (without_call, "a field is missing"),
            (with(7, &[9]), "no body"),
            (with(7, &[8, 0xa0]), "no kind"),
            (with(8, &[9, 8, 0x80]), "a body that is no map"),
            (with(8, &[9, 8, 0]), "a body that is no map"),
            (of_kind(&[0x20]), "a negative kind"),
            (of_kind(&[0x61, 0x32]), "a kind that is text"),
        ] {
            assert_eq!(Content::decode(&bytes), Err(ContentError::Malformed), "{why}");
        }
    }
}
