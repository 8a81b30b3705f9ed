//! Concealment since the last packet.

/// Concealed ticks since the last packet that was played.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Gap {
    /// Ticks whose audio would lie before the next packet.
    pub(super) before_next: i64,
    /// All ticks, a late packet's own among them.
    pub(super) total: i64,
}

impl Gap {
    pub(super) fn conceal(&mut self, ticks: i64) {
        self.before_next += ticks;
        self.total += ticks;
    }

    /// A packet was played of which `left` concealed ticks lie behind its end.
    pub(super) fn end_at(&mut self, left: i64) {
        *self = Self { before_next: left, total: if left > 0 { self.total } else { 0 } };
    }
}
