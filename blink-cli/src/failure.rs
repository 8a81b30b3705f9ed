//! Failure of a command, with its exit status.

use blink_api::{Error, ErrorKind};

/// A failed command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    status: u8,
    reason: String,
    reported: bool,
}

impl Failure {
    /// The call failed or was interrupted: exit status 1.
    pub(crate) fn call(reason: impl Into<String>) -> Self {
        Self { status: 1, reason: one_line(&reason.into()), reported: false }
    }

    /// Invalid arguments, configuration or files: exit status 2.
    pub(crate) fn input(reason: impl Into<String>) -> Self {
        Self { status: 2, reason: one_line(&reason.into()), reported: false }
    }

    /// The user or the system ended the program: exit status 130.
    pub(crate) fn interrupted() -> Self {
        Self { status: 130, reason: "interrupted".to_owned(), reported: false }
    }

    /// Marks a failure that the command's last line of JSON already contains.
    pub(crate) fn reported(mut self) -> Self {
        self.reported = true;
        self
    }

    /// Adds the step that failed.
    pub(crate) fn during(mut self, what: &str) -> Self {
        self.reason = format!("{what}: {}", self.reason);
        self
    }

    /// Exit status of the program.
    pub(crate) fn status(&self) -> u8 {
        self.status
    }

    /// Reason, in one line.
    pub(crate) fn reason(&self) -> &str {
        &self.reason
    }

    /// Whether the failure must still be printed as JSON.
    pub(crate) fn is_unreported(&self) -> bool {
        !self.reported
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let reason = error.to_string();
        match error.kind() {
            ErrorKind::Invalid | ErrorKind::NotFound | ErrorKind::Busy | ErrorKind::Unsupported => Self::input(reason),
            _ => Self::call(reason),
        }
    }
}

/// Joins the lines of a library's text, such as one line per address.
pub(crate) fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn input_errors_have_status_2_and_reasons_are_one_line() {
        for (kind, status) in [
            (ErrorKind::Invalid, 2),
            (ErrorKind::NotFound, 2),
            (ErrorKind::Busy, 2),
            (ErrorKind::Unsupported, 2),
            (ErrorKind::Timeout, 1),
            (ErrorKind::Io, 1),
            (ErrorKind::Closed, 1),
        ] {
            let failure = Failure::from(Error::new(kind, "two\nlines"));
            assert_eq!(failure.status(), status, "{kind:?}");
            assert!(failure.reason().ends_with("two lines"), "{}", failure.reason());
        }
        assert_eq!(Failure::interrupted().status(), 130);
        assert_eq!(Failure::call("no\n audio").during("run 2").reason(), "run 2: no audio");
    }
}
