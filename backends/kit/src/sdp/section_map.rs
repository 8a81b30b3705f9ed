//! Normalisation of valid but unusual descriptions, so that every stack accepts them.
//!
//! Stacks support less than RFC 8866 and RFC 9429 allow, and reject a whole description for one
//! unsupported line. [`SectionMap`] rewrites remote descriptions before a stack sees them, and
//! restores the sections hidden from the stack in local ones.

use blink_api::{Error, ErrorKind, Result};

use super::MAX_SECTIONS;
use crate::candidate::{self, CandidateUse};

/// Media sections of a session by their index, which is fixed across all offers and answers (RFC
/// 9429 §5.2.2).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SectionMap(Vec<Slot>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Slot {
    /// Section known to the stack, with its mid.
    Visible(String),
    /// Section that no stack supports: rejected in every local description, and hidden from the
    /// stack.
    Hidden { media: String, mid: Option<String> },
}

impl SectionMap {
    /// Converts a remote description for the stack; also returns the map after it is applied.
    ///
    /// * Sections of unknown media or protocols are hidden, and rejected ones without mid that are
    ///   new in this session.
    /// * A rejected section without mid (RFC 9429 §5.3.1) gets the mid of its index.
    /// * Unusable candidates are removed. Resolvable mDNS names stay:
    ///   [`RemoteCandidates`](crate::remote_candidates::RemoteCandidates) takes them out.
    /// * One fingerprint stays, with its hash name in lower case: the first SHA-256 one, or else
    ///   the first (RFC 8122 §5).
    /// * Irrelevant lines are removed: bandwidths, titles, contacts, times.
    ///
    /// # Errors
    /// [`Invalid`](ErrorKind::Invalid) for more than 64 sections. Everything else is checked by
    /// [`Description::parse`](super::Description::parse).
    pub fn to_stack(&self, sdp: &str) -> Result<(String, Self)> {
        let (session, sections) = split(sdp);
        if sections.len() > MAX_SECTIONS {
            return Err(Error::new(ErrorKind::Invalid, "the description has too many media sections"));
        }
        let fingerprint = fingerprint(sdp);
        let mut section_map = Vec::with_capacity(sections.len());
        let mut shown = Vec::with_capacity(sections.len());
        for (index, section) in sections.iter().enumerate() {
            let slot = self.slot(index, section);
            if let Slot::Visible(mid) = &slot {
                shown.push((section, mid.clone()));
            }
            section_map.push(slot);
        }
        let hidden = |mid: &str| {
            let is_shown = shown.iter().any(|(_, shown)| shown == mid);
            !is_shown
                && section_map.iter().any(|slot| matches!(slot, Slot::Hidden { mid: Some(other), .. } if other == mid))
        };
        let mut text = String::with_capacity(sdp.len());
        write_session(&mut text, &session, fingerprint.as_deref(), hidden);
        for (section, mid) in &shown {
            write_section(&mut text, section, mid);
        }
        // Sections that an answer omits stay as they were.
        section_map.extend(self.0.iter().skip(section_map.len()).cloned());
        Ok((text, Self(section_map)))
    }

    /// Converts a local description of the stack for the peer, with hidden sections rejected at
    /// their index; also returns the map after it.
    pub fn to_peer(&self, sdp: &str) -> (String, Self) {
        let first = sdp.find("\nm=").map_or(sdp.len(), |at| at + 1);
        let (session, mut rest) = sdp.split_at(first);
        let mut blocks = Vec::new();
        while !rest.is_empty() {
            let end = rest[1..].find("\nm=").map_or(rest.len(), |at| at + 2);
            let (block, others) = rest.split_at(end);
            blocks.push(block);
            rest = others;
        }
        // The stack does not know hidden mids and may assign one of them to a section of its own.
        let taken: Vec<&str> = blocks.iter().filter_map(|block| mid(block.lines())).collect();
        let mut text = session.to_owned();
        let mut section_map = Vec::new();
        let mut blocks = blocks.into_iter();
        loop {
            match self.0.get(section_map.len()) {
                Some(Slot::Hidden { media, mid }) => {
                    text.push_str(&format!("{media}\r\nc=IN IP4 0.0.0.0\r\n"));
                    if let Some(mid) = mid.as_ref().filter(|mid| !taken.contains(&mid.as_str())) {
                        text.push_str(&format!("a=mid:{mid}\r\n"));
                    }
                    section_map.push(Slot::Hidden { media: media.clone(), mid: mid.clone() });
                }
                _ => {
                    let Some(block) = blocks.next() else { return (text, Self(section_map)) };
                    text.push_str(block);
                    section_map.push(Slot::Visible(mid(block.lines()).unwrap_or_default().to_owned()));
                }
            }
        }
    }

    fn slot(&self, index: usize, section: &[&str]) -> Slot {
        let known = self.0.get(index);
        // A hidden section stays hidden, because the stack counts its sections without it.
        if let Some(Slot::Hidden { mid, .. }) = known {
            return hide(section, mid.as_deref());
        }
        match (is_known_media(section[0]), mid(section.iter().copied()), known) {
            (true, Some(mid), _) => Slot::Visible(mid.to_owned()),
            (true, None, Some(Slot::Visible(mid))) if is_rejected(section[0]) => Slot::Visible(mid.clone()),
            // `Description::parse` reports the missing mid.
            (true, None, _) if !is_rejected(section[0]) => Slot::Visible(String::new()),
            _ => hide(section, None),
        }
    }
}

