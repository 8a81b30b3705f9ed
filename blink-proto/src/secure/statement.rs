//! Signed statements inside messages: roots, roster entries, call keys.

use blink_api::Did;

use super::symmetric::sha256;

/// A signed statement.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Statement<'a> {
    /// Signer.
    pub(crate) did: &'a Did,
    /// Domain separation: prefix of the signed bytes.
    pub(crate) context: &'a [u8],
    /// Signed bytes.
    pub(crate) bytes: &'a [u8],
    pub(crate) signature: &'a [u8; 64],
}

impl Statement<'_> {
    /// Digest that identifies the statement and its signature.
    pub(super) fn digest(&self) -> [u8; 32] {
        // The length of the context makes the encoding injective.
        let length = (self.context.len() as u64).to_be_bytes();
        sha256(&[&length, self.context, self.did.public_key(), self.signature, self.bytes])
    }
}
