//! What was refused, and how often. Nothing of a refused message is kept but the count.

use serde::Serialize;

/// Why a message was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// Larger than any envelope.
    Oversize,
    /// More than the rate limits allow.
    RateLimited,
    /// Not an envelope.
    Malformed,
    /// An envelope that opens, and what is in it is not content.
    BadContent,
    /// The call topic's tag does not fit: not from a holder of the call's secret.
    BadTag,
    /// No wrap is for a key of this device. On a call's topic that is normal: it was for another
    /// member.
    NotForUs,
    /// A wrap is for this device and does not open, or the content does not.
    BadSeal,
    /// A public key of small order.
    WeakKey,
    /// The signature does not fit.
    BadSignature,
    /// Signed as this very endpoint, and said by it before.
    OwnEndpoint,
    /// Signed as this very endpoint, which never said it.
    ClonedDevice,
    /// A kind this version does not know.
    UnknownKind,
    /// A kind that does not belong on that topic.
    WrongTopic,
    /// Seen before, or from before the sender's newest start.
    Replayed,
    /// The sender has no right to say this in that call.
    NotAuthorized,
    /// A root, entry or fingerprint that does not hold.
    Inconsistent,
}

macro_rules! counters {
    ($($(#[$doc:meta])* $field:ident: $refusal:ident,)*) => {
        /// How many messages were refused since the start, by reason.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
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

            /// All refusals but those that are normal on a shared topic (`not_for_us`).
            pub fn total(&self) -> u64 {
                0 $(+ self.$field)* - self.not_for_us
            }
        }
    };
}

counters! {
    /// Larger than any envelope.
    oversize: Oversize,
    /// Over the rate limits.
    rate_limited: RateLimited,
    /// No envelope.
    malformed: Malformed,
    /// No content in an envelope that opens.
    bad_content: BadContent,
    /// A wrong tag on a call's topic.
    bad_tag: BadTag,
    /// For another member; normal on a call's topic.
    not_for_us: NotForUs,
    /// Does not open.
    bad_seal: BadSeal,
    /// A key of small order.
    weak_key: WeakKey,
    /// A wrong signature.
    bad_signature: BadSignature,
    /// Signed as this very endpoint, and said by it before.
    own_endpoint: OwnEndpoint,
    /// Signed as this very endpoint, which never said it.
    cloned_device: ClonedDevice,
    /// An unknown kind.
    unknown_kind: UnknownKind,
    /// A kind on the wrong topic.
    wrong_topic: WrongTopic,
    /// Seen before.
    replayed: Replayed,
    /// Not the sender's to say.
    not_authorized: NotAuthorized,
    /// A root, entry or fingerprint that does not hold.
    inconsistent: Inconsistent,
}
