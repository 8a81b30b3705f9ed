//! Which remote candidates are usable, which are ignored, which are no candidates.

use std::net::IpAddr;

use blink_api::{Error, ErrorKind, Result};

/// What to do with a candidate that is well formed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Use {
    /// Give it to the ICE agent.
    Check,
    /// Accept it and do nothing: another transport than UDP, another component than RTP's, or a host name.
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
    if component == 1 && transport.eq_ignore_ascii_case("udp") && is_known && is_address {
        Ok(Use::Check)
    } else {
        Ok(Use::Ignore)
    }
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
    fn names_other_transports_and_other_components_are_ignored() {
        for text in [
            "candidate:1 1 udp 2122194687 8a1c0e1e-aaaa-bbbb-cccc-1234567890ab.local 51192 typ host",
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
