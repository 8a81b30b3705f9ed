//! Capture: from the samples of a source to encoded packets.

mod block_reader;
mod fault;
mod source_switch;
mod voice;

use std::fmt;
use web_time::{Duration, Instant};

use blink_api::{
    AudioEncoder, AudioFormat, AudioLevel, AudioSource, CodecName, EncoderHint, Error, ErrorKind, Result, RtpCodec,
    RtpOut, RtpTime,
};

use block_reader::BlockReader;
use source_switch::SourceSwitch;
use voice::CapturedVoice;

use super::declick::Declick;
use super::encoding::Encoding;
use super::packets::PacketStore;
use super::processors::Processors;
use super::receiver_reports::WorstCasePath;
use super::tick_scheduler::TICK;

/// Frames of silence that are sent after muting, so that decoders do not extend the last syllable.
const TRAILING_SILENCE: u32 = 2;

/// Blocks of 10 ms that stay silent after unmuting, so that audio from before, which processors
/// still hold, does not leave.
const MUTE_GUARD: u32 = 2;

/// Most blocks of 10 ms that are taken from a source with a hardware clock in one tick.
const MAX_BLOCKS: u32 = 5;

/// Longest packet in bytes.
const LONGEST_PACKET: usize = 1_500;

pub use fault::CaptureFault;
pub(crate) use voice::louder;

/// The configuration of a [`Capture`].
#[derive(Debug, Clone)]
pub struct CaptureConfig {
    /// The format of the source and of all encoders.
    pub format: AudioFormat,
    /// The codec of the first encoder.
    pub codec: RtpCodec,
    /// Audio per packet: a multiple of 10 ms, as the encoders were made for.
    pub frame: Duration,
    /// The first packet's sequence number. Random (RFC 3550 §5.1).
    pub first_sequence: u16,
    /// The first frame's timestamp. Random (RFC 3550 §5.1).
    pub first_timestamp: RtpTime,
}

impl fmt::Debug for Capture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Capture").finish_non_exhaustive()
    }
}

/// Receiver of what a [`Capture`] makes. A closure that takes packets is one.
pub trait CaptureOutput {
    /// Takes a packet to send, and the time at which its first sample was captured.
    fn on_packet(&mut self, packet: RtpOut, captured: Instant);

    /// Takes note of a frame that is not sent, muted or silent: the timestamps go on with it.
    fn on_skipped(&mut self, codec: &CodecName, timestamp: RtpTime, captured: Instant) {
        let _ = (codec, timestamp, captured);
    }

    /// Takes 10 ms of audio, processed and muted as it will be encoded; the RTP time of its first
    /// sample with the first codec, and the time at which that was captured.
    fn on_samples(&mut self, samples: &[f32], timestamp: RtpTime, captured: Instant) {
        let _ = (samples, timestamp, captured);
    }
}

impl<F: FnMut(RtpOut)> CaptureOutput for F {
    fn on_packet(&mut self, packet: RtpOut, _: Instant) {
        self(packet);
    }
}

/// Reads a source, processes it and encodes it, once for all receivers: with each codec that a
/// receiver needs.
///
/// Frames follow each other without gaps in the timestamps. Where a frame is not sent (muted, or
/// the encoder found silence), its timestamp is skipped and no sequence number is used, so that
/// receivers see a pause and no loss.
///
/// While muted, the encoder is fed zeros, which also clear its memory for the first packet after.
/// Two frames of that silence are sent, so that receivers do not conceal the end of a syllable;
/// then nothing.
pub struct Capture {
    input: BlockReader,
    encodings: Vec<Encoding>,
    config: CaptureConfig,
    /// A frame, of which `framed` samples are there, the first of them captured at `frame_at`.
    frame: Vec<f32>,
    framed: usize,
    frame_at: Option<Instant>,
    /// Samples captured so far, up to a frame, and when the first of the last block was.
    captured: usize,
    last_block_at: Option<Instant>,
    encoded: Vec<u8>,
    store: PacketStore,
    muted: bool,
    /// Frames sent since muting.
    tail: u32,
    /// Blocks to silence after muting ended.
    mute_guard: u32,
    switch: SourceSwitch,
    declick: Declick,
    voice: CapturedVoice,
}

