//! Filter of remote candidates, which limits the addresses that a peer can make this device send
//! to.
//!
//! Candidates in descriptions and trickled ones are treated alike. Inadmissible ones are ignored
//! without an error, since they must not end a call.

use std::collections::{HashSet, VecDeque};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use blink_api::{Candidate, Result};

use crate::candidate::{self, CandidateUse};

/// Limit of transport addresses per ICE generation and address family.
const MAX_PER_FAMILY: usize = 16;
/// Limit of mDNS names resolved per ICE generation.
const MAX_NAMES: usize = 16;
/// Limit of candidates that are used although they were trickled before the description of an ICE
/// restart.
const MAX_EARLY: usize = MAX_PER_FAMILY / 2;
/// Limit of trickled candidates kept for the next ICE generation; the oldest are dropped.
const MAX_KEPT: usize = 64;

/// Ports that browsers block, because other protocols' services that could misinterpret a datagram
/// listen there: the "bad ports" of the Fetch standard
/// (<https://fetch.spec.whatwg.org/#port-blocking>), as of November 2026. Sorted.
const BAD_PORTS: &[u16] = &[
    0, 1, 7, 9, 11, 13, 15, 17, 19, 20, 21, 22, 23, 25, 37, 42, 43, 53, 69, 77, 79, 87, 95, 101, 102, 103, 104, 109,
    110, 111, 113, 115, 117, 119, 123, 135, 137, 139, 143, 161, 179, 389, 427, 465, 512, 513, 514, 515, 526, 530, 531,
    532, 540, 548, 554, 556, 563, 587, 601, 636, 989, 990, 993, 995, 1719, 1720, 1723, 2049, 3659, 4045, 4190, 5060,
    5061, 6000, 6566, 6665, 6666, 6667, 6668, 6669, 6679, 6697, 10080,
];

/// Filter and budget of a session's remote candidates.
///
/// The stack may reject a description after it was filtered. So filter with a clone, and keep it
/// once the stack has accepted the description; otherwise a rejected description would start a new
/// generation.
#[derive(Debug, Clone)]
pub struct RemoteCandidates {
    own: OwnScope,
    /// ICE username fragment of the current generation; `None` before the first description.
    generation: Option<String>,
    admitted: HashSet<SocketAddr>,
    names: HashSet<String>,
    /// Candidates trickled in the current generation, which may belong to the next one.
    kept: VecDeque<Candidate>,
}

/// Address scopes that are checked only if the local side uses them too.
#[derive(Debug, Clone, Copy, Default)]
struct OwnScope {
    loopback: bool,
    link_local: bool,
}

/// Filtered description for the stack.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AdmittedDescription {
    /// Description with admitted candidates only.
    pub sdp: String,
    /// Candidates to add once the stack has accepted the description: those with mDNS names, and
    /// those trickled before their description. None of them is [`CandidateUse::Ignore`]. They have
    /// their extensions; pass [`candidate::without_extensions`] ones to stacks.
    pub candidates: Vec<(Candidate, CandidateUse)>,
}

impl RemoteCandidates {
    /// Creates the filter of a session with these local addresses.
    pub fn new(own: &[IpAddr]) -> Self {
        Self {
            own: OwnScope::of(own),
            generation: None,
            admitted: HashSet::new(),
            names: HashSet::new(),
            kept: VecDeque::new(),
        }
    }

    /// Updates the local addresses, which may change with an ICE restart.
    pub fn set_own(&mut self, own: &[IpAddr]) {
        self.own = OwnScope::of(own);
    }

