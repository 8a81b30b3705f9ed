//! Invites: a DID and the hints that reach it, as a line of text.
//!
//! An invite is `blink:` and base32 (RFC 4648 §6, lower case, without padding) of
//!
//! | bytes | content |
//! |---|---|
//! | 2 | total length in bytes, big-endian: tells a cut-off invite from a mistyped one |
//! | 1 | version, 2; version 1 is read, too |
//! | n | CBOR map ([`wire`]) |
//! | 4 | the first bytes of SHA-256 over a prefix and everything before |
//!
//! The checksum detects mistakes, not forgery: an invite is as trustworthy as the way it came.

mod wire;

use std::fmt;
use std::str::FromStr;
use std::time::{Duration, SystemTime};

use blink_api::{Did, IceServer};
use data_encoding::BASE32_NOPAD;
use sha2::{Digest, Sha256};

/// Scheme of an invite.
const SCHEME: &str = "blink:";
/// Version of the layout that this program writes. Version 1, in which each address contains its
/// peer, is read, too.
const VERSION: u8 = 2;
/// Length of the checksum in bytes.
const CHECKSUM: usize = 4;
/// Bytes before the CBOR map.
const HEADER: usize = 3;
/// Most letters of an invite that is looked at.
const LONGEST: usize = 4_096;
/// Most addresses of a person, and of nodes.
const MOST_ADDRESSES: usize = 8;
/// Most STUN and TURN servers.
const MOST_SERVERS: usize = 4;
/// Longest address, URL, user name or password in bytes.
const LONGEST_TEXT: usize = 512;

/// A person or a node, with the hints that reach it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Invite {
    /// DID of the person; absent in an invite that only names nodes and servers.
    pub(crate) did: Option<Did>,
    /// Signaling addresses of the person's node, the best first; at most 8.
    pub(crate) addresses: Vec<String>,
    /// Signaling addresses of nodes through which the person is found; at most 8.
    pub(crate) nodes: Vec<String>,
    /// STUN and TURN servers for calls with this person; at most 4.
    pub(crate) servers: Vec<IceServer>,
    /// Time after which the invite is refused, in Unix seconds; absent: never.
    pub(crate) expires: Option<u64>,
}

/// Reason why a text is not an invite.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum InviteError {
    /// The text does not begin with `blink:`.
    Scheme,
    /// More text than any invite has.
    TooLong,
    /// A letter that no invite contains, with its position from 1 behind `blink:`.
    Letter(usize, char),
    /// Fewer letters than its own length says.
    CutOff(usize, usize),
    /// More letters than its own length says.
    Extended(usize, usize),
    /// The checksum differs; the position of the letter whose change explains it, if one does.
    Mistyped(Option<usize>),
    /// Written by a later version.
    Newer(u8),
    /// The checksum holds, but the content is invalid.
    Content(&'static str),
    /// Expired at this time, in Unix seconds.
    Expired(u64),
}

impl Invite {
    /// Whether a text is meant to be an invite.
    pub(crate) fn is_meant(text: &str) -> bool {
        text.trim_start().get(..SCHEME.len()).is_some_and(|start| start.eq_ignore_ascii_case(SCHEME))
    }

    /// Parses an invite and checks that it has not expired. Upper case and line breaks of a chat
    /// are accepted.
    ///
    /// # Errors
    /// The reason, with what was expected.
    pub(crate) fn parse(text: &str, now: SystemTime) -> Result<Self, InviteError> {
        let invite: Self = text.parse()?;
        match invite.expires {
            Some(expires) if unix_seconds(now) >= expires => Err(InviteError::Expired(expires)),
            _ => Ok(invite),
        }
    }

    /// Sets the expiry relative to `now`.
    pub(crate) fn expiring(mut self, now: SystemTime, lifetime: Option<Duration>) -> Self {
        self.expires = lifetime.map(|lifetime| unix_seconds(now).saturating_add(lifetime.as_secs()));
        self
    }

    /// Drops what exceeds the limits of an invite.
    pub(crate) fn bounded(mut self) -> Self {
        let is_short = |text: &String| wire::is_address(text);
        self.addresses.retain(is_short);
        self.nodes.retain(is_short);
        self.addresses.truncate(MOST_ADDRESSES);
        self.nodes.truncate(MOST_ADDRESSES);
        self.servers.truncate(MOST_SERVERS);
        self
    }

    fn from_bytes(bytes: &[u8]) -> Result<Self, InviteError> {
        let (signed, checksum) = bytes.split_at(bytes.len() - CHECKSUM);
        if checksum != self::checksum(signed) {
            return Err(InviteError::Mistyped(None));
        }
        match signed[HEADER - 1] {
            1..=VERSION => wire::decode(&signed[HEADER..]),
            0 => Err(InviteError::Content("version 0 does not exist")),
            newer => Err(InviteError::Newer(newer)),
        }
    }
}

