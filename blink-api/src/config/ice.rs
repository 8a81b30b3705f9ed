//! `[ice]`: gathering of ICE candidates, and the URIs of STUN and TURN servers.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};

use serde::{Deserialize, Serialize};

use crate::{Error, ErrorKind, Result};

/// Port of a URI without one (RFC 7064 §3.2, RFC 7065 §3.2).
const DEFAULT_PORT: u16 = 3478;
/// Longest name, without a trailing dot (RFC 1035 §2.3.4).
const LONGEST_NAME: usize = 253;
/// Longest part of a name between dots (RFC 1035 §2.3.4).
const LONGEST_LABEL: usize = 63;

/// `[ice]`: gathering of candidates (RFC 8445).
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct IceConfig {
    /// STUN and TURN servers. Empty by default: only configured servers are used.
    pub servers: Vec<IceServer>,
    /// Whether only relayed candidates are gathered and used. No other address of this device is
    /// in descriptions and candidates, and all packets go through a TURN server. Requires one among
    /// `servers`.
    pub relay_only: bool,
    /// Form of host candidates in descriptions and trickled candidates.
    pub host_candidates: HostCandidates,
    /// IP addresses or names of the interfaces to use, as far as they exist; empty: all that are
    /// up.
    pub interfaces: Vec<String>,
}

/// Form in which host candidates, and with them the addresses of this device's interfaces, are sent
/// to participants.
///
/// Affects descriptions and candidates only. The remote side of an established connection sees the
/// address that packets come from; only [`IceConfig::relay_only`] hides that.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HostCandidates {
    /// As addresses.
    #[default]
    Address,
    /// As names that only this network resolves, by multicast DNS
    /// (draft-ietf-mmusic-mdns-ice-candidates).
    Mdns,
    /// No host candidates: server-reflexive and relayed ones only.
    None,
}

/// A STUN or TURN server (RFC 7064, RFC 7065).
#[derive(Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct IceServer {
    /// `stun:HOST[:PORT]`, or `turn:HOST[:PORT][?transport=udp]`, which is used as a STUN server
    /// too. Both over UDP. An IPv6 address is written in brackets. Parsed by [`ServerUri::parse`].
    pub url: String,
    /// User name, for TURN.
    pub username: String,
    /// Password, for TURN.
    pub credential: String,
}

/// A parsed URI of a STUN (RFC 7064) or TURN server (RFC 7065) over UDP.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct ServerUri {
    /// STUN or TURN.
    pub scheme: ServerScheme,
    /// Lower-case name or IP address, without brackets.
    pub host: String,
    /// UDP port, not 0.
    pub port: u16,
}

/// Protocol of an ICE server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ServerScheme {
    /// STUN: server-reflexive candidates (RFC 8489).
    Stun,
    /// TURN: relayed candidates (RFC 8656).
    Turn,
}

impl IceConfig {
    pub(super) fn check(&self) -> Result<()> {
        self.servers.iter().try_for_each(IceServer::check)?;
        if self.relay_only && !self.servers.iter().any(IceServer::relays) {
            let why = "relayed candidates come from a turn: server, and none is in ice.servers";
            return Err(Error::new(ErrorKind::Invalid, why).with("key", "ice.relay_only"));
        }
        Ok(())
    }
}

impl IceServer {
    /// Whether it is a TURN server.
    pub fn relays(&self) -> bool {
        self.uri().is_ok_and(|uri| uri.scheme == ServerScheme::Turn)
    }

    /// Parses [`url`](IceServer::url).
    ///
    /// # Errors
    /// As [`ServerUri::parse`].
    pub fn uri(&self) -> Result<ServerUri> {
        ServerUri::parse(&self.url)
    }

    /// Checks that a transport can use the server.
    ///
    /// # Errors
    /// Those of [`uri`](Self::uri), and [`Invalid`](ErrorKind::Invalid) for a TURN server without a
    /// username or credential.
    pub fn check(&self) -> Result<()> {
        let uri = self.uri().map_err(|error| error.with("key", "ice.servers"))?;
        if uri.scheme == ServerScheme::Turn && (self.username.is_empty() || self.credential.is_empty()) {
            return Err(Error::new(ErrorKind::Invalid, "a TURN server needs a username and a credential")
                .with("key", "ice.servers")
                .with("url", uri));
        }
        Ok(())
    }
}

/// Shows no credential, in whichever field it was written.
impl fmt::Debug for IceServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let url = without_secrets(&self.url);
        f.debug_struct("IceServer").field("url", &url).field("username", &self.username).finish_non_exhaustive()
    }
}

