//! An encoder with the RTP stream that it fills: frames in, packets out.

use web_time::Duration;

use blink_api::{
    AudioEncoder, AudioFormat, AudioLevel, CodecName, EncoderHint, Error, ErrorKind, Result, RtpCodec, RtpOut, RtpTime,
};

use super::packets::PacketStore;
use super::rate::LEAST_AUDIO;
use super::receiver_reports::WorstCasePath;
use super::red::{self, RedSender};
use super::relative_delay::ticks_in;

/// An encoder with the RTP stream it fills.
pub(crate) struct Encoding {
    codec: RtpCodec,
    encoder: Box<dyn AudioEncoder>,
    /// The bitrate it was made for.
    bitrate: Option<u32>,
    frame_ticks: u32,
    sequence: u16,
    timestamp: RtpTime,
    /// The last frame was not sent.
    paused: bool,
    failed: bool,
    /// The packets sent last, for codecs that are sent redundantly.
    red: Option<RedSender>,
    /// All receivers understand copies.
    copies: bool,
    /// A payload with copies.
    copied: Vec<u8>,
    /// The path that the encoder is adapted to.
    path: Option<WorstCasePath>,
    /// A receiver needs it.
    pub(super) used: bool,
}

impl Encoding {
    /// # Errors
    /// [`Invalid`](ErrorKind::Invalid) where the encoder takes another number of samples than
    /// `frame_samples`.
    pub(super) fn new(
        codec: RtpCodec,
        encoder: Box<dyn AudioEncoder>,
        (frame, frame_samples): (Duration, usize),
        (sequence, timestamp): (u16, RtpTime),
    ) -> Result<Self> {
        if encoder.frame_samples() != frame_samples {
            return Err(Error::new(ErrorKind::Invalid, "the encoder's frame does not fit the source")
                .with("frame", frame_samples)
                .with("encoder", encoder.frame_samples()));
        }
        let frame_ticks = u32::try_from(ticks_in(frame, codec.clock_rate)).unwrap_or(0);
        let bitrate = encoder.bitrate();
        let red = red::is_copied(&codec.name).then(|| RedSender::new(frame));
        Ok(Self {
            codec,
            encoder,
            bitrate,
            frame_ticks,
            sequence,
            timestamp,
            paused: true,
            failed: false,
            red,
            copies: false,
            copied: Vec::with_capacity(red::LONGEST_PAYLOAD),
            path: None,
            used: true,
        })
    }

    pub(super) fn codec(&self) -> &CodecName {
        &self.codec.name
    }

    /// Whether packets of this codec are this encoder's: its own, or those with copies (RFC 2198).
    pub(super) fn is_sent_as(&self, codec: &CodecName) -> bool {
        self.codec.name == *codec || (codec.is_red() && self.red.is_some())
    }

    /// Ticks per second of its timestamps.
    pub(super) fn clock_rate(&self) -> u32 {
        self.codec.clock_rate
    }

    /// The timestamp of the next frame.
    pub(super) fn timestamp(&self) -> RtpTime {
        self.timestamp
    }

    /// The timestamp of the sample that comes after `framed` interleaved ones of the next frame.
    pub(super) fn timestamp_of(&self, framed: usize, format: AudioFormat) -> RtpTime {
        let position = ticks_in(format.duration_of(framed), self.codec.clock_rate);
        self.timestamp.wrapping_add(u32::try_from(position).unwrap_or(0))
    }

    pub(super) fn hint(&mut self, hint: EncoderHint) -> Result<()> {
        self.encoder.hint(hint)
    }

    /// Adapts to a path: with the encoder's own bitrate, or less where the path has no room for
    /// that.
    pub(super) fn adapt(&mut self, path: WorstCasePath) -> Result<()> {
        let bitrate = self.bitrate.map(|own| path.bitrate.unwrap_or(own).clamp(LEAST_AUDIO.min(own), own));
        self.path = Some(path);
        let hint = EncoderHint { loss: path.loss, burst: path.burst, bitrate };
        let hint = match (&mut self.red, bitrate) {
            (Some(red), Some(bitrate)) if self.copies => red.hint(hint, bitrate),
            _ => hint,
        };
        self.encoder.hint(hint)
    }

    /// Sets whether all receivers understand packets with copies of earlier ones.
    ///
    /// # Errors
    /// The encoder's, which adapts to that.
    pub(super) fn use_copies(&mut self, copies: bool) -> Result<()> {
        let changed = std::mem::replace(&mut self.copies, copies) != copies;
        self.path.filter(|_| changed && self.red.is_some()).map_or(Ok(()), |path| self.adapt(path))
    }

    /// A frame is not sent: receivers see a pause.
    pub(super) fn skip(&mut self) {
        self.timestamp = self.timestamp.wrapping_add(self.frame_ticks);
        self.paused = true;
        if let Some(red) = &mut self.red {
            red.skip(self.frame_ticks);
        }
    }

    /// Encodes a frame into `encoded`, and emits its packet unless there is nothing to send.
    ///
    /// # Errors
    /// The encoder's, where it did not fail with the frame before.
    pub(super) fn send(
        &mut self,
        frame: &[f32],
        level: AudioLevel,
        encoded: &mut Vec<u8>,
        store: &mut PacketStore,
        emit: &mut dyn FnMut(RtpOut),
    ) -> Result<()> {
        let timestamp = self.timestamp;
        let result = self.encoder.encode(frame, encoded);
        let failed_before = std::mem::replace(&mut self.failed, result.is_err());
        if encoded.is_empty() || result.is_err() {
            self.skip();
            return result.or_else(|error| if failed_before { Ok(()) } else { Err(error) });
        }
        self.timestamp = timestamp.wrapping_add(self.frame_ticks);
        let mut payload = store.keep(encoded);
        let mut codec = self.codec.name.clone();
        if let Some(red) = self.red.as_mut().filter(|_| self.copies) {
            red.pack(red::OPUS, timestamp, &payload, &mut self.copied);
            if red.is_on() {
                payload = store.keep(&self.copied);
                codec = red.codec().clone();
            }
        }
        emit(RtpOut {
            codec,
            sequence: self.sequence,
            timestamp,
            marker: std::mem::replace(&mut self.paused, false),
            level: Some(level),
            payload,
        });
        self.sequence = self.sequence.wrapping_add(1);
        Ok(())
    }
}
