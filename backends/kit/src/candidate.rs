//! Classification of remote candidates: usable, ignored or invalid.

use std::net::{IpAddr, SocketAddr};

use blink_api::{Error, ErrorKind, Result};

/// Handling of a well-formed candidate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CandidateUse {
    /// Pass it to the ICE agent.
    Check,
    /// Resolve this mDNS name, then pass it to the ICE agent.
    Resolve(String),
    /// Accept and ignore it: a transport other than UDP, a component other than RTP, or another
    /// host name.
    Ignore,
}

/// Classifies a candidate attribute (RFC 8839 §5.1).
///
/// # Errors
/// [`Invalid`](ErrorKind::Invalid) if it is not a candidate.
pub fn classify(attribute: &str) -> Result<CandidateUse> {
    let invalid = || Error::new(ErrorKind::Invalid, "this is not an ICE candidate");
    let fields = attribute.strip_prefix("candidate:").ok_or_else(invalid)?;
    let fields: Vec<&str> = fields.split_whitespace().collect();
    let [_foundation, component, transport, priority, address, port, "typ", kind, extensions @ ..] = fields.as_slice()
    else {
        return Err(invalid());
    };
    let component: u16 = component.parse().map_err(|_| invalid())?;
    let _: u32 = priority.parse().map_err(|_| invalid())?;
    let _: u16 = port.parse().map_err(|_| invalid())?;
    if extensions.len() % 2 != 0 {
        return Err(invalid());
    }
    let is_known = ["host", "srflx", "prflx", "relay"].contains(kind);
    let is_address = address.parse::<IpAddr>().is_ok();
    if component != 1 || !transport.eq_ignore_ascii_case("udp") || !is_known {
        Ok(CandidateUse::Ignore)
    } else if is_address {
        Ok(CandidateUse::Check)
    } else if is_local_name(address) {
        Ok(CandidateUse::Resolve((*address).to_owned()))
    } else {
        Ok(CandidateUse::Ignore)
    }
}

/// Transport address of a candidate (RFC 8839 §5.1); `None` if it has a name.
pub fn address(attribute: &str) -> Option<SocketAddr> {
    let mut fields = attribute.split_whitespace().skip(4);
    Some(SocketAddr::new(fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
}

/// Returns whether a candidate is of type `relay` (RFC 8839 §5.1).
pub fn is_relayed(attribute: &str) -> bool {
    attribute.split_whitespace().nth(7) == Some("relay")
}

/// Address of a candidate of type `relay`; `None` for others.
pub fn relay(attribute: &str) -> Option<SocketAddr> {
    if is_relayed(attribute) { address(attribute) } else { None }
}

/// Addresses of the candidates of type `relay` in a description.
pub fn relays_in(sdp: &str) -> impl Iterator<Item = SocketAddr> + '_ {
    let attributes = sdp.lines().filter_map(|line| line.strip_prefix("a="));
    attributes.filter(|attribute| attribute.starts_with("candidate:")).filter_map(relay)
}

/// Removes the extensions of a candidate. Unknown ones must be ignored (RFC 8839 §5.1), but stacks
/// reject some, and the order of others.
pub fn without_extensions(attribute: &str) -> String {
    let fields = attribute.split_whitespace().take(8).enumerate();
    let fields = fields.map(|(place, field)| if place == 2 { field.to_ascii_lowercase() } else { field.to_owned() });
    fields.collect::<Vec<String>>().join(" ")
}

/// Replaces the name in a candidate by an address.
pub fn with_address(attribute: &str, address: IpAddr) -> String {
    let address = address.to_string();
    let fields = attribute.split_whitespace().enumerate();
    let fields: Vec<&str> = fields.map(|(place, field)| if place == 4 { address.as_str() } else { field }).collect();
    fields.join(" ")
}

/// Returns whether a host name is an mDNS name: one label below `local` of letters, digits and
/// hyphens (draft-ietf-mmusic-mdns-ice-candidates §3.2.1).
fn is_local_name(name: &str) -> bool {
    let label = name.strip_suffix(".local").unwrap_or_default();
    (1..=63).contains(&label.len()) && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn udp_candidates_with_addresses_are_checked() {
        for text in [
            "candidate:1 1 udp 2130706431 192.0.2.1 5000 typ host",
            "candidate:a 1 UDP 1 2001:db8::1 1 typ srflx raddr 192.0.2.1 rport 9 ufrag abcd generation 0",
        ] {
            assert_eq!(classify(text).expect(text), CandidateUse::Check);
        }
    }

    #[test]
    fn candidates_without_extensions_keep_what_a_check_needs() {
        let text = "candidate:a 1 UDP 1 2001:db8::1 50000  typ srflx raddr 192.0.2.1 rport 9 new value ufrag abcd";
        assert_eq!(without_extensions(text), "candidate:a 1 udp 1 2001:db8::1 50000 typ srflx");
        assert_eq!(address(&without_extensions(text)), Some("[2001:db8::1]:50000".parse().expect("an address")));
        assert_eq!(classify(&without_extensions(text)).expect(text), CandidateUse::Check);
    }

    #[test]
    fn mdns_names_are_resolved() {
        const NAMED: &str = "candidate:1 1 udp 2122194687 8a1c0e1e-aaaa-bbbb-cccc-1234567890ab.local 51192 typ host";
        let name = "8a1c0e1e-aaaa-bbbb-cccc-1234567890ab.local".to_owned();
        assert_eq!(classify(NAMED).expect(NAMED), CandidateUse::Resolve(name));
        let address = "192.0.2.1".parse().expect("an address");
        assert_eq!(with_address(NAMED, address), "candidate:1 1 udp 2122194687 192.0.2.1 51192 typ host");
    }

    #[test]
    fn other_names_transports_and_components_are_ignored() {
        for text in [
            "candidate:1 1 udp 2122194687 host.example 51192 typ host",
            "candidate:1 1 udp 2122194687 a.b.local 51192 typ host",
            "candidate:1 1 udp 2122194687 .local 51192 typ host",
            "candidate:1 1 tcp 2130706431 192.0.2.1 9 typ host tcptype active",
            "candidate:1 2 udp 2130706431 192.0.2.1 5000 typ host",
            "candidate:1 1 quic 2130706431 192.0.2.1 5000 typ tunnel",
        ] {
            assert_eq!(classify(text).expect(text), CandidateUse::Ignore);
        }
    }

    #[test]
    fn malformed_candidates_are_invalid() {
        for text in [
            "",
            "candidate:",
            "192.0.2.1:5000",
            "a=candidate:1 1 udp 1 192.0.2.1 5000 typ host",
            "candidate:1 1 udp many 192.0.2.1 5000 typ host",
            "candidate:1 1 udp 1 192.0.2.1 70000 typ host",
            "candidate:1 1 udp 1 192.0.2.1 5000 typ host ufrag",
        ] {
            assert_eq!(classify(text).expect_err(text).kind(), ErrorKind::Invalid);
        }
    }
}
