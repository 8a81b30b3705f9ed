//! The seven kinds of message and what they contain.

use blink_api::{CallId, DeviceId, Did, Endpoint};
use minicbor::bytes::ByteVec;
use minicbor::data::Type;
use minicbor::{Decode, Decoder, Encode, Encoder, decode, encode};
use zeroize::Zeroizing;

use super::cbor;

/// A message's kind: the content's field 7.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Kind {
    /// Come to this call.
    Offer = 0,
    /// I am here, and this nonce proves it to me.
    Ringing = 1,
    /// I am in another call.
    Busy = 2,
    /// I will not come.
    Reject = 3,
    /// I am not, or no longer, in this call.
    Cancel = 4,
    /// My record.
    Member = 5,
    /// What one side of a link has to say to the other.
    Link = 6,
}

/// A message.
#[derive(Debug, Clone, PartialEq)]
pub enum Body {
    /// See [`Kind::Offer`].
    Offer(Box<Offer>),
    /// See [`Kind::Ringing`].
    Ringing(Ringing),
    /// See [`Kind::Busy`].
    Busy(Busy),
    /// See [`Kind::Reject`].
    Reject(Reject),
    /// See [`Kind::Cancel`].
    Cancel(Cancel),
    /// See [`Kind::Member`].
    Member(Box<Member>),
    /// See [`Kind::Link`].
    Link(Box<Link>),
}

impl Body {
    /// Its kind.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Offer(_) => Kind::Offer,
            Self::Ringing(_) => Kind::Ringing,
            Self::Busy(_) => Kind::Busy,
            Self::Reject(_) => Kind::Reject,
            Self::Cancel(_) => Kind::Cancel,
            Self::Member(_) => Kind::Member,
            Self::Link(_) => Kind::Link,
        }
    }

    /// Reads the body of a kind; `None` for an unknown kind.
    pub(super) fn decode(kind: u8, decoder: &mut Decoder<'_>) -> Option<Result<Self, decode::Error>> {
        Some(match kind {
            0 => decoder.decode().map(Self::Offer),
            1 => decoder.decode().map(Self::Ringing),
            2 => decoder.decode().map(Self::Busy),
            3 => decoder.decode().map(Self::Reject),
            4 => decoder.decode().map(Self::Cancel),
            5 => decoder.decode().map(Self::Member),
            6 => decoder.decode().map(Self::Link),
            _ => return None,
        })
    }
}

impl<C> Encode<C> for Body {
    fn encode<W: encode::Write>(&self, e: &mut Encoder<W>, ctx: &mut C) -> Result<(), encode::Error<W::Error>> {
        match self {
            Self::Offer(body) => body.encode(e, ctx),
            Self::Ringing(body) => body.encode(e, ctx),
            Self::Busy(body) => body.encode(e, ctx),
            Self::Reject(body) => body.encode(e, ctx),
            Self::Cancel(body) => body.encode(e, ctx),
            Self::Member(body) => body.encode(e, ctx),
            Self::Link(body) => body.encode(e, ctx),
        }
    }
}

/// Come to this call. Whoever holds it can compute the call's id, topic and tag key.
#[derive(Clone, PartialEq, Encode, Decode)]
#[cbor(map)]
pub struct Offer {
    /// Who began the call, and with whom.
    #[n(0)]
    pub root: Signed,
    /// What changed the roster since.
    #[n(1)]
    pub entries: Vec<Signed>,
    /// The call's secret; the root holds its hash.
    #[cbor(n(2), with = "secret")]
    pub secret: Zeroizing<[u8; 32]>,
    /// Whom the sender believes joined, itself among them.
    #[n(3)]
    pub joined: Vec<JoinedClaim>,
    /// How much longer it rings; 0 tells of a missed call.
    #[n(4)]
    pub remaining_ms: u32,
    /// Nonces that the recipient's devices gave out.
    #[n(5)]
    pub echo: Vec<Bytes16>,
    /// What the integrator passes along.
    #[n(6)]
    pub configuration: CallConfiguration,
}