impl Capture {
    /// A capture that starts with the next tick, not muted.
    ///
    /// # Errors
    /// [`Invalid`](ErrorKind::Invalid) where the source has another format, or the encoder's frame
    /// is not the configured one in the source's format, or no multiple of 10 ms.
    pub fn new(config: CaptureConfig, source: Box<dyn AudioSource>, encoder: Box<dyn AudioEncoder>) -> Result<Self> {
        let format = config.format;
        check_format(format, source.as_ref())?;
        let block = format.samples_in(TICK);
        let frame = format.samples_in(config.frame);
        if block == 0 || frame == 0 || !frame.is_multiple_of(block) {
            let why = "a frame is a multiple of 10 ms";
            return Err(Error::new(ErrorKind::Invalid, why).with("frame", format!("{:?}", config.frame)));
        }
        let numbers = (config.first_sequence, config.first_timestamp);
        Ok(Self {
            encodings: vec![Encoding::new(config.codec.clone(), encoder, (config.frame, frame), numbers)?],
            frame: vec![0.0; frame],
            framed: 0,
            frame_at: None,
            captured: 0,
            last_block_at: None,
            encoded: Vec::with_capacity(LONGEST_PACKET),
            store: PacketStore::new(),
            muted: false,
            tail: 0,
            mute_guard: 0,
            switch: SourceSwitch::default(),
            declick: Declick::new(format),
            voice: CapturedVoice::new(format),
            config,
            input: BlockReader::new(source, block),
        })
    }

    /// Adds an encoder, for receivers that do not have the first codec.
    ///
    /// # Errors
    /// [`Invalid`](ErrorKind::Invalid) where the encoder's frame is not the configured one in the
    /// source's format.
    pub fn add_encoder(&mut self, codec: RtpCodec, encoder: Box<dyn AudioEncoder>) -> Result<()> {
        let numbers = (self.config.first_sequence, self.config.first_timestamp);
        self.encodings.push(Encoding::new(codec, encoder, (self.config.frame, self.frame.len()), numbers)?);
        Ok(())
    }

    /// Sets which codecs receivers need; the others are not encoded with. Initially all of them.
    pub fn use_codecs(&mut self, mut is_used: impl FnMut(&CodecName) -> bool) {
        self.encodings.iter_mut().for_each(|encoding| encoding.used = is_used(encoding.codec()));
    }

    /// Sets for which codecs all receivers understand packets with copies of earlier ones
    /// (RFC 2198). Such packets have the codec `red`, and are sent while packets are lost.
    /// Initially none of them.
    ///
    /// # Errors
    /// Those of an encoder, which adapts to that.
    pub fn use_copies(&mut self, mut is_understood: impl FnMut(&CodecName) -> bool) -> Result<()> {
        let adapt = |encoding: &mut Encoding| encoding.use_copies(is_understood(encoding.codec()));
        self.encodings.iter_mut().map(adapt).fold(Ok(()), Result::and)
    }

    /// The first codec.
    pub fn preferred(&self) -> &CodecName {
        &self.config.codec.name
    }

    /// The format of the source.
    pub fn format(&self) -> AudioFormat {
        self.config.format
    }

    /// Clock rate of the timestamps of a codec; `None` for one without an encoder here.
    pub fn clock_rate(&self, codec: &CodecName) -> Option<u32> {
        self.encodings.iter().find(|encoding| encoding.is_sent_as(codec)).map(Encoding::clock_rate)
    }

    /// Mutes or unmutes. Muting takes effect with this call, also for audio that was captured and
    /// not yet sent.
    pub fn set_muted(&mut self, muted: bool) {
        if muted && !self.muted {
            self.frame.fill(0.0);
            self.input.silence();
            self.tail = 0;
            self.voice.mute();
        }
        if self.muted && !muted {
            self.mute_guard = MUTE_GUARD;
            self.voice.unmute();
        }
        self.muted = muted;
    }

    /// Whether it is muted.
    pub fn is_muted(&self) -> bool {
        self.muted
    }

    /// Change since the last call: an utterance began (`true`) or ended.
    pub fn take_speaking(&mut self) -> Option<bool> {
        self.voice.take_speaking()
    }

    /// Whether an utterance began since the last call while the source is muted.
    pub fn take_spoke_muted(&mut self) -> bool {
        self.voice.take_spoke_muted()
    }

    /// The loudest 10 ms since the last call, processed and not muted.
    pub fn take_level(&mut self) -> AudioLevel {
        self.voice.take_level()
    }

    /// Whether the source came to its end since the last call.
    pub fn take_ended(&mut self) -> bool {
        self.input.take_ended()
    }

    /// Adapts the encoders to the network.
    ///
    /// # Errors
    /// [`Invalid`](ErrorKind::Invalid) for values out of range.
    pub fn hint(&mut self, hint: EncoderHint) -> Result<()> {
        self.encodings.iter_mut().try_for_each(|encoding| encoding.hint(hint))
    }

    /// Adapts the encoders to the worst path of all receivers: to its loss, and to the bitrate that
    /// it has room for.
    ///
    /// # Errors
    /// Those of an encoder; the others adapt nevertheless.
    pub fn adapt(&mut self, path: WorstCasePath) -> Result<()> {
        self.encodings.iter_mut().map(|encoding| encoding.adapt(path)).fold(Ok(()), Result::and)
    }