    /// Filters a description. A new ICE username fragment starts a generation with a budget of its
    /// own.
    pub fn description(&mut self, sdp: &str) -> AdmittedDescription {
        let user = sdp.lines().find_map(|line| line.strip_prefix("a=ice-ufrag:")).unwrap_or_default().trim();
        let is_new = self.generation.as_deref() != Some(user);
        // After a restart most early candidates belong to the previous generation, so they must
        // leave budget for those to come.
        let most_early = if self.generation.is_some() { MAX_EARLY } else { MAX_KEPT };
        if is_new {
            self.generation = Some(user.to_owned());
            self.admitted.clear();
            self.names.clear();
        }
        let mut candidates = Vec::new();
        let mut admitted = String::with_capacity(sdp.len());
        for line in sdp.split_inclusive('\n') {
            let attribute = line.trim_end().strip_prefix("a=").filter(|line| line.starts_with("candidate:"));
            match attribute.map(|attribute| (attribute, self.admit(attribute))) {
                None => admitted.push_str(line),
                Some((attribute, Ok(CandidateUse::Check))) => {
                    admitted.extend(["a=", &candidate::without_extensions(attribute), "\r\n"]);
                }
                Some((attribute, Ok(CandidateUse::Resolve(name)))) => {
                    let candidate = Candidate { attribute: attribute.to_owned(), mid: None };
                    candidates.push((candidate, CandidateUse::Resolve(name)));
                }
                // An unparsable candidate must not fail the whole description.
                Some((_, Ok(CandidateUse::Ignore) | Err(_))) => {}
            }
        }
        if is_new {
            let mut early = Vec::new();
            // Newest first: these are the most likely to have overtaken this description.
            for candidate in std::mem::take(&mut self.kept).into_iter().rev() {
                match self.admit(&candidate.attribute) {
                    Ok(CandidateUse::Ignore) | Err(_) => {}
                    Ok(usable) => early.push((candidate, usable)),
                }
                if early.len() == most_early {
                    break;
                }
            }
            candidates.extend(early);
        }
        AdmittedDescription { sdp: admitted, candidates }
    }

    /// Filters a trickled candidate, and keeps it for the next description, which it may have
    /// overtaken.
    ///
    /// # Errors
    /// [`Invalid`](blink_api::ErrorKind::Invalid) if it is not a candidate.
    pub fn trickle(&mut self, candidate: &Candidate) -> Result<CandidateUse> {
        if candidate::classify(&candidate.attribute)? == CandidateUse::Ignore {
            return Ok(CandidateUse::Ignore);
        }
        if self.kept.len() == MAX_KEPT {
            self.kept.pop_front();
        }
        self.kept.push_back(candidate.clone());
        if self.generation.is_some() { self.admit(&candidate.attribute) } else { Ok(CandidateUse::Ignore) }
    }

    /// Filters a candidate in the current generation and takes it from the budget. One that was
    /// admitted before is free. Names are filtered again once resolved.
    ///
    /// # Errors
    /// [`Invalid`](blink_api::ErrorKind::Invalid) if it is not a candidate.
    pub fn admit(&mut self, attribute: &str) -> Result<CandidateUse> {
        let usable = candidate::classify(attribute)?;
        if self.generation.as_deref().is_some_and(|user| is_of_other(attribute, user)) {
            return Ok(CandidateUse::Ignore);
        }
        let is_admitted = match &usable {
            CandidateUse::Check => candidate::address(attribute).is_some_and(|address| self.admit_address(address)),
            CandidateUse::Resolve(name) => {
                self.names.contains(name) || (self.names.len() < MAX_NAMES && self.names.insert(name.clone()))
            }
            CandidateUse::Ignore => false,
        };
        if !is_admitted {
            tracing::debug!("remote candidate ignored");
        }
        Ok(if is_admitted { usable } else { CandidateUse::Ignore })
    }

    fn admit_address(&mut self, address: SocketAddr) -> bool {
        if self.admitted.contains(&address) {
            return true;
        }
        let of_family = self.admitted.iter().filter(|known| known.is_ipv4() == address.is_ipv4()).count();
        of_family < MAX_PER_FAMILY && self.own.may_check(address) && self.admitted.insert(address)
    }
}

impl OwnScope {
    fn of(own: &[IpAddr]) -> Self {
        Self { loopback: own.iter().any(IpAddr::is_loopback), link_local: own.iter().any(is_link_local) }
    }

    /// Returns whether an address may be checked. Directed broadcast addresses of local networks
    /// are not known here; the operating system refuses them without `SO_BROADCAST`.
    fn may_check(self, address: SocketAddr) -> bool {
        // The system may send IPv4-mapped IPv6 addresses to the IPv4 one (RFC 4291 §2.5.5.2).
        let ip = address.ip().to_canonical();
        let is_unusable = match ip {
            // "This network" (RFC 1122 §3.2.1.3), reserved addresses and limited broadcast (RFC
            // 1112 §4).
            IpAddr::V4(ip) => ip.octets()[0] == 0 || ip.octets()[0] >= 240 || ip == Ipv4Addr::BROADCAST,
            IpAddr::V6(ip) => ip.is_unspecified(),
        };
        !(is_unusable
            || ip.is_multicast()
            || (ip.is_loopback() && !self.loopback)
            || (is_link_local(&ip) && !self.link_local)
            || BAD_PORTS.binary_search(&address.port()).is_ok())
    }
}

