//! Checks of a remote description before a stack sees it, because stacks change state before they find fault.
//!
//! This reads the few lines of SDP (RFC 8866, RFC 8829) that a transport decides on; the stack parses the whole.

use blink_api::{CodecName, Error, ErrorKind, Mid, Result, RtpCodec, TrackKind};

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
}

impl Description {
    /// Reads a description that a peer sent.
    ///
    /// # Errors
    /// [`Invalid`](ErrorKind::Invalid) for text that is no description a WebRTC stack could work with.
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
        })
    }

    fn assigned(payload_type: u8) -> Option<Self> {
        let name = match payload_type {
            0 => "PCMU",
            8 => "PCMA",
            9 => "G722",
            _ => return None,
        };
        Some(Self { payload_type, name: name.to_owned(), clock_rate: 8000 })
    }
}

/// The description as if its author did not ask for media on the audio and video sections that `sends` refuses: for stacks which answer
/// every `sendrecv` with `sendrecv`, although nothing is sent.
pub fn without_reception(sdp: &str, description: &Description, sends: impl Fn(&Mid) -> bool) -> String {
    let mut text = String::with_capacity(sdp.len() + 64);
    let mut sections = description.sections.iter();
    let mut current: Option<&Section> = None;
    for line in sdp.lines().map(str::trim_end) {
        if line.starts_with("m=") {
            current = sections.next();
        }
        let narrowed = current
            .filter(|section| section.kind.is_some() && !sends(&section.mid))
            .map(|section| Direction { receives: false, ..section.direction });
        match narrowed {
            Some(_) if Direction::parse(line).is_some() => continue,
            Some(direction) if line.starts_with("a=mid:") => {
                text.push_str(direction.line());
                text.push_str("\r\n");
            }
            _ => {}
        }
        text.push_str(line);
        text.push_str("\r\n");
    }
    text
}

/// `a=extmap:1/sendrecv urn:ietf:params:rtp-hdrext:ssrc-audio-level vad=on`
fn level_extension(line: &str) -> Option<u8> {
    let (id, rest) = line.strip_prefix("a=extmap:")?.split_once(' ')?;
    let is_level = rest.split_whitespace().next() == Some(AUDIO_LEVEL);
    is_level.then(|| id.split('/').next()?.parse().ok()).flatten()
}

fn invalid(message: &'static str) -> Error {
    Error::new(ErrorKind::Invalid, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    const OFFER: &str = "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0 1\r\n\
        a=fingerprint:sha-256 00\r\na=ice-ufrag:abcd\r\na=ice-pwd:efgh\r\n\
        m=audio 9 UDP/TLS/RTP/SAVPF 111 0\r\na=mid:0\r\na=sendrecv\r\na=rtpmap:111 opus/48000/2\r\n\
        m=video 0 UDP/TLS/RTP/SAVPF 96\r\na=mid:1\r\na=recvonly\r\na=rtpmap:96 VP8/90000\r\n\
        m=video 0 UDP/TLS/RTP/SAVPF 96\r\na=mid:2\r\na=rtpmap:96 VP8/90000\r\n\
        m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\na=mid:3\r\n";

    fn codec(name: &str, clock_rate: u32) -> RtpCodec {
        RtpCodec { name: CodecName::new(name), clock_rate, channels: 1, fmtp: String::new() }
    }

    #[test]
    fn sections_have_kind_direction_and_whether_they_are_refused() {
        let description = Description::parse(OFFER).expect("an offer");
        let kinds: Vec<_> = description.sections.iter().map(|section| (section.kind, section.is_rejected)).collect();
        assert_eq!(
            kinds,
            [
                (Some(TrackKind::Audio), false),
                (Some(TrackKind::Video), false),
                (Some(TrackKind::Video), true),
                (None, false)
            ]
        );
        assert_eq!(description.sections[1].direction, Direction { sends: false, receives: true });
        assert_eq!(description.sections[2].direction, Direction { sends: true, receives: true }, "the default");
        assert!(description.has_data());
    }

    #[test]
    fn audio_without_a_shared_codec_is_incompatible() {
        let description = Description::parse(OFFER).expect("an offer");
        for codec in [codec("OPUS", 48_000), codec("pcmu", 8000)] {
            description.check_audio(&[codec]).expect("a shared codec");
        }
        for codecs in [vec![], vec![codec("opus", 16_000)], vec![codec("G722", 8000)]] {
            let error = description.check_audio(&codecs).expect_err("no shared codec");
            assert_eq!(error.kind(), ErrorKind::Incompatible);
        }
    }

    #[test]
    fn payload_types_and_extensions_are_read() {
        let text = OFFER.replace("a=mid:0", &format!("a=mid:0\r\na=extmap:7/sendrecv {AUDIO_LEVEL} vad=on"));
        let description = Description::parse(&text).expect("an offer");
        let [audio, video, ..] = &description.sections[..] else { panic!("two sections") };
        assert_eq!((audio.level_extension, video.level_extension), (Some(7), None));
        assert_eq!(audio.payload_type(&CodecName::new("Opus")), Some(111));
        assert_eq!(audio.payload_type(&CodecName::new("PCMA")), None);
        let configured = [codec("opus", 48_000), codec("PCMU", 8000)];
        assert_eq!(audio.codec(0, &configured), Some(&configured[1].name));
        assert_eq!(audio.codec(1, &configured), None);
    }

    #[test]
    fn descriptions_without_what_a_stack_needs_are_invalid() {
        for removed in ["v=0", "a=fingerprint", "a=ice-ufrag", "a=ice-pwd", "a=mid"] {
            let text: Vec<&str> = OFFER.lines().filter(|line| !line.starts_with(removed)).collect();
            let error = Description::parse(&text.join("\r\n")).expect_err(removed);
            assert_eq!(error.kind(), ErrorKind::Invalid);
        }
        assert!(Description::parse("").is_err());
        assert!(Description::parse(&OFFER[..OFFER.find("m=").expect("media")]).is_err());
    }

    #[test]
    fn reception_is_taken_out_of_sections_nobody_sends_on() {
        let description = Description::parse(OFFER).expect("an offer");
        let text = without_reception(OFFER, &description, |mid| mid.as_str() == "0");
        let narrowed = Description::parse(&text).expect("still an offer");
        let directions: Vec<_> = narrowed.sections.iter().map(|section| section.direction.line()).collect();
        assert_eq!(directions, ["a=sendrecv", "a=inactive", "a=sendonly", "a=sendrecv"]);
        assert_eq!(text.lines().filter(|line| line.starts_with("a=recvonly")).count(), 0);
    }
}