impl ServerUri {
    /// Parses `stun:HOST[:PORT]` and `turn:HOST[:PORT][?transport=udp]`; the scheme in capitals or
    /// not.
    ///
    /// # Errors
    /// [`Unsupported`](ErrorKind::Unsupported) for servers over TCP or TLS,
    /// [`Invalid`](ErrorKind::Invalid) for other text, with the expected form. Neither shows the
    /// text before an `@`, which may be a password.
    pub fn parse(text: &str) -> Result<Self> {
        let refuse = |kind, why: String| Error::new(kind, why).with("url", without_secrets(text));
        let invalid = |why: String| refuse(ErrorKind::Invalid, why);
        let unsupported = |why: &str| refuse(ErrorKind::Unsupported, why.to_owned());
        let general = || invalid("a server is written stun:HOST[:PORT] or turn:HOST[:PORT]".to_owned());
        let (scheme, rest) = text.split_once(':').ok_or_else(general)?;
        let scheme = match scheme.to_ascii_lowercase().as_str() {
            "stun" => ServerScheme::Stun,
            "turn" => ServerScheme::Turn,
            "stuns" | "turns" => return Err(unsupported("servers are asked over UDP, not over TLS")),
            _ => return Err(general()),
        };
        if rest.contains('@') {
            return Err(invalid("a user name and a password are the keys `username` and `credential`".to_owned()));
        }
        if let Some(rest) = rest.strip_prefix("//") {
            return Err(invalid(format!("there is no // in a server's URI; write {scheme}:{rest}")));
        }
        let (authority, query) = rest.split_once('?').map_or((rest, None), |(rest, query)| (rest, Some(query)));
        match query.map(str::to_ascii_lowercase).as_deref() {
            None | Some("transport=udp") => {}
            Some("transport=tcp") => return Err(unsupported("servers are asked over UDP, not over TCP")),
            Some(_) => return Err(invalid("a server's URI ends with its port or ?transport=udp".to_owned())),
        }
        let (host, port) = split_authority(authority).map_err(|problem| match problem {
            Problem::Unbracketed(address) => {
                invalid(format!("an IPv6 address is written in brackets: {scheme}:[{address}]"))
            }
            Problem::Port => invalid(format!("a port is a number from 1 to 65535; without one it is {DEFAULT_PORT}")),
            Problem::Other => general(),
        })?;
        let host = host.to_ascii_lowercase();
        if !authority.starts_with('[') && !is_name_or_ipv4(&host) {
            return Err(invalid(
                "a server's host is a name of letters, digits and hyphens or an IP address".to_owned(),
            ));
        }
        Ok(Self { scheme, host, port })
    }
}

/// The canonical form, without a transport, which is UDP.
impl fmt::Display for ServerUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { scheme, host, port } = self;
        if host.contains(':') { write!(f, "{scheme}:[{host}]:{port}") } else { write!(f, "{scheme}:{host}:{port}") }
    }
}

impl fmt::Display for ServerScheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Stun => "stun",
            Self::Turn => "turn",
        })
    }
}

enum Problem<'a> {
    Unbracketed(&'a str),
    Port,
    Other,
}

/// Splits `HOST[:PORT]` (RFC 3986 §3.2), where an IPv6 address stands in brackets.
fn split_authority(authority: &str) -> Result<(&str, u16), Problem<'_>> {
    if let Some(rest) = authority.strip_prefix('[') {
        let (address, rest) = rest.split_once(']').ok_or(Problem::Other)?;
        // A zone has a meaning on this device only, and RFC 3986 does not allow it.
        address.parse::<Ipv6Addr>().map_err(|_| Problem::Other)?;
        let port = match rest {
            "" => DEFAULT_PORT,
            rest => parse_port(rest.strip_prefix(':').ok_or(Problem::Other)?)?,
        };
        return Ok((address, port));
    }
    if authority.matches(':').count() > 1 {
        let address = authority.parse::<Ipv6Addr>().is_ok();
        return Err(if address { Problem::Unbracketed(authority) } else { Problem::Other });
    }
    match authority.split_once(':') {
        Some((host, port)) => Ok((host, parse_port(port)?)),
        None => Ok((authority, DEFAULT_PORT)),
    }
}

/// Parses a port of digits only: `str::parse` would accept a sign.
fn parse_port(text: &str) -> Result<u16, Problem<'_>> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|port| digits && *port != 0).ok_or(Problem::Port)
}

/// Whether it is a host name (RFC 1123 §2.1, with the underscores that occur in practice) or a
/// dotted IPv4 address.
fn is_name_or_ipv4(host: &str) -> bool {
    if host.parse::<Ipv4Addr>().is_ok() {
        return true;
    }
    let name = host.strip_suffix('.').unwrap_or(host);
    let is_label = |label: &str| {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        (1..=LONGEST_LABEL).contains(&label.len()) && label.bytes().all(allowed)
    };
    // A last label of digits is a mistyped IPv4 address.
    let last = name.rsplit('.').next().unwrap_or_default();
    let is_number = last.bytes().all(|byte| byte.is_ascii_digit());
    name.len() <= LONGEST_NAME && name.split('.').all(is_label) && !is_number
}

