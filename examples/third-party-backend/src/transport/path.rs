//! An encrypted path between two sessions.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use aes_gcm::aead::{Aead, KeyInit};
use aes_gcm::{Aes256Gcm, Nonce};
use bytes::Bytes;
use hkdf::Hkdf;
use sha2::{Digest, Sha256};
use x25519_dalek::{PublicKey, StaticSecret};

use super::datagram::{Datagram, Frame};

/// Packets of the past that are still accepted, each once.
const WINDOW: u64 = 64;

/// A path: both ends, by their ICE username fragments, with a key for each direction.
pub(super) struct Path {
    pub(super) local: String,
    pub(super) remote: String,
    /// Where the other side was last heard, and on which socket.
    pub(super) at: (usize, SocketAddr),
    /// Whether the other side has proved that it has the key.
    pub(super) is_proven: bool,
    pub(super) heard: Instant,
    pub(super) round_trip: Option<Duration>,
    sealing: Aes256Gcm,
    opening: Aes256Gcm,
    sent: u64,
    /// Numbers below this were seen or are too old; bit n of `seen` is the number `next - 1 - n`.
    next: u64,
    seen: u64,
}

/// The fingerprint of a key, as in descriptions.
pub(super) fn fingerprint(key: &PublicKey) -> String {
    let digest = Sha256::digest(key.as_bytes());
    digest.iter().map(|byte| format!("{byte:02X}")).collect::<Vec<_>>().join(":")
}

impl Path {
    /// A path to the owner of a key, whose fingerprint was checked. `None` for a key that no honest
    /// peer has.
    pub(super) fn new(
        secret: &StaticSecret,
        key: &PublicKey,
        local: &str,
        remote: &str,
        at: (usize, SocketAddr),
        now: Instant,
    ) -> Option<Self> {
        let shared = secret.diffie_hellman(key);
        if !shared.was_contributory() {
            return None;
        }
        let cipher = |from: &str, to: &str| {
            let mut key = [0; 32];
            let info = format!("sealed-udp from {from} to {to}");
            Hkdf::<Sha256>::new(None, shared.as_bytes()).expand(info.as_bytes(), &mut key).ok()?;
            Aes256Gcm::new_from_slice(&key).ok()
        };
        Some(Self {
            sealing: cipher(local, remote)?,
            opening: cipher(remote, local)?,
            local: local.to_owned(),
            remote: remote.to_owned(),
            at,
            is_proven: false,
            heard: now,
            round_trip: None,
            sent: 0,
            next: 0,
            seen: 0,
        })
    }

    /// The datagram for a frame.
    pub(super) fn seal(&mut self, frame: &Frame) -> Vec<u8> {
        self.sent += 1;
        let sealed = self.sealing.encrypt(&nonce(self.sent), &frame.encode()[..]);
        // Only a frame of gigabytes cannot be sealed.
        Datagram::Sealed { number: self.sent, sealed: &sealed.unwrap_or_default() }.encode()
    }

    /// The frame of a datagram; `None` where it is not of the other side, or was received before.
    pub(super) fn open(&mut self, number: u64, sealed: &[u8]) -> Option<Frame> {
        let age = self.next.checked_sub(number + 1);
        if age.is_some_and(|age| age >= WINDOW || self.seen & (1 << age) != 0) {
            return None;
        }
        let frame = self.opening.decrypt(&nonce(number), sealed).ok()?;
        match age {
            Some(age) => self.seen |= 1 << age,
            None => {
                let ahead = number + 1 - self.next;
                self.seen = if ahead >= WINDOW { 1 } else { self.seen << ahead | 1 };
                self.next = number + 1;
            }
        }
        Frame::parse(Bytes::from(frame))
    }
}

fn nonce(number: u64) -> Nonce<aes_gcm::aead::consts::U12> {
    let mut nonce = [0; 12];
    nonce[4..].copy_from_slice(&number.to_be_bytes());
    Nonce::from(nonce)
}
