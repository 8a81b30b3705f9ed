//! From the microphone to the network.

use std::fmt;
use web_time::Duration;

use blink_api::{
    AudioEncoder, AudioFormat, AudioLevel, AudioProcessor, AudioSource, CodecName, EncoderHint, Error, ErrorKind,
    Result, RtpCodec, RtpOut, RtpTime,
};

use super::TICK;
use super::encoding::Encoding;
use super::listeners::Network;
use super::packets::PacketStore;
use super::speaking::SpeechDetector;

/// A frame at least so loud (−45 dBov) counts as voice.
const VOICE: u8 = 45;

/// Frames of silence that are sent after muting, so that decoders do not go on with the last
/// syllable.
const TRAILING_SILENCE: u32 = 2;

/// Pieces of 10 ms that stay silent after muting, so that what processors still hold from before
/// does not leave.
const MUTE_GUARD: u32 = 2;

/// A source that gives nothing for so many ticks is taken to give silence, until it gives something
/// again.
const STARVED: u32 = 10;

/// The most 10 ms pieces that are taken from a source with a clock of its own in one tick.
const MOST_PIECES: u32 = 5;

/// Reads that empty a source's queue at most (10 s of sound).
const MOST_DRAINING: u32 = 1_000;

/// The longest packet that is made, in bytes.
const LONGEST_PACKET: usize = 1_500;

/// How a [`Capture`] sends.
#[derive(Debug, Clone)]
pub struct CaptureConfig {
    /// What the source must give and the encoders take.
    pub format: AudioFormat,
    /// What the first encoder makes.
    pub codec: RtpCodec,
    /// Sound per packet: a multiple of 10 ms, as the encoders were made for.
    pub frame: Duration,
    /// The first packet's sequence number. Random (RFC 3550 §5.1).
    pub first_sequence: u16,
    /// The first frame's timestamp. Random (RFC 3550 §5.1).
    pub first_timestamp: RtpTime,
}

/// Something that failed while capturing. Each is told once, and capturing goes on.
#[derive(Debug)]
pub enum CaptureFault {
    /// The source failed: there is silence instead, until it gives something again or
    /// [`Capture::set_source`].
    Source(Error),
    /// A processor failed and is left out from now on.
    Processor(Error),
    /// The encoder failed; the frame is not sent.
    Encoder(Error),
}

impl fmt::Display for CaptureFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Source(error) => write!(f, "the source failed: {error}"),
            Self::Processor(error) => write!(f, "a processor failed: {error}"),
            Self::Encoder(error) => write!(f, "the encoder failed: {error}"),
        }
    }
}

impl std::error::Error for CaptureFault {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Source(error) | Self::Processor(error) | Self::Encoder(error) => Some(error),
        }
    }
}

/// Reads a source, processes it and encodes it, once for all receivers: with each codec that
/// somebody listens to.
///
/// Frames follow each other without gaps in the timestamps. Where a frame is not sent (muted, or
/// the encoder found silence), its timestamp is left out and no sequence number is used, so that
/// receivers see a pause and no loss.
///
/// While muted, nothing that the source gave since reaches the encoder: it is fed zeros, which also
/// cleans its memory for the first packet after. Two frames of that silence are sent, so that
/// receivers do not make up the end of a syllable; then nothing.
pub struct Capture {
    source: Box<dyn AudioSource>,
    processors: Vec<Box<dyn AudioProcessor>>,
    encodings: Vec<Encoding>,
    config: CaptureConfig,
    /// 10 ms, of which `filled` samples were read.
    piece: Vec<f32>,
    filled: usize,
    /// A frame, of which `framed` samples are there.
    frame: Vec<f32>,
    framed: usize,
    encoded: Vec<u8>,
    store: PacketStore,
    muted: bool,
    /// Frames sent since muting.
    tail: u32,
    state: SourceState,
    starved: u32,
    /// Pieces to silence after muting ended.
    mute_guard: u32,
    detector: SpeechDetector,
    speaking: Option<bool>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum SourceState {
    /// Never read, or silent for long: what it has queued is old.
    Stale,
    /// Gives sound.
    Running,
    /// Failed the last time.
    Failing,
    /// Gone for good.
    Gone,
}

impl Capture {
    /// A capture that starts with the next tick, not muted.
    ///
    /// # Errors
    /// [`Invalid`](ErrorKind::Invalid) where the source has another format, or the encoder's frame
    /// is not the configured one in the source's format, or no multiple of 10 ms.
    pub fn new(
        config: CaptureConfig,
        source: Box<dyn AudioSource>,
        processors: Vec<Box<dyn AudioProcessor>>,
        encoder: Box<dyn AudioEncoder>,
    ) -> Result<Self> {
        let format = config.format;
        check_format(format, source.as_ref())?;
        let piece = format.samples_in(TICK);
        let frame = format.samples_in(config.frame);
        if piece == 0 || frame == 0 || !frame.is_multiple_of(piece) {
            let why = "a frame is a multiple of 10 ms";
            return Err(Error::new(ErrorKind::Invalid, why).with("frame", format!("{:?}", config.frame)));
        }
        let numbers = (config.first_sequence, config.first_timestamp);
        Ok(Self {
            encodings: vec![Encoding::new(config.codec.clone(), encoder, (config.frame, frame), numbers)?],
            piece: vec![0.0; piece],
            filled: 0,
            frame: vec![0.0; frame],
            framed: 0,
            encoded: Vec::with_capacity(LONGEST_PACKET),
            store: PacketStore::new(),
            muted: false,
            tail: 0,
            state: SourceState::Stale,
            starved: 0,
            mute_guard: 0,
            detector: SpeechDetector::default(),
            speaking: None,
            config,
            source,
            processors,
        })
    }

