//! Addresses in descriptions and candidates (RFC 8839 §5.1).

use std::net::SocketAddr;

/// A candidate with another address; `None` for one that `replace` leaves out, or that has a name
/// instead of an address.
pub(super) fn candidate(attribute: &str, replace: &mut dyn FnMut(SocketAddr) -> Option<SocketAddr>) -> Option<String> {
    let mut fields: Vec<String> = attribute.split_whitespace().map(str::to_owned).collect();
    let [_, _, _, _, address, port, ..] = fields.as_mut_slice() else { return None };
    let replaced = replace(SocketAddr::new(address.parse().ok()?, port.parse().ok()?))?;
    *address = replaced.ip().to_string();
    *port = replaced.port().to_string();
    Some(fields.join(" "))
}

/// A description whose candidates have other addresses.
pub(super) fn description(sdp: &str, replace: &mut dyn FnMut(SocketAddr) -> Option<SocketAddr>) -> String {
    let lines = sdp.lines().filter_map(|line| match line.strip_prefix("a=") {
        Some(attribute) if attribute.starts_with("candidate:") => {
            Some(format!("a={}\r\n", candidate(attribute, replace)?))
        }
        _ => Some(format!("{line}\r\n")),
    });
    lines.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_addresses_of_candidates_are_replaced_and_names_left_out() {
        let sdp = "v=0\r\nc=IN IP4 192.0.2.1\r\na=candidate:1 1 udp 7 192.0.2.1 5000 typ host generation 0\r\n\
                   a=candidate:2 1 udp 6 192.0.2.1 6000 typ host\r\na=candidate:3 1 udp 5 a.local 5000 typ host\r\na=mid:0\r\n";
        let told =
            "v=0\r\nc=IN IP4 192.0.2.1\r\na=candidate:1 1 udp 7 127.0.0.1 9 typ host generation 0\r\na=mid:0\r\n";
        let mut replace = |address: SocketAddr| (address.port() == 5000).then(|| SocketAddr::from(([127, 0, 0, 1], 9)));
        assert_eq!(description(sdp, &mut replace), told);
        for text in ["", "candidate:", "candidate:1 1 udp 7 192.0.2.1"] {
            assert_eq!(candidate(text, &mut replace), None, "{text}");
        }
    }
}