/// Splits into session lines and the lines of each media section, without line ends.
fn split(sdp: &str) -> (Vec<&str>, Vec<Vec<&str>>) {
    let (mut session, mut sections) = (Vec::new(), Vec::<Vec<&str>>::new());
    for line in sdp.lines().map(str::trim_end).filter(|line| !line.is_empty()) {
        match sections.last_mut() {
            _ if line.starts_with("m=") => sections.push(vec![line]),
            Some(section) => section.push(line),
            None => session.push(line),
        }
    }
    (session, sections)
}

fn write_session(text: &mut String, session: &[&str], fingerprint: Option<&str>, hidden: impl Fn(&str) -> bool) {
    let mut line = |line: &str| {
        text.push_str(line);
        text.push_str("\r\n");
    };
    // In the order of RFC 8866 §5. A session name may be a single space (§5.3), and its times have
    // no meaning (RFC 9429 §5.2.1).
    for name in ["v=", "o="] {
        session.iter().filter(|line| line.starts_with(name)).take(1).for_each(|found| line(found));
    }
    line("s=-");
    session.iter().filter(|line| line.starts_with("c=")).take(1).for_each(|found| line(found));
    line("t=0 0");
    for attribute in session.iter().filter(|line| line.starts_with("a=")) {
        if attribute.starts_with("a=fingerprint:") || is_useless_candidate(attribute) {
            continue;
        }
        match attribute.strip_prefix("a=group:BUNDLE") {
            Some(mids) => {
                let mids = mids.split_whitespace().filter(|mid| !hidden(mid));
                line(&["a=group:BUNDLE"].into_iter().chain(mids).collect::<Vec<_>>().join(" "));
            }
            None => line(attribute),
        }
    }
    if let Some(fingerprint) = fingerprint {
        line(fingerprint);
    }
}

fn write_section(text: &mut String, section: &[&str], tag: &str) {
    let has_mid = mid(section.iter().copied()).is_some();
    let kept = section.iter().filter(|line| {
        let is_kept = ["m=", "c=", "a="].iter().any(|kind| line.starts_with(kind));
        is_kept && !line.starts_with("a=fingerprint:") && !is_useless_candidate(line)
    });
    for line in kept {
        text.push_str(line);
        text.push_str("\r\n");
    }
    if !has_mid && !tag.is_empty() {
        text.push_str(&format!("a=mid:{tag}\r\na=inactive\r\n"));
    }
}

fn hide(section: &[&str], known_mid: Option<&str>) -> Slot {
    let fields: Vec<&str> = section[0]["m=".len()..].split_whitespace().collect();
    let field = |n: usize, missing: &'static str| fields.get(n).copied().unwrap_or(missing);
    let media = format!("m={} 0 {} {}", field(0, "-"), field(2, "-"), field(3, "0"));
    Slot::Hidden { media, mid: mid(section.iter().copied()).or(known_mid).map(str::to_owned) }
}

fn mid<'a>(mut lines: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    lines.find_map(|line| line.strip_prefix("a=mid:")).map(str::trim).filter(|mid| !mid.is_empty())
}

/// Returns whether stacks support such a section: media over DTLS-SRTP (RFC 5764 §8), or data
/// channels over DTLS (RFC 8841 §4).
fn is_known_media(line: &str) -> bool {
    let mut fields = line["m=".len()..].split_whitespace();
    let (media, _port, protocol) = (fields.next(), fields.next(), fields.next().unwrap_or_default());
    match media {
        // RTP/AVP and RTP/AVPF must be accepted as equivalent (RFC 9429 §5.1.2).
        Some("audio" | "video") => protocol.contains("RTP/SAVP") || matches!(protocol, "RTP/AVP" | "RTP/AVPF"),
        Some("application") => protocol.contains("SCTP"),
        _ => false,
    }
}

fn is_rejected(line: &str) -> bool {
    line.split_whitespace().nth(1) == Some("0")
}

/// Returns whether a line is an unusable or malformed candidate.
fn is_useless_candidate(line: &str) -> bool {
    let attribute = line.strip_prefix("a=").filter(|attribute| attribute.starts_with("candidate:"));
    attribute.is_some_and(|attribute| {
        !matches!(candidate::classify(attribute), Ok(CandidateUse::Check | CandidateUse::Resolve(_)))
    })
}

/// Selects the fingerprint to use.
fn fingerprint(sdp: &str) -> Option<String> {
    let all = sdp.lines().filter_map(|line| line.strip_prefix("a=fingerprint:")?.trim().split_once(' '));
    let all: Vec<(String, &str)> = all.map(|(hash, value)| (hash.to_ascii_lowercase(), value.trim())).collect();
    let (hash, value) = all.iter().find(|(hash, _)| hash == "sha-256").or(all.first())?;
    Some(format!("a=fingerprint:{hash} {}", value.to_ascii_uppercase()))
}
