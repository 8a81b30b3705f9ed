//! Addresses of an invite, in which each peer is said once.
//!
//! A multiaddr is an array of its binary form, cut where it contains `/p2p/PEER`: bytes for the
//! parts between, and for each peer its position in the list of peers. A peer is the 32 bytes of
//! its Ed25519 key, or else its whole id. Any other address is text.

use minicbor::data::Type;
use minicbor::decode::Error;
use minicbor::{Decode, Decoder, Encode, Encoder};
use multiaddr::{Multiaddr, PeerId, Protocol};

/// Most peers: an address by a relay has two.
const MOST_PEERS: usize = 32;
/// Most parts of an address.
const MOST_PARTS: usize = 8;
/// Bytes of a peer id before its Ed25519 key: an identity multihash of a protobuf (libp2p
/// specification of peer ids).
const ED25519: [u8; 6] = [0x00, 0x24, 0x08, 0x01, 0x12, 0x20];

/// Peers that the addresses contain.
#[derive(Default)]
pub(super) struct Peers {
    peers: Vec<PeerId>,
    /// Version 1: end of each address that is bytes.
    end: Vec<u8>,
}

/// An address as it is written.
pub(super) enum Written {
    Text(String),
    /// Version 1: the binary form, without the end that all have in common.
    Binary(Vec<u8>),
    Parts(Vec<Part>),
}

/// A part of an address.
pub(super) enum Part {
    Bytes(Vec<u8>),
    Peer(usize),
}

impl Peers {
    pub(super) fn is_empty(&self) -> bool {
        self.peers.is_empty()
    }

    /// The same without the common end of version 1.
    pub(super) fn without_end(&self) -> Self {
        Self { peers: self.peers.clone(), end: Vec::new() }
    }

    /// The written form of an address, whose peers are added.
    pub(super) fn write(&mut self, address: &str) -> Written {
        let text = || Written::Text(address.to_owned());
        // Only what is read back as the same text.
        let parsed = address.parse::<Multiaddr>().ok().filter(|parsed| parsed.to_string() == address);
        let Some(parsed) = parsed else { return text() };
        let (mut parts, mut between) = (Vec::new(), Multiaddr::empty());
        let mut known = self.peers.clone();
        for protocol in &parsed {
            let Protocol::P2p(peer) = protocol else {
                between.push(protocol);
                continue;
            };
            if !between.is_empty() {
                parts.push(Part::Bytes(std::mem::replace(&mut between, Multiaddr::empty()).to_vec()));
            }
            let position = known.iter().position(|known| *known == peer).unwrap_or_else(|| {
                known.push(peer);
                known.len() - 1
            });
            parts.push(Part::Peer(position));
        }
        if !between.is_empty() {
            parts.push(Part::Bytes(between.to_vec()));
        }
        if parts.len() > MOST_PARTS || known.len() > MOST_PEERS {
            return text();
        }
        self.peers = known;
        Written::Parts(parts)
    }

    /// The text of an address; `None` for one that is invalid.
    pub(super) fn read(&self, written: Written) -> Option<String> {
        let bytes = match written {
            Written::Text(text) => return Some(text),
            Written::Binary(mut bytes) => {
                bytes.extend(&self.end);
                bytes
            }
            Written::Parts(parts) => {
                let mut bytes = Vec::new();
                for part in parts {
                    match part {
                        Part::Bytes(part) => bytes.extend(part),
                        Part::Peer(position) => {
                            let peer = *self.peers.get(position)?;
                            bytes.extend(Multiaddr::empty().with(Protocol::P2p(peer)).to_vec());
                        }
                    }
                }
                bytes
            }
        };
        Multiaddr::try_from(bytes).ok().map(|address| address.to_string())
    }
}

impl<C> Encode<C> for Peers {
    fn encode<W: minicbor::encode::Write>(
        &self,
        encoder: &mut Encoder<W>,
        _: &mut C,
    ) -> Result<(), minicbor::encode::Error<W::Error>> {
        encoder.array(self.peers.len() as u64)?;
        for peer in &self.peers {
            let id = peer.to_bytes();
            encoder.bytes(id.strip_prefix(&ED25519).filter(|key| key.len() == 32).unwrap_or(&id))?;
        }
        Ok(())
    }
}

impl<C> Decode<'_, C> for Peers {
    fn decode(decoder: &mut Decoder<'_>, _: &mut C) -> Result<Self, Error> {
        if decoder.datatype()? == Type::Bytes {
            return Ok(Self { peers: Vec::new(), end: decoder.bytes()?.to_vec() });
        }
        let count = super::count(decoder, MOST_PEERS)?;
        let peers = (0..count).map(|_| peer(decoder.bytes()?).ok_or_else(|| Error::message(super::BAD_ADDRESS)));
        Ok(Self { peers: peers.collect::<Result<_, _>>()?, end: Vec::new() })
    }
}

fn peer(bytes: &[u8]) -> Option<PeerId> {
    let id = if bytes.len() == 32 { [&ED25519[..], bytes].concat() } else { bytes.to_vec() };
    PeerId::from_bytes(&id).ok()
}

impl<C> Encode<C> for Written {
    fn encode<W: minicbor::encode::Write>(
        &self,
        encoder: &mut Encoder<W>,
        _: &mut C,
    ) -> Result<(), minicbor::encode::Error<W::Error>> {
        match self {
            Self::Text(text) => encoder.str(text)?.ok(),
            Self::Binary(bytes) => encoder.bytes(bytes)?.ok(),
            Self::Parts(parts) => {
                encoder.array(parts.len() as u64)?;
                for part in parts {
                    match part {
                        Part::Bytes(bytes) => encoder.bytes(bytes)?,
                        Part::Peer(position) => encoder.u64(*position as u64)?,
                    };
                }
                Ok(())
            }
        }
    }
}

impl<C> Decode<'_, C> for Written {
    fn decode(decoder: &mut Decoder<'_>, _: &mut C) -> Result<Self, Error> {
        match decoder.datatype()? {
            Type::Bytes => Ok(Self::Binary(decoder.bytes()?.to_vec())),
            Type::Array => {
                let parts = (0..super::count(decoder, MOST_PARTS)?).map(|_| match decoder.datatype()? {
                    Type::Bytes => Ok(Part::Bytes(decoder.bytes()?.to_vec())),
                    // Beyond the range of positions there is no peer.
                    _ => Ok(Part::Peer(usize::try_from(decoder.u64()?).unwrap_or(usize::MAX))),
                });
                parts.collect::<Result<_, Error>>().map(Self::Parts)
            }
            _ => Ok(Self::Text(decoder.str()?.to_owned())),
        }
    }
}