impl std::fmt::Debug for Offer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Offer")
            .field("joined", &self.joined.len())
            .field("remaining_ms", &self.remaining_ms)
            .field("echo", &self.echo.len())
            .finish_non_exhaustive()
    }
}

/// What every participant should know of a call before answering it.
#[derive(Debug, Clone, PartialEq, Default, Encode, Decode)]
#[cbor(map)]
pub struct CallConfiguration {
    /// The integrator's own, at most 1 KiB.
    #[n(0)]
    pub conversation: Option<ByteVec>,
}

/// A claim that an endpoint is in the call. Its own word beats it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JoinedClaim {
    /// Who.
    pub endpoint: Endpoint,
    /// Its boot when it said so.
    pub boot: u64,
    /// The version of its record then.
    pub version: u64,
    /// The key it can be written to on the call's topic.
    pub call_key: [u8; 32],
}

impl<C> Encode<C> for JoinedClaim {
    fn encode<W: encode::Write>(&self, e: &mut Encoder<W>, ctx: &mut C) -> Result<(), encode::Error<W::Error>> {
        e.array(4)?;
        WireEndpoint(self.endpoint).encode(e, ctx)?;
        e.u64(self.boot)?.u64(self.version)?.bytes(&self.call_key)?.ok()
    }
}

impl<'b, C> Decode<'b, C> for JoinedClaim {
    fn decode(d: &mut Decoder<'b>, ctx: &mut C) -> Result<Self, decode::Error> {
        expect_array(d, 4)?;
        let WireEndpoint(endpoint) = WireEndpoint::decode(d, ctx)?;
        Ok(Self { endpoint, boot: d.u64()?, version: d.u64()?, call_key: fixed(d)? })
    }
}

/// I am here: sent for every offer without a valid echo, before anything is stored.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Ringing {
    /// To be echoed in the next offer.
    #[n(0)]
    pub nonce: Bytes16,
    /// Whether the call rings here, so that offers may come more slowly.
    #[n(1)]
    pub rings: bool,
}

/// I am in another call.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Busy {}

/// I will not come: the signed [`Entry::Reject`].
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Reject {
    /// The entry.
    #[n(0)]
    pub entry: Signed,
    /// Set in the answer of whoever has it now, so that it need not be repeated.
    #[n(1)]
    pub acknowledged: bool,
}

/// I am not in this call.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Cancel {
    /// Why.
    #[n(0)]
    pub reason: CancelReason,
    /// The sender's record version, which its own word has from now on.
    #[n(1)]
    pub version: u64,
    /// Whom the sender believes joined without it.
    #[n(2)]
    pub joined: Vec<JoinedClaim>,
    /// Set in the answer of whoever has it now, so that it need not be repeated.
    #[n(3)]
    pub acknowledged: bool,
    /// The call that goes on instead, where the reason is `Replaced`.
    #[cbor(n(4), with = "call_id")]
    pub replaced_by: Option<CallId>,
}

/// Why a device is not in a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Encode, Decode)]
#[cbor(index_only)]
pub enum CancelReason {
    /// The user hung up.
    #[n(0)]
    Left,
    /// The call is over as far as the sender knows.
    #[n(1)]
    Ended,
    /// Nobody answered in time.
    #[n(2)]
    Unanswered,
    /// Another device of the same person answered.
    #[n(3)]
    AcceptedElsewhere,
    /// Another device of the same person rejected.
    #[n(4)]
    RejectedElsewhere,
    /// Two offers crossed; another call goes on.
    #[n(5)]
    Replaced,
}

/// A record, and roster entries that the recipient may not have.
#[derive(Debug, Clone, PartialEq, Encode, Decode)]
#[cbor(map)]
pub struct Member {
    /// The sender's record.
    #[n(0)]
    pub record: Record,
    /// Roster entries.
    #[n(1)]
    pub entries: Vec<Signed>,
}

