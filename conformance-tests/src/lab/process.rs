//! What the process has, as the system tells it.

use std::fs;

/// Sockets and memory of the whole process: of use only where nothing else runs in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Possessions {
    /// Open sockets.
    pub sockets: usize,
    /// Bytes of memory that are resident, without what the lab wrote down.
    pub memory: u64,
}

impl Possessions {
    /// What there is now, of which so many bytes are the lab's notes; `None` where the system has
    /// no `/proc` as Linux has it.
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
