//! Resource usage of the process, as reported by the system.

use std::fs;

/// Sockets and memory of the whole process: meaningful only if nothing else runs in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ResourceUsage {
    /// Number of open sockets.
    pub sockets: usize,
    /// Resident memory in bytes, without the lab's own records.
    pub memory: u64,
}

impl ResourceUsage {
    /// Current usage, without `notes` bytes of the lab's own records; `None` on systems without
    /// Linux's `/proc`.
    pub fn now(notes: usize) -> Option<Self> {
        let is_socket = |entry: &fs::DirEntry| {
            fs::read_link(entry.path()).is_ok_and(|to| to.to_string_lossy().starts_with("socket:"))
        };
        let sockets = fs::read_dir("/proc/self/fd").ok()?.flatten().filter(is_socket).count();
        let status = fs::read_to_string("/proc/self/status").ok()?;
        let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
        let kibibytes: u64 = resident.split_whitespace().next()?.parse().ok()?;
        Some(Self { sockets, memory: (kibibytes * 1024).saturating_sub(notes as u64) })
    }
}
