//! STUN and TURN servers, as they are configured and by what they answer.

use blink_api::{Error, ErrorKind, IceServer, Result, ServerScheme};

/// A server to ask over UDP.
#[derive(Clone, PartialEq, Eq)]
pub struct Server {
    /// As configured.
    pub url: String,
    /// A name or an address, without brackets.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// Whom a relay is asked for as; `None` for a STUN server.
    pub account: Option<Account>,
}

/// A long-term credential (RFC 8489 §9.2).
#[derive(Clone, PartialEq, Eq)]
pub struct Account {
    /// The user's name.
    pub username: String,
    /// The password.
    pub credential: String,
}

impl Server {
    /// Parses a configured server by [`IceServer::uri`], the only parser of its URI.
    ///
    /// # Errors
    /// Those of [`ServerUri::parse`](blink_api::ServerUri::parse).
    pub fn parse(server: &IceServer) -> Result<Self> {
        let uri = server.uri()?;
        let account = (uri.scheme == ServerScheme::Turn)
            .then(|| Account { username: server.username.clone(), credential: server.credential.clone() });
        Ok(Self { url: server.url.clone(), host: uri.host, port: uri.port, account })
    }

    /// It gave no candidate, for this reason.
    pub fn failed(&self, failure: Failure) -> Error {
        let (kind, message) = match failure {
            Failure::Unknown => {
                (ErrorKind::NotFound, "the server has no address that can be reached from here".to_owned())
            }
            Failure::Silent => (ErrorKind::Timeout, "the server does not answer".to_owned()),
            // RFC 8656 §19: wrong credentials; forbidden; another user's allocation.
            Failure::Refused(code @ (401 | 403 | 441)) => {
                (ErrorKind::Security, format!("the server does not take the credentials ({code})"))
            }
            Failure::Refused(code @ (486 | 508)) => {
                (ErrorKind::Full, format!("the server has no relay to spare ({code})"))
            }
            Failure::Refused(code) => (ErrorKind::Io, format!("the server refuses ({code})")),
            Failure::Unreadable => (ErrorKind::Io, "the server's answer cannot be used".to_owned()),
        };
        Error::new(kind, message).with("url", &self.url)
    }
}

/// Why a server gave no candidate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// Its name has no address of a family that this device has too.
    Unknown,
    /// It did not answer.
    Silent,
    /// It answered with this error code (RFC 8489 §14.8, RFC 8656 §19).
    Refused(u16),
    /// It answered with something else.
    Unreadable,
}

/// Methods of STUN requests that a TURN client makes (RFC 8656 §17).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// For a relay.
    Allocate,
    /// For a longer life of a relay.
    Refresh,
    /// For packets from a peer.
    CreatePermission,
    /// For shorter headers.
    ChannelBind,
}

/// An error response (RFC 8489 §6.3.4) to a TURN client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refusal {
    /// What was asked for.
    pub method: Method,
    /// The error code.
    pub code: u16,
}

impl Refusal {
    /// Reads a datagram from a server; `None` for anything that is no error response of one of
    /// these methods.
    pub fn parse(datagram: &[u8]) -> Option<Self> {
        let method = Method::of(message_type(datagram)?, 0x0110)?;
        // ERROR-CODE: two bytes of zeros, the hundreds, the rest (RFC 8489 §14.8).
        let [_, _, class, number, ..] = attribute(datagram, 0x0009)? else { return None };
        Some(Self { method, code: u16::from(*class & 7) * 100 + u16::from(*number) })
    }
}

/// The channel number that a ChannelBind request asks for (RFC 8656 §12.1); `None` for anything
/// else.
pub fn bound_channel(datagram: &[u8]) -> Option<u16> {
    if Method::of_request(datagram)? != Method::ChannelBind {
        return None;
    }
    let number = attribute(datagram, 0x000c)?.first_chunk()?;
    Some(u16::from_be_bytes(*number))
}

impl Method {
    /// What a datagram asks a server for; `None` for anything that is no request of one of these
    /// methods.
    pub fn of_request(datagram: &[u8]) -> Option<Self> {
        Self::of(message_type(datagram)?, 0)
    }

