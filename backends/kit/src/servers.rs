//! STUN and TURN servers: configuration and error responses.

use blink_api::{Error, ErrorKind, IceServer, Result, ServerScheme};
use std::fmt;

/// STUN or TURN server over UDP.
#[derive(Clone, PartialEq, Eq)]
pub struct Server {
    /// URL as configured.
    pub url: String,
    /// DNS name or IP address, without brackets.
    pub host: String,
    /// UDP port.
    pub port: u16,
    /// TURN credentials; `None` for a STUN server.
    pub credentials: Option<Credentials>,
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").finish_non_exhaustive()
    }
}

/// Long-term credentials (RFC 8489 §9.2).
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// User name.
    pub username: String,
    /// Password.
    pub credential: String,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").finish_non_exhaustive()
    }
}

impl Server {
    /// Parses a configured server with [`IceServer::uri`], the only parser of its URI.
    ///
    /// # Errors
    /// Those of [`ServerUri::parse`](blink_api::ServerUri::parse).
    pub fn parse(server: &IceServer) -> Result<Self> {
        let uri = server.uri()?;
        let credentials = (uri.scheme == ServerScheme::Turn)
            .then(|| Credentials { username: server.username.clone(), credential: server.credential.clone() });
        Ok(Self { url: server.url.clone(), host: uri.host, port: uri.port, credentials })
    }

    /// Error for a server that gave no candidate.
    pub fn failed(&self, failure: ServerFailure) -> Error {
        let (kind, message) = match failure {
            ServerFailure::Unresolved => {
                (ErrorKind::NotFound, "the server's name has no address that is reachable from here".to_owned())
            }
            ServerFailure::NoResponse => (ErrorKind::Timeout, "the server does not answer".to_owned()),
            // RFC 8656 §19: wrong credentials; forbidden; allocation of another user.
            ServerFailure::Rejected(code @ (401 | 403 | 441)) => {
                (ErrorKind::Security, format!("the server rejects the credentials ({code})"))
            }
            ServerFailure::Rejected(code @ (486 | 508)) => {
                (ErrorKind::Full, format!("the server has no relay capacity ({code})"))
            }
            ServerFailure::Rejected(code) => (ErrorKind::Io, format!("the server rejects the request ({code})")),
            ServerFailure::Malformed => (ErrorKind::Io, "the server's response is malformed".to_owned()),
        };
        Error::new(kind, message).with("url", &self.url)
    }
}

/// Reason why a server gave no candidate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ServerFailure {
    /// Its name has no address of a family that this device has.
    Unresolved,
    /// It did not respond.
    NoResponse,
    /// It responded with this error code (RFC 8489 §14.8, RFC 8656 §19).
    Rejected(u16),
    /// Its response is malformed.
    Malformed,
}

/// STUN methods of a TURN client (RFC 8656 §17).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// Allocate a relayed address.
    Allocate,
    /// Refresh an allocation.
    Refresh,
    /// Permit packets from a peer.
    CreatePermission,
    /// Bind a channel to a peer, for shorter headers.
    ChannelBind,
}

/// Error response (RFC 8489 §6.3.4) to a TURN client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ErrorResponse {
    /// Method of the request.
    pub method: Method,
    /// Error code.
    pub code: u16,
}

impl ErrorResponse {
    /// Parses a datagram; `None` if it is not an error response to one of these methods.
    pub fn parse(datagram: &[u8]) -> Option<Self> {
        let method = Method::of(message_type(datagram)?, 0x0110)?;
        // ERROR-CODE: two zero bytes, the class (hundreds), the number (RFC 8489 §14.8).
        let [_, _, class, number, ..] = attribute(datagram, 0x0009)? else { return None };
        Some(Self { method, code: u16::from(*class & 7) * 100 + u16::from(*number) })
    }
}

/// Channel number in a ChannelBind request (RFC 8656 §12.1); `None` for other datagrams.
pub fn bound_channel(datagram: &[u8]) -> Option<u16> {
    if Method::of_request(datagram)? != Method::ChannelBind {
        return None;
    }
    let number = attribute(datagram, 0x000c)?.first_chunk()?;
    Some(u16::from_be_bytes(*number))
}

