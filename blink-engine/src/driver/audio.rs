//! How the sound of a call is sent and received: codecs, frames, channels, bitrate.

use std::sync::Arc;
use std::time::Duration;

use blink_api::{
    AudioCodec, AudioDecoder, AudioDecoderConfig, AudioEncoder, AudioEncoderConfig, AudioFormat, AudioSettings,
    CodecName, Error, ErrorKind, Result, RtpCodec,
};

use crate::blink::AudioConfig;
use blink_media::rate::AudioDemand;
use blink_media::red;

/// The settings of one call with the codecs it may use, the preferred one first. Never without one.
/// Cheap to clone.
#[derive(Clone)]
pub(crate) struct CallAudio {
    codecs: Arc<[Arc<dyn AudioCodec>]>,
    /// How SDP names each.
    rtp: Arc<[RtpCodec]>,
    settings: AudioSettings,
    /// What the preferred codec aims at, in bits per second.
    bitrate: u32,
}

/// What a codec takes that does not say: G.711's.
const BITRATE: u32 = 64_000;

impl CallAudio {
    /// What a call is offered with, over what is configured.
    ///
    /// # Errors
    /// [`Invalid`](ErrorKind::Invalid) for values out of range, [`NotFound`](ErrorKind::NotFound)
    /// for a codec that is not configured, and those of a codec that does not take the format,
    /// frame or bitrate.
    pub(crate) fn new(
        configured: &[Arc<dyn AudioCodec>],
        settings: &AudioSettings,
        config: &AudioConfig,
    ) -> Result<Self> {
        let settings = AudioSettings {
            frame: config.frame.unwrap_or(settings.frame),
            channels: config.channels.unwrap_or(settings.channels),
            bitrate: config.bitrate.or(settings.bitrate),
        };
        settings.check()?;
        let codecs = match &config.codecs[..] {
            [] => configured.to_vec(),
            names => names.iter().map(|name| find(configured, name)).collect::<Result<_>>()?,
        };
        if codecs.is_empty() {
            return Err(Error::new(ErrorKind::Invalid, "an engine needs a codec"));
        }
        let rtp = codecs.iter().map(|codec| codec.rtp()).collect();
        let audio = Self { codecs: codecs.into(), rtp, settings, bitrate: 0 };
        // What a codec cannot do is found now and not when somebody is to be heard.
        let preferred = audio.encoders()?.first().and_then(|(_, encoder)| encoder.bitrate());
        Ok(Self { bitrate: preferred.unwrap_or(BITRATE), ..audio })
    }

    /// What is captured and played.
    pub(crate) fn format(&self) -> AudioFormat {
        self.settings.format()
    }

    /// Sound in each packet.
    pub(crate) fn frame(&self) -> Duration {
        self.settings.frame
    }

    /// What one voice asks of a path.
    pub(crate) fn demand(&self) -> AudioDemand {
        AudioDemand { bitrate: self.bitrate, frame: self.frame() }
    }

    /// Ticks per second of a codec's timestamps; `None` for one that is not among these.
    pub(crate) fn clock_rate(&self, name: &CodecName) -> Option<u32> {
        let name = self.sound_of(name);
        self.rtp.iter().find(|rtp| rtp.name == *name).map(|rtp| rtp.clock_rate)
    }

    /// What is offered to others, in order; copies of Opus (RFC 2198) last.
    pub(crate) fn rtp(&self) -> Vec<RtpCodec> {
        let red = self.copied().map(|codec| RtpCodec { name: CodecName::red(), fmtp: String::new(), ..codec.clone() });
        self.rtp.iter().cloned().chain(red).collect()
    }

    /// The codec of the sound in packets of this one.
    pub(crate) fn sound_of<'a>(&'a self, name: &'a CodecName) -> &'a CodecName {
        if name.is_red() { self.copied().map_or(name, |codec| &codec.name) } else { name }
    }

    /// The codec that there are copies of.
    fn copied(&self) -> Option<&RtpCodec> {
        self.rtp.iter().find(|codec| red::is_copied(&codec.name))
    }

    /// The preferred codec.
    pub(crate) fn preferred(&self) -> RtpCodec {
        self.rtp[0].clone()
    }

    /// A fresh encoder of each codec.
    pub(crate) fn encoders(&self) -> Result<Vec<(RtpCodec, Box<dyn AudioEncoder>)>> {
        let encoder = |(codec, rtp): (&Arc<dyn AudioCodec>, &RtpCodec)| {
            let bitrate = self.settings.bitrate.filter(|_| codec.capabilities().variable_bitrate);
            let config = AudioEncoderConfig { format: self.format(), frame: self.frame(), bitrate };
            Ok((rtp.clone(), codec.encoder(config)?))
        };
        self.codecs.iter().zip(&*self.rtp).map(encoder).collect()
    }

    /// A fresh decoder of a codec; `None` for one that is not among these.
    pub(crate) fn decoder(&self, name: &CodecName) -> Result<Option<(RtpCodec, Box<dyn AudioDecoder>)>> {
        let mut codecs = self.codecs.iter().zip(&*self.rtp);
        let Some((codec, rtp)) = codecs.find(|(_, rtp)| rtp.name == *name) else { return Ok(None) };
        Ok(Some((rtp.clone(), codec.decoder(AudioDecoderConfig { format: self.format() })?)))
    }
}

fn find(configured: &[Arc<dyn AudioCodec>], name: &str) -> Result<Arc<dyn AudioCodec>> {
    let wanted = CodecName::new(name);
    configured.iter().find(|codec| codec.rtp().name == wanted).cloned().ok_or_else(|| {
        let names: Vec<_> = configured.iter().map(|codec| codec.rtp().name.to_string()).collect();
        Error::new(ErrorKind::NotFound, format!("the codec `{name}` is not configured; there is: {}", names.join(", ")))
    })
}
