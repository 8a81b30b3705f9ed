//! The signed root and the signed entries of a roster.

use blink_api::{CallId, DeviceId, Did, Endpoint};
use minicbor::{Decode, Decoder, Encode, Encoder, decode, encode};

use super::cbor;
use super::fields::{did, expect_array, fixed};

/// Maximum number of entries read of one message. Further ones are ignored, whatever they contain.
pub const MAX_ENTRIES: usize = 73;

/// Signed bytes and their signature, as received.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
pub struct Signed {
    /// Encoded [`Root`] or [`Entry`].
    #[cbor(n(0), with = "minicbor::bytes")]
    pub bytes: Vec<u8>,
    /// Ed25519 signature (RFC 8032).
    #[cbor(n(1), with = "minicbor::bytes")]
    pub signature: [u8; 64],
}

/// Root of a call: how it was created. Its hash is the call's id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Root {
    /// Endpoint that created the call.
    pub creator: Endpoint,
    /// Random bytes that distinguish calls of the same people.
    pub nonce: [u8; 16],
    /// Time of creation on the creator's clock; for display only.
    pub unix_ms: u64,
    /// SHA-256 of the call's secret.
    pub secret_hash: [u8; 32],
    /// Members, sorted, the creator included; 2 to 16.
    pub members: Vec<Did>,
}

impl<C> Encode<C> for Root {
    fn encode<W: encode::Write>(&self, e: &mut Encoder<W>, _: &mut C) -> Result<(), encode::Error<W::Error>> {
        e.array(6)?.bytes(self.creator.did.public_key())?.bytes(self.creator.device.as_bytes())?;
        e.bytes(&self.nonce)?.u64(self.unix_ms)?.bytes(&self.secret_hash)?;
        e.array(self.members.len() as u64)?;
        self.members.iter().try_for_each(|member| e.bytes(member.public_key())?.ok())
    }
}

impl<'b, C> Decode<'b, C> for Root {
    fn decode(d: &mut Decoder<'b>, _: &mut C) -> Result<Self, decode::Error> {
        expect_array(d, 6)?;
        let creator = Endpoint { did: did(d)?, device: DeviceId::from_bytes(fixed(d)?) };
        let (nonce, unix_ms, secret_hash) = (fixed(d)?, d.u64()?, fixed(d)?);
        let members = dids(d)?;
        Ok(Self { creator, nonce, unix_ms, secret_hash, members })
    }
}

fn dids(d: &mut Decoder<'_>) -> Result<Vec<Did>, decode::Error> {
    let count = d.array()?.ok_or_else(|| decode::Error::message("indefinite"))?;
    (0..count).map(|_| did(d)).collect()
}

/// Change of the roster: `[kind, call, did, …]`. Entries are only added, never withdrawn.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Entry {
    /// The call.
    pub call: CallId,
    /// Person that the entry is about.
    pub did: Did,
    /// The change.
    pub body: EntryBody,
}

/// Kind of change.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EntryBody {
    /// Invitation by a member, signed by `by`. Each member has slots 0 to 3.
    Add {
        /// Inviting person.
        by: Did,
        /// Slot of the invitation.
        slot: u8,
    },
    /// Final removal by the creator. Of all people invited through the removed person, those in
    /// `keep` stay.
    Remove {
        /// People who stay, strictly ascending.
        keep: Vec<Did>,
    },
    /// Rejection, signed by the person.
    Reject {
        /// Number of earlier rejections of the person.
        n: u8,
    },
    /// New secret of the call, by and about the creator. The one with the greatest `n` counts.
    Rotate {
        /// Number of earlier rotations.
        n: u32,
        /// SHA-256 of the secret.
        secret_hash: [u8; 32],
    },
}

impl EntryBody {
    /// Whether it rotates the call's secret to one with this SHA-256.
    pub fn names(&self, hash: &[u8; 32]) -> bool {
        matches!(self, Self::Rotate { secret_hash, .. } if secret_hash == hash)
    }
}

impl<C> Encode<C> for Entry {
    fn encode<W: encode::Write>(&self, e: &mut Encoder<W>, _: &mut C) -> Result<(), encode::Error<W::Error>> {
        let (kind, length) = match self.body {
            EntryBody::Add { .. } => (0, 5),
            EntryBody::Remove { .. } => (1, 4),
            EntryBody::Reject { .. } => (2, 4),
            EntryBody::Rotate { .. } => (3, 5),
        };
        e.array(length)?.u8(kind)?.bytes(self.call.as_bytes())?.bytes(self.did.public_key())?;
        match &self.body {
            EntryBody::Add { by, slot } => e.bytes(by.public_key())?.u8(*slot)?.ok(),
            EntryBody::Remove { keep } => {
                e.array(keep.len() as u64)?;
                keep.iter().try_for_each(|did| e.bytes(did.public_key())?.ok())
            }
            EntryBody::Reject { n } => e.u8(*n)?.ok(),
            EntryBody::Rotate { n, secret_hash } => e.u32(*n)?.bytes(secret_hash)?.ok(),
        }
    }
}

impl<'b, C> Decode<'b, C> for Entry {
    fn decode(d: &mut Decoder<'b>, _: &mut C) -> Result<Self, decode::Error> {
        let length = d.array()?;
        let kind = d.u8()?;
        let (call, about) = (CallId::from_bytes(fixed(d)?), did(d)?);
        let body = match (kind, length) {
            (0, Some(5)) => EntryBody::Add { by: did(d)?, slot: d.u8()? },
            (1, Some(4)) => EntryBody::Remove { keep: dids(d)? },
            (2, Some(4)) => EntryBody::Reject { n: d.u8()? },
            (3, Some(5)) => EntryBody::Rotate { n: d.u32()?, secret_hash: fixed(d)? },
            _ => return Err(decode::Error::message("no such entry")),
        };
        Ok(Self { call, did: about, body })
    }
}

impl Entry {
    /// Decodes a signed entry without verifying its signature.
    pub fn read(signed: &Signed) -> Option<Self> {
        cbor::decode(&signed.bytes).ok()
    }
}
