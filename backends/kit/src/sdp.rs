//! Checks of a remote description before a stack sees it, because stacks change state before they
//! find fault.
//!
//! This reads the few lines of SDP (RFC 8866, RFC 8829) that a transport decides on; the stack
//! parses the whole.

mod narrow;
mod places;
#[cfg(test)]
mod tests;

use blink_api::{CodecName, Error, ErrorKind, Mid, Result, RtpCodec, TrackKind};

pub use narrow::{without_reception, without_refused};
pub use places::Places;

/// Media sections that a description may have: more than any call has.
const MAX_SECTIONS: usize = 64;

/// The URI of the audio level in RTP header extensions (RFC 6464 §5).
pub const AUDIO_LEVEL: &str = "urn:ietf:params:rtp-hdrext:ssrc-audio-level";

/// A description's media sections.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Description {
    /// The ICE user name fragment of its first section; another one means an ICE restart.
    pub ice_user: String,
    /// In the order of their `m=` lines.
    pub sections: Vec<Section>,
}

/// A media section that is not application data, or the one that is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Section {
    /// Its identification tag.
    pub mid: Mid,
    /// `None` for data channels.
    pub kind: Option<TrackKind>,
    /// Refused or ended: port 0 outside the bundle (RFC 8843 §7.5.3).
    pub is_rejected: bool,
    /// Which way media flows, seen from the description's author.
    pub direction: Direction,
    /// The id of the RFC 6464 audio level in RTP header extensions.
    pub level_extension: Option<u8>,
    formats: Vec<Format>,
}

/// Which way media flows (RFC 8866 §6.7).
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
    /// The payload type whose packets it repeats (RFC 4588 §8.1).
    repeats: Option<u8>,
}

impl Description {
    /// Reads a description that a peer sent.
    ///
    /// # Errors
    /// [`Invalid`](ErrorKind::Invalid) for text that is no description a WebRTC stack could work
    /// with.
    pub fn parse(sdp: &str) -> Result<Self> {
        let mut lines = sdp.lines().map(str::trim_end);
        if lines.next() != Some("v=0") {
            return Err(invalid("this is no session description"));
        }
        let value = |name: &str| sdp.lines().find_map(|line| line.strip_prefix(name));
        let ice_user = value("a=ice-ufrag:").ok_or_else(|| invalid("the description has no ICE user name"))?;
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
        Ok(Self { ice_user: ice_user.trim().to_owned(), sections })
    }

    /// The sections for media of a kind that are neither refused nor ended.
    pub fn media(&self, kind: TrackKind) -> impl Iterator<Item = &Section> {
        self.sections.iter().filter(move |section| section.kind == Some(kind) && !section.is_rejected)
    }

    /// Whether there is a section for data channels.
    pub fn has_data(&self) -> bool {
        self.sections.iter().any(|section| section.kind.is_none() && !section.is_rejected)
    }

    /// Checks that every audio section has a codec in common with these.
    ///
    /// # Errors
    /// [`Incompatible`](ErrorKind::Incompatible), naming the section.
    pub fn check_audio(&self, codecs: &[RtpCodec]) -> Result<()> {
        match self.media(TrackKind::Audio).find(|section| !section.shares(codecs)) {
            Some(section) => {
                Err(Error::new(ErrorKind::Incompatible, "the two sides share no audio codec")
                    .with("section", &section.mid))
            }
            None => Ok(()),
        }
    }

    /// Takes the video sections that share no codec with these for refused.
    pub fn refuse_video(&mut self, codecs: &[RtpCodec]) {
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
            _ => return Err(invalid("the description has a section of unknown kind")),
        };
        let port =
            fields.next().and_then(|port| port.parse::<u16>().ok()).ok_or_else(|| invalid("a port is missing"))?;
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
        // Payload types that need no rtpmap (RFC 3551 §6).
        let mapped: Vec<u8> = formats.iter().map(|format| format.payload_type).collect();
        let listed = fields.skip(1).filter_map(|field| field.parse().ok()).filter(|number| !mapped.contains(number));
        formats.extend(listed.filter_map(Format::assigned));
        for (payload_type, repeated) in attributes.iter().filter_map(|line| repeats(line)) {
            formats
                .iter_mut()
                .filter(|format| format.payload_type == payload_type && format.name.eq_ignore_ascii_case("rtx"))
                .for_each(|format| format.repeats = Some(repeated));
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

    /// The payload type of a codec.
    pub fn payload_type(&self, codec: &CodecName) -> Option<u8> {
        self.formats
            .iter()
            .find(|format| format.name.eq_ignore_ascii_case(codec.as_str()))
            .map(|format| format.payload_type)
    }

    /// The codec of these that a payload type stands for.
    pub fn codec<'a>(&self, payload_type: u8, codecs: &'a [RtpCodec]) -> Option<&'a CodecName> {
        let format = self.formats.iter().find(|format| format.payload_type == payload_type)?;
        codecs.iter().map(|codec| &codec.name).find(|name| name.as_str().eq_ignore_ascii_case(&format.name))
    }

    /// The payload types of retransmissions (RFC 4588), each with the one whose packets it repeats.
    pub fn retransmissions(&self) -> impl Iterator<Item = (u8, u8)> {
        self.formats.iter().filter_map(|format| Some((format.payload_type, format.repeats?)))
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
    /// `a=rtpmap:111 opus/48000/2`
    fn parse(line: &str) -> Option<Self> {
        let (payload_type, encoding) = line.strip_prefix("a=rtpmap:")?.split_once(' ')?;
        let mut encoding = encoding.trim().split('/');
        Some(Self {
            payload_type: payload_type.parse().ok()?,
            name: encoding.next()?.to_owned(),
            clock_rate: encoding.next()?.parse().ok()?,
            repeats: None,
        })
    }

    fn assigned(payload_type: u8) -> Option<Self> {
        let name = match payload_type {
            0 => "PCMU",
            8 => "PCMA",
            9 => "G722",
            _ => return None,
        };
        Some(Self { payload_type, name: name.to_owned(), clock_rate: 8000, repeats: None })
    }
}

/// `a=extmap:1/sendrecv urn:ietf:params:rtp-hdrext:ssrc-audio-level vad=on`
fn level_extension(line: &str) -> Option<u8> {
    let (id, rest) = line.strip_prefix("a=extmap:")?.split_once(' ')?;
    let is_level = rest.split_whitespace().next() == Some(AUDIO_LEVEL);
    is_level.then(|| id.split('/').next()?.parse().ok()).flatten()
}

/// `a=fmtp:97 apt=96`
fn repeats(line: &str) -> Option<(u8, u8)> {
    let (payload_type, parameters) = line.strip_prefix("a=fmtp:")?.split_once(' ')?;
    let repeated = parameters.split(';').find_map(|parameter| parameter.trim().strip_prefix("apt="))?;
    Some((payload_type.parse().ok()?, repeated.parse().ok()?))
}

fn invalid(message: &'static str) -> Error {
    Error::new(ErrorKind::Invalid, message)
}