/// What a device says about itself in a call, always whole: the newest (boot, version) counts.
#[derive(Debug, Clone, PartialEq, Encode, Decode)]
#[cbor(map)]
pub struct Record {
    /// The key it can be written to on the call's topic; a new one for each time it joins.
    #[cbor(n(0), with = "minicbor::bytes")]
    pub call_key: [u8; 32],
    /// Grows with every change.
    #[n(1)]
    pub version: u64,
    /// Whether it is in the call.
    #[n(2)]
    pub status: Status,
    /// Which of a person's devices takes part: the one with the greatest.
    #[n(3)]
    pub seat: u64,
    /// Sends no sound.
    #[n(4)]
    pub muted: bool,
    /// Plays no sound.
    #[n(5)]
    pub deafened: bool,
    /// Records the call.
    #[n(6)]
    pub recording: bool,
    /// Whose records it has, from the last 12 s.
    #[n(7)]
    pub seen: Vec<Seen>,
    /// To whom its path is up.
    #[n(8)]
    pub links: Vec<WireEndpoint>,
    /// Of its roster entries.
    #[n(9)]
    pub digest: Bytes16,
}

/// Whether a device is in a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Encode, Decode)]
#[cbor(index_only)]
pub enum Status {
    /// Wants to join and is not known to have been heard.
    #[n(0)]
    Joining,
    /// Is in.
    #[n(1)]
    Joined,
    /// Is out.
    #[n(2)]
    Left,
}

/// One record that a device has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen {
    /// Whose.
    pub endpoint: Endpoint,
    /// Under which boot.
    pub boot: u64,
    /// The first bytes of its call key.
    pub call_key: [u8; 8],
    /// Its version.
    pub version: u64,
}

impl<C> Encode<C> for Seen {
    fn encode<W: encode::Write>(&self, e: &mut Encoder<W>, ctx: &mut C) -> Result<(), encode::Error<W::Error>> {
        e.array(4)?;
        WireEndpoint(self.endpoint).encode(e, ctx)?;
        e.u64(self.boot)?.bytes(&self.call_key)?.u64(self.version)?.ok()
    }
}

impl<'b, C> Decode<'b, C> for Seen {
    fn decode(d: &mut Decoder<'b>, ctx: &mut C) -> Result<Self, decode::Error> {
        expect_array(d, 4)?;
        let WireEndpoint(endpoint) = WireEndpoint::decode(d, ctx)?;
        Ok(Self { endpoint, boot: d.u64()?, call_key: fixed(d)?, version: d.u64()? })
    }
}

/// Everything one side of a link has to say, repeated until acknowledged.
#[derive(Clone, PartialEq, Encode, Decode)]
#[cbor(map)]
pub struct Link {
    /// Which pair of call keys it is between.
    #[n(0)]
    pub link: Bytes16,
    /// How often the sender has asked for a new generation; only the greater endpoint makes them.
    #[n(1)]
    pub ask: u32,
    /// The negotiation this is about; 0 before the first.
    #[n(2)]
    pub generation: u32,
    /// What `sdp` is.
    #[n(3)]
    pub role: LinkRole,
    /// The description; absent once acknowledged.
    #[n(4)]
    pub sdp: Option<String>,
    /// The index of the first candidate below among all of this generation.
    #[n(5)]
    pub first_candidate: u32,
    /// Candidates that are not acknowledged, at most 40.
    #[n(6)]
    pub candidates: Vec<String>,
    /// The newest generation whose description has arrived here.
    #[n(7)]
    pub ack_generation: u32,
    /// How many candidates of it have arrived here.
    #[n(8)]
    pub ack_candidates: u32,
    /// The sender cannot connect this generation.
    #[n(9)]
    pub failed: bool,
}

impl std::fmt::Debug for Link {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Link")
            .field("ask", &self.ask)
            .field("generation", &self.generation)
            .field("role", &self.role)
            .field("sdp", &self.sdp.is_some())
            .field("candidates", &(self.first_candidate, self.candidates.len()))
            .field("acks", &(self.ack_generation, self.ack_candidates))
            .field("failed", &self.failed)
            .finish_non_exhaustive()
    }
}

