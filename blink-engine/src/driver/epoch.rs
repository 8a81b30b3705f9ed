//! Numbers of the calls whose media was opened.

/// Numbers the calls whose media was opened: what was made for one has no effect on the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) struct Epoch(pub(super) u64);
