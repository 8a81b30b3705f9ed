//! One codec's way out: frames in, packets with its own numbers and clock.

use std::time::Duration;

use blink_api::{AudioLevel, CodecName, Encoder, EncoderHint, Error, ErrorKind, Result, RtpCodec, RtpOut, RtpTime};

use super::listeners::Network;
use super::packets::PacketStore;
use super::rate::LEAST_AUDIO;
use super::transit::ticks_in;

/// An encoder with the RTP stream it fills.
pub(super) struct Encoding {
    codec: RtpCodec,
    encoder: Box<dyn Encoder>,
    /// What it was made for.
    bitrate: Option<u32>,
    frame_ticks: u32,
    sequence: u16,
    timestamp: RtpTime,
    /// The last frame was not sent.
    paused: bool,
    failed: bool,
    /// Somebody listens.
    pub(super) used: bool,
}

impl Encoding {
    /// # Errors
    /// [`Invalid`](ErrorKind::Invalid) where the encoder takes another number of samples than `frame_samples`.
    pub(super) fn new(
        codec: RtpCodec,
        encoder: Box<dyn Encoder>,
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
        Ok(Self { codec, encoder, bitrate, frame_ticks, sequence, timestamp, paused: true, failed: false, used: true })
    }

    pub(super) fn codec(&self) -> &CodecName {
        &self.codec.name
    }

    pub(super) fn hint(&mut self, hint: EncoderHint) -> Result<()> {
        self.encoder.hint(hint)
    }

    /// Prepares for a network: with its own bitrate, or less where there is no room for that.
    pub(super) fn adapt(&mut self, network: Network) -> Result<()> {
        let bitrate = self.bitrate.map(|own| network.bitrate.unwrap_or(own).clamp(LEAST_AUDIO.min(own), own));
        self.encoder.hint(EncoderHint { loss: network.loss, burst: network.burst, bitrate })
    }

    /// A frame is not sent: receivers see a pause.
    pub(super) fn skip(&mut self) {
        self.timestamp = self.timestamp.wrapping_add(self.frame_ticks);
        self.paused = true;
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
        emit(RtpOut {
            codec: self.codec.name.clone(),
            sequence: self.sequence,
            timestamp,
            marker: std::mem::replace(&mut self.paused, false),
            level: Some(level),
            payload: store.keep(encoded),
        });
        self.sequence = self.sequence.wrapping_add(1);
        Ok(())
    }
}
