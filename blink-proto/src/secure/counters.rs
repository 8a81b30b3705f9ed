//! Reasons of refusal and their counters. Nothing else of a refused message is kept.

use std::fmt;

use serde::Serialize;

/// Reason why a message was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Refusal {
    /// Larger than any envelope.
    Oversize,
    /// Over a rate limit.
    RateLimited,
    /// Not an envelope.
    Malformed,
    /// An envelope that opens, but does not contain valid content.
    BadContent,
    /// The tag of a call's topic does not match: the sender does not hold the call's secret.
    BadTag,
    /// No key wrap is for this device. Normal on a call's topic, where it is for another member.
    NotForUs,
    /// A key wrap for this device, or the content, does not decrypt.
    BadSeal,
    /// A public key of small order.
    WeakKey,
    /// The signature does not match.
    BadSignature,
    /// Signed by this endpoint, and sent by it before: an echo or a replay.
    OwnEndpoint,
    /// Signed as this endpoint, but never sent by it: another process holds its key.
    ClonedDevice,
    /// A kind of message that this version does not know.
    UnknownKind,
    /// A kind of message that is not allowed on that topic.
    WrongTopic,
    /// Received before, or sent before the sender's newest boot.
    Replayed,
    /// The sender is not authorized to send this in that call.
    NotAuthorized,
    /// A root, entry or fingerprint that does not match.
    Inconsistent,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Oversize => "larger than any envelope",
            Self::RateLimited => "over a rate limit",
            Self::Malformed => "not an envelope",
            Self::BadContent => "invalid content",
            Self::BadTag => "wrong tag",
            Self::NotForUs => "not for this device",
            Self::BadSeal => "does not decrypt",
            Self::WeakKey => "weak key",
            Self::BadSignature => "wrong signature",
            Self::OwnEndpoint => "own message",
            Self::ClonedDevice => "signed by a clone of this device",
            Self::UnknownKind => "unknown kind of message",
            Self::WrongTopic => "wrong topic",
            Self::Replayed => "replayed",
            Self::NotAuthorized => "not authorized",
            Self::Inconsistent => "inconsistent",
        })
    }
}

macro_rules! counters {
    ($($(#[$doc:meta])* $field:ident: $refusal:ident,)*) => {
        /// Messages refused since the start, by reason.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
        #[non_exhaustive]
        pub struct SecurityCounters {
            $($(#[$doc])* pub $field: u64,)*
        }

        impl SecurityCounters {
            /// Counts one refusal.
            pub fn count(&mut self, refusal: Refusal) {
                match refusal {
                    $(Refusal::$refusal => self.$field += 1,)*
                }
            }

            /// All refusals except those that are normal on a shared topic (`not_for_us`).
            pub fn total(&self) -> u64 {
                0 $(+ self.$field)* - self.not_for_us
            }
        }
    };
}

counters! {
    /// Larger than any envelope.
    oversize: Oversize,
    /// Over a rate limit.
    rate_limited: RateLimited,
    /// Not an envelope.
    malformed: Malformed,
    /// Invalid content in an envelope that opens.
    bad_content: BadContent,
    /// Wrong tag on a call's topic.
    bad_tag: BadTag,
    /// For another member; normal on a call's topic.
    not_for_us: NotForUs,
    /// Does not decrypt.
    bad_seal: BadSeal,
    /// A key of small order.
    weak_key: WeakKey,
    /// Wrong signature.
    bad_signature: BadSignature,
    /// Sent by this endpoint before.
    own_endpoint: OwnEndpoint,
    /// Signed as this endpoint, never sent by it.
    cloned_device: ClonedDevice,
    /// Unknown kind of message.
    unknown_kind: UnknownKind,
    /// Kind of message on the wrong topic.
    wrong_topic: WrongTopic,
    /// Received before.
    replayed: Replayed,
    /// Not authorized.
    not_authorized: NotAuthorized,
    /// Inconsistent root, entry or fingerprint.
    inconsistent: Inconsistent,
}