    /// Encodes with one more codec, for those who do not have the first one.
    ///
    /// # Errors
    /// [`Invalid`](ErrorKind::Invalid) where the encoder's frame is not the configured one in the
    /// source's format.
    pub fn add_encoder(&mut self, codec: RtpCodec, encoder: Box<dyn AudioEncoder>) -> Result<()> {
        let numbers = (self.config.first_sequence, self.config.first_timestamp);
        self.encodings.push(Encoding::new(codec, encoder, (self.config.frame, self.frame.len()), numbers)?);
        Ok(())
    }

    /// Says which codecs somebody listens to; the others are not encoded with. To begin with, it is
    /// all of them.
    pub fn use_codecs(&mut self, mut is_used: impl FnMut(&CodecName) -> bool) {
        self.encodings.iter_mut().for_each(|encoding| encoding.used = is_used(encoding.codec()));
    }

    /// Says for which codecs everybody who listens understands packets with copies of earlier ones
    /// (RFC 2198). Such packets have the codec `red`, and there are some while packets are lost. To
    /// begin with, it is none of them.
    ///
    /// # Errors
    /// Those of an encoder, which adapts to that.
    pub fn use_copies(&mut self, mut is_understood: impl FnMut(&CodecName) -> bool) -> Result<()> {
        let adapt = |encoding: &mut Encoding| encoding.use_copies(is_understood(encoding.codec()));
        self.encodings.iter_mut().map(adapt).fold(Ok(()), Result::and)
    }

    /// What the source gives, and the far end must have.
    pub fn format(&self) -> AudioFormat {
        self.config.format
    }

    /// Reads from somewhere else from the next tick on.
    ///
    /// # Errors
    /// [`Invalid`](ErrorKind::Invalid) for a source of another format; the old one goes on.
    pub fn set_source(&mut self, source: Box<dyn AudioSource>) -> Result<()> {
        check_format(self.config.format, source.as_ref())?;
        self.source = source;
        self.state = SourceState::Stale;
        self.starved = 0;
        Ok(())
    }

    /// Whether speech leaves. Muting holds from this call on, for what was captured and not yet
    /// sent too.
    pub fn set_muted(&mut self, muted: bool) {
        if muted && !self.muted {
            self.frame.fill(0.0);
            self.piece.fill(0.0);
            self.tail = 0;
            // What was said before is over, and its end need not be heard.
            self.speaking = self.detector.reset().or(self.speaking);
        }
        if self.muted && !muted && !self.processors.is_empty() {
            self.mute_guard = MUTE_GUARD;
        }
        self.muted = muted;
    }

    /// Whether no speech leaves.
    pub fn is_muted(&self) -> bool {
        self.muted
    }

    /// What changed since it was last asked: a voice is sent from now on (`true`), or no more.
    pub fn take_speaking(&mut self) -> Option<bool> {
        self.speaking.take()
    }

    /// Adapts the encoders to the network.
    ///
    /// # Errors
    /// [`Invalid`](ErrorKind::Invalid) for values out of range.
    pub fn hint(&mut self, hint: EncoderHint) -> Result<()> {
        self.encodings.iter_mut().try_for_each(|encoding| encoding.hint(hint))
    }

    /// Adapts the encoders to the worst network of those who listen: for the loss, and with what
    /// bitrate it has room for.
    ///
    /// # Errors
    /// Those of an encoder; the others adapt nevertheless.
    pub fn adapt(&mut self, network: Network) -> Result<()> {
        self.encodings.iter_mut().map(|encoding| encoding.adapt(network)).fold(Ok(()), Result::and)
    }

    /// Captures the next 10 ms. `far_end` is what was played since the last tick, in the source's
    /// format, for processors to remove: whole pieces of 10 ms, possibly none. `emit` gets the
    /// packets: none, or one, or more after a source's stall.
    ///
    /// # Errors
    /// What failed for the first time; the tick did its work nevertheless.
    pub fn tick(&mut self, far_end: &[f32], emit: &mut dyn FnMut(RtpOut)) -> Result<(), CaptureFault> {
        let rendered = self.render(far_end);
        let captured = self.capture(emit);
        rendered.and(captured)
    }

