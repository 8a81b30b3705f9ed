//! Session descriptions (RFC 8866), as far as the protocol itself reads them.

/// The candidates in a description in its order: the value of every `a=candidate` line (RFC 8839
/// §5.1), in whatever section it stands.
pub fn candidates_of(sdp: &str) -> impl Iterator<Item = &str> {
    let attributes = sdp.lines().filter_map(|line| line.trim_end().strip_prefix("a="));
    attributes.filter(|attribute| attribute.starts_with("candidate:"))
}
