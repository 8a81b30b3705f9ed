//! Fields that several messages share.

use blink_api::{CallId, DeviceId, Did, Endpoint};
use minicbor::data::Type;
use minicbor::{Decode, Decoder, Encode, Encoder, decode, encode};
use zeroize::Zeroizing;

/// 16 bytes as a byte string.
pub type Bytes16 = minicbor::bytes::ByteArray<16>;

/// Endpoint encoded as 48 bytes: public key of the DID, device id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct WireEndpoint(pub Endpoint);

impl<C> Encode<C> for WireEndpoint {
    fn encode<W: encode::Write>(&self, e: &mut Encoder<W>, _: &mut C) -> Result<(), encode::Error<W::Error>> {
        let bytes = [&self.0.did.public_key()[..], self.0.device.as_bytes()].concat();
        e.bytes(&bytes)?.ok()
    }
}

impl<'b, C> Decode<'b, C> for WireEndpoint {
    fn decode(d: &mut Decoder<'b>, _: &mut C) -> Result<Self, decode::Error> {
        let bytes: [u8; 48] = fixed(d)?;
        let (key, device) = bytes.split_at(32);
        Ok(Self(Endpoint {
            did: Did::from_public_key(key.try_into().expect("split at 32")),
            device: DeviceId::from_bytes(device.try_into().expect("48 less 32 is 16")),
        }))
    }
}

/// Key of an endpoint in one call, signed by its DID: 96 bytes. Nothing is sealed for a key without
/// a valid signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SignedKey {
    /// X25519 key.
    pub key: [u8; 32],
    /// Ed25519 signature by the endpoint's DID.
    pub signature: [u8; 64],
}

impl<C> Encode<C> for SignedKey {
    fn encode<W: encode::Write>(&self, e: &mut Encoder<W>, _: &mut C) -> Result<(), encode::Error<W::Error>> {
        e.bytes(&[&self.key[..], &self.signature[..]].concat())?.ok()
    }
}

impl<'b, C> Decode<'b, C> for SignedKey {
    fn decode(d: &mut Decoder<'b>, _: &mut C) -> Result<Self, decode::Error> {
        let bytes: [u8; 96] = fixed(d)?;
        let (key, signature) = bytes.split_at(32);
        Ok(Self {
            key: key.try_into().expect("split at 32"),
            signature: signature.try_into().expect("96 less 32 is 64"),
        })
    }
}

pub(super) fn fixed<const N: usize>(d: &mut Decoder<'_>) -> Result<[u8; N], decode::Error> {
    d.bytes()?.try_into().map_err(|_| decode::Error::message("wrong length"))
}

pub(super) fn did(d: &mut Decoder<'_>) -> Result<Did, decode::Error> {
    fixed(d).map(Did::from_public_key)
}

pub(super) fn expect_array(d: &mut Decoder<'_>, length: u64) -> Result<(), decode::Error> {
    if d.array()? == Some(length) { Ok(()) } else { Err(decode::Error::message("wrong length")) }
}

/// Secret of a call, wiped on drop.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(pub Zeroizing<[u8; 32]>);

/// Shows no content.
impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret")
    }
}

impl<C> Encode<C> for Secret {
    fn encode<W: encode::Write>(&self, e: &mut Encoder<W>, _: &mut C) -> Result<(), encode::Error<W::Error>> {
        e.bytes(&self.0[..])?.ok()
    }
}

impl<'b, C> Decode<'b, C> for Secret {
    fn decode(d: &mut Decoder<'b>, _: &mut C) -> Result<Self, decode::Error> {
        fixed(d).map(|bytes| Self(Zeroizing::new(bytes)))
    }
}

/// Encoding of a secret, wiped on drop.
pub(crate) mod secret {
    use super::*;

    pub(crate) fn encode<C, W: encode::Write>(
        value: &Zeroizing<[u8; 32]>,
        e: &mut Encoder<W>,
        _: &mut C,
    ) -> Result<(), encode::Error<W::Error>> {
        e.bytes(&value[..])?.ok()
    }

    pub(crate) fn decode<C>(d: &mut Decoder<'_>, _: &mut C) -> Result<Zeroizing<[u8; 32]>, decode::Error> {
        fixed(d).map(Zeroizing::new)
    }
}

/// Encoding of a call id or null.
pub(super) mod call_id {
    use super::*;

    pub(crate) fn encode<C, W: encode::Write>(
        value: &Option<CallId>,
        e: &mut Encoder<W>,
        _: &mut C,
    ) -> Result<(), encode::Error<W::Error>> {
        match value {
            Some(id) => e.bytes(id.as_bytes())?.ok(),
            None => e.null()?.ok(),
        }
    }

    pub(crate) fn decode<C>(d: &mut Decoder<'_>, _: &mut C) -> Result<Option<CallId>, decode::Error> {
        if d.datatype()? == Type::Null {
            return d.null().map(|()| None);
        }
        fixed(d).map(|bytes| Some(CallId::from_bytes(bytes)))
    }
}

/// Encoding of a call id.
pub(crate) mod call {
    use super::*;

    pub(crate) fn encode<C, W: encode::Write>(
        value: &CallId,
        e: &mut Encoder<W>,
        _: &mut C,
    ) -> Result<(), encode::Error<W::Error>> {
        e.bytes(value.as_bytes())?.ok()
    }

    pub(crate) fn decode<C>(d: &mut Decoder<'_>, _: &mut C) -> Result<CallId, decode::Error> {
        fixed(d).map(CallId::from_bytes)
    }
}

/// Encoding of a person.
pub(crate) mod person {
    use super::*;

    pub(crate) fn encode<C, W: encode::Write>(
        value: &Did,
        e: &mut Encoder<W>,
        _: &mut C,
    ) -> Result<(), encode::Error<W::Error>> {
        e.bytes(value.public_key())?.ok()
    }

    pub(crate) fn decode<C>(d: &mut Decoder<'_>, _: &mut C) -> Result<Did, decode::Error> {
        did(d)
    }
}

/// Encoding of several people.
pub(crate) mod people {
    use super::*;

    pub(crate) fn encode<C, W: encode::Write>(
        value: &[Did],
        e: &mut Encoder<W>,
        _: &mut C,
    ) -> Result<(), encode::Error<W::Error>> {
        e.array(value.len() as u64)?;
        value.iter().try_for_each(|did| e.bytes(did.public_key())?.ok())
    }

    pub(crate) fn decode<C>(d: &mut Decoder<'_>, _: &mut C) -> Result<Vec<Did>, decode::Error> {
        let count = d.array()?.ok_or_else(|| decode::Error::message("indefinite"))?;
        (0..count).map(|_| did(d)).collect()
    }
}
