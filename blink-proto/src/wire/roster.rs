//! Who may take part: the signed root and the signed entries.

use blink_api::{CallId, DeviceId, Did, Endpoint};
use minicbor::{Decode, Decoder, Encode, Encoder, decode, encode};

use super::cbor;
use super::fields::{did, expect_array, fixed};

/// Entries that are read of one message; those after them are ignored, whatever they are.
pub const MAX_ENTRIES: usize = 73;

/// Bytes and the signature over them, both as they came.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
pub struct Signed {
    /// A [`Root`] or an [`Entry`].
    #[cbor(n(0), with = "minicbor::bytes")]
    pub bytes: Vec<u8>,
    /// Ed25519 (RFC 8032).
    #[cbor(n(1), with = "minicbor::bytes")]
    pub signature: [u8; 64],
}

/// How a call began. Its hash is the call's id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Root {
    /// Who began it, on which device.
    pub creator: Endpoint,
    /// Makes two calls of the same people different.
    pub nonce: [u8; 16],
    /// When, on the creator's clock; for display only.
    pub unix_ms: u64,
    /// SHA-256 of the call's secret.
    pub secret_hash: [u8; 32],
    /// Sorted, the creator among them; 2 to 16.
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

/// A change of the roster: `[kind, call, did, …]`. Entries are only ever added.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Entry {
    /// In which call.
    pub call: CallId,
    /// Whom it is about.
    pub did: Did,
    /// What it says.
    pub body: EntryBody,
}

/// The change that a roster entry makes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EntryBody {
    /// A member invites somebody; signed by `by`. Each member has slots 0 to 3.
    Add {
        /// Who invites.
        by: Did,
        /// Which of its invitations.
        slot: u8,
    },
    /// The creator removes a person for good. Of all who were invited by that person, or by those
    /// it invited, the ones in `keep` stay.
    Remove {
        /// People who stay, strictly ascending.
        keep: Vec<Did>,
    },
    /// Somebody will not come; signed by that person.
    Reject {
        /// How often this person has changed its mind.
        n: u8,
    },
    /// The creator gives the call a new secret; about the creator itself. The one with the greatest
    /// `n` counts.
    Rotate {
        /// How many secrets there were before.
        n: u32,
        /// SHA-256 of the secret.
        secret_hash: [u8; 32],
    },
}

impl EntryBody {
    /// Whether it gives the call a secret with this SHA-256.
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
    /// Reads a signed entry's bytes; the signature is not looked at.
    pub fn read(signed: &Signed) -> Option<Self> {
        cbor::decode(&signed.bytes).ok()
    }
}
