//! DTLS handshakes observed from outside the stack: why one cannot succeed.
//!
//! Stacks do not say why a handshake fails, or stop in silence. The first flights and the alerts
//! before the end of a handshake are not encrypted, and tell it (RFC 6347, RFC 9147, RFC 8446).

use std::fmt;

use blink_api::FailureReason;

/// Content types (RFC 5246 §6.2.1).
const ALERT: u8 = 21;
const HANDSHAKE: u8 = 22;
/// Length of the header of a record of epoch 0, and of a handshake message.
const RECORD_HEADER: usize = 13;
const MESSAGE_HEADER: usize = 12;
/// Handshake messages (RFC 5246 §7.4).
const CLIENT_HELLO: u8 = 1;
const SERVER_HELLO: u8 = 2;
/// The extension `supported_versions` (RFC 8446 §4.2.1).
const SUPPORTED_VERSIONS: u16 = 43;
/// Alerts (RFC 5246 §7.2, RFC 8446 §6.2).
const FATAL: u8 = 2;
const BAD_CERTIFICATES: std::ops::RangeInclusive<u8> = 42..=46;
const UNKNOWN_CA: u8 = 48;
const PROTOCOL_VERSION: u8 = 70;

/// Version of DTLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DtlsVersion {
    /// RFC 6347.
    V1_2,
    /// RFC 9147.
    V1_3,
}

impl DtlsVersion {
    fn of(wire: u16) -> Option<Self> {
        match wire {
            0xfefd => Some(Self::V1_2),
            0xfefc => Some(Self::V1_3),
            _ => None,
        }
    }
}

/// Direction of a datagram.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Direction {
    /// From the local stack.
    Sent,
    /// From the peer.
    Received,
}

/// Observer of the handshakes of one session.
#[derive(Clone)]
pub struct HandshakeObserver {
    /// Versions that the local stack negotiates.
    versions: &'static [DtlsVersion],
}

impl fmt::Debug for HandshakeObserver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HandshakeObserver").field("versions", &self.versions).finish()
    }
}

impl HandshakeObserver {
    /// Observer of a stack that negotiates these versions.
    pub const fn new(versions: &'static [DtlsVersion]) -> Self {
        Self { versions }
    }

    /// Reason why the handshake cannot succeed, as far as this datagram tells. Anyone may send such
    /// a datagram: it is a suspicion until the session has had time to connect.
    pub fn observe(&self, direction: Direction, datagram: &[u8]) -> Option<FailureReason> {
        records(datagram).find_map(|(kind, content)| match kind {
            ALERT => alert(content),
            HANDSHAKE if direction == Direction::Received => self.versions_fail(content),
            _ => None,
        })
    }

    fn versions_fail(&self, message: &[u8]) -> Option<FailureReason> {
        let offered = match hello(message)? {
            Hello::Client(versions) => versions,
            Hello::Server(version) => vec![version],
        };
        let overlap = offered.iter().any(|version| self.versions.contains(version));
        (!offered.is_empty() && !overlap).then_some(FailureReason::DtlsVersion)
    }
}

enum Hello {
    /// Versions that a client offers.
    Client(Vec<DtlsVersion>),
    /// Version that a server chose.
    Server(DtlsVersion),
}

/// Content types and contents of the unencrypted records of a datagram.
fn records(datagram: &[u8]) -> impl Iterator<Item = (u8, &[u8])> {
    let mut rest = datagram;
    std::iter::from_fn(move || {
        let kind = *rest.first()?;
        // Records of later epochs, and those with a unified header (RFC 9147 §4), are encrypted.
        let is_plain = matches!(kind, ALERT | HANDSHAKE) && rest.get(1) == Some(&0xfe) && rest.get(3..5)? == [0, 0];
        let length = usize::from(u16::from_be_bytes([*rest.get(11)?, *rest.get(12)?]));
        let content = rest.get(RECORD_HEADER..RECORD_HEADER + length).filter(|_| is_plain)?;
        rest = &rest[RECORD_HEADER + length..];
        Some((kind, content))
    })
}

fn alert(content: &[u8]) -> Option<FailureReason> {
    let [FATAL, description] = *content else { return None };
    Some(match description {
        PROTOCOL_VERSION => FailureReason::DtlsVersion,
        UNKNOWN_CA => FailureReason::Fingerprint,
        description if BAD_CERTIFICATES.contains(&description) => FailureReason::Fingerprint,
        _ => FailureReason::DtlsHandshake,
    })
}

/// Versions of a hello that is not fragmented.
fn hello(message: &[u8]) -> Option<Hello> {
    let (header, _) = message.split_at_checked(MESSAGE_HEADER)?;
    let length = usize::from(u16::from_be_bytes([header[2], header[3]]));
    let is_whole = header[1] == 0 && header[6..9] == [0; 3] && header[1..4] == header[9..12];
    let mut body = Reader(message.get(MESSAGE_HEADER..MESSAGE_HEADER + length).filter(|_| is_whole)?);
    let legacy = DtlsVersion::of(body.number(2)?)?;
    body.take(32)?;
    body.vector(1)?;
    let is_client = match header[0] {
        CLIENT_HELLO => {
            body.vector(1)?;
            body.vector(2)?;
            body.vector(1)?;
            true
        }
        SERVER_HELLO => {
            body.take(3)?;
            false
        }
        _ => return None,
    };
    let mut extensions = Reader(body.vector(2).unwrap_or_default());
    while let (Some(kind), Some(content)) = (extensions.number(2), extensions.vector(2)) {
        if kind != SUPPORTED_VERSIONS {
            continue;
        }
        let mut content = Reader(content);
        if !is_client {
            return DtlsVersion::of(content.number(2)?).map(Hello::Server);
        }
        let versions = content.vector(1)?.chunks_exact(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]]));
        return Some(Hello::Client(versions.filter_map(DtlsVersion::of).collect()));
    }
    Some(if is_client { Hello::Client(vec![legacy]) } else { Hello::Server(legacy) })
}

