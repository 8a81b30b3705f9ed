//! What a device says about itself in a call, and what it claims about others.

use blink_api::Endpoint;
use minicbor::{Decode, Decoder, Encode, Encoder, decode, encode};

use super::fields::{Bytes16, Secret, SignedKey, WireEndpoint, expect_array};
use super::roster::Signed;
use super::stream::{StreamOffer, StreamRequest};

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
    /// The call's secret, where a Rotate entry goes along that names it.
    #[n(2)]
    pub secret: Option<Secret>,
}

/// What a device says about itself in a call, always whole: the newest (boot, version) counts.
#[derive(Debug, Clone, PartialEq, Encode, Decode)]
#[cbor(map)]
pub struct Record {
    /// The key it can be written to on the call's topic; a new one for each time it joins.
    #[n(0)]
    pub call_key: SignedKey,
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
    /// Streams it offers; at most 8.
    #[n(10)]
    pub streams: Vec<StreamOffer>,
    /// Streams of others it wants; at most 32.
    #[n(11)]
    pub wanted: Vec<StreamRequest>,
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
    /// Its call key, so that members who have not heard it themselves can write to it.
    pub call_key: SignedKey,
    /// Its version.
    pub version: u64,
}

impl<C> Encode<C> for Seen {
    fn encode<W: encode::Write>(&self, e: &mut Encoder<W>, ctx: &mut C) -> Result<(), encode::Error<W::Error>> {
        e.array(4)?;
        WireEndpoint(self.endpoint).encode(e, ctx)?;
        self.call_key.encode(e.u64(self.boot)?, ctx)?;
        e.u64(self.version)?.ok()
    }
}

impl<'b, C> Decode<'b, C> for Seen {
    fn decode(d: &mut Decoder<'b>, ctx: &mut C) -> Result<Self, decode::Error> {
        expect_array(d, 4)?;
        let WireEndpoint(endpoint) = WireEndpoint::decode(d, ctx)?;
        Ok(Self { endpoint, boot: d.u64()?, call_key: SignedKey::decode(d, ctx)?, version: d.u64()? })
    }
}

/// Maximum number of claims in one message. Further ones are ignored, since each costs a key
/// agreement.
pub const MAX_CLAIMS: usize = 16;

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
    pub call_key: SignedKey,
}

impl<C> Encode<C> for JoinedClaim {
    fn encode<W: encode::Write>(&self, e: &mut Encoder<W>, ctx: &mut C) -> Result<(), encode::Error<W::Error>> {
        e.array(4)?;
        WireEndpoint(self.endpoint).encode(e, ctx)?;
        self.call_key.encode(e.u64(self.boot)?.u64(self.version)?, ctx)
    }
}

impl<'b, C> Decode<'b, C> for JoinedClaim {
    fn decode(d: &mut Decoder<'b>, ctx: &mut C) -> Result<Self, decode::Error> {
        expect_array(d, 4)?;
        let WireEndpoint(endpoint) = WireEndpoint::decode(d, ctx)?;
        Ok(Self { endpoint, boot: d.u64()?, version: d.u64()?, call_key: SignedKey::decode(d, ctx)? })
    }
}
