//! Authentication of requests by the long-term credential mechanism (RFC 8489 §9.2), without state.

use std::net::SocketAddr;

use aws_lc_rs::hmac;
use multibase::Base;
use turn_types::stun::attribute::{Nonce, Realm, Username};
use turn_types::stun::message::{IntegrityAlgorithm, IntegrityKey, LongTermKeyCredentials, Message};

use super::credentials::{Refusal, TurnSecret};

/// Realm of the server.
pub(super) const REALM: &str = "blink";
/// Time for which a nonce is valid, in seconds. Clients then get a new one by error 438.
const NONCE_SECONDS: u64 = 600;
/// Bytes of the authentication tag in a nonce.
const TAG_BYTES: usize = 12;

/// Result for a request that is not authentic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Denial {
    /// Without credentials: the first request of each client. Answered by a challenge.
    Challenge,
    /// Incomplete credentials.
    BadRequest,
    /// The nonce is old, or of another address: a replayed request.
    StaleNonce,
    /// The username is not one of this server's.
    Username,
    /// The credentials have expired.
    Expired,
    /// The password is wrong.
    Password,
}

/// Authenticated user of a request.
#[derive(Debug)]
pub(super) struct Authenticated {
    pub(super) user: String,
    /// Time from which the credentials are invalid, in Unix seconds.
    pub(super) expires: u64,
    /// Key of the response's integrity.
    pub(super) key: IntegrityKey,
}

/// Checks requests against a [`TurnSecret`].
///
/// Nonces are authenticated instead of stored: a flood with forged addresses costs no memory, and a
/// request that was captured from another address or more than [`NONCE_SECONDS`] ago is refused.
#[derive(Debug)]
pub(super) struct Authenticator {
    secret: TurnSecret,
    nonce_key: hmac::Key,
}

impl Authenticator {
    pub(super) fn new(secret: TurnSecret) -> Self {
        let mut key = [0; 32];
        aws_lc_rs::rand::fill(&mut key).expect("the operating system provides randomness");
        Self { secret, nonce_key: hmac::Key::new(hmac::HMAC_SHA256, &key) }
    }

    /// Nonce for a client.
    pub(super) fn nonce(&self, client: SocketAddr, now: u64) -> String {
        let expires = (now + NONCE_SECONDS).to_be_bytes();
        let tag = hmac::sign(&self.nonce_key, &nonce_input(client, &expires));
        Base::Base64Url.encode([&expires[..], &tag.as_ref()[..TAG_BYTES]].concat())
    }

    /// Authenticates a request of a client.
    pub(super) fn authenticate(
        &self,
        message: &Message<'_>,
        client: SocketAddr,
        now: u64,
    ) -> Result<Authenticated, Denial> {
        if !has_integrity(message) {
            return Err(Denial::Challenge);
        }
        let username = message.attribute::<Username>().map_err(|_| Denial::BadRequest)?;
        let realm = message.attribute::<Realm>().map_err(|_| Denial::BadRequest)?;
        let nonce = message.attribute::<Nonce>().map_err(|_| Denial::BadRequest)?;
        if realm.realm() != REALM || !self.is_valid_nonce(nonce.nonce(), client, now) {
            return Err(Denial::StaleNonce);
        }
        let user = self.secret.user(username.username(), now).map_err(|refusal| match refusal {
            Refusal::Malformed => Denial::Username,
            Refusal::Expired => Denial::Expired,
        })?;
        let credentials = LongTermKeyCredentials::new(username.username().to_owned(), user.password, REALM.to_owned());
        let key = credentials.make_key(IntegrityAlgorithm::Sha1);
        match message.validate_integrity_with_key(&key) {
            Ok(IntegrityAlgorithm::Sha1) => {
                Ok(Authenticated { user: user.name.to_owned(), expires: user.expires, key })
            }
            _ => Err(Denial::Password),
        }
    }

    fn is_valid_nonce(&self, nonce: &str, client: SocketAddr, now: u64) -> bool {
        let Ok(bytes) = Base::Base64Url.decode(nonce) else { return false };
        let Some((expires, tag)) = bytes.split_first_chunk::<8>() else { return false };
        let expected = hmac::sign(&self.nonce_key, &nonce_input(client, expires));
        let is_authentic = aws_lc_rs::constant_time::verify_slices_are_equal(tag, &expected.as_ref()[..TAG_BYTES]);
        is_authentic.is_ok() && u64::from_be_bytes(*expires) > now
    }
}

fn has_integrity(message: &Message<'_>) -> bool {
    use turn_types::stun::attribute::{AttributeStaticType as _, MessageIntegrity, MessageIntegritySha256};
    message.has_attribute(MessageIntegrity::TYPE) || message.has_attribute(MessageIntegritySha256::TYPE)
}

fn nonce_input(client: SocketAddr, expires: &[u8; 8]) -> Vec<u8> {
    let ip = match client.ip() {
        std::net::IpAddr::V4(ip) => ip.to_ipv6_mapped(),
        std::net::IpAddr::V6(ip) => ip,
    };
    [&ip.octets()[..], &client.port().to_be_bytes(), expires].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nonces_are_of_one_address_and_expire() {
        let authenticator = Authenticator::new(TurnSecret::new(b"north"));
        let client = SocketAddr::from(([1, 1, 1, 1], 1000));
        let nonce = authenticator.nonce(client, 100);
        assert!(authenticator.is_valid_nonce(&nonce, client, 100 + NONCE_SECONDS - 1));
        assert!(!authenticator.is_valid_nonce(&nonce, client, 100 + NONCE_SECONDS), "too old");
        assert!(!authenticator.is_valid_nonce(&nonce, SocketAddr::from(([1, 1, 1, 1], 1001)), 100), "another port");
        assert!(!authenticator.is_valid_nonce(&nonce, SocketAddr::from(([1, 1, 1, 2], 1000)), 100), "another host");
        let other = Authenticator::new(TurnSecret::new(b"north"));
        assert!(!other.is_valid_nonce(&nonce, client, 100), "of another start");
        for forged in ["", "a", "AAAAAAAAAAA", &nonce[1..]] {
            assert!(!authenticator.is_valid_nonce(forged, client, 100), "{forged}");
        }
    }
}
