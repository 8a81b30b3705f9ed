//! Descriptions that are right and unusual, made such that every stack takes them.
//!
//! Stacks read less than RFC 8866 and RFC 9429 allow, and refuse a whole description for one line
//! that they cannot use. [`Places`] rewrites what comes before a stack sees it, and restores in
//! what goes out the sections the stack never saw.

use blink_api::{Error, ErrorKind, Result};

use super::MAX_SECTIONS;
use crate::candidate::{self, Use};

/// The media sections of a session by their place, which stays theirs through all offers and
/// answers (RFC 9429 §5.2.2).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Places(Vec<Place>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Place {
    /// A section that the stack has, with its identification tag.
    Shown(String),
    /// A section that no stack here takes: rejected in every description, and never shown to the
    /// stack.
    Hidden { media: String, mid: Option<String> },
}

impl Places {
    /// A description of the peer as a stack takes it, and the places after it was applied.
    ///
    /// * Sections of unknown media or protocols, and rejected ones without mid that this session
    ///   does not know, are hidden.
    /// * A rejected section without mid (RFC 9429 §5.3.1) gets the mid its place has.
    /// * Candidates that cannot be used are dropped. Names that can be resolved stay:
    ///   [`RemoteCandidates`](crate::remote_candidates::RemoteCandidates) takes them out.
    /// * One fingerprint is left, with the name of its hash in lower case: the first of SHA-256, or
    ///   of all (RFC 8122 §5).
    /// * Lines that decide nothing here are dropped: bandwidths, titles, contacts, times.
    ///
    /// # Errors
    /// [`Invalid`](ErrorKind::Invalid) for more than 64 sections. Everything else is left to
    /// [`Description::parse`](super::Description::parse).
    pub fn show(&self, sdp: &str) -> Result<(String, Self)> {
        let (session, sections) = split(sdp);
        if sections.len() > MAX_SECTIONS {
            return Err(Error::new(ErrorKind::Invalid, "the description has too many media sections"));
        }
        let fingerprint = fingerprint(sdp);
        let mut places = Vec::with_capacity(sections.len());
        let mut shown = Vec::with_capacity(sections.len());
        for (index, section) in sections.iter().enumerate() {
            let place = self.place(index, section);
            if let Place::Shown(mid) = &place {
                shown.push((section, mid.clone()));
            }
            places.push(place);
        }
        let hidden = |mid: &str| {
            let is_shown = shown.iter().any(|(_, shown)| shown == mid);
            !is_shown
                && places.iter().any(|place| matches!(place, Place::Hidden { mid: Some(other), .. } if other == mid))
        };
        let mut text = String::with_capacity(sdp.len());
        write_session(&mut text, &session, fingerprint.as_deref(), hidden);
        for (section, mid) in &shown {
            write_section(&mut text, section, mid);
        }
        // What an answer says nothing of stays as it was.
        places.extend(self.0.iter().skip(places.len()).cloned());
        Ok((text, Self(places)))
    }

    /// A description of the stack as it goes to the peer, with hidden sections rejected in their
    /// places, and the places after it.
    pub fn restore(&self, sdp: &str) -> (String, Self) {
        let first = sdp.find("\nm=").map_or(sdp.len(), |at| at + 1);
        let (session, mut rest) = sdp.split_at(first);
        let mut blocks = Vec::new();
        while !rest.is_empty() {
            let end = rest[1..].find("\nm=").map_or(rest.len(), |at| at + 2);
            let (block, others) = rest.split_at(end);
            blocks.push(block);
            rest = others;
        }
        // The stack does not know the hidden tags, and may give one of them to a section of its
        // own.
        let taken: Vec<&str> = blocks.iter().filter_map(|block| mid(block.lines())).collect();
        let mut text = session.to_owned();
        let mut places = Vec::new();
        let mut blocks = blocks.into_iter();
        loop {
            match self.0.get(places.len()) {
                Some(Place::Hidden { media, mid }) => {
                    text.push_str(&format!("{media}\r\nc=IN IP4 0.0.0.0\r\n"));
                    if let Some(mid) = mid.as_ref().filter(|mid| !taken.contains(&mid.as_str())) {
                        text.push_str(&format!("a=mid:{mid}\r\n"));
                    }
                    places.push(Place::Hidden { media: media.clone(), mid: mid.clone() });
                }
                _ => {
                    let Some(block) = blocks.next() else { return (text, Self(places)) };
                    text.push_str(block);
                    places.push(Place::Shown(mid(block.lines()).unwrap_or_default().to_owned()));
                }
            }
        }
    }

