//! Resident memory of this process.

/// Resident memory in MB (10⁶ bytes) that no file backs; `None` where the system does not tell.
pub(super) fn resident_mb() -> Option<f64> {
    parse(&std::fs::read_to_string("/proc/self/status").ok()?)
}

/// `RssAnon` of `/proc/self/status`, in kB of 1,024 bytes (proc(5)).
fn parse(status: &str) -> Option<f64> {
    let value = status.lines().find_map(|line| line.strip_prefix("RssAnon:"))?;
    let kilobytes: f64 = value.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some((kilobytes * 1_024.0 / 100_000.0).round() / 10.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_of_anonymous_memory_is_read() {
        assert_eq!(parse("Name:\tblink\nVmRSS:\t  99999 kB\nRssAnon:\t   12345 kB\n"), Some(12.6));
        assert_eq!(parse("Name:\tblink\n"), None);
        assert_eq!(parse("RssAnon:\tmuch kB\n"), None);
    }
}