/// What a link's description is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
pub enum LinkRole {
    /// From the greater endpoint.
    #[n(0)]
    Offer,
    /// From the lesser.
    #[n(1)]
    Answer,
}

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
        let count = d.array()?.ok_or_else(|| decode::Error::message("indefinite"))?;
        let members = (0..count).map(|_| did(d)).collect::<Result<Vec<_>, _>>()?;
        Ok(Self { creator, nonce, unix_ms, secret_hash, members })
    }
}

/// A change of the roster: `[kind, call, did, …]`. Entries are only ever added.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Entry {
    /// In which call.
    pub call: CallId,
    /// Whom it is about.
    pub did: Did,
    /// What it says.
    pub body: EntryBody,
}

/// What a roster entry says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EntryBody {
    /// A member invites somebody; signed by `by`. Each member has slots 0 to 3.
    Add {
        /// Who invites.
        by: Did,
        /// Which of its invitations.
        slot: u8,
    },
    /// The creator removes somebody for good, of whose own invitations the slots below `keep` stay.
    Remove {
        /// Slots that stay.
        keep: u8,
    },
    /// Somebody will not come; signed by that person.
    Reject {
        /// How often this person has changed its mind.
        n: u8,
    },
}

impl<C> Encode<C> for Entry {
    fn encode<W: encode::Write>(&self, e: &mut Encoder<W>, _: &mut C) -> Result<(), encode::Error<W::Error>> {
        let (kind, length) = match self.body {
            EntryBody::Add { .. } => (0, 5),
            EntryBody::Remove { .. } => (1, 4),
            EntryBody::Reject { .. } => (2, 4),
        };
        e.array(length)?.u8(kind)?.bytes(self.call.as_bytes())?.bytes(self.did.public_key())?;
        match self.body {
            EntryBody::Add { by, slot } => e.bytes(by.public_key())?.u8(slot)?.ok(),
            EntryBody::Remove { keep } => e.u8(keep)?.ok(),
            EntryBody::Reject { n } => e.u8(n)?.ok(),
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
            (1, Some(4)) => EntryBody::Remove { keep: d.u8()? },
            (2, Some(4)) => EntryBody::Reject { n: d.u8()? },
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

/// 16 bytes as a byte string.
pub type Bytes16 = minicbor::bytes::ByteArray<16>;

/// An endpoint as 48 bytes: DID key, device.
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

pub(super) fn fixed<const N: usize>(d: &mut Decoder<'_>) -> Result<[u8; N], decode::Error> {
    d.bytes()?.try_into().map_err(|_| decode::Error::message("wrong length"))
}

fn did(d: &mut Decoder<'_>) -> Result<Did, decode::Error> {
    fixed(d).map(Did::from_public_key)
}

pub(super) fn expect_array(d: &mut Decoder<'_>, length: u64) -> Result<(), decode::Error> {
    if d.array()? == Some(length) { Ok(()) } else { Err(decode::Error::message("wrong length")) }
}

/// A secret that is wiped when it is dropped.
mod secret {
    use super::*;

    pub(super) fn encode<C, W: encode::Write>(
        value: &Zeroizing<[u8; 32]>,
        e: &mut Encoder<W>,
        _: &mut C,
    ) -> Result<(), encode::Error<W::Error>> {
        e.bytes(&value[..])?.ok()
    }

    pub(super) fn decode<C>(d: &mut Decoder<'_>, _: &mut C) -> Result<Zeroizing<[u8; 32]>, decode::Error> {
        fixed(d).map(Zeroizing::new)
    }
}

/// A call id or null.
mod call_id {
    use super::*;

    pub(super) fn encode<C, W: encode::Write>(
        value: &Option<CallId>,
        e: &mut Encoder<W>,
        _: &mut C,
    ) -> Result<(), encode::Error<W::Error>> {
        match value {
            Some(id) => e.bytes(id.as_bytes())?.ok(),
            None => e.null()?.ok(),
        }
    }

    pub(super) fn decode<C>(d: &mut Decoder<'_>, _: &mut C) -> Result<Option<CallId>, decode::Error> {
        if d.datatype()? == Type::Null {
            return d.null().map(|()| None);
        }
        fixed(d).map(|bytes| Some(CallId::from_bytes(bytes)))
    }
}
