//! Validation of a remote description before a stack sees it, because stacks change state before
//! they report an error.
//!
//! Parses the few lines of SDP (RFC 8866, RFC 8829) that a transport decides on; the stack parses
//! the whole.

mod restrict;
mod section_map;
#[cfg(test)]
mod tests;

use blink_api::{CodecName, Error, ErrorKind, Mid, Result, RtpCodec, TrackKind};

pub use restrict::{apply_rejections, mask_receiving};
pub use section_map::SectionMap;

/// Limit of media sections in a description, more than any call has.
const MAX_SECTIONS: usize = 64;

/// URI of the audio level RTP header extension (RFC 6464 §5).
pub const AUDIO_LEVEL: &str = "urn:ietf:params:rtp-hdrext:ssrc-audio-level";

/// Parsed description.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Description {
    /// ICE username fragment of the first section; a new one means an ICE restart.
    pub ice_ufrag: String,
    /// Media sections in the order of their `m=` lines.
    pub sections: Vec<Section>,
}

/// Media section of a description, or its data-channel section.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Section {
    /// Identification tag of the section (`a=mid`).
    pub mid: Mid,
    /// Kind of media; `None` for data channels.
    pub kind: Option<TrackKind>,
    /// Rejected or ended: port 0 outside the BUNDLE group (RFC 8843 §7.5.3).
    pub is_rejected: bool,
    /// Direction of media from the view of the description's author.
    pub direction: Direction,
    /// Id of the RFC 6464 audio level extension.
    pub level_extension: Option<u8>,
    formats: Vec<Format>,
}

/// Direction of media (RFC 8866 §6.7).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Direction {
    /// The author sends.
    pub sends: bool,
    /// The author receives.
    pub receives: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Format {
    payload_type: u8,
    name: String,
    clock_rate: u32,
    /// Payload type that this RTX format retransmits (RFC 4588 §8.1).
    apt: Option<u8>,
}

impl Description {
    /// Parses a remote description.
    ///
    /// # Errors
    /// [`Invalid`](ErrorKind::Invalid) if a WebRTC stack could not use it.
    pub fn parse(sdp: &str) -> Result<Self> {
        let mut lines = sdp.lines().map(str::trim_end);
        if lines.next() != Some("v=0") {
            return Err(invalid("this is not a session description"));
        }
        let value = |name: &str| sdp.lines().find_map(|line| line.strip_prefix(name));
        let ice_ufrag = value("a=ice-ufrag:").ok_or_else(|| invalid("the description has no ICE username fragment"))?;
        value("a=ice-pwd:").ok_or_else(|| invalid("the description has no ICE password"))?;
        value("a=fingerprint:").ok_or_else(|| invalid("the description has no fingerprint"))?;
        let mut session = Vec::new();
        let mut blocks: Vec<Vec<&str>> = Vec::new();
        for line in lines {
            match blocks.last_mut() {
                _ if line.starts_with("m=") => blocks.push(vec![line]),
                Some(block) => block.push(line),
                None => session.push(line),
            }
        }
        let sections = blocks.iter().map(|block| Section::parse(block, &session)).collect::<Result<Vec<_>>>()?;
        if sections.is_empty() {
            return Err(invalid("the description has no media sections"));
        }
        Ok(Self { ice_ufrag: ice_ufrag.trim().to_owned(), sections })
    }

    /// Sections of a media kind that are not rejected.
    pub fn media(&self, kind: TrackKind) -> impl Iterator<Item = &Section> {
        self.sections.iter().filter(move |section| section.kind == Some(kind) && !section.is_rejected)
    }

    /// Returns whether there is a data-channel section that is not rejected.
    pub fn has_data(&self) -> bool {
        self.sections.iter().any(|section| section.kind.is_none() && !section.is_rejected)
    }

    /// Checks that every audio section shares a codec with these.
    ///
    /// # Errors
    /// [`Incompatible`](ErrorKind::Incompatible) with the section.
    pub fn check_audio(&self, codecs: &[RtpCodec]) -> Result<()> {
        match self.media(TrackKind::Audio).find(|section| !section.shares(codecs)) {
            Some(section) => {
                Err(Error::new(ErrorKind::Incompatible, "there is no common audio codec").with("section", &section.mid))
            }
            None => Ok(()),
        }
    }

    /// Marks video sections without a common codec as rejected.
    pub fn reject_video(&mut self, codecs: &[RtpCodec]) {
        let foreign = |section: &&mut Section| section.kind == Some(TrackKind::Video) && !section.shares(codecs);
        for section in self.sections.iter_mut().filter(foreign) {
            section.is_rejected = true;
            section.direction = Direction { sends: false, receives: false };
        }
    }
}