    fn of(message_type: u16, class: u16) -> Option<Self> {
        // The class is spread over two bits of the type (RFC 8489 §5).
        match message_type.checked_sub(class)? {
            3 => Some(Self::Allocate),
            4 => Some(Self::Refresh),
            8 => Some(Self::CreatePermission),
            9 => Some(Self::ChannelBind),
            _ => None,
        }
    }
}

/// The type of a STUN message (RFC 8489 §5).
fn message_type(datagram: &[u8]) -> Option<u16> {
    let [t0, t1, _, _, 0x21, 0x12, 0xa4, 0x42, ..] = datagram else { return None };
    (datagram.len() >= 20).then(|| u16::from_be_bytes([*t0, *t1]))
}

/// The value of a STUN message's first attribute of a type (RFC 8489 §14).
fn attribute(message: &[u8], wanted: u16) -> Option<&[u8]> {
    let mut attributes = message.get(20..)?;
    while let [t0, t1, l0, l1, rest @ ..] = attributes {
        let length = usize::from(u16::from_be_bytes([*l0, *l1]));
        if u16::from_be_bytes([*t0, *t1]) == wanted {
            return rest.get(..length);
        }
        attributes = rest.get(length.next_multiple_of(4)..)?;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_what_its_uri_says_and_relays_have_an_account() {
        let server = |url: &str| {
            let (username, credential) = ("u".to_owned(), "p".to_owned());
            Server::parse(&IceServer { url: url.to_owned(), username, credential })
        };
        let stun = server("stun:[2001:db8::1]").unwrap();
        assert_eq!((&*stun.host, stun.port, stun.account.is_some()), ("2001:db8::1", 3478, false));
        let turn = server("TURN:Turn.Example:1?transport=udp").unwrap();
        assert_eq!((&*turn.host, turn.port), ("turn.example", 1));
        assert!(turn.account.is_some_and(|account| account.username == "u" && account.credential == "p"));
        assert_eq!(server("stun:2001:db8::1").err().unwrap().kind(), ErrorKind::Invalid);
    }

    /// An Allocate error response as a server sends it: NONCE (of 5 bytes, padded) before
    /// ERROR-CODE 486.
    const REFUSED: [u8; 40] = [
        0x01, 0x13, 0, 20, 0x21, 0x12, 0xa4, 0x42, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, // header
        0, 0x15, 0, 5, b'n', b'o', b'n', b'c', b'e', 0, 0, 0, // NONCE
        0, 0x09, 0, 4, 0, 0, 4, 86, // ERROR-CODE
    ];

    #[test]
    fn error_codes_are_read_from_responses_and_nothing_else() {
        assert_eq!(Refusal::parse(&REFUSED), Some(Refusal { method: Method::Allocate, code: 486 }));
        let mut request = REFUSED;
        request[0] = 0;
        request[1] = 3;
        assert_eq!((Refusal::parse(&request), Method::of_request(&request)), (None, Some(Method::Allocate)));
        let mut no_stun = REFUSED;
        no_stun[4] = 0;
        assert_eq!(Refusal::parse(&no_stun), None);
    }

    #[test]
    fn a_bound_channel_is_read_from_its_request() {
        let mut request = [0; 28];
        request[..8].copy_from_slice(&[0, 9, 0, 8, 0x21, 0x12, 0xa4, 0x42]);
        request[20..].copy_from_slice(&[0, 0x0c, 0, 4, 0x40, 0x02, 0, 0]);
        assert_eq!(bound_channel(&request), Some(0x4002));
        assert_eq!(bound_channel(&request[..26]), None);
        assert_eq!(bound_channel(&REFUSED), None);
    }

    #[test]
    fn datagrams_cut_anywhere_are_no_refusals_and_no_panics() {
        for length in 0..REFUSED.len() {
            assert_eq!(Refusal::parse(&REFUSED[..length]), None, "{length}");
        }
        let mut long = REFUSED;
        long[22..24].copy_from_slice(&u16::MAX.to_be_bytes());
        assert_eq!(Refusal::parse(&long), None);
    }
}
