//! Identifiers of identities, devices, calls, streams, tracks and recordings.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{Error, ErrorKind};

/// Multicodec prefix of an Ed25519 public key (`ed25519-pub`, 0xed, as an unsigned varint).
const ED25519_PUB: [u8; 2] = [0xed, 0x01];

/// A decentralized identifier of method `key` with an Ed25519 key, written `did:key:z…` (W3C
/// did:key §3.1.2).
///
/// Parsing checks the form only; whether the key is a usable point is checked where it is used.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Did([u8; 32]);

impl Did {
    /// The identifier of an Ed25519 public key.
    pub const fn from_public_key(key: [u8; 32]) -> Self {
        Self(key)
    }

    /// The Ed25519 public key.
    pub const fn public_key(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for Did {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = [&ED25519_PUB[..], &self.0].concat();
        write!(f, "did:key:{}", multibase::encode(multibase::Base::Base58Btc, bytes))
    }
}

impl fmt::Debug for Did {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Did {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let invalid = |why: &'static str| Error::new(ErrorKind::Invalid, why).with("did", text);
        let encoded = text.strip_prefix("did:key:").ok_or_else(|| invalid("a DID begins with did:key:"))?;
        let (base, bytes) = multibase::decode(encoded).map_err(|source| invalid("not multibase").source(source))?;
        if base != multibase::Base::Base58Btc {
            return Err(invalid("a did:key is written in base58btc (z…)"));
        }
        let key = bytes.strip_prefix(&ED25519_PUB).ok_or_else(|| invalid("not an Ed25519 did:key"))?;
        Ok(Self(key.try_into().map_err(|_| invalid("an Ed25519 key has 32 bytes"))?))
    }
}

impl Serialize for Did {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Did {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// One device of one identity, the unit of membership in a call. Ordered by DID, then device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Endpoint {
    /// The identity.
    pub did: Did,
    /// Its device.
    pub device: DeviceId,
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}#{}", self.did, self.device)
    }
}

/// Identifier of a call: the first 16 bytes of the hash of its signed root (`docs/protocol.md`),
/// written in hex.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CallId([u8; 16]);

impl CallId {
    /// A call id from its bytes.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// Its bytes.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl fmt::Display for CallId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for CallId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for CallId {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let parsed = (text.len() == 32 && text.is_ascii()).then(|| u128::from_str_radix(text, 16).ok()).flatten();
        parsed
            .map(|id| Self(id.to_be_bytes()))
            .ok_or_else(|| Error::new(ErrorKind::Invalid, "a call id is 32 hexadecimal digits").with("call", text))
    }
}

impl Serialize for CallId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for CallId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

macro_rules! uuid_newtype {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub struct $name(Uuid);

        impl $name {
            /// An id from 16 random bytes, with version and variant bits set (RFC 9562 §5.4).
            pub fn from_random(bytes: [u8; 16]) -> Self {
                Self(uuid::Builder::from_random_bytes(bytes).into_uuid())
            }

            /// An id read from the wire or from disk, unchanged.
            pub const fn from_bytes(bytes: [u8; 16]) -> Self {
                Self(Uuid::from_bytes(bytes))
            }

            /// Its 16 bytes.
            pub const fn as_bytes(&self) -> &[u8; 16] {
                self.0.as_bytes()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }
    };
}

uuid_newtype! {
    /// A device of one identity (UUID version 4).
    DeviceId
}
uuid_newtype! {
    /// A media stream that a participant offers (UUID version 4).
    StreamId
}
uuid_newtype! {
    /// A recording (UUID version 4).
    RecordingId
}

/// A source of media at an endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TrackSource {
    /// The microphone.
    Microphone,
    /// A stream that the endpoint offers beside its microphone.
    Stream(StreamId),
}

impl TrackSource {
    /// The stream; `None` for the microphone.
    pub const fn stream(self) -> Option<StreamId> {
        match self {
            Self::Microphone => None,
            Self::Stream(stream) => Some(stream),
        }
    }
}

impl From<Option<StreamId>> for TrackSource {
    fn from(stream: Option<StreamId>) -> Self {
        stream.map_or(Self::Microphone, Self::Stream)
    }
}

impl fmt::Display for TrackSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Microphone => f.write_str("microphone"),
            Self::Stream(stream) => write!(f, "stream {stream}"),
        }
    }
}

/// The name of a track in a call: in commands, events, statistics and recordings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TrackKey {
    /// The sending endpoint.
    pub endpoint: Endpoint,
    /// Its source.
    pub source: TrackSource,
}

impl TrackKey {
    /// The key of a track.
    pub const fn new(endpoint: Endpoint, source: TrackSource) -> Self {
        Self { endpoint, source }
    }

    /// The microphone's track of an endpoint.
    pub const fn microphone(endpoint: Endpoint) -> Self {
        Self::new(endpoint, TrackSource::Microphone)
    }

    /// The track of a stream that an endpoint offers.
    pub const fn stream(endpoint: Endpoint, stream: StreamId) -> Self {
        Self::new(endpoint, TrackSource::Stream(stream))
    }
}

impl fmt::Display for TrackKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {}", self.source, self.endpoint)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn did_key_of_the_w3c_example_round_trips() {
        let text = "did:key:z6MkiTBz1ymuepAQ4HEHYSF1H8quG5GLVVQR3djdX3mDooWp";
        let did: Did = text.parse().unwrap();
        assert_eq!(did.public_key()[..4], [0x3b, 0x6a, 0x27, 0xbc]);
        assert_eq!(did.to_string(), text);
    }

    #[test]
    fn strange_dids_are_refused_with_a_reason() {
        for (text, why) in [
            ("did:web:example.org", "did:key:"),
            ("did:key:", "multibase"),
            ("did:key:f00", "base58btc"),
            ("did:key:z6LSbysY2xFMRpGMhb7tFTLMpeuPRaqaWM1yECx2AtzE3KCc", "Ed25519"),
        ] {
            let error = text.parse::<Did>().unwrap_err();
            assert!(error.to_string().contains(why), "{text}: {error}");
        }
    }

    #[test]
    fn call_ids_are_32_hex_digits() {
        let id: CallId = "000102030405060708090a0b0c0d0e0f".parse().unwrap();
        assert_eq!(id.as_bytes()[15], 15);
        assert_eq!(id.to_string(), "000102030405060708090a0b0c0d0e0f");
        for bad in ["", "00", "zz0102030405060708090a0b0c0d0e0f", "+00102030405060708090a0b0c0d0e0f0"] {
            assert!(bad.parse::<CallId>().is_err(), "{bad}");
        }
    }
}
