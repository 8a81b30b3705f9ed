//! Privacy filter of local candidates: which are signaled, and with which addresses
//! (`ice.relay_only`, `ice.host_candidates`).

use std::net::IpAddr;

use blink_api::{HostCandidates, IceConfig};

/// Filter of a stack's local descriptions and candidates.
///
/// Unless it passes everything, it also removes what reveals the addresses behind candidates:
/// related addresses (RFC 8839 §5.1), foundations that a stack derives from addresses, and the
/// addresses and ports in `c=`, `o=`, `m=` and `a=rtcp` lines.
#[derive(Debug, Default)]
pub struct CandidateFilter {
    relay_only: bool,
    hosts: HostCandidates,
    /// Local addresses with their mDNS names.
    names: Vec<(IpAddr, String)>,
    /// Foundations in order of appearance. Their index replaces them, since only equality matters
    /// (RFC 8445 §5.1.1.3).
    foundations: Vec<String>,
}

impl CandidateFilter {
    /// Creates the filter from the ICE configuration.
    pub fn new(ice: &IceConfig) -> Self {
        Self { relay_only: ice.relay_only, hosts: ice.host_candidates, ..Self::default() }
    }

    /// Sets the mDNS names of local addresses for [`HostCandidates::Mdns`]; host candidates without
    /// a name are removed.
    pub fn set_names(&mut self, names: Vec<(IpAddr, String)>) {
        self.names = names;
    }

    /// Returns whether everything passes unchanged.
    pub fn passes_all(&self) -> bool {
        !self.relay_only && self.hosts == HostCandidates::Address
    }

    /// Filters a candidate (RFC 8839 §5.1, from `candidate:` on); `None` removes it.
    pub fn candidate(&mut self, attribute: &str) -> Option<String> {
        if self.passes_all() {
            return Some(attribute.to_owned());
        }
        let mut fields: Vec<String> = attribute.split_whitespace().map(str::to_owned).collect();
        let kind = fields.iter().position(|field| field == "typ").and_then(|typ| fields.get(typ + 1))?.clone();
        let address: IpAddr = fields.get(4)?.parse().ok()?;
        match kind.as_str() {
            "relay" => {}
            _ if self.relay_only => return None,
            "host" if self.hosts == HostCandidates::Address => {}
            "host" => fields[4] = self.names.iter().find(|(known, _)| *known == address)?.1.clone(),
            "srflx" => {}
            _ => return None,
        }
        let foundation = fields[0].strip_prefix("candidate:")?;
        fields[0] = format!("candidate:{}", self.foundation(foundation));
        let unspecified = if address.is_ipv4() { "0.0.0.0" } else { "::" };
        for (name, told) in [("raddr", unspecified), ("rport", "9")] {
            if let Some(value) = fields.iter().position(|field| field == name).and_then(|at| fields.get_mut(at + 1)) {
                *value = told.to_owned();
            }
        }
        Some(fields.join(" "))
    }

    /// Filters a description.
    pub fn description(&mut self, sdp: &str) -> String {
        if self.passes_all() {
            return sdp.to_owned();
        }
        let told = sdp.lines().filter_map(|line| {
            let told = match line.strip_prefix("a=") {
                Some(candidate) if candidate.starts_with("candidate:") => format!("a={}", self.candidate(candidate)?),
                Some(rtcp) if rtcp.starts_with("rtcp:") => "a=rtcp:9 IN IP4 0.0.0.0".to_owned(),
                _ => without_address(line),
            };
            Some(told + "\r\n")
        });
        told.collect()
    }

    fn foundation(&mut self, foundation: &str) -> usize {
        let known = self.foundations.iter().position(|known| known == foundation);
        known.unwrap_or_else(|| {
            self.foundations.push(foundation.to_owned());
            self.foundations.len() - 1
        }) + 1
    }
}

