//! Session descriptions: the subset of SDP (RFC 8866, RFC 8829) that a negotiation uses.

use std::fmt::Write as _;

use blink_api::{CodecName, Error, ErrorKind, Mid, Result, RtpCodec, TrackKind};

/// Limits of the size and the sections of a description, more than any call has.
const MAX_DESCRIPTION: usize = 64 * 1024;
const MAX_SECTIONS: usize = 64;

/// Type of a description. An offer leaves the DTLS role open (RFC 8842 §5.2), an answer does not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    Offer,
    Answer,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Description {
    pub(super) role: Role,
    /// Session number, and version of the description.
    pub(super) origin: (u64, u64),
    /// ICE username fragment, which encodes session and generation.
    pub(super) ufrag: String,
    pub(super) password: String,
    /// SHA-256 fingerprint in the form `AA:BB:…`.
    pub(super) fingerprint: String,
    /// Values of candidate lines. None is written: candidates trickle.
    pub(super) candidates: Vec<String>,
    pub(super) sections: Vec<Section>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Section {
    pub(super) mid: Mid,
    /// Kind of media; `None` for data channels.
    pub(super) kind: Option<TrackKind>,
    pub(super) is_rejected: bool,
    /// Formats; empty for data channels and rejected sections.
    pub(super) formats: Vec<Format>,
    pub(super) sends: bool,
    pub(super) receives: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Format {
    pub(super) payload_type: u8,
    pub(super) codec: RtpCodec,
}

impl Format {
    /// Assigns payload types: static or usual ones if there are any, else dynamic ones (RFC 3551
    /// §3). With more codecs than payload types, the last ones are omitted.
    pub(super) fn assign(codecs: &[RtpCodec], first: u8) -> Vec<Self> {
        let mut dynamic = (first..=127).filter(|payload_type| *payload_type != 111);
        let assign = |codec: &RtpCodec| {
            let usual = match codec.name.as_str().to_ascii_lowercase().as_str() {
                "opus" => Some(111),
                "pcmu" => Some(0),
                "pcma" => Some(8),
                "g722" => Some(9),
                _ => None,
            };
            Some(Self { payload_type: usual.or_else(|| dynamic.next())?, codec: codec.clone() })
        };
        codecs.iter().map_while(assign).collect()
    }

    /// Returns whether both are the same encoding, whatever the parameters.
    pub(super) fn matches(&self, codec: &RtpCodec) -> bool {
        self.codec.name == codec.name && self.codec.clock_rate == codec.clock_rate
    }
}

impl Description {
    pub(super) fn to_sdp(&self) -> String {
        let Self { origin: (session, version), ufrag, password, fingerprint, .. } = self;
        let mids: String = self.sections.iter().map(|section| format!(" {}", section.mid)).collect();
        let setup = if self.role == Role::Offer { "actpass" } else { "active" };
        let mut text = format!(
            "v=0\r\no=- {session} {version} IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\na=group:BUNDLE{mids}\r\na=ice-options:trickle\r\n\
             a=ice-ufrag:{ufrag}\r\na=ice-pwd:{password}\r\na=fingerprint:sha-256 {fingerprint}\r\na=setup:{setup}\r\n"
        );
        self.sections.iter().for_each(|section| section.write(&mut text));
        text
    }

    /// Parses a remote description.
    ///
    /// # Errors
    /// [`Invalid`](ErrorKind::Invalid) with the reason.
    pub(super) fn parse(text: &str, role: Role) -> Result<Self> {
        if text.len() > MAX_DESCRIPTION {
            return Err(invalid("the description is too long"));
        }
        let lines: Vec<&str> = text.lines().map(str::trim_end).collect();
        if lines.first() != Some(&"v=0") {
            return Err(invalid("this is not a session description"));
        }
        let value = |name: &str| lines.iter().find_map(|line| line.strip_prefix(name)).map(str::trim);
        let found = match value("a=setup:") {
            Some("actpass") => Role::Offer,
            Some("active" | "passive") => Role::Answer,
            _ => return Err(invalid("the description has no DTLS role")),
        };
        if found != role {
            return Err(invalid(if role == Role::Offer { "this is not an offer" } else { "this is not an answer" }));
        }
        let fingerprint = value("a=fingerprint:").and_then(|value| value.strip_prefix("sha-256 "));
        let fingerprint = fingerprint
            .filter(|value| is_fingerprint(value))
            .ok_or_else(|| invalid("the description has no SHA-256 fingerprint"))?
            .to_owned();
        let candidates = lines.iter().filter_map(|line| line.strip_prefix("a="));
        let candidates = candidates.filter(|value| value.starts_with("candidate:")).map(str::to_owned);
        let mut origin =
            value("o=").unwrap_or_default().split_whitespace().skip(1).map_while(|field| field.parse().ok());
        let origin = (origin.next().unwrap_or_default(), origin.next().unwrap_or_default());
        let begins: Vec<usize> = (0..lines.len()).filter(|n| lines[*n].starts_with("m=")).collect();
        if begins.is_empty() || begins.len() > MAX_SECTIONS {
            return Err(invalid("a description must have 1 to 64 media sections"));
        }
        let ends = begins.iter().skip(1).copied().chain([lines.len()]);
        let blocks = begins.iter().zip(ends).map(|(begin, end)| &lines[*begin..end]);
        let sections = blocks.map(Section::parse).collect::<Result<Vec<_>>>()?;
        let is_repeated = |n: usize| sections[..n].iter().any(|section| section.mid == sections[n].mid);
        if (0..sections.len()).any(is_repeated) {
            return Err(invalid("two media sections have the same mid"));
        }
        Ok(Self {
            role,
            origin,
            ufrag: value("a=ice-ufrag:")
                .ok_or_else(|| invalid("the description has no ICE username fragment"))?
                .to_owned(),
            password: value("a=ice-pwd:").ok_or_else(|| invalid("the description has no ICE password"))?.to_owned(),
            fingerprint,
            candidates: candidates.collect(),
            sections,
        })
    }
}

impl Section {
    fn write(&self, text: &mut String) {
        let port = if self.is_rejected { 0 } else { 9 };
        let payload_types: String = self.formats.iter().map(|format| format!(" {}", format.payload_type)).collect();
        let payload_types = if payload_types.is_empty() { " 0" } else { &payload_types };
        let media = match self.kind {
            Some(TrackKind::Audio) => format!("m=audio {port} UDP/TLS/RTP/SAVPF{payload_types}"),
            Some(TrackKind::Video) => format!("m=video {port} UDP/TLS/RTP/SAVPF{payload_types}"),
            None => format!("m=application {port} UDP/DTLS/SCTP webrtc-datachannel"),
        };
        let direction = match (self.sends, self.receives) {
            (true, true) => "sendrecv",
            (true, false) => "sendonly",
            (false, true) => "recvonly",
            (false, false) => "inactive",
        };
        // Writing into a `String` cannot fail.
        let _ = write!(text, "{media}\r\nc=IN IP4 0.0.0.0\r\na=mid:{}\r\n", self.mid);
        let _ = match self.kind {
            Some(_) => write!(text, "a={direction}\r\na=rtcp-mux\r\n"),
            None => write!(text, "a=sctp-port:5000\r\n"),
        };
        for Format { payload_type, codec: RtpCodec { name, clock_rate, channels, fmtp } } in &self.formats {
            let channels = if *channels > 1 { format!("/{channels}") } else { String::new() };
            let _ = write!(text, "a=rtpmap:{payload_type} {name}/{clock_rate}{channels}\r\n");
            if !fmtp.is_empty() {
                let _ = write!(text, "a=fmtp:{payload_type} {fmtp}\r\n");
            }
        }
    }

    fn parse(lines: &[&str]) -> Result<Self> {
        let mut fields = lines[0]["m=".len()..].split_whitespace();
        let kind = match fields.next() {
            Some("audio") => Some(TrackKind::Audio),
            Some("video") => Some(TrackKind::Video),
            Some("application") => None,
            _ => return Err(invalid("the description has a section of an unknown kind")),
        };
        let port: u16 =
            fields.next().and_then(|port| port.parse().ok()).ok_or_else(|| invalid("a section has no port"))?;
        let mid = lines.iter().find_map(|line| line.strip_prefix("a=mid:")).map(str::trim);
        let mid = mid.filter(|mid| !mid.is_empty()).ok_or_else(|| invalid("a media section has no mid"))?;
        let has = |line: &str| lines.contains(&line);
        let (no_sends, no_receives) = (has("a=recvonly") || has("a=inactive"), has("a=sendonly") || has("a=inactive"));
        let fmtp = |payload_type: u8| {
            let prefix = format!("a=fmtp:{payload_type} ");
            lines.iter().find_map(|line| line.strip_prefix(&prefix)).unwrap_or_default().to_owned()
        };
        let formats = lines.iter().filter_map(|line| {
            let (payload_type, encoding) = line.strip_prefix("a=rtpmap:")?.split_once(' ')?;
            let payload_type = payload_type.parse().ok().filter(|payload_type| *payload_type < 128)?;
            let mut encoding = encoding.trim().split('/');
            let name = CodecName::new(encoding.next()?);
            let clock_rate = encoding.next()?.parse().ok()?;
            let channels = encoding.next().and_then(|channels| channels.parse().ok()).unwrap_or(1);
            Some(Format { payload_type, codec: RtpCodec { name, clock_rate, channels, fmtp: fmtp(payload_type) } })
        });
        let is_rejected = port == 0;
        let formats = if is_rejected || kind.is_none() { Vec::new() } else { formats.collect() };
        Ok(Self {
            mid: Mid::new(mid),
            kind,
            is_rejected,
            formats,
            sends: kind.is_some() && !is_rejected && !no_sends,
            receives: kind.is_some() && !is_rejected && !no_receives,
        })
    }
}

fn is_fingerprint(text: &str) -> bool {
    let bytes: Vec<&str> = text.split(':').collect();
    bytes.len() == 32 && bytes.iter().all(|byte| byte.len() == 2 && byte.bytes().all(|digit| digit.is_ascii_hexdigit()))
}

fn invalid(why: &'static str) -> Error {
    Error::new(ErrorKind::Invalid, why)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn description(role: Role) -> Description {
        let opus =
            RtpCodec { name: CodecName::new("opus"), clock_rate: 48_000, channels: 2, fmtp: "minptime=10".into() };
        let vp8 = RtpCodec { name: CodecName::new("VP8"), clock_rate: 90_000, channels: 1, fmtp: String::new() };
        let section = |mid: &str, kind, formats| Section {
            mid: Mid::new(mid),
            kind,
            is_rejected: false,
            formats,
            sends: kind.is_some(),
            receives: false,
        };
        Description {
            role,
            origin: (7, 3),
            ufrag: "m1g0".to_owned(),
            password: "secret".to_owned(),
            fingerprint: ["AB"; 32].join(":"),
            candidates: Vec::new(),
            sections: vec![
                section("0", Some(TrackKind::Audio), Format::assign(&[opus], 96)),
                section("1", None, Vec::new()),
                section("2", Some(TrackKind::Video), Format::assign(&[vp8], 100)),
            ],
        }
    }

    #[test]
    fn descriptions_round_trip_through_sdp() {
        for role in [Role::Offer, Role::Answer] {
            let description = description(role);
            assert_eq!(Description::parse(&description.to_sdp(), role).unwrap(), description);
        }
        let mut rejected = description(Role::Answer);
        rejected.sections[2] =
            Section { is_rejected: true, formats: Vec::new(), sends: false, ..rejected.sections[2].clone() };
        assert_eq!(Description::parse(&rejected.to_sdp(), Role::Answer).unwrap(), rejected);
    }

    #[test]
    fn an_offer_is_refused_as_an_answer() {
        let text = description(Role::Offer).to_sdp();
        assert_eq!(Description::parse(&text, Role::Answer).unwrap_err().kind(), ErrorKind::Invalid);
    }

    #[test]
    fn truncated_and_incomplete_text_does_not_panic() {
        let text = description(Role::Offer).to_sdp();
        for end in 0..text.len() {
            // Only panics matter here; some of the text may be valid.
            let _maybe = Description::parse(&text[..end], Role::Offer);
            let _maybe = Description::parse(&format!("v=0\r\n{}", &text[end..]), Role::Offer);
        }
        let lines: Vec<&str> = text.lines().collect();
        for omitted in 0..lines.len() {
            let rest: String =
                lines.iter().enumerate().filter(|(n, _)| *n != omitted).map(|(_, line)| format!("{line}\n")).collect();
            let _maybe = Description::parse(&rest, Role::Offer);
        }
    }

    #[test]
    fn payload_types_are_static_or_unique() {
        let codec =
            |name: &str| RtpCodec { name: CodecName::new(name), clock_rate: 8_000, channels: 1, fmtp: String::new() };
        let codecs = ["a", "Opus", "PCMU", "b"].map(codec);
        let assigned: Vec<u8> = Format::assign(&codecs, 110).iter().map(|format| format.payload_type).collect();
        assert_eq!(assigned, [110, 111, 0, 112]);
        let many: Vec<_> = (0..100).map(|n| codec(&n.to_string())).collect();
        assert_eq!(Format::assign(&many, 96).len(), 31);
    }
}
