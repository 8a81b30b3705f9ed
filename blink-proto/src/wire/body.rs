//! The eight kinds of message and what they contain.

use blink_api::{CallId, Endpoint};
use minicbor::bytes::ByteVec;
use minicbor::{Decode, Decoder, Encode, Encoder, decode, encode};
use zeroize::Zeroizing;

use super::fields::{Bytes16, WireEndpoint, call_id, secret};
use super::record::{JoinedClaim, Member};
use super::roster::Signed;

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
    /// Your device counts below what it has said before.
    StaleBoot = 7,
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
    /// See [`Kind::StaleBoot`].
    StaleBoot(StaleBoot),
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
            Self::StaleBoot(_) => Kind::StaleBoot,
        }
    }

    /// Whether it comes from a device that exists for this one message: it may answer a stranger
    /// without the user being told.
    pub fn is_from_throwaway(&self) -> bool {
        matches!(self, Self::Ringing(Ringing { rings: false, .. }) | Self::StaleBoot(_))
    }

    /// Reads the body of a kind; `None` for an unknown kind.
    pub(super) fn decode(kind: u64, decoder: &mut Decoder<'_>) -> Option<Result<Self, decode::Error>> {
        Some(match kind {
            0 => decoder.decode().map(Self::Offer),
            1 => decoder.decode().map(Self::Ringing),
            2 => decoder.decode().map(Self::Busy),
            3 => decoder.decode().map(Self::Reject),
            4 => decoder.decode().map(Self::Cancel),
            5 => decoder.decode().map(Self::Member),
            6 => decoder.decode().map(Self::Link),
            7 => decoder.decode().map(Self::StaleBoot),
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
            Self::StaleBoot(body) => body.encode(e, ctx),
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

/// I will not come; or, from a member to somebody who does not know it yet: you were removed.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Reject {
    /// The sender's Reject, or the recipient's Remove ([`Entry`](super::Entry)).
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
    /// Whom the sender believes joined; itself among them where it only asks no more.
    #[n(2)]
    pub joined: Vec<JoinedClaim>,
    /// Set in the answer of whoever has it now, so that it need not be repeated.
    #[n(3)]
    pub acknowledged: bool,
    /// The call that goes on instead, where the reason is `Replaced`.
    #[cbor(n(4), with = "call_id")]
    pub replaced_by: Option<CallId>,
}

impl Cancel {
    /// Whether its sender is still in the call, and only asks no more.
    pub fn stays(&self, sender: &Endpoint) -> bool {
        self.joined.iter().any(|claim| claim.endpoint == *sender)
    }
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

/// A device of the recipient spoke under a smaller boot than the sender has heard of it, and is not
/// heard before it counts above.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct StaleBoot {
    /// Which device.
    #[n(0)]
    pub endpoint: WireEndpoint,
    /// The greatest boot that was heard of it.
    #[n(1)]
    pub boot: u64,
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
    pub renegotiation_requests: u32,
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
            .field("ask", &self.renegotiation_requests)
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