/// The text of a URI without the parts that may hold passwords: everything before the last `@`, and
/// parameters.
fn without_secrets(url: &str) -> String {
    let (url, query) = url.split_once('?').map_or((url, None), |(url, query)| (url, Some(query)));
    let url = url.rsplit_once('@').map_or(url.to_owned(), |(_, host)| format!("(hidden)@{host}"));
    match query {
        Some(query) if query.starts_with("transport=") && !query.contains(['&', '@']) => format!("{url}?{query}"),
        Some(_) => format!("{url}?(hidden)"),
        None => url,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uris_of_rfc_7064_and_7065_are_read() {
        use ServerScheme::{Stun, Turn};
        for (text, scheme, host, port, canonical) in [
            ("stun:stun.example", Stun, "stun.example", 3478, "stun:stun.example:3478"),
            ("STUN:Stun.Example.:19302", Stun, "stun.example.", 19_302, "stun:stun.example.:19302"),
            ("stun:192.0.2.1:1", Stun, "192.0.2.1", 1, "stun:192.0.2.1:1"),
            ("turn:[2001:db8::1]:5349?transport=udp", Turn, "2001:db8::1", 5349, "turn:[2001:db8::1]:5349"),
            ("Turn:[2001:DB8::1]?Transport=UDP", Turn, "2001:db8::1", 3478, "turn:[2001:db8::1]:3478"),
            ("turn:my_host", Turn, "my_host", 3478, "turn:my_host:3478"),
        ] {
            let uri = ServerUri::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!((uri.scheme, &*uri.host, uri.port, &*uri.to_string()), (scheme, host, port, canonical));
            assert_eq!(ServerUri::parse(&uri.to_string()).unwrap(), uri, "the canonical form means the same");
        }
    }

    #[test]
    fn other_text_is_refused_with_the_right_way_to_write_it() {
        let long = format!("stun:{}.example", "a".repeat(64));
        for (text, words) in [
            ("stun:2001:db8::1", "stun:[2001:db8::1]"),
            ("turn:::1", "turn:[::1]"),
            ("stun:2001:db8::1:3478", "stun:[2001:db8::1:3478]"),
            ("stun://stun.example:3478", "write stun:stun.example:3478"),
            ("stun:stun.example:0", "1 to 65535"),
            ("stun:stun.example:65536", "1 to 65535"),
            ("stun:stun.example:+1", "1 to 65535"),
            ("stun:stun.example:", "1 to 65535"),
            ("stun:[::1]:x", "1 to 65535"),
            ("stun:[::1", "stun:HOST[:PORT]"),
            ("stun:[fe80::1%eth0]", "stun:HOST[:PORT]"),
            ("stun:[192.0.2.1]", "stun:HOST[:PORT]"),
            ("stun:[::1]1", "stun:HOST[:PORT]"),
            ("stun:host:port:port", "stun:HOST[:PORT]"),
            ("stun.example:3478", "stun:HOST[:PORT]"),
            ("stun.example", "stun:HOST[:PORT]"),
            ("http://x", "stun:HOST[:PORT]"),
            ("", "stun:HOST[:PORT]"),
            ("stun:", "letters, digits"),
            ("stun:a..b", "letters, digits"),
            ("stun:192.0.2.300", "letters, digits"),
            ("stun:192.0.2", "letters, digits"),
            ("stun:ex ample", "letters, digits"),
            ("stun:stun.example/path", "letters, digits"),
            ("stun:müller.example", "letters, digits"),
            (&long, "letters, digits"),
            ("stun:x?transport=sctp", "?transport=udp"),
            ("turn:x?a=b", "?transport=udp"),
        ] {
            let error = ServerUri::parse(text).expect_err(text);
            assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
            assert!(error.to_string().contains(words), "{text}: {error}");
        }
        for text in ["stuns:x", "TURNS:x:5349", "turn:x?transport=tcp"] {
            assert_eq!(ServerUri::parse(text).unwrap_err().kind(), ErrorKind::Unsupported, "{text}");
        }
    }

    #[test]
    fn a_password_within_a_uri_is_shown_nowhere() {
        for url in ["turn:user:hunter2@turn.example", "turn:turn.example?password=hunter2", "turn.example?a@hunter2"] {
            let server = IceServer { url: url.to_owned(), ..IceServer::default() };
            let shown = format!("{} {server:?}", server.uri().unwrap_err());
            assert!(shown.contains("turn.example") || shown.contains("hidden"), "{shown}");
            assert!(!shown.contains("hunter2"), "{shown}");
        }
    }
}