/// Replaces the address in a line by the placeholder of a description without candidates (RFC 8829
/// §5.2.1).
fn without_address(line: &str) -> String {
    let fields: Vec<&str> = line.split(' ').collect();
    match fields.as_slice() {
        [network, "IP4" | "IP6", _] if network.starts_with("c=") => "c=IN IP4 0.0.0.0".to_owned(),
        [user, id, version, "IN", "IP4" | "IP6", _] if user.starts_with("o=") => {
            format!("{user} {id} {version} IN IP4 127.0.0.1")
        }
        // Port 0 rejects a section and must stay.
        [media, port, rest @ ..] if media.starts_with("m=") && *port != "0" => format!("{media} 9 {}", rest.join(" ")),
        _ => line.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOST: &str = "candidate:1911 1 udp 2130706431 192.0.2.7 5000 typ host generation 0";
    const REFLEXIVE: &str = "candidate:52 1 udp 1694498815 203.0.113.9 6000 typ srflx raddr 192.0.2.7 rport 5000";
    const RELAY: &str = "candidate:77 1 udp 16777215 198.51.100.3 7000 typ relay raddr 192.0.2.7 rport 5000 ufrag ab";
    const RELAY_6: &str = "candidate:77 1 udp 16777215 2001:db8::3 7000 typ relay raddr 2001:db8::7 rport 5000";

    fn candidate_filter(relay_only: bool, hosts: HostCandidates) -> CandidateFilter {
        let ice = IceConfig { relay_only, host_candidates: hosts, ..IceConfig::default() };
        CandidateFilter::new(&ice)
    }

    fn told(candidate_filter: &mut CandidateFilter) -> Vec<Option<String>> {
        [HOST, REFLEXIVE, RELAY].iter().map(|attribute| candidate_filter.candidate(attribute)).collect()
    }

    #[test]
    fn by_default_everything_passes_unchanged() {
        let as_it_is = [HOST, REFLEXIVE, RELAY].map(|attribute| Some(attribute.to_owned()));
        assert_eq!(told(&mut candidate_filter(false, HostCandidates::Address)), as_it_is);
    }

    #[test]
    fn relay_only_passes_relayed_candidates_without_related_addresses() {
        let mut relays = candidate_filter(true, HostCandidates::Address);
        let relay = "candidate:1 1 udp 16777215 198.51.100.3 7000 typ relay raddr 0.0.0.0 rport 9 ufrag ab";
        assert_eq!(told(&mut relays), [None, None, Some(relay.to_owned())]);
        let relay = "candidate:1 1 udp 16777215 2001:db8::3 7000 typ relay raddr :: rport 9";
        assert_eq!(relays.candidate(RELAY_6).as_deref(), Some(relay), "equal foundations stay equal");
    }

    #[test]
    fn host_candidates_are_removed_or_get_mdns_names() {
        let reflexive =
            |n: usize| format!("candidate:{n} 1 udp 1694498815 203.0.113.9 6000 typ srflx raddr 0.0.0.0 rport 9");
        let mut none = candidate_filter(false, HostCandidates::None);
        assert_eq!(told(&mut none)[..2], [None, Some(reflexive(1))]);
        let mut named = candidate_filter(false, HostCandidates::Mdns);
        assert_eq!(told(&mut named)[0], None, "an address without a name is removed");
        named.set_names(vec![("192.0.2.7".parse().expect("an address"), "a.local".to_owned())]);
        let host = "candidate:3 1 udp 2130706431 a.local 5000 typ host generation 0";
        assert_eq!(told(&mut named)[..2], [Some(host.to_owned()), Some(reflexive(1))]);
    }

    #[test]
    fn malformed_candidates_are_removed() {
        let mut relays = candidate_filter(true, HostCandidates::Address);
        for text in ["", "candidate:", "candidate:1 1 udp 1 192.0.2.7 5000 typ", "candidate:1 1 udp 1 name 5 typ relay"]
        {
            assert_eq!(relays.candidate(text), None, "{text}");
        }
    }

    #[test]
    fn only_lines_with_local_addresses_change_in_descriptions() {
        let sdp = format!(
            "v=0\r\no=- 4 2 IN IP4 192.0.2.7\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0\r\nm=audio 5000 UDP/TLS/RTP/SAVPF 111\r\n\
             c=IN IP4 192.0.2.7\r\na=rtcp:5000 IN IP4 192.0.2.7\r\na={HOST}\r\na={RELAY}\r\na=end-of-candidates\r\n\
             m=video 0 UDP/TLS/RTP/SAVPF 96\r\nc=IN IP6 2001:db8::7\r\n"
        );
        assert_eq!(candidate_filter(false, HostCandidates::Address).description(&sdp), sdp);
        let told = candidate_filter(true, HostCandidates::Address).description(&sdp);
        let expected = "v=0\r\no=- 4 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\n\
             c=IN IP4 0.0.0.0\r\na=rtcp:9 IN IP4 0.0.0.0\r\n\
             a=candidate:1 1 udp 16777215 198.51.100.3 7000 typ relay raddr 0.0.0.0 rport 9 ufrag ab\r\na=end-of-candidates\r\n\
             m=video 0 UDP/TLS/RTP/SAVPF 96\r\nc=IN IP4 0.0.0.0\r\n";
        assert_eq!(told, expected);
    }
}