impl fmt::Display for Invite {
    /// The text of a [bounded](Self::bounded) invite.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let body = wire::encode(self);
        let length = u16::try_from(HEADER + body.len() + CHECKSUM).map_err(|_| fmt::Error)?;
        let mut bytes = length.to_be_bytes().to_vec();
        bytes.push(VERSION);
        bytes.extend(body);
        bytes.extend(checksum(&bytes));
        write!(f, "{SCHEME}{}", BASE32_NOPAD.encode(&bytes).to_ascii_lowercase())
    }
}

impl FromStr for Invite {
    type Err = InviteError;

    fn from_str(text: &str) -> Result<Self, InviteError> {
        if text.len() > LONGEST {
            return Err(InviteError::TooLong);
        }
        let text: String = text.chars().filter(|c| !c.is_whitespace()).collect();
        if !Self::is_meant(&text) {
            return Err(InviteError::Scheme);
        }
        let letters = &text[SCHEME.len()..];
        if let Some((position, letter)) = (1..).zip(letters.chars()).find(|(_, c)| !is_letter(*c)) {
            return Err(InviteError::Letter(position, letter));
        }
        let letters = letters.to_ascii_uppercase();
        let expected = letters.get(..4).and_then(length).ok_or(InviteError::CutOff(letters.len(), 0))?;
        match letters.len() {
            actual if actual < expected => return Err(InviteError::CutOff(actual, expected)),
            actual if actual > expected => return Err(InviteError::Extended(actual, expected)),
            _ => {}
        }
        let parsed = parse_letters(&letters);
        match parsed {
            Err(InviteError::Mistyped(_)) => Err(InviteError::Mistyped(explain(letters.as_bytes()))),
            parsed => parsed,
        }
    }
}

fn parse_letters(letters: &str) -> Result<Invite, InviteError> {
    let bytes = BASE32_NOPAD.decode(letters.as_bytes()).map_err(|_| InviteError::Mistyped(None))?;
    Invite::from_bytes(&bytes)
}

/// Letters of an invite whose first four are these: the first two bytes are its length.
fn length(first: &str) -> Option<usize> {
    let bits = first.bytes().try_fold(0_usize, |bits, letter| Some(bits << 5 | usize::from(value(letter)?)))?;
    let bytes = bits >> 4;
    (bytes > HEADER + CHECKSUM).then_some((bytes * 8).div_ceil(5))
}

fn value(letter: u8) -> Option<u8> {
    match letter {
        b'A'..=b'Z' => Some(letter - b'A'),
        b'2'..=b'7' => Some(letter - b'2' + 26),
        _ => None,
    }
}

fn is_letter(c: char) -> bool {
    u8::try_from(c.to_ascii_uppercase()).is_ok_and(|letter| value(letter).is_some())
}

/// Position of the letter, from 1, whose change makes the checksum right. Chance explains a text
/// with more mistakes in one of 400,000 cases; hence the position only, and no correction.
fn explain(letters: &[u8]) -> Option<usize> {
    let mut changed = letters.to_vec();
    for position in 0..letters.len() {
        for letter in (b'A'..=b'Z').chain(b'2'..=b'7') {
            changed[position] = letter;
            let is_right = BASE32_NOPAD.decode(&changed).is_ok_and(|bytes| {
                let (signed, found) = bytes.split_at(bytes.len() - CHECKSUM);
                found == checksum(signed)
            });
            if is_right {
                return Some(position + 1);
            }
        }
        changed[position] = letters[position];
    }
    None
}

fn checksum(bytes: &[u8]) -> [u8; CHECKSUM] {
    let hash = Sha256::new().chain_update(b"blink invite").chain_update(bytes).finalize();
    std::array::from_fn(|n| hash[n])
}

/// Seconds since 1970; 0 for a clock before.
pub(crate) fn unix_seconds(time: SystemTime) -> u64 {
    time.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

impl fmt::Display for InviteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Scheme => f.write_str("an invite begins with blink:"),
            Self::TooLong => write!(f, "an invite has at most {LONGEST} letters"),
            Self::Letter(position, letter) => {
                let letter = letter.escape_debug();
                write!(f, "the invite is mistyped: `{letter}` at letter {position} (expected a to z and 2 to 7)")
            }
            Self::CutOff(letters, 0) => {
                write!(f, "the invite is cut off: {letters} letters after blink: are too few")
            }
            Self::CutOff(actual, expected) => write!(
                f,
                "the invite is cut off, or one of its first letters is mistyped: {actual} of {expected} letters after blink:"
            ),
            Self::Extended(actual, expected) => {
                write!(f, "the invite has {actual} letters after blink:, {expected} were expected: copy it alone")
            }
            Self::Mistyped(Some(position)) => {
                write!(f, "the invite is mistyped: letter {position} after blink: looks wrong; copy it again")
            }
            Self::Mistyped(None) => f.write_str("the invite is mistyped in several letters; copy it again"),
            Self::Newer(version) => write!(
                f,
                "the invite was written by a newer Blink (version {version}, this program reads {VERSION}): update this program"
            ),
            Self::Content(why) => write!(f, "the invite is invalid: {why}"),
            Self::Expired(at) => {
                let at = crate::calendar::date(at.saturating_mul(1_000));
                write!(f, "the invite expired at {at}: ask for a new one")
            }
        }
    }
}

#[cfg(test)]
mod tests;
