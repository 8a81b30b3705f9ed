//! Identity, keys and envelopes: who says something, who can read it, and what is refused.
//!
//! The construction is in `docs/protocol.md`, section "Envelope". Keys live in types that wipe
//! themselves and have no `Debug`.

mod buckets;
mod channel_rates;
mod counters;
mod envelope;
mod envelope_codec;
mod expected;
mod identity;
mod keys;
mod rates;
mod signatures;
pub mod symmetric;
mod window;

pub(crate) use buckets::Buckets;
pub use channel_rates::ChannelRates;
pub use counters::{Refusal, SecurityCounters};
pub use envelope::{MAX_ENVELOPE, MAX_RECIPIENTS, Sealing, open, seal};
pub use envelope_codec::{BootRollback, Channel, EnvelopeCodec};
pub use identity::{Identity, verify};
pub(crate) use keys::check_call_key;
pub use keys::{AgreementKey, CallKeys, inbox_topic, link_id, sign_call_key, verify_call_key};
pub use rates::{Place, RateLimits};
pub(crate) use signatures::{SignatureChecks, Statement};
pub(crate) use symmetric::{hmac_sha256, sha256};
pub use window::ReplayWindows;

/// The generator of everything random: a stream cipher, seeded by the operating system or by a
/// test.
pub type Random = rand_chacha::ChaCha20Rng;
