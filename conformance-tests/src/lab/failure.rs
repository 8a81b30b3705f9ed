//! Failure of a scenario.

use std::fmt;

/// Result of a step of a scenario.
pub type Result<T = (), E = Failure> = std::result::Result<T, E>;

/// Failure of a scenario: the participant, the expected event, and all event logs up to it.
#[derive(Clone)]
pub struct Failure {
    kind: FailureKind,
    text: String,
}

/// Cause of a [`Failure`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailureKind {
    /// A required event did not occur, or a forbidden one did.
    Assertion,
    /// The lab could not be set up: an engine did not start, or a backend is missing.
    SetUp,
}

impl Failure {
    pub(crate) fn assertion(text: String) -> Self {
        Self { kind: FailureKind::Assertion, text }
    }

    pub(crate) fn set_up(text: impl fmt::Display) -> Self {
        Self { kind: FailureKind::SetUp, text: text.to_string() }
    }

    /// Cause of the failure.
    pub fn kind(&self) -> FailureKind {
        self.kind
    }

    /// First link of the failure, without the event logs.
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
