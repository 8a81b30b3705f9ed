//! Member messages: a device's record in a call, and its claims about others.

use blink_api::Endpoint;
use minicbor::{Decode, Decoder, Encode, Encoder, decode, encode};

use super::cause::Cause;
use super::entry::Signed;
use super::fields::{Bytes16, Secret, SignedKey, WireEndpoint, expect_array};
use super::stream::{StreamOffer, StreamRequest};

/// A record, with roster entries that the recipient may lack.
#[derive(Debug, Clone, PartialEq, Encode, Decode)]
#[cbor(map)]
pub struct Member {
    /// Record of the sender.
    #[n(0)]
    pub record: Record,
    /// Roster entries.
    #[n(1)]
    pub entries: Vec<Signed>,
    /// The call's secret, together with the Rotate entry that names it.
    #[n(2)]
    pub secret: Option<Secret>,
}

/// State of a device in a call, always complete: the newest (boot, version) counts.
#[derive(Debug, Clone, PartialEq, Encode, Decode)]
#[cbor(map)]
pub struct Record {
    /// Key for which messages on the call's topic are sealed; a new one for each time it joins.
    #[n(0)]
    pub call_key: SignedKey,
    /// Incremented with every change.
    #[n(1)]
    pub version: u64,
    /// Whether the device is in the call.
    #[n(2)]
    pub status: Status,
    /// Of a person's devices, the one with the greatest seat takes part.
    #[n(3)]
    pub seat: u64,
    /// Sends no audio.
    #[n(4)]
    pub muted: bool,
    /// Plays no audio.
    #[n(5)]
    pub deafened: bool,
    /// Records the call.
    #[n(6)]
    pub recording: bool,
    /// Records received within the last 12 s.
    #[n(7)]
    pub seen: Vec<Seen>,
    /// Endpoints to which its path is connected.
    #[n(8)]
    pub links: Vec<WireEndpoint>,
    /// Digest of its roster entries.
    #[n(9)]
    pub digest: Bytes16,
    /// Offered streams; at most 8.
    #[n(10)]
    pub streams: Vec<StreamOffer>,
    /// Requested streams of others; at most 32.
    #[n(11)]
    pub wanted: Vec<StreamRequest>,
    /// With [`Status::Left`] in a call of two: whether it ended because its path failed. Omitted
    /// where it did not.
    #[n(12)]
    pub failed: Option<bool>,
    /// With `failed`: why the path failed.
    #[n(13)]
    pub cause: Option<Cause>,
    /// Whether it reads application messages. Omitted by devices before there were any.
    #[n(14)]
    pub messages: Option<bool>,
    /// Name that the person gives itself. Omitted without one.
    #[n(15)]
    pub name: Option<String>,
    /// Whether it holds the call: it neither sends nor plays audio. Omitted where it does not.
    #[n(16)]
    pub held: Option<bool>,
}

impl Record {
    /// The record of a device that announces nothing but its status, with the seat 0.
    pub fn new(call_key: SignedKey, version: u64, status: Status) -> Self {
        Self {
            call_key,
            version,
            status,
            seat: 0,
            muted: false,
            deafened: false,
            recording: false,
            seen: Vec::new(),
            links: Vec::new(),
            digest: Bytes16::from([0; 16]),
            streams: Vec::new(),
            wanted: Vec::new(),
            failed: None,
            cause: None,
            messages: None,
            name: None,
            held: None,
        }
    }
}

/// Status of a device in a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Encode, Decode)]
#[cbor(index_only)]
pub enum Status {
    /// Joins, not yet acknowledged.
    #[n(0)]
    Joining,
    /// In the call.
    #[n(1)]
    Joined,
    /// Not in the call.
    #[n(2)]
    Left,
}

/// A record that a device has received.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen {
    /// Owner of the record.
    pub endpoint: Endpoint,
    /// Boot counter of the owner.
    pub boot: u64,
    /// Call key of the owner, so that members who lack the record can write to it.
    pub call_key: SignedKey,
    /// Version of the record.
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

/// Claim that an endpoint is in the call. The endpoint's own record outweighs it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JoinedClaim {
    /// The endpoint.
    pub endpoint: Endpoint,
    /// Boot counter of its record.
    pub boot: u64,
    /// Version of its record.
    pub version: u64,
    /// Its call key.
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