/// Bytes that are read from the front.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    /// A number of one or two bytes.
    fn number(&mut self, bytes: usize) -> Option<u16> {
        Some(self.take(bytes)?.iter().fold(0, |number, byte| number << 8 | u16::from(*byte)))
    }

    /// A vector with a length of one or two bytes.
    fn vector(&mut self, length: usize) -> Option<&'a [u8]> {
        let length = self.number(length)?;
        self.take(length.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const V1_2: &[DtlsVersion] = &[DtlsVersion::V1_2];
    const V1_3: &[DtlsVersion] = &[DtlsVersion::V1_3];
    const BOTH: &[DtlsVersion] = &[DtlsVersion::V1_2, DtlsVersion::V1_3];

    fn record(kind: u8, content: &[u8]) -> Vec<u8> {
        let length = u16::try_from(content.len()).unwrap().to_be_bytes();
        [&[kind, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, 0][..], &length, content].concat()
    }

    fn message(kind: u8, body: &[u8]) -> Vec<u8> {
        let length = u32::try_from(body.len()).unwrap().to_be_bytes();
        let header = [&[kind][..], &length[1..], &[0, 0, 0, 0, 0], &length[1..]].concat();
        record(HANDSHAKE, &[&header[..], body].concat())
    }

    fn extension(versions: &[u8]) -> Vec<u8> {
        let length = u8::try_from(versions.len()).unwrap();
        [&[0, length + 4 + 5, 0, 10, 0, 1, 7, 0, 43, 0, length][..], versions].concat()
    }

    fn client_hello(versions: Option<&[u8]>) -> Vec<u8> {
        let fixed = [&[0xfe, 0xfd][..], &[7; 32], &[0, 0, 0, 2, 0x13, 0x01, 1, 0]].concat();
        let listed =
            versions.map(|versions| extension(&[&[u8::try_from(versions.len()).unwrap()][..], versions].concat()));
        message(CLIENT_HELLO, &[fixed, listed.unwrap_or_default()].concat())
    }

    fn server_hello(version: Option<&[u8]>) -> Vec<u8> {
        let fixed = [&[0xfe, 0xfd][..], &[7; 32], &[0, 0x13, 0x01, 0]].concat();
        message(SERVER_HELLO, &[fixed, version.map(extension).unwrap_or_default()].concat())
    }

    #[test]
    fn versions_without_overlap_are_found_in_the_hellos_of_both_sides() {
        let cases = [
            (client_hello(None), V1_2, false),
            (client_hello(None), V1_3, true),
            (client_hello(None), BOTH, false),
            (client_hello(Some(&[0xfe, 0xfc])), V1_2, true),
            (client_hello(Some(&[0xfe, 0xfc])), V1_3, false),
            (client_hello(Some(&[0xfe, 0xfc])), BOTH, false),
            (client_hello(Some(&[0xfe, 0xfc, 0xfe, 0xfd])), V1_2, false),
            (client_hello(Some(&[0xfe, 0xfc, 0xfe, 0xfd])), V1_3, false),
            (server_hello(None), V1_2, false),
            (server_hello(None), V1_3, true),
            (server_hello(Some(&[0xfe, 0xfc])), V1_3, false),
            (server_hello(Some(&[0xfe, 0xfc])), V1_2, true),
        ];
        for (datagram, versions, fails) in cases {
            let found = HandshakeObserver::new(versions).observe(Direction::Received, &datagram);
            assert_eq!(found, fails.then_some(FailureReason::DtlsVersion), "{versions:?} {datagram:?}");
            assert_eq!(HandshakeObserver::new(versions).observe(Direction::Sent, &datagram), None);
        }
    }

    #[test]
    fn fatal_alerts_tell_the_reason_in_both_directions() {
        let observer = HandshakeObserver::new(V1_2);
        for (alert, reason) in [
            ([2, 70], Some(FailureReason::DtlsVersion)),
            ([2, 42], Some(FailureReason::Fingerprint)),
            ([2, 48], Some(FailureReason::Fingerprint)),
            ([2, 40], Some(FailureReason::DtlsHandshake)),
            ([1, 0], None),
        ] {
            for direction in [Direction::Sent, Direction::Received] {
                assert_eq!(observer.observe(direction, &record(ALERT, &alert)), reason);
            }
            // Behind another record in the same datagram.
            let both = [record(HANDSHAKE, &[14; 12]), record(ALERT, &alert)].concat();
            assert_eq!(observer.observe(Direction::Received, &both), reason);
            let mut encrypted = record(ALERT, &alert);
            encrypted[4] = 1;
            assert_eq!(observer.observe(Direction::Received, &encrypted), None, "of a later epoch");
        }
    }

    #[test]
    fn cut_and_changed_datagrams_are_read_without_a_panic() {
        let observer = HandshakeObserver::new(V1_3);
        let whole = client_hello(Some(&[0xfe, 0xfc]));
        for end in 0..whole.len() {
            assert_eq!(observer.observe(Direction::Received, &whole[..end]), None);
        }
        for place in 0..whole.len() {
            for value in [0, 1, 127, 255] {
                let mut changed = whole.clone();
                changed[place] = value;
                observer.observe(Direction::Received, &changed);
            }
        }
    }
}
