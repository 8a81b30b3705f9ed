//! Failures that teach: who, at which step, what the contract expects, what came, and the clause.

use std::fmt;

use blink_api::Error;
use blink_proto::secure::symmetric::sha256;

/// A failed check, for a panic.
pub(crate) struct Explained<'a> {
    /// Node or side that misbehaved.
    pub(crate) who: &'a str,
    /// Action of the test.
    pub(crate) step: &'a str,
    pub(crate) expected: String,
    pub(crate) got: String,
    /// Method or section whose documentation says so, with the rule.
    pub(crate) clause: &'a str,
    /// Case to look at first, where this one depends on it.
    pub(crate) first: Option<&'a str>,
}

impl fmt::Display for Explained<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { who, step, expected, got, clause, first } = self;
        write!(f, "{who}: {step}\n  expected: {expected}\n  got:      {got}\n  contract: {clause}")?;
        match first {
            Some(first) => write!(f, "\n  hint:     where `{first}` fails too, look at that first"),
            None => Ok(()),
        }
    }
}

impl Explained<'_> {
    /// Fails the test.
    pub(crate) fn fail(&self) -> ! {
        panic!("{self}")
    }
}

/// A message by length and digest; short printable ones as text.
pub(crate) fn bytes(bytes: &[u8]) -> String {
    let is_text = bytes.len() <= 24 && bytes.iter().all(|byte| byte.is_ascii_graphic() || *byte == b' ');
    if is_text && !bytes.is_empty() {
        return format!("{} bytes, {:?}", bytes.len(), String::from_utf8_lossy(bytes));
    }
    let digest = sha256(&[bytes]);
    let digest: String = digest[..4].iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{} bytes, SHA-256 {digest}…", bytes.len())
}

/// An error in place of a success, as text.
pub(crate) fn error(error: &Error) -> String {
    format!("{:?} ({error})", error.kind())
}

/// A result in place of an expected error, as text.
pub(crate) fn outcome<T>(result: &Result<T, Error>) -> String {
    match result {
        Ok(_) => "Ok".to_owned(),
        Err(failure) => error(failure),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_and_binary_messages_are_told_by_length_and_digest() {
        assert_eq!(bytes(b"from outside"), "12 bytes, \"from outside\"");
        assert_eq!(bytes(&[0, 1]), "2 bytes, SHA-256 b413f47d…");
        assert!(bytes(&[7; 16_384]).len() < 50);
    }
}
