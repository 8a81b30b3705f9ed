//! Which remote candidates are usable, which are ignored, which are no candidates.

use std::net::{IpAddr, SocketAddr};

use blink_api::{Error, ErrorKind, Result};

/// What to do with a candidate that is well formed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Use {
    /// Give it to the ICE agent.
    Check,
    /// As [`Check`](Use::Check), once it is known what address this name of multicast DNS stands
    /// for, if that can be found out.
    Resolve(String),
    /// Accept it and do nothing: another transport than UDP, another component than RTP's, or
    /// another host name.
    Ignore,
}

/// Judges a candidate's text (RFC 8839 §5.1).
///
/// # Errors
/// [`Invalid`](ErrorKind::Invalid) for text that is no candidate.
pub fn judge(attribute: &str) -> Result<Use> {
    let invalid = || Error::new(ErrorKind::Invalid, "this is no ICE candidate");
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
        Ok(Use::Ignore)
    } else if is_address {
        Ok(Use::Check)
    } else if is_local_name(address) {
        Ok(Use::Resolve((*address).to_owned()))
    } else {
        Ok(Use::Ignore)
    }
}

/// The transport address of a candidate (RFC 8839 §5.1) that is no name.
pub fn address(attribute: &str) -> Option<SocketAddr> {
    let mut fields = attribute.split_whitespace().skip(4);
    Some(SocketAddr::new(fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
}

/// A candidate without its extensions. Those that are not known must be ignored (RFC 8839 §5.1),
/// but stacks find fault with some, and with the order of others.
pub fn bare(attribute: &str) -> String {
    let fields = attribute.split_whitespace().take(8).enumerate();
    let fields = fields.map(|(place, field)| if place == 2 { field.to_ascii_lowercase() } else { field.to_owned() });
    fields.collect::<Vec<String>>().join(" ")
}

/// A candidate with an address in the place of its name.
pub fn with_address(attribute: &str, address: IpAddr) -> String {
    let address = address.to_string();
    let fields = attribute.split_whitespace().enumerate();
    let fields: Vec<&str> = fields.map(|(place, field)| if place == 4 { address.as_str() } else { field }).collect();
    fields.join(" ")
}

/// One label below `local`, of letters, digits and hyphens (draft-ietf-mmusic-mdns-ice-candidates
/// §3.2.1).
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
            assert_eq!(judge(text).expect(text), Use::Check);
        }
    }

    #[test]
    fn bare_candidates_have_what_a_check_needs() {
        let text = "candidate:a 1 UDP 1 2001:db8::1 50000  typ srflx raddr 192.0.2.1 rport 9 new value ufrag abcd";
        assert_eq!(bare(text), "candidate:a 1 udp 1 2001:db8::1 50000 typ srflx");
        assert_eq!(address(&bare(text)), Some("[2001:db8::1]:50000".parse().expect("an address")));
        assert_eq!(judge(&bare(text)).expect(text), Use::Check);
    }

    #[test]
    fn names_of_this_network_are_resolved() {
        const NAMED: &str = "candidate:1 1 udp 2122194687 8a1c0e1e-aaaa-bbbb-cccc-1234567890ab.local 51192 typ host";
        let name = "8a1c0e1e-aaaa-bbbb-cccc-1234567890ab.local".to_owned();
        assert_eq!(judge(NAMED).expect(NAMED), Use::Resolve(name));
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
            assert_eq!(judge(text).expect(text), Use::Ignore);
        }
    }

    #[test]
    fn anything_else_is_invalid() {
        for text in [
            "",
            "candidate:",
            "192.0.2.1:5000",
            "a=candidate:1 1 udp 1 192.0.2.1 5000 typ host",
            "candidate:1 1 udp many 192.0.2.1 5000 typ host",
            "candidate:1 1 udp 1 192.0.2.1 70000 typ host",
            "candidate:1 1 udp 1 192.0.2.1 5000 typ host ufrag",
        ] {
            assert_eq!(judge(text).expect_err(text).kind(), ErrorKind::Invalid);
        }
    }
}
