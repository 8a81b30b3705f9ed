//! The audio of a call: codecs in order of preference, frames, channels, bitrate.

use std::fmt;
use std::sync::Arc;
use web_time::Duration;

use blink_api::{
    AudioCodec, AudioDecoder, AudioDecoderConfig, AudioEncoder, AudioEncoderConfig, AudioFormat, AudioSettings,
    CodecName, Error, ErrorKind, Result, RtpCodec,
};

use super::rate::AudioDemand;
use super::red;

/// Bitrate that is assumed for a codec that does not report one: G.711's.
const BITRATE: u32 = 64_000;

/// The settings of one call with the codecs that it may use, the preferred one first. Never without
/// one. Cheap to clone.
#[derive(Clone)]
pub struct CallAudio {
    codecs: Arc<[Arc<dyn AudioCodec>]>,
    /// Their names in SDP.
    rtp: Arc<[RtpCodec]>,
    settings: AudioSettings,
    /// Bits per second of the preferred codec.
    bitrate: u32,
}

impl fmt::Debug for CallAudio {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CallAudio").finish_non_exhaustive()
    }
}

impl CallAudio {
    /// Creates the settings of a call.
    ///
    /// # Errors
    /// [`Invalid`](ErrorKind::Invalid) for values out of range or without a codec, and those of a
    /// codec that does not support the format, frame or bitrate.
    pub fn new(codecs: Vec<Arc<dyn AudioCodec>>, settings: AudioSettings) -> Result<Self> {
        settings.check()?;
        if codecs.is_empty() {
            return Err(Error::new(ErrorKind::Invalid, "an engine needs a codec"));
        }
        let rtp = codecs.iter().map(|codec| codec.rtp()).collect();
        let audio = Self { codecs: codecs.into(), rtp, settings, bitrate: 0 };
        // Creating the encoders here finds settings that a codec does not support.
        let preferred = audio.encoders()?.first().and_then(|(_, encoder)| encoder.bitrate());
        Ok(Self { bitrate: preferred.unwrap_or(BITRATE), ..audio })
    }

    /// The format that is captured and played.
    pub fn format(&self) -> AudioFormat {
        self.settings.format()
    }

    /// Duration of audio in a packet.
    pub fn frame(&self) -> Duration {
        self.settings.frame
    }

    /// Share of a path that one voice asks for.
    pub fn demand(&self) -> AudioDemand {
        AudioDemand { bitrate: self.bitrate, frame: self.frame() }
    }

    /// Ticks per second of a codec's timestamps; `None` for a codec that is not among these.
    pub fn clock_rate(&self, name: &CodecName) -> Option<u32> {
        let name = self.codec_within(name);
        self.rtp.iter().find(|rtp| rtp.name == *name).map(|rtp| rtp.clock_rate)
    }

    /// Codecs to offer in SDP, in order; redundant audio (RFC 2198) last.
    pub fn rtp(&self) -> Vec<RtpCodec> {
        let red =
            self.redundant().map(|codec| RtpCodec { name: CodecName::red(), fmtp: String::new(), ..codec.clone() });
        self.rtp.iter().cloned().chain(red).collect()
    }

    /// Codec of the audio within packets of a codec: the redundantly sent one for `red`, otherwise
    /// the same.
    pub fn codec_within<'a>(&'a self, name: &'a CodecName) -> &'a CodecName {
        if name.is_red() { self.redundant().map_or(name, |codec| &codec.name) } else { name }
    }

    /// The preferred codec.
    pub fn preferred(&self) -> RtpCodec {
        self.rtp[0].clone()
    }

    /// New encoders, one for each codec.
    ///
    /// # Errors
    /// Those of a codec.
    pub fn encoders(&self) -> Result<Vec<(RtpCodec, Box<dyn AudioEncoder>)>> {
        let encoder = |(codec, rtp): (&Arc<dyn AudioCodec>, &RtpCodec)| {
            let bitrate = self.settings.bitrate.filter(|_| codec.capabilities().variable_bitrate);
            let config = AudioEncoderConfig { format: self.format(), frame: self.frame(), bitrate };
            Ok((rtp.clone(), codec.encoder(config)?))
        };
        self.codecs.iter().zip(&*self.rtp).map(encoder).collect()
    }

    /// A new decoder of a codec; `None` for a codec that is not among these.
    ///
    /// # Errors
    /// Those of the codec.
    pub fn decoder(&self, name: &CodecName) -> Result<Option<(RtpCodec, Box<dyn AudioDecoder>)>> {
        let mut codecs = self.codecs.iter().zip(&*self.rtp);
        let Some((codec, rtp)) = codecs.find(|(_, rtp)| rtp.name == *name) else { return Ok(None) };
        Ok(Some((rtp.clone(), codec.decoder(AudioDecoderConfig { format: self.format() })?)))
    }

    /// The codec that can be sent redundantly.
    fn redundant(&self) -> Option<&RtpCodec> {
        self.rtp.iter().find(|codec| red::is_copied(&codec.name))
    }
}