    /// Captures the next 10 ms. `now` is the time at which the tick was due: the time of capture
    /// where the source has no hardware clock. Packets are none, or one, or more after a source's
    /// stall.
    ///
    /// # Errors
    /// The first failure of its kind; the tick did its work nevertheless.
    pub fn tick(
        &mut self,
        now: Instant,
        processors: &mut Processors,
        output: &mut dyn CaptureOutput,
    ) -> Result<(), CaptureFault> {
        let mut outcome = Ok(());
        let mut switched = self.switch_source(now, processors);
        for _ in 0..MAX_BLOCKS {
            let more = match switched.take().unwrap_or_else(|| self.input.read(now)) {
                Ok(more) => more,
                Err(_) if self.switch.is_pending() => false,
                Err(error) => {
                    outcome = outcome.and(Err(CaptureFault::Source(error)));
                    false
                }
            };
            if self.input.is_whole() {
                outcome = outcome.and(self.take_block(now, processors, output));
            }
            if !more {
                break;
            }
        }
        outcome
    }

    /// Sends the frame that was captured last, where there is one: frames begin anew with it. For
    /// the first receiver, which gets its first packet at once.
    ///
    /// # Errors
    /// The first failure of an encoder.
    pub fn begin(&mut self, output: &mut dyn CaptureOutput) -> Result<(), CaptureFault> {
        let Some(last) = self.last_block_at.filter(|_| self.captured >= self.frame.len()) else { return Ok(()) };
        let (block, format) = (self.input.samples(), self.config.format);
        self.frame.rotate_left(self.framed);
        self.framed = 0;
        let frame_at = last.checked_sub(self.config.frame.saturating_sub(TICK)).unwrap_or(last);
        for (n, samples) in self.frame.chunks(block).enumerate() {
            let timestamp = self.encodings[0].timestamp_of(n * block, format);
            output.on_samples(samples, timestamp, frame_at + TICK * n as u32);
        }
        let level = AudioLevel::of(&self.frame, self.voice.is_voice() && !self.muted);
        self.send_frame(level, frame_at, output)
    }

    /// Forgets what was captured and sent to no one: another source takes the place of this one at
    /// once.
    pub fn forget(&mut self) {
        self.switch.is_running = false;
        self.captured = 0;
    }

    /// Processes a whole block and adds it to the frame; sends the frame when it is whole.
    fn take_block(
        &mut self,
        now: Instant,
        processors: &mut Processors,
        output: &mut dyn CaptureOutput,
    ) -> Result<(), CaptureFault> {
        let (block, captured) = self.input.take_block(now);
        let processed = processors.capture(block, captured).map_err(CaptureFault::Processor);
        self.declick.process(block);
        self.voice.observe(block, self.muted);
        if self.muted || (self.mute_guard > 0 && !processors.is_empty()) {
            block.fill(0.0);
        }
        self.mute_guard = self.mute_guard.saturating_sub(1);
        // The block holds what was captured earlier by the delay of the processors.
        let captured = captured.checked_sub(processors.delay()).unwrap_or(captured);
        let timestamp = self.encodings[0].timestamp_of(self.framed, self.config.format);
        output.on_samples(block, timestamp, captured);
        self.last_block_at = Some(captured);
        self.captured = (self.captured + block.len()).min(self.frame.len());
        if self.framed == 0 {
            self.frame_at = Some(captured);
        }
        self.frame[self.framed..self.framed + block.len()].copy_from_slice(block);
        self.framed += block.len();
        if self.framed < self.frame.len() {
            return processed;
        }
        self.framed = 0;
        let level = AudioLevel::of(&self.frame, self.voice.is_voice() && !self.muted);
        let frame_at = self.frame_at.take().unwrap_or(captured);
        processed.and(self.send_frame(level, frame_at, output))
    }

    fn send_frame(
        &mut self,
        level: AudioLevel,
        captured: Instant,
        output: &mut dyn CaptureOutput,
    ) -> Result<(), CaptureFault> {
        let Self { encodings, frame, encoded, store, .. } = self;
        if self.muted && self.tail == TRAILING_SILENCE {
            for encoding in encodings {
                if encoding.used {
                    output.on_skipped(encoding.codec(), encoding.timestamp(), captured);
                }
                encoding.skip();
            }
            return Ok(());
        }
        self.tail += u32::from(self.muted);
        let mut outcome = Ok(());
        for encoding in encodings {
            if encoding.used {
                let (timestamp, mut emitted) = (encoding.timestamp(), false);
                let emit = &mut |packet| {
                    emitted = true;
                    output.on_packet(packet, captured);
                };
                let sent = encoding.send(frame, level, encoded, store, emit);
                if !emitted {
                    output.on_skipped(encoding.codec(), timestamp, captured);
                }
                outcome = outcome.and(sent.map_err(CaptureFault::Encoder));
            } else {
                encoding.skip();
            }
        }
        outcome
    }
}

fn check_format(format: AudioFormat, source: &dyn AudioSource) -> Result<()> {
    if source.format() == format {
        return Ok(());
    }
    Err(Error::new(ErrorKind::Invalid, "the source has another format than the call"))
}

#[cfg(test)]
mod source_switch_tests;
#[cfg(test)]
mod tests;
