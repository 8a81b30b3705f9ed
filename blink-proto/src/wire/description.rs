//! Session descriptions (RFC 8866), as far as the protocol itself reads them.

/// Candidates in a description, in order: the value of every `a=candidate` line (RFC 8839 §5.1), in
/// any section.
pub fn candidates_of(sdp: &str) -> impl Iterator<Item = &str> {
    let attributes = sdp.lines().filter_map(|line| line.trim_end().strip_prefix("a="));
    attributes.filter(|attribute| attribute.starts_with("candidate:"))
}
