//! The eight kinds of message bodies.

use blink_api::{CallId, Endpoint};
use minicbor::bytes::ByteVec;
use minicbor::{Decode, Decoder, Encode, Encoder, decode, encode};
use zeroize::Zeroizing;

use super::cause::Cause;
use super::entry::Signed;
use super::fields::{Bytes16, WireEndpoint, call_id, secret};
use super::member::{JoinedClaim, Member};

/// Kind of a message: field 7 of the content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Kind {
    /// Invitation to a call.
    Offer = 0,
    /// Reply to an offer, with a nonce to echo.
    Ringing = 1,
    /// The device is in another call.
    Busy = 2,
    /// The person rejects the call, or was removed from it.
    Reject = 3,
    /// The device is not, or no longer, in the call.
    Cancel = 4,
    /// The device's record.
    Member = 5,
    /// State of one side of a link.
    Link = 6,
    /// The recipient's boot counter went back.
    StaleBoot = 7,
}

/// Message body.
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
    /// Kind of the message.
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

    /// Whether it is sent from a random device id used for this message only, because it may answer
    /// a stranger without the user's knowledge.
    pub fn is_from_one_time_device(&self) -> bool {
        matches!(self, Self::Ringing(Ringing { rings: false, .. }) | Self::StaleBoot(_))
    }

    /// Decodes the body of a kind; `None` for an unknown kind.
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

/// Invitation to a call. Its holder can compute the call's id, topic and tag key.
#[derive(Clone, PartialEq, Encode, Decode)]
#[cbor(map)]
pub struct Offer {
    /// Signed root of the call.
    #[n(0)]
    pub root: Signed,
    /// Roster entries.
    #[n(1)]
    pub entries: Vec<Signed>,
    /// Secret of the call, whose hash is in the root or in a Rotate entry.
    #[cbor(n(2), with = "secret")]
    pub secret: Zeroizing<[u8; 32]>,
    /// Endpoints that the sender believes joined, itself included.
    #[n(3)]
    pub joined: Vec<JoinedClaim>,
    /// Remaining ring time; 0 for a missed-call notice.
    #[n(4)]
    pub remaining_ms: u32,
    /// Nonces that the recipient's devices asked to have echoed.
    #[n(5)]
    pub echo: Vec<Bytes16>,
    /// Configuration of the call.
    #[n(6)]
    pub configuration: CallConfiguration,
}

/// Shows no secret and no signatures.
impl std::fmt::Debug for Offer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Offer")
            .field("joined", &self.joined.len())
            .field("remaining_ms", &self.remaining_ms)
            .field("echo", &self.echo.len())
            .finish_non_exhaustive()
    }
}

/// Properties of a call that every participant should know before answering it.
#[derive(Debug, Clone, PartialEq, Default, Encode, Decode)]
#[cbor(map)]
pub struct CallConfiguration {
    /// Opaque bytes of the integrator, at most 1 KiB.
    #[n(0)]
    pub conversation: Option<ByteVec>,
}

/// Reply to an offer. Sent for every offer without a valid echo, before anything is stored.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Ringing {
    /// Nonce to be echoed in the next offer.
    #[n(0)]
    pub nonce: Bytes16,
    /// Whether the call rings, so that offers may be sent less often.
    #[n(1)]
    pub rings: bool,
}

/// Reply of a device that is in another call.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Busy {}

/// Rejection of a call; or, from a member to a removed person, the entry that removed it.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Reject {
    /// Reject entry of the sender, or Remove entry of the recipient ([`Entry`](super::Entry)).
    #[n(0)]
    pub entry: Signed,
    /// Set in the acknowledgement, which ends the retransmission.
    #[n(1)]
    pub acknowledged: bool,
    /// Number of the reason: 0 or absent declined, 1 refused by policy, 2 no device.
    #[n(2)]
    pub reason: Option<u64>,
}

/// The sender is not in the call, or only stops inviting the recipient.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Cancel {
    /// Reason.
    #[n(0)]
    pub reason: CancelReason,
    /// Version of the sender's record.
    #[n(1)]
    pub version: u64,
    /// Endpoints that the sender believes joined; itself included where it only stops inviting.
    #[n(2)]
    pub joined: Vec<JoinedClaim>,
    /// Set in the acknowledgement, which ends the retransmission.
    #[n(3)]
    pub acknowledged: bool,
    /// Call that continues instead, for `Replaced`.
    #[cbor(n(4), with = "call_id")]
    pub replaced_by: Option<CallId>,
}

impl Cancel {
    /// Whether its sender stays in the call and only stops inviting.
    pub fn stays(&self, sender: &Endpoint) -> bool {
        self.joined.iter().any(|claim| claim.endpoint == *sender)
    }
}

/// Reason of a [`Cancel`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Encode, Decode)]
#[cbor(index_only)]
pub enum CancelReason {
    /// The user left.
    #[n(0)]
    Left,
    /// The call has ended, as far as the sender knows.
    #[n(1)]
    Ended,
    /// Not answered in time.
    #[n(2)]
    Unanswered,
    /// Another device of the same person answered.
    #[n(3)]
    AcceptedElsewhere,
    /// Another device of the same person rejected.
    #[n(4)]
    RejectedElsewhere,
    /// Glare: another call continues.
    #[n(5)]
    Replaced,
}

/// The boot counter of a device of the recipient went back. Its messages are refused until it
/// counts higher.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct StaleBoot {
    /// The device.
    #[n(0)]
    pub endpoint: WireEndpoint,
    /// Greatest boot counter received of it.
    #[n(1)]
    pub boot: u64,
}

/// State of one side of a link, complete in each message, retransmitted until acknowledged.
#[derive(Clone, PartialEq, Encode, Decode)]
#[cbor(map)]
pub struct Link {
    /// Id of the link, derived from both endpoints and call keys.
    #[n(0)]
    pub link: Bytes16,
    /// Number of new generations that the sender asked for. Only the greater endpoint offers them.
    #[n(1)]
    pub renegotiation_requests: u32,
    /// Generation of the negotiation; 0 before the first.
    #[n(2)]
    pub generation: u32,
    /// Offer or answer.
    #[n(3)]
    pub role: LinkRole,
    /// SDP; absent once acknowledged.
    #[n(4)]
    pub sdp: Option<String>,
    /// Index of the first of `candidates` within the generation.
    #[n(5)]
    pub first_candidate: u32,
    /// Unacknowledged candidates, at most 40.
    #[n(6)]
    pub candidates: Vec<String>,
    /// Newest generation whose description was received.
    #[n(7)]
    pub ack_generation: u32,
    /// Number of its candidates that were received.
    #[n(8)]
    pub ack_candidates: u32,
    /// The sender failed to connect this generation.
    #[n(9)]
    pub failed: bool,
    /// Why it failed; absent where it did not.
    #[n(10)]
    pub cause: Option<Cause>,
}

/// Shows no descriptions and candidates: they contain passwords and addresses.
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
            .field("cause", &self.cause)
            .finish_non_exhaustive()
    }
}

/// Role of a link's description.
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