    fn render(&mut self, far_end: &[f32]) -> Result<(), CaptureFault> {
        let mut outcome = Ok(());
        for piece in far_end.chunks_exact(self.piece.len()) {
            outcome =
                outcome.and(each(&mut self.processors, |processor| processor.render(piece, web_time::Instant::now())));
        }
        outcome
    }

    fn capture(&mut self, emit: &mut dyn FnMut(RtpOut)) -> Result<(), CaptureFault> {
        let mut outcome = Ok(());
        for _ in 0..MOST_PIECES {
            let more = match self.read() {
                Ok(more) => more,
                Err(error) => {
                    outcome = outcome.and(Err(CaptureFault::Source(error)));
                    false
                }
            };
            if self.filled == self.piece.len() {
                outcome = outcome.and(self.take_piece(emit));
            }
            if !more {
                break;
            }
        }
        outcome
    }

    /// Fills the piece as far as the source can; with silence where it cannot. Returns whether
    /// there may be more at once.
    fn read(&mut self) -> Result<bool> {
        if self.state == SourceState::Gone {
            self.fill_silence();
            return Ok(false);
        }
        let wanted = self.piece.len() - self.filled;
        match self.source.read(&mut self.piece[self.filled..]) {
            Ok(captured) if captured.samples == 0 => {
                self.starved = self.starved.saturating_add(1);
                if self.starved > STARVED {
                    self.state = SourceState::Stale;
                    self.fill_silence();
                }
                Ok(false)
            }
            Ok(captured) => {
                self.starved = 0;
                let hardware_clock = captured.at.is_some();
                let stale = std::mem::replace(&mut self.state, SourceState::Running) == SourceState::Stale;
                if stale && hardware_clock {
                    self.drain(captured.samples >= wanted)?;
                    return Ok(false);
                }
                self.filled += captured.samples.min(wanted);
                Ok(hardware_clock && captured.samples >= wanted)
            }
            Err(error) => {
                let known = self.state == SourceState::Failing;
                let gone = error.kind() == ErrorKind::Closed;
                self.state = if gone { SourceState::Gone } else { SourceState::Failing };
                self.fill_silence();
                if known { Ok(false) } else { Err(error) }
            }
        }
    }

    /// Throws away what a source with a clock of its own has queued: it was captured before anybody
    /// wanted it, and would be delay for good.
    fn drain(&mut self, mut more: bool) -> Result<()> {
        self.filled = 0;
        for _ in 0..MOST_DRAINING {
            if !more {
                break;
            }
            more = self.source.read(&mut self.piece)?.samples >= self.piece.len();
        }
        Ok(())
    }

    fn fill_silence(&mut self) {
        self.piece[self.filled..].fill(0.0);
        self.filled = self.piece.len();
    }

    /// Processes a whole piece and adds it to the frame; sends the frame when it is whole.
    fn take_piece(&mut self, emit: &mut dyn FnMut(RtpOut)) -> Result<(), CaptureFault> {
        self.filled = 0;
        let piece = &mut self.piece;
        let processed = each(&mut self.processors, |processor| processor.capture(piece, web_time::Instant::now()));
        if self.muted || self.mute_guard > 0 {
            self.piece.fill(0.0);
            self.mute_guard = self.mute_guard.saturating_sub(1);
        }
        self.frame[self.framed..self.framed + self.piece.len()].copy_from_slice(&self.piece);
        self.framed += self.piece.len();
        if self.framed < self.frame.len() {
            return processed;
        }
        self.framed = 0;
        let level = AudioLevel::of(&self.frame, false).minus_dbov();
        self.speaking = self.detector.observe(level <= VOICE, self.config.frame).or(self.speaking);
        processed.and(self.send_frame(level, emit))
    }

    fn send_frame(&mut self, level: u8, emit: &mut dyn FnMut(RtpOut)) -> Result<(), CaptureFault> {
        let Self { encodings, frame, encoded, store, .. } = self;
        if self.muted && self.tail == TRAILING_SILENCE {
            encodings.iter_mut().for_each(Encoding::skip);
            return Ok(());
        }
        self.tail += u32::from(self.muted);
        let level = AudioLevel::new(level, level <= VOICE);
        let mut outcome = Ok(());
        for encoding in encodings {
            if encoding.used {
                let sent = encoding.send(frame, level, encoded, store, emit);
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

/// Has every processor do something; those that fail are left out from then on.
fn each(
    processors: &mut Vec<Box<dyn AudioProcessor>>,
    mut work: impl FnMut(&mut dyn AudioProcessor) -> Result<()>,
) -> Result<(), CaptureFault> {
    let mut outcome = Ok(());
    processors.retain_mut(|processor| match work(processor.as_mut()) {
        Ok(()) => true,
        Err(error) => {
            if outcome.is_ok() {
                outcome = Err(CaptureFault::Processor(error));
            }
            false
        }
    });
    outcome
}

#[cfg(test)]
mod tests;
