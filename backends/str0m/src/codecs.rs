//! Mapping between the codecs of the configuration and str0m's.

use blink_api::{CodecName, Error, ErrorKind, Mid, Result, RtpCodec, SessionConfig, TrackKind};
use str0m::Rtc;
use str0m::format::{Codec, CodecConfig, FormatParams, PayloadParams};
use str0m::media::{Frequency, Pt};

/// Dynamic payload types (RFC 3551 §3).
const DYNAMIC: std::ops::RangeInclusive<u8> = 96..=127;
const OPUS: u8 = 111;

/// Codecs that a session negotiates.
pub(crate) struct Codecs {
    /// Audio codecs. An audio section without one of these is rejected.
    pub(crate) audio: Vec<RtpCodec>,
    pub(crate) video: Vec<RtpCodec>,
    known: Vec<(Codec, CodecName)>,
}

impl Codecs {
    /// Maps the codecs of a session.
    ///
    /// # Errors
    /// [`Unsupported`](ErrorKind::Unsupported) for a codec that str0m does not know.
    pub(crate) fn new(config: &SessionConfig) -> Result<Self> {
        let known = config.audio.iter().chain(&config.video).map(|codec| Ok((known(codec)?, codec.name.clone())));
        Ok(Self { known: known.collect::<Result<_>>()?, audio: config.audio.clone(), video: config.video.clone() })
    }

    /// Configures str0m with the codecs in order of preference, each with a payload type, video
    /// with RTX (RFC 4588).
    pub(crate) fn configure(&self, config: &mut CodecConfig) {
        config.clear();
        let mut free: Vec<u8> = [0, 8, 9].into_iter().chain(DYNAMIC).rev().collect();
        let mut take = |usual: Option<u8>| {
            let position = match usual.and_then(|usual| free.iter().position(|number| *number == usual)) {
                Some(position) => position,
                None => free.iter().rposition(|number| DYNAMIC.contains(number) && *number != OPUS)?,
            };
            Some(Pt::from(free.remove(position)))
        };
        for codec in self.audio.iter().chain(&self.video) {
            let Ok(known) = known(codec) else { continue };
            if known == Codec::Red {
                continue;
            }
            let usual = match known {
                Codec::PCMU => Some(0),
                Codec::PCMA => Some(8),
                Codec::G722 => Some(9),
                Codec::Opus => Some(OPUS),
                _ => None,
            };
            // With more codecs than payload types, the least preferred ones are omitted.
            let Some(payload_type) = take(usual) else { return };
            if known == Codec::Opus && self.red().is_some() {
                // With RED, str0m supports Opus only in the browsers' configuration.
                config.enable_opus(true, true);
                continue;
            }
            let resend = if known.is_video() { take(None) } else { None };
            let channels = u8::try_from(codec.channels).ok().filter(|channels| *channels > 0);
            let format = FormatParams::parse_line(&codec.fmtp);
            config.add_config(payload_type, resend, known, clock_rate(known, codec), channels, format);
        }
    }

    /// Name of RED, if it is configured.
    fn red(&self) -> Option<&CodecName> {
        self.known.iter().find(|(codec, _)| *codec == Codec::Red).map(|(_, name)| name)
    }

    /// Codecs of a kind.
    pub(crate) fn of(&self, kind: TrackKind) -> &[RtpCodec] {
        match kind {
            TrackKind::Audio => &self.audio,
            TrackKind::Video => &self.video,
        }
    }

    /// Codec name of a negotiated payload type.
    pub(crate) fn name(&self, rtc: &Rtc, payload_type: Pt) -> Option<CodecName> {
        let of = |params: &&PayloadParams| params.pt() == payload_type || params.red() == Some(payload_type);
        let params = rtc.codec_config().params().iter().find(of)?;
        if params.pt() != payload_type {
            return self.red().cloned();
        }
        self.known.iter().find(|(codec, _)| *codec == params.spec().codec).map(|(_, name)| name.clone())
    }

    /// Payload type for sending a codec on a section.
    pub(crate) fn payload_type(&self, rtc: &Rtc, mid: str0m::media::Mid, name: &CodecName) -> Option<Pt> {
        let negotiated = rtc.media(mid)?.remote_pts();
        let found = |wanted: &CodecName| {
            negotiated.iter().copied().find(|number| self.name(rtc, *number).as_ref() == Some(wanted))
        };
        if !name.is_red() {
            return found(name);
        }
        // str0m stores RED as a property of the codec it protects.
        self.known.iter().filter_map(|(_, name)| found(name)).find_map(|number| {
            let params = rtc.codec_config().params().iter().find(|params| params.pt() == number)?;
            params.red().filter(|_| self.red().is_some())
        })
    }

    /// Codecs that may be sent on a section, in order of preference.
    pub(crate) fn negotiated(&self, rtc: &Rtc, mid: str0m::media::Mid) -> Vec<CodecName> {
        let payload_types = rtc.media(mid).map(str0m::media::Media::remote_pts).unwrap_or_default();
        let mut negotiated: Vec<_> = payload_types.iter().filter_map(|number| self.name(rtc, *number)).collect();
        negotiated.extend(self.red().filter(|red| self.payload_type(rtc, mid, red).is_some()).cloned());
        self.known.iter().map(|(_, name)| name).filter(|name| negotiated.contains(name)).cloned().collect()
    }
}

fn known(codec: &RtpCodec) -> Result<Codec> {
    match Codec::from(codec.name.as_str()) {
        Codec::Unknown | Codec::Rtx | Codec::Null => {
            Err(Error::new(ErrorKind::Unsupported, "str0m does not know this codec").with("codec", &codec.name))
        }
        known => Ok(known),
    }
}

/// RTP clock rate for str0m, which counts G.722 at 16 kHz; SDP has its historical 8,000 Hz (RFC
/// 3551 §4.5.2).
fn clock_rate(known: Codec, codec: &RtpCodec) -> Frequency {
    match known {
        Codec::G722 => Frequency::SIXTEEN_KHZ,
        _ => Frequency::new(codec.clock_rate).unwrap_or(Frequency::NINETY_KHZ),
    }
}

/// Converts a mid to the API's type.
pub(crate) fn tag(mid: str0m::media::Mid) -> Mid {
    Mid::new(&mid)
}