impl Method {
    /// Method of a request; `None` if the datagram is not a request of one of these methods.
    pub fn of_request(datagram: &[u8]) -> Option<Self> {
        Self::of(message_type(datagram)?, 0)
    }

    fn of(message_type: u16, class: u16) -> Option<Self> {
        // The class is encoded in two bits within the type (RFC 8489 §5).
        match message_type.checked_sub(class)? {
            3 => Some(Self::Allocate),
            4 => Some(Self::Refresh),
            8 => Some(Self::CreatePermission),
            9 => Some(Self::ChannelBind),
            _ => None,
        }
    }
}

/// Type of a STUN message (RFC 8489 §5).
fn message_type(datagram: &[u8]) -> Option<u16> {
    let [t0, t1, _, _, 0x21, 0x12, 0xa4, 0x42, ..] = datagram else { return None };
    (datagram.len() >= 20).then(|| u16::from_be_bytes([*t0, *t1]))
}

/// Value of the first attribute of a type in a STUN message (RFC 8489 §14).
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
    fn servers_are_parsed_by_uri_and_turn_servers_have_credentials() {
        let server = |url: &str| {
            let (username, credential) = ("u".to_owned(), "p".to_owned());
            Server::parse(&IceServer { url: url.to_owned(), username, credential })
        };
        let stun = server("stun:[2001:db8::1]").unwrap();
        assert_eq!((&*stun.host, stun.port, stun.credentials.is_some()), ("2001:db8::1", 3478, false));
        let turn = server("TURN:Turn.Example:1?transport=udp").unwrap();
        assert_eq!((&*turn.host, turn.port), ("turn.example", 1));
        assert!(
            turn.credentials.is_some_and(|credentials| credentials.username == "u" && credentials.credential == "p")
        );
        assert_eq!(server("stun:2001:db8::1").err().unwrap().kind(), ErrorKind::Invalid);
    }

    /// Allocate error response with NONCE (of 5 bytes, padded) before ERROR-CODE 486.
    const REFUSED: [u8; 40] = [
        0x01, 0x13, 0, 20, 0x21, 0x12, 0xa4, 0x42, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, // header
        0, 0x15, 0, 5, b'n', b'o', b'n', b'c', b'e', 0, 0, 0, // NONCE
        0, 0x09, 0, 4, 0, 0, 4, 86, // ERROR-CODE
    ];

    #[test]
    fn error_codes_are_parsed_from_error_responses_only() {
        assert_eq!(ErrorResponse::parse(&REFUSED), Some(ErrorResponse { method: Method::Allocate, code: 486 }));
        let mut request = REFUSED;
        request[0] = 0;
        request[1] = 3;
        assert_eq!((ErrorResponse::parse(&request), Method::of_request(&request)), (None, Some(Method::Allocate)));
        let mut no_stun = REFUSED;
        no_stun[4] = 0;
        assert_eq!(ErrorResponse::parse(&no_stun), None);
    }

    #[test]
    fn the_channel_number_is_parsed_from_a_channel_bind_request() {
        let mut request = [0; 28];
        request[..8].copy_from_slice(&[0, 9, 0, 8, 0x21, 0x12, 0xa4, 0x42]);
        request[20..].copy_from_slice(&[0, 0x0c, 0, 4, 0x40, 0x02, 0, 0]);
        assert_eq!(bound_channel(&request), Some(0x4002));
        assert_eq!(bound_channel(&request[..26]), None);
        assert_eq!(bound_channel(&REFUSED), None);
    }

    #[test]
    fn truncated_datagrams_are_ignored_without_a_panic() {
        for length in 0..REFUSED.len() {
            assert_eq!(ErrorResponse::parse(&REFUSED[..length]), None, "{length}");
        }
        let mut long = REFUSED;
        long[22..24].copy_from_slice(&u16::MAX.to_be_bytes());
        assert_eq!(ErrorResponse::parse(&long), None);
    }
}
