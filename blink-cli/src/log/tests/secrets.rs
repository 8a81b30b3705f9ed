//! Secrets that must not be logged, in every form in which they could be formatted.

use std::collections::BTreeSet;
use std::net::IpAddr;

use blink_engine::Identity;
use blink_proto::secure::{CallKeys, inbox_topic, open};
use blink_proto::wire::Body;

use super::capturing_backends::CapturedSecrets;

/// Keys, passwords, fingerprints and addresses of one call.
pub(super) struct Secrets {
    /// Kind of a secret, and its formatted text.
    texts: Vec<(&'static str, String)>,
    /// ICE username fragments, too short to be searched for within words.
    users: BTreeSet<String>,
    addresses: BTreeSet<String>,
}

impl Secrets {
    /// Collects the secrets of two identities and of their captured call.
    pub(super) fn of(people: [&Identity; 2], addresses: &[String], captured: &CapturedSecrets) -> Self {
        let mut secrets = Self { texts: Vec::new(), users: BTreeSet::new(), addresses: BTreeSet::new() };
        for engine in people {
            secrets.add_bytes("an identity's seed", &engine.seed()[..]);
        }
        secrets.add_call(people, captured);
        for description in captured.descriptions() {
            secrets.add_description(&description);
        }
        let candidates = captured.candidates();
        assert!(!candidates.is_empty() || !secrets.addresses.is_empty(), "paths have addresses");
        let words = candidates.iter().flat_map(|candidate| candidate.split_whitespace());
        let parts = addresses.iter().flat_map(|address| address.split('/'));
        let found = words.chain(parts).filter(|word| word.parse::<IpAddr>().is_ok());
        secrets.addresses.extend(found.map(str::to_owned));
        for (what, least) in
            [("an ICE password", 4), ("a fingerprint", 4), ("the call's secret", 4), ("the tag key", 4)]
        {
            let count = secrets.texts.iter().filter(|(of, _)| *of == what).count();
            assert!(count >= least, "{count} forms of {what}");
        }
        assert!(secrets.users.len() >= 2 && secrets.addresses.contains("127.0.0.1"), "{:?}", secrets.users);
        secrets
    }

    /// Kind of the secret that a line contains, if any.
    pub(super) fn found_in(&self, line: &str) -> Option<&'static str> {
        let words = || line.split(|c: char| !(c.is_ascii_alphanumeric() || "+/=".contains(c)));
        let text = self.texts.iter().find(|(_, text)| line.contains(text)).map(|(what, _)| *what);
        text.or_else(|| words().any(|word| self.users.contains(word)).then_some("an ICE user name"))
    }

    /// Address that a line contains, if any.
    pub(super) fn address_in(&self, line: &str) -> Option<&str> {
        self.addresses.iter().find(|address| line.contains(*address)).map(String::as_str)
    }

    /// Formatted secrets.
    pub(super) fn written(&self) -> impl Iterator<Item = &str> {
        self.texts.iter().map(|(_, text)| text.as_str()).chain(self.users.iter().map(String::as_str))
    }

    /// Adds the call's secret from the first Offer, and the keys derived from it.
    fn add_call(&mut self, [caller, callee]: [&Identity; 2], captured: &CapturedSecrets) {
        let (inbox, key) = (inbox_topic(&callee.did()), callee.agreement());
        for (topic, message) in captured.messages() {
            let content = (topic == inbox).then(|| open(&topic, &message, &[&key], None).ok()).flatten();
            if let Some(content) = content
                && content.from.did == caller.did()
                && let Body::Offer(offer) = content.body
            {
                let keys = CallKeys::new(content.call, offer.secret.clone());
                self.add_bytes("the call's secret", &offer.secret[..]);
                self.add_bytes("the tag key", keys.tag());
                return;
            }
        }
        panic!("the call was offered");
    }

    fn add_description(&mut self, sdp: &str) {
        for line in sdp.lines() {
            if let Some(password) = line.strip_prefix("a=ice-pwd:") {
                self.texts.push(("an ICE password", password.to_owned()));
            } else if let Some(user) = line.strip_prefix("a=ice-ufrag:") {
                self.users.insert(user.to_owned());
            } else if let Some(fingerprint) = line.strip_prefix("a=fingerprint:sha-256 ") {
                let digits = fingerprint.replace(':', "");
                let forms = [fingerprint.to_uppercase(), fingerprint.to_lowercase(), digits.to_lowercase(), digits];
                self.texts.extend(forms.map(|form| ("a fingerprint", form)));
            }
            let words =
                line.split_whitespace().filter(|word| word.parse::<IpAddr>().is_ok_and(|ip| !ip.is_unspecified()));
            self.addresses.extend(words.map(str::to_owned));
        }
    }

    /// Adds a prefix of the bytes: hexadecimal, as lists of numbers, and in base64.
    fn add_bytes(&mut self, what: &'static str, bytes: &[u8]) {
        let hex =
            |separator: &str| bytes[..8].iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(separator);
        let list = bytes[..6].iter().map(u8::to_string).collect::<Vec<_>>().join(", ");
        let list_of_hex = bytes[..6].iter().map(|byte| format!("{byte:#04x}")).collect::<Vec<_>>().join(", ");
        let forms = [hex(""), hex("").to_uppercase(), hex(":"), hex(" "), list, list_of_hex, base64(&bytes[..12])];
        self.texts.extend(forms.map(|form| (what, form)));
    }
}

/// Base64 of whole groups of three bytes (RFC 4648 §4).
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let groups = bytes.chunks_exact(3).map(|group| u32::from_be_bytes([0, group[0], group[1], group[2]]));
    let digits = groups.flat_map(|group| [18, 12, 6, 0].map(|shift| DIGITS[(group >> shift & 63) as usize]));
    digits.map(char::from).collect()
}