fn is_link_local(ip: &IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    }
}

/// Returns whether a candidate's `ufrag` (RFC 8838 §11) is of another generation.
fn is_of_other(attribute: &str, user: &str) -> bool {
    let mut extensions = attribute.split_whitespace().skip(8);
    while let (Some(name), Some(value)) = (extensions.next(), extensions.next()) {
        if name == "ufrag" {
            return value != user;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use std::net::Ipv6Addr;

    use blink_api::ErrorKind;

    use super::*;

    const OWN: &[IpAddr] = &[IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1))];

    fn host(address: &str, port: u16) -> String {
        format!("candidate:1 1 udp 2130706431 {address} {port} typ host")
    }

    fn trickled(attribute: String) -> Candidate {
        Candidate { attribute, mid: None }
    }

    fn description(user: &str, candidates: &[String]) -> String {
        let lines: String = candidates.iter().map(|candidate| format!("a={candidate}\r\n")).collect();
        format!("v=0\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=ice-ufrag:{user}\r\n{lines}a=end-of-candidates\r\n")
    }

    /// Creates a filter with a first generation `user` without candidates.
    fn begun(own: &[IpAddr]) -> RemoteCandidates {
        let mut remote = RemoteCandidates::new(own);
        remote.description(&description("user", &[]));
        remote
    }

    fn is_checked(remote: &mut RemoteCandidates, address: &str, port: u16) -> bool {
        remote.trickle(&trickled(host(address, port))).expect("a candidate") == CandidateUse::Check
    }

    #[test]
    fn multicast_broadcast_and_unspecified_addresses_are_never_checked() {
        let mut remote = begun(OWN);
        for address in [
            "0.0.0.0",
            "0.1.2.3",
            "224.0.0.251",
            "239.255.255.250",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "ff02::fb",
            "ff0e::1",
            "::ffff:224.0.0.1",
            "::ffff:255.255.255.255",
            "::ffff:0.0.0.0",
        ] {
            assert!(!is_checked(&mut remote, address, 50_000), "{address}");
        }
        assert!(is_checked(&mut remote, "198.51.100.1", 50_000) && is_checked(&mut remote, "2001:db8::1", 50_000));
    }

    #[test]
    fn ports_that_browsers_block_are_never_checked() {
        assert!(BAD_PORTS.is_sorted());
        let mut remote = begun(OWN);
        for port in [0, 1, 7, 19, 22, 25, 53, 69, 123, 161, 389, 514, 1719, 5060, 6000, 6697, 10080] {
            assert!(!is_checked(&mut remote, "198.51.100.1", port), "{port}");
        }
        for port in [80, 443, 3478, 49_152, 65_535] {
            assert!(is_checked(&mut remote, "198.51.100.1", port), "{port}");
        }
    }

    #[test]
    fn loopback_and_link_local_are_checked_only_if_used_locally() {
        let loopback = [IpAddr::V4(Ipv4Addr::LOCALHOST)];
        let link_local = [IpAddr::V4(Ipv4Addr::new(169, 254, 7, 7))];
        for (own, expected) in [
            (OWN, [false, false, false, false]),
            (&loopback, [true, true, true, false]),
            (&[IpAddr::V6(Ipv6Addr::LOCALHOST)], [true, true, true, false]),
            (&link_local, [false, false, false, true]),
        ] {
            let mut remote = begun(own);
            let checked = ["127.0.0.1", "::1", "::ffff:127.0.0.1", "169.254.169.254"]
                .map(|address| is_checked(&mut remote, address, 50_000));
            assert_eq!(checked, expected, "{own:?}");
        }
        let mut remote = begun(OWN);
        remote.set_own(&loopback);
        assert!(is_checked(&mut remote, "127.0.0.1", 50_000));
    }

    #[test]
    fn sixteen_addresses_per_family_are_checked_from_all_sources_together() {
        let mut remote = RemoteCandidates::new(OWN);
        // Half of them overtake the description and rank after its own candidates.
        for n in 0..30 {
            assert!(!is_checked(&mut remote, &format!("198.51.100.{n}"), 50_000));
        }
        let inside: Vec<String> = (0..20).map(|n| host(&format!("203.0.113.{n}"), 50_000)).collect();
        let admitted = remote.description(&description("user", &inside[..12]));
        assert_eq!(admitted.sdp.matches("a=candidate:").count(), 12);
        let early: Vec<&str> =
            admitted.candidates.iter().filter_map(|(early, _)| early.attribute.split(' ').nth(4)).collect();
        assert_eq!(early, ["198.51.100.29", "198.51.100.28", "198.51.100.27", "198.51.100.26"]);
        assert!(!is_checked(&mut remote, "192.0.2.77", 50_000));
        assert!(is_checked(&mut remote, "203.0.113.3", 50_000), "an admitted one is free");
        let sixth: Vec<bool> = (0..20).map(|n| is_checked(&mut remote, &format!("2001:db8::{n:x}"), 50_000)).collect();
        assert_eq!(sixth.iter().filter(|checked| **checked).count(), 16);
        let again = remote.description(&description("user", &inside));
        assert_eq!(again.sdp.matches("a=candidate:").count(), 12, "the same generation has no budget of its own");
        let next = remote.description(&description("next", &inside));
        assert_eq!(next.sdp.matches("a=candidate:").count(), 16);
    }

    #[test]
    fn each_port_of_an_address_counts() {
        let mut remote = begun(OWN);
        let checked = (50_000..50_100).filter(|port| is_checked(&mut remote, "198.51.100.1", *port)).count();
        assert_eq!(checked, 16);
    }

    #[test]
    fn a_filtered_description_contains_admissible_candidates_only() {
        let named = "candidate:1 1 udp 2122194687 8a1c0e1e-aaaa-bbbb-cccc-1234567890ab.local 51192 typ host".to_owned();
        let good = host("198.51.100.1", 50_000);
        let candidates = [
            good.clone(),
            named.clone(),
            host("198.51.100.1", 25),
            host("[2001:db8::1]", 50_000),
            host("fe80::1%eth0", 50_000),
            host("host.example", 50_000),
            "candidate:1 1 tcp 2130706431 198.51.100.1 9 typ host tcptype active".to_owned(),
            "candidate:1 1 sctp 2130706431 198.51.100.1 50000 typ host".to_owned(),
            "candidate:1 1 udp 21307".to_owned(),
        ];
        let admitted = begun(OWN).description(&description("user", &candidates));
        assert_eq!(admitted.sdp, description("user", &[good]));
        let name = "8a1c0e1e-aaaa-bbbb-cccc-1234567890ab.local".to_owned();
        assert_eq!(admitted.candidates, [(trickled(named), CandidateUse::Resolve(name))]);
    }

    #[test]
    fn candidates_of_another_generation_are_not_checked() {
        let mut remote = begun(OWN);
        let of = |user: &str, address: &str| trickled(format!("{} generation 0 ufrag {user}", host(address, 50_000)));
        assert_eq!(remote.trickle(&of("user", "198.51.100.1")).expect("a candidate"), CandidateUse::Check);
        assert_eq!(remote.trickle(&of("next", "198.51.100.2")).expect("a candidate"), CandidateUse::Ignore);
        let next = remote.description(&description("next", &[]));
        assert_eq!(next.candidates, [(of("next", "198.51.100.2"), CandidateUse::Check)], "it overtook its description");
        assert!(remote.description(&description("last", &[])).candidates.is_empty());
    }

    #[test]
    fn names_are_limited_and_filtered_again_once_resolved() {
        let mut remote = begun(OWN);
        let name = |n: u32| trickled(format!("candidate:1 1 udp 2122194687 {n:08x}.local 51192 typ host"));
        let looked_up = (0..100)
            .filter(|n| matches!(remote.trickle(&name(*n)).expect("a candidate"), CandidateUse::Resolve(_)))
            .count();
        assert_eq!(looked_up, 16);
        for (address, expected) in [("127.0.0.1", CandidateUse::Ignore), ("198.51.100.1", CandidateUse::Check)] {
            let address = address.parse().expect("an address");
            let resolved = candidate::with_address(&name(1).attribute, address);
            assert_eq!(remote.admit(&resolved).expect("a candidate"), expected);
        }
    }

    #[test]
    fn a_malformed_candidate_is_an_error() {
        let error = begun(OWN).trickle(&trickled("candidate:".to_owned())).expect_err("not a candidate");
        assert_eq!(error.kind(), ErrorKind::Invalid);
    }
}
