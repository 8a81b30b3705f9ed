//! Identities, keys and envelopes: signing and encryption of messages, and the checks of received
//! ones.
//!
//! `docs/protocol.md`, section "Envelope", specifies the construction. Key types wipe themselves
//! and their `Debug` shows no secrets.

mod buckets;
mod channel_rates;
mod counters;
mod envelope;
mod envelope_codec;
mod expected;
mod identity;
mod keys;
mod random;
mod rates;
mod signatures;
mod statement;
pub mod symmetric;
mod window;

pub(crate) use buckets::{Bucket, Buckets};
pub use channel_rates::ChannelRates;
pub use counters::{Refusal, SecurityCounters};
pub use envelope::{MAX_ENVELOPE, MAX_RECIPIENTS, Sealing, open, seal};
pub use envelope_codec::{BootRollback, Channel, EnvelopeCodec};
pub use identity::{Identity, verify};
pub(crate) use keys::check_call_key;
pub use keys::{AgreementKey, CallKeys, inbox_topic, link_id, sign_call_key, verify_call_key};
pub use random::Random;
pub use rates::{RateLimits, TopicKind};
pub(crate) use signatures::SignatureChecks;
pub(crate) use statement::Statement;
pub(crate) use symmetric::{hmac_sha256, sha256};
pub use window::ReplayWindows;
