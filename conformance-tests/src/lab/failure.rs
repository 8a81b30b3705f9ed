//! Why a scenario did not hold.

use std::fmt;

/// What a step of a scenario gives.
pub type Result<T = (), E = Failure> = std::result::Result<T, E>;

/// A scenario that did not hold: who, what was awaited, and what everybody saw until then.
#[derive(Clone)]
pub struct Failure {
    kind: FailureKind,
    text: String,
}

/// Whose fault a [`Failure`] is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailureKind {
    /// Something that the scenario demands did not happen, or something that it forbids did.
    Assertion,
    /// The lab could not be set up: an engine did not start, a backend is not there.
    SetUp,
}

impl Failure {
    pub(crate) fn assertion(text: String) -> Self {
        Self { kind: FailureKind::Assertion, text }
    }

    pub(crate) fn set_up(text: impl fmt::Display) -> Self {
        Self { kind: FailureKind::SetUp, text: text.to_string() }
    }

    /// Whose fault it is.
    pub fn kind(&self) -> FailureKind {
        self.kind
    }

    /// What failed, in one line: the text without the logs.
    pub fn summary(&self) -> &str {
        self.text.lines().next().unwrap_or_default()
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            FailureKind::Assertion => f.write_str(&self.text),
            FailureKind::SetUp => write!(f, "the lab could not be set up: {}", self.text),
        }
    }
}

impl fmt::Debug for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for Failure {}