impl Section {
    fn parse(lines: &[&str], session: &[&str]) -> Result<Self> {
        let (media, attributes) = lines.split_first().expect("a section begins with its m= line");
        let mut fields = media["m=".len()..].split_whitespace();
        let kind = match fields.next() {
            Some("audio") => Some(TrackKind::Audio),
            Some("video") => Some(TrackKind::Video),
            Some("application") => None,
            _ => return Err(invalid("the description has a section of an unknown kind")),
        };
        let port =
            fields.next().and_then(|port| port.parse::<u16>().ok()).ok_or_else(|| invalid("a section has no port"))?;
        let mid = attributes
            .iter()
            .find_map(|line| line.strip_prefix("a=mid:"))
            .ok_or_else(|| invalid("a section has no mid"))?
            .trim();
        let is_bundled = session
            .iter()
            .filter_map(|line| line.strip_prefix("a=group:BUNDLE"))
            .any(|mids| mids.split_whitespace().any(|other| other == mid));
        let direction = [attributes, session].into_iter().flatten().find_map(|line| Direction::parse(line));
        let mut formats: Vec<Format> = attributes.iter().filter_map(|line| Format::parse(line)).collect();
        // Static payload types need no rtpmap (RFC 3551 §6).
        let mapped: Vec<u8> = formats.iter().map(|format| format.payload_type).collect();
        let listed = fields.skip(1).filter_map(|field| field.parse().ok()).filter(|number| !mapped.contains(number));
        formats.extend(listed.filter_map(Format::assigned));
        for (payload_type, repeated) in attributes.iter().filter_map(|line| parse_apt(line)) {
            formats
                .iter_mut()
                .filter(|format| format.payload_type == payload_type && format.name.eq_ignore_ascii_case("rtx"))
                .for_each(|format| format.apt = Some(repeated));
        }
        Ok(Self {
            mid: Mid::new(mid),
            kind,
            is_rejected: port == 0 && !is_bundled,
            level_extension: attributes.iter().find_map(|line| level_extension(line)),
            direction: direction.unwrap_or(Direction { sends: true, receives: true }),
            formats,
        })
    }

    /// Payload type of a codec.
    pub fn payload_type(&self, codec: &CodecName) -> Option<u8> {
        self.formats
            .iter()
            .find(|format| format.name.eq_ignore_ascii_case(codec.as_str()))
            .map(|format| format.payload_type)
    }

    /// Codec of a payload type, if it is one of these.
    pub fn codec<'a>(&self, payload_type: u8, codecs: &'a [RtpCodec]) -> Option<&'a CodecName> {
        let format = self.formats.iter().find(|format| format.payload_type == payload_type)?;
        codecs.iter().map(|codec| &codec.name).find(|name| name.as_str().eq_ignore_ascii_case(&format.name))
    }

    /// Payload types of RTX formats (RFC 4588), each with the payload type that it retransmits.
    pub fn rtx_payload_types(&self) -> impl Iterator<Item = (u8, u8)> {
        self.formats.iter().filter_map(|format| Some((format.payload_type, format.apt?)))
    }

    fn shares(&self, codecs: &[RtpCodec]) -> bool {
        self.formats.iter().any(|format| {
            codecs.iter().any(|codec| {
                codec.name.as_str().eq_ignore_ascii_case(&format.name) && codec.clock_rate == format.clock_rate
            })
        })
    }
}

impl Direction {
    fn parse(line: &str) -> Option<Self> {
        let (sends, receives) = match line {
            "a=sendrecv" => (true, true),
            "a=sendonly" => (true, false),
            "a=recvonly" => (false, true),
            "a=inactive" => (false, false),
            _ => return None,
        };
        Some(Self { sends, receives })
    }

    fn line(self) -> &'static str {
        match (self.sends, self.receives) {
            (true, true) => "a=sendrecv",
            (true, false) => "a=sendonly",
            (false, true) => "a=recvonly",
            (false, false) => "a=inactive",
        }
    }
}

impl Format {
    /// Parses `a=rtpmap:111 opus/48000/2`.
    fn parse(line: &str) -> Option<Self> {
        let (payload_type, encoding) = line.strip_prefix("a=rtpmap:")?.split_once(' ')?;
        let mut encoding = encoding.trim().split('/');
        Some(Self {
            payload_type: payload_type.parse().ok()?,
            name: encoding.next()?.to_owned(),
            clock_rate: encoding.next()?.parse().ok()?,
            apt: None,
        })
    }

    fn assigned(payload_type: u8) -> Option<Self> {
        let name = match payload_type {
            0 => "PCMU",
            8 => "PCMA",
            9 => "G722",
            _ => return None,
        };
        Some(Self { payload_type, name: name.to_owned(), clock_rate: 8000, apt: None })
    }
}

/// Parses the id from `a=extmap:1/sendrecv urn:ietf:params:rtp-hdrext:ssrc-audio-level vad=on`.
fn level_extension(line: &str) -> Option<u8> {
    let (id, rest) = line.strip_prefix("a=extmap:")?.split_once(' ')?;
    let is_level = rest.split_whitespace().next() == Some(AUDIO_LEVEL);
    is_level.then(|| id.split('/').next()?.parse().ok()).flatten()
}

/// Parses `a=fmtp:97 apt=96`.
fn parse_apt(line: &str) -> Option<(u8, u8)> {
    let (payload_type, parameters) = line.strip_prefix("a=fmtp:")?.split_once(' ')?;
    let repeated = parameters.split(';').find_map(|parameter| parameter.trim().strip_prefix("apt="))?;
    Some((payload_type.parse().ok()?, repeated.parse().ok()?))
}

fn invalid(message: &'static str) -> Error {
    Error::new(ErrorKind::Invalid, message)
}
