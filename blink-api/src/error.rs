//! The error type of all crates: kind, message, backend, operation, context, and whether a retry
//! can succeed.

use std::borrow::Cow;
use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;

/// A result with Blink's error.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Category of an error, for callers to act on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The user or integrator gave something unusable: configuration, a file, an argument.
    Invalid,
    /// The thing named does not exist: a call, a device, a backend, a track.
    NotFound,
    /// The backend does not do this, and its capabilities say so.
    Unsupported,
    /// Two sides have nothing in common, such as a codec.
    Incompatible,
    /// The call, session, device or backend is closed or gone.
    Closed,
    /// It cannot be done in the present state, such as answering a call that is over.
    State,
    /// The topic has no subscribers; nothing was sent.
    NoSubscribers,
    /// The message is larger than the backend carries.
    TooLarge,
    /// A bounded queue is full; the new item is dropped.
    Full,
    /// A resource is in use elsewhere: an occupied port, a locked directory.
    Busy,
    /// A time limit passed.
    Timeout,
    /// The operating system, network or device failed.
    Io,
    /// A signature, key or seal does not hold.
    Security,
    /// A fault in the backend that fits nothing else.
    Unexpected,
}

impl ErrorKind {
    /// Text of the kind, with which the error's text begins.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Invalid => "invalid",
            Self::NotFound => "not found",
            Self::Unsupported => "unsupported",
            Self::Incompatible => "incompatible",
            Self::Closed => "closed",
            Self::State => "not possible now",
            Self::NoSubscribers => "no subscribers",
            Self::TooLarge => "too large",
            Self::Full => "queue full",
            Self::Busy => "in use",
            Self::Timeout => "timed out",
            Self::Io => "input/output failed",
            Self::Security => "security check failed",
            Self::Unexpected => "unexpected",
        }
    }
}

/// An error of a backend or of the engine.
///
/// Its text is one line: `kind: message (backend, operation; key=value …): source`.
#[derive(Clone)]
pub struct Error(Box<Inner>);

#[derive(Clone)]
struct Inner {
    kind: ErrorKind,
    message: Cow<'static, str>,
    backend: Option<&'static str>,
    operation: Option<&'static str>,
    retryable: bool,
    context: Vec<(&'static str, String)>,
    source: Option<Arc<dyn StdError + Send + Sync>>,
}

impl Error {
    /// An error of a kind with a message for users. It is not retryable unless its kind is
    /// [`Full`](ErrorKind::Full), [`Timeout`](ErrorKind::Timeout) or
    /// [`NoSubscribers`](ErrorKind::NoSubscribers).
    pub fn new(kind: ErrorKind, message: impl Into<Cow<'static, str>>) -> Self {
        let retryable = matches!(kind, ErrorKind::Full | ErrorKind::Timeout | ErrorKind::NoSubscribers);
        Self(Box::new(Inner {
            kind,
            message: message.into(),
            backend: None,
            operation: None,
            retryable,
            context: Vec::new(),
            source: None,
        }))
    }

    /// The error of a method that a backend's capabilities exclude.
    pub fn unsupported(backend: &'static str, operation: &'static str) -> Self {
        Self::new(ErrorKind::Unsupported, "not done by this backend").backend(backend).operation(operation)
    }

    /// Names the backend.
    pub fn backend(mut self, backend: &'static str) -> Self {
        self.0.backend = Some(backend);
        self
    }

    /// Names the operation: the name of the method.
    pub fn operation(mut self, operation: &'static str) -> Self {
        self.0.operation = Some(operation);
        self
    }

    /// Sets whether the same call can succeed later.
    pub fn retryable(mut self, retryable: bool) -> Self {
        self.0.retryable = retryable;
        self
    }

    /// Adds a fact, such as the path of a file. Never a key, a password or message content.
    pub fn with(mut self, key: &'static str, value: impl fmt::Display) -> Self {
        self.0.context.push((key, value.to_string()));
        self
    }

    /// Keeps the error that caused this one.
    pub fn source(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.0.source = Some(Arc::from(source.into()));
        self
    }

    /// Category of the error.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// The message for users, without kind, context and source.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// Whether the same call can succeed later.
    pub fn is_retryable(&self) -> bool {
        self.0.retryable
    }

    /// Name of the backend that failed; `None` for an error of the engine.
    pub fn backend_name(&self) -> Option<&'static str> {
        self.0.backend
    }

    /// Facts in the order in which they were added: name and value.
    pub fn context(&self) -> &[(&'static str, String)] {
        &self.0.context
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let inner = &self.0;
        write!(f, "{}: {}", inner.kind.as_str(), inner.message)?;
        let mut facts: Vec<String> = Vec::new();
        facts.extend(inner.backend.map(str::to_owned));
        facts.extend(inner.operation.map(str::to_owned));
        facts.extend(inner.context.iter().map(|(key, value)| format!("{key}={value}")));
        if !facts.is_empty() {
            write!(f, " ({})", facts.join(", "))?;
        }
        match &inner.source {
            Some(source) => write!(f, ": {source}"),
            None => Ok(()),
        }
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source.as_ref().map(|source| &**source as &(dyn StdError + 'static))
    }
}

impl From<std::io::Error> for Error {
    fn from(source: std::io::Error) -> Self {
        let kind = match source.kind() {
            std::io::ErrorKind::NotFound => ErrorKind::NotFound,
            std::io::ErrorKind::AddrInUse | std::io::ErrorKind::ResourceBusy => ErrorKind::Busy,
            std::io::ErrorKind::TimedOut => ErrorKind::Timeout,
            _ => ErrorKind::Io,
        };
        Self::new(kind, "system error").source(source)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_one_line_with_backend_operation_context_and_source() {
        let error = Error::new(ErrorKind::Busy, "the port is taken")
            .backend("libp2p")
            .operation("listen")
            .with("address", "/ip4/127.0.0.1/tcp/1")
            .source(std::io::Error::other("EADDRINUSE"));
        assert_eq!(
            error.to_string(),
            "in use: the port is taken (libp2p, listen, address=/ip4/127.0.0.1/tcp/1): EADDRINUSE"
        );
        assert!(!error.is_retryable());
        assert!(Error::new(ErrorKind::Full, "x").is_retryable());
    }
}
