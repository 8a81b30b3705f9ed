//! Time-limited credentials, as in the draft "A REST API For Access To TURN Services"
//! (draft-uberti-behave-turn-rest-00), which other TURN servers implement as well.
//!
//! The username is `EXPIRY:USER` with the expiry in Unix seconds, the password the base64 of its
//! HMAC-SHA1 under a secret that the server shares with the issuer of credentials. The server
//! stores none of them.

use std::fmt;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_lc_rs::hmac;
use blink_api::{ErrorKind, Result};
use blink_signaling_kit::key_file;
use multibase::Base;

use crate::error;

/// Length of a generated secret, in random bytes.
const SECRET_BYTES: usize = 32;
/// Longest username in bytes. STUN allows 508 (RFC 8489 §14.3).
const LONGEST_USERNAME: usize = 128;

/// Secret that credentials are derived from.
#[derive(Clone)]
pub struct TurnSecret(hmac::Key);

impl fmt::Debug for TurnSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TurnSecret").finish_non_exhaustive()
    }
}

/// Username and password of a TURN server.
#[derive(Clone, PartialEq, Eq)]
pub struct TurnCredentials {
    /// `EXPIRY:USER`.
    pub username: String,
    /// Password.
    pub password: String,
    /// Time from which the server refuses the credentials, in Unix seconds.
    pub expires: u64,
}

impl fmt::Debug for TurnCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TurnCredentials").field("username", &self.username).finish_non_exhaustive()
    }
}

/// Reason for which a username is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    Malformed,
    Expired,
}

/// Accepted username.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct User<'a> {
    pub(super) name: &'a str,
    pub(super) expires: u64,
    pub(super) password: String,
}

impl TurnSecret {
    /// Loads the secret from a file that only its owner can read, created with a random secret if
    /// missing.
    ///
    /// # Errors
    /// The file system's error, or [`Invalid`](ErrorKind::Invalid) for a file without a secret;
    /// each with the path.
    pub fn load(path: &Path) -> Result<Self> {
        let bytes = key_file::load(path, random_secret)?;
        let text = bytes.trim_ascii();
        if text.len() < 16 {
            let message = "the file contains no secret: expected at least 16 bytes";
            return Err(error(ErrorKind::Invalid, "load", message).with("file", path.display()));
        }
        Ok(Self::new(text))
    }

    /// Creates a secret from its bytes.
    pub fn new(secret: &[u8]) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, secret))
    }

    /// Issues credentials that are valid for a duration.
    ///
    /// # Errors
    /// [`Invalid`](ErrorKind::Invalid) for a user name that is empty, longer than 64 bytes or not
    /// of letters, digits, `-`, `_` and `.`.
    pub fn issue(&self, user: &str, valid: Duration, now: SystemTime) -> Result<TurnCredentials> {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        if user.is_empty() || user.len() > 64 || !user.bytes().all(is_plain) {
            let message = "expected a user name of at most 64 letters, digits, '-', '_' and '.'";
            return Err(error(ErrorKind::Invalid, "issue", message).with("user", user));
        }
        let expires = unix_seconds(now).saturating_add(valid.as_secs());
        let username = format!("{expires}:{user}");
        let password = self.password(&username);
        Ok(TurnCredentials { username, password, expires })
    }

    /// Checks the expiry of a username and derives its password.
    pub(super) fn user<'a>(&self, username: &'a str, now: u64) -> std::result::Result<User<'a>, Refusal> {
        if username.len() > LONGEST_USERNAME {
            return Err(Refusal::Malformed);
        }
        let (expires, name) = username.split_once(':').ok_or(Refusal::Malformed)?;
        // Unlike `u64::from_str`, without a sign.
        if expires.is_empty() || name.is_empty() || !expires.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(Refusal::Malformed);
        }
        let expires: u64 = expires.parse().map_err(|_| Refusal::Malformed)?;
        if expires <= now {
            return Err(Refusal::Expired);
        }
        Ok(User { name, expires, password: self.password(username) })
    }

    fn password(&self, username: &str) -> String {
        Base::Base64Pad.encode(hmac::sign(&self.0, username.as_bytes()))
    }
}

/// Unix time in seconds; 0 before 1970.
pub(crate) fn unix_seconds(now: SystemTime) -> u64 {
    now.duration_since(UNIX_EPOCH).map_or(0, |elapsed| elapsed.as_secs())
}

fn random_secret() -> Vec<u8> {
    let mut bytes = [0; SECRET_BYTES];
    aws_lc_rs::rand::fill(&mut bytes).expect("the operating system provides randomness");
    Base::Base64Url.encode(bytes).into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_700_000_000;

    fn at(seconds: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(seconds)
    }

    /// Password computed with `openssl dgst -sha1 -hmac north -binary | base64`.
    #[test]
    fn passwords_are_those_of_the_rest_draft() {
        let issued = TurnSecret::new(b"north").issue("alice", Duration::from_secs(3600), at(NOW)).unwrap();
        assert_eq!(issued.username, "1700003600:alice");
        assert_eq!(issued.password, "wjwSXO2ch1B6VaLTLMy2Avn5O9o=");
        assert_eq!(issued.expires, NOW + 3600);
    }

    #[test]
    fn usernames_are_valid_until_their_expiry() {
        let secret = TurnSecret::new(b"north");
        let issued = secret.issue("alice", Duration::from_secs(60), at(NOW)).unwrap();
        let user = secret.user(&issued.username, NOW + 59).unwrap();
        assert_eq!((user.name, user.password.as_str()), ("alice", issued.password.as_str()));
        assert_eq!(secret.user(&issued.username, NOW + 60), Err(Refusal::Expired));
        assert_ne!(TurnSecret::new(b"south").user(&issued.username, NOW).unwrap().password, issued.password);
        let long = format!("{}:{}", NOW + 1, "a".repeat(LONGEST_USERNAME));
        for username in ["", "alice", ":alice", "+1800000000:a", "1800000000:", "99999999999999999999:a", &long] {
            assert_eq!(secret.user(username, NOW), Err(Refusal::Malformed), "{username}");
        }
    }

    #[test]
    fn user_names_are_plain() {
        let secret = TurnSecret::new(b"north");
        for user in ["", "a:b", "a b", "ä", &"a".repeat(65)] {
            assert_eq!(secret.issue(user, Duration::ZERO, at(NOW)).unwrap_err().kind(), ErrorKind::Invalid, "{user}");
        }
    }

    #[test]
    fn a_secret_survives_restarts_and_is_not_shown() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("turn.secret");
        let issue = |secret: TurnSecret| secret.issue("a", Duration::from_secs(1), at(NOW)).unwrap();
        let first = issue(TurnSecret::load(&path).unwrap());
        assert_eq!(issue(TurnSecret::load(&path).unwrap()), first);
        assert!(!format!("{first:?} {:?}", TurnSecret::load(&path)).contains(&first.password));
        std::fs::write(&path, "short\n").unwrap();
        assert!(TurnSecret::load(&path).unwrap_err().to_string().contains("turn.secret"));
    }
}