    fn place(&self, index: usize, section: &[&str]) -> Place {
        let known = self.0.get(index);
        // What was hidden once stays so: the stack has counted its sections without it.
        if let Some(Place::Hidden { mid, .. }) = known {
            return hide(section, mid.as_deref());
        }
        match (is_known_media(section[0]), mid(section.iter().copied()), known) {
            (true, Some(mid), _) => Place::Shown(mid.to_owned()),
            (true, None, Some(Place::Shown(mid))) if is_rejected(section[0]) => Place::Shown(mid.clone()),
            // Its fault is named by `Description::parse`.
            (true, None, _) if !is_rejected(section[0]) => Place::Shown(String::new()),
            _ => hide(section, None),
        }
    }
}

/// The lines before the first media section, and those of each, without the ends of lines.
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
    // The order of RFC 8866 §5. A session name may be one space (§5.3), and its times mean nothing
    // (RFC 9429 §5.2.1).
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

fn hide(section: &[&str], known_mid: Option<&str>) -> Place {
    let fields: Vec<&str> = section[0]["m=".len()..].split_whitespace().collect();
    let field = |n: usize, absent: &'static str| fields.get(n).copied().unwrap_or(absent);
    let media = format!("m={} 0 {} {}", field(0, "-"), field(2, "-"), field(3, "0"));
    Place::Hidden { media, mid: mid(section.iter().copied()).or(known_mid).map(str::to_owned) }
}

fn mid<'a>(mut lines: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    lines.find_map(|line| line.strip_prefix("a=mid:")).map(str::trim).filter(|mid| !mid.is_empty())
}

/// Whether a stack here takes such a section: media over DTLS-SRTP (RFC 5764 §8), or data channels
/// over DTLS (RFC 8841 §4).
fn is_known_media(line: &str) -> bool {
    let mut fields = line["m=".len()..].split_whitespace();
    let (media, _port, protocol) = (fields.next(), fields.next(), fields.next().unwrap_or_default());
    match media {
        // RTP/AVP and RTP/AVPF are accepted, too, and mean the same (RFC 9429 §5.1.2).
        Some("audio" | "video") => protocol.contains("RTP/SAVP") || matches!(protocol, "RTP/AVP" | "RTP/AVPF"),
        Some("application") => protocol.contains("SCTP"),
        _ => false,
    }
}

fn is_rejected(line: &str) -> bool {
    line.split_whitespace().nth(1) == Some("0")
}

/// Whether a line is a candidate that is not to be checked, or none at all.
fn is_useless_candidate(line: &str) -> bool {
    let attribute = line.strip_prefix("a=").filter(|attribute| attribute.starts_with("candidate:"));
    attribute.is_some_and(|attribute| !matches!(candidate::judge(attribute), Ok(Use::Check | Use::Resolve(_))))
}

/// The line of the fingerprint that counts.
fn fingerprint(sdp: &str) -> Option<String> {
    let all = sdp.lines().filter_map(|line| line.strip_prefix("a=fingerprint:")?.trim().split_once(' '));
    let all: Vec<(String, &str)> = all.map(|(hash, value)| (hash.to_ascii_lowercase(), value.trim())).collect();
    let (hash, value) = all.iter().find(|(hash, _)| hash == "sha-256").or(all.first())?;
    Some(format!("a=fingerprint:{hash} {}", value.to_ascii_uppercase()))
}
