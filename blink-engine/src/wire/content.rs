//! What an envelope contains: who says what about which call.

use blink_api::{CallId, DeviceId, Did, Endpoint};
use minicbor::data::Type;
use minicbor::{Decoder, Encoder, decode};

use super::fields::fixed;
use super::{Body, cbor};

/// The signed content of an envelope.
#[derive(Debug, Clone, PartialEq)]
pub struct Content {
    /// Who says it: the DID whose key signs, and the device.
    pub from: Endpoint,
    /// The sender's start: greater with every start of that device.
    pub boot: u64,
    /// Counts the sender's envelopes since that start.
    pub seq: u64,
    /// When, on the sender's clock; compared with nothing.
    pub unix_ms: u64,
    /// Which call it is about.
    pub call: CallId,
    /// What it says.
    pub body: Body,
}

/// Why bytes are no content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoContent {
    /// Not deterministic CBOR of the right shape.
    Malformed,
    /// A kind that this version does not know.
    UnknownKind,
}

impl Content {
    /// Its bytes: a map of fields 1 to 8.
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

    /// Reads what [`encode`](Content::encode) writes. Unknown fields are ignored.
    pub fn decode(bytes: &[u8]) -> Result<Self, NoContent> {
        cbor::check(bytes).map_err(|_| NoContent::Malformed)?;
        Self::read(&mut Decoder::new(bytes)).map_err(|_| NoContent::Malformed)?
    }

    fn read(d: &mut Decoder<'_>) -> Result<Result<Self, NoContent>, decode::Error> {
        let fields = d.map()?.ok_or_else(|| decode::Error::message("indefinite"))?;
        let (mut did, mut device, mut boot, mut seq, mut unix_ms, mut call, mut kind) = Default::default();
        let mut body = None;
        for _ in 0..fields {
            if !matches!(d.datatype()?, Type::U8) {
                d.skip()?;
                d.skip()?;
                continue;
            }
            match d.u8()? {
                1 => did = Some(Did::from_public_key(fixed(d)?)),
                2 => device = Some(DeviceId::from_bytes(fixed(d)?)),
                3 => boot = Some(d.u64()?),
                4 => seq = Some(d.u64()?),
                5 => unix_ms = Some(d.u64()?),
                6 => call = Some(CallId::from_bytes(fixed(d)?)),
                7 => kind = Some(d.u8()?),
                8 => {
                    // Deterministic order puts the kind before the body.
                    let Some(kind) = kind else { return Ok(Err(NoContent::Malformed)) };
                    let Some(read) = Body::decode(kind, d) else { return Ok(Err(NoContent::UnknownKind)) };
                    body = Some(read?);
                }
                _ => d.skip()?,
            }
        }
        let content = (|| {
            let from = Endpoint { did: did?, device: device? };
            Some(Self { from, boot: boot?, seq: seq?, unix_ms: unix_ms?, call: call?, body: body? })
        })();
        Ok(content.ok_or(NoContent::Malformed))
    }
}
