//! Names of paths.

/// A session of a remote endpoint, as media knows it. An endpoint may have two while one replaces
/// the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PathId(pub u64);
