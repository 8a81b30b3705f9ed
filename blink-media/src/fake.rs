//! A codec, sources and a sink of which a test knows every sample.

use std::sync::{Arc, Mutex};
use web_time::{Duration, Instant};

use blink_api::{
    AudioDecoder, AudioEncoder, AudioFormat, AudioSink, AudioSource, CodecName, DecoderInput, EncoderHint, Error,
    ErrorKind, Mid, ReadResult, Result, RtpCodec, RtpIn, RtpOut, RtpTime,
};
use bytes::Bytes;

use super::capture::CaptureConfig;
use super::tick_scheduler::FRAME;

/// Value of concealed samples.
pub const MADE_UP: f32 = 0.25;

pub fn rtp_codec() -> RtpCodec {
    RtpCodec { name: CodecName::new("fake"), clock_rate: 48_000, channels: 1, fmtp: String::new() }
}

pub fn capture_config(codec: RtpCodec) -> CaptureConfig {
    CaptureConfig {
        format: AudioFormat::CALL,
        codec,
        frame: FRAME,
        first_sequence: 65_534,
        first_timestamp: blink_api::RtpTime(u32::MAX - 960),
    }
}

/// The packet of this number, with one frame in it.
pub fn numbered(number: u32, payload: Bytes) -> RtpOut {
    RtpOut {
        codec: rtp_codec().name,
        sequence: number as u16,
        timestamp: RtpTime(number * 960),
        marker: false,
        level: None,
        payload,
    }
}

/// A packet as it comes in, of one that went out.
pub fn received(packet: &RtpOut, arrival: Instant) -> RtpIn {
    RtpIn {
        mid: Mid::new("0"),
        payload_type: 111,
        codec: packet.codec.clone(),
        sequence: packet.sequence,
        timestamp: packet.timestamp,
        marker: packet.marker,
        level: packet.level,
        payload: packet.payload.clone(),
        arrival,
    }
}

/// A frame is its first sample and that of the frame before, as f32: enough where audio is
/// constant. Silence is not sent with `dtx`.
#[derive(Debug, Default)]
pub struct FakeCodec {
    pub dtx: bool,
    pub fails: bool,
    pub before: f32,
}

impl AudioEncoder for FakeCodec {
    fn frame_samples(&self) -> usize {
        960
    }

    fn encode(&mut self, samples: &[f32], out: &mut Vec<u8>) -> Result<()> {
        out.clear();
        assert_eq!(samples.len(), 960);
        if self.fails {
            return Err(Error::new(ErrorKind::Unexpected, "as the test says"));
        }
        if !self.dtx || samples.iter().any(|sample| *sample != 0.0) {
            out.extend(self.before.to_le_bytes());
            out.extend(samples[0].to_le_bytes());
        }
        self.before = samples[0];
        Ok(())
    }

    fn hint(&mut self, _: EncoderHint) -> Result<()> {
        Ok(())
    }

    fn lookahead(&self) -> Duration {
        Duration::ZERO
    }
}

impl AudioDecoder for FakeCodec {
    fn decode(&mut self, input: DecoderInput<'_>, out: &mut [f32]) -> Result<usize> {
        let (value, samples) = match input {
            DecoderInput::Packet(packet) => (values(packet)?[1], 960),
            DecoderInput::Dred { .. } => (MADE_UP, out.len()),
            DecoderInput::Fec(next) => (values(next)?[0], out.len()),
            DecoderInput::Conceal => (MADE_UP, out.len()),
        };
        out[..samples].fill(value);
        Ok(samples)
    }

    fn duration(&self, packet: &[u8]) -> Result<Duration> {
        // One byte is enough to be taken for a packet, so that there are some that cannot be
        // decoded.
        if packet.is_empty() { Err(Error::new(ErrorKind::Invalid, "no packet")) } else { Ok(FRAME) }
    }

    fn has_fec(&self, packet: &[u8]) -> bool {
        values(packet).is_ok()
    }
}

/// A frame is its 960 samples, in 16 bits each. Lost audio is silence.
#[derive(Debug)]
pub struct PcmCodec;

impl PcmCodec {
    pub fn packet(samples: &[f32]) -> Bytes {
        samples.iter().flat_map(|sample| ((sample * 32_767.0) as i16).to_le_bytes()).collect()
    }
}

impl AudioDecoder for PcmCodec {
    fn decode(&mut self, input: DecoderInput<'_>, out: &mut [f32]) -> Result<usize> {
        let DecoderInput::Packet(packet) = input else {
            out.fill(0.0);
            return Ok(out.len());
        };
        let samples = packet.chunks_exact(2).map(|pair| f32::from(i16::from_le_bytes([pair[0], pair[1]])) / 32_767.0);
        out.iter_mut().zip(samples).for_each(|(out, sample)| *out = sample);
        Ok(packet.len() / 2)
    }

    fn duration(&self, _: &[u8]) -> Result<Duration> {
        Ok(FRAME)
    }
}

fn values(packet: &[u8]) -> Result<[f32; 2]> {
    let bytes: [u8; 8] = packet.try_into().map_err(|_| Error::new(ErrorKind::Invalid, "no packet"))?;
    let (before, own) = bytes.split_at(4);
    Ok([before, own].map(|part| f32::from_le_bytes(part.try_into().expect("half of eight bytes"))))
}

/// Keeps what is played. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Heard(Arc<Mutex<Vec<f32>>>);

impl Heard {
    pub fn take(&self) -> Vec<f32> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

impl AudioSink for Heard {
    fn format(&self) -> AudioFormat {
        AudioFormat::CALL
    }

    fn write(&mut self, samples: &[f32]) -> Result<usize> {
        self.0.lock().unwrap().extend_from_slice(samples);
        Ok(samples.len())
    }

    fn queued(&self) -> usize {
        0
    }

    fn latency(&self) -> Duration {
        Duration::ZERO
    }

    fn finish(&mut self) -> Result<()> {
        Ok(())
    }
}

/// Gives what a test puts in. With a clock it gives what is there, otherwise what is asked for,
/// silence at the end.
#[derive(Debug, Clone, Default)]
pub struct Script(Arc<Mutex<ScriptState>>);

#[derive(Debug, Default)]
struct ScriptState {
    sound: std::collections::VecDeque<f32>,
    clock: Option<Instant>,
    error: Option<ErrorKind>,
}

impl Script {
    pub fn without_clock() -> Self {
        Self::default()
    }

    pub fn with_clock() -> Self {
        let script = Self::default();
        script.0.lock().unwrap().clock = Some(Instant::now());
        script
    }

    pub fn put(&self, sound: impl IntoIterator<Item = f32>) {
        self.0.lock().unwrap().sound.extend(sound);
    }

    /// Reading fails from now on, or no longer.
    pub fn fail(&self, error: Option<ErrorKind>) {
        self.0.lock().unwrap().error = error;
    }
}

impl AudioSource for Script {
    fn format(&self) -> AudioFormat {
        AudioFormat::CALL
    }

    fn read(&mut self, out: &mut [f32]) -> Result<ReadResult> {
        let mut state = self.0.lock().unwrap();
        if let Some(kind) = state.error {
            return Err(Error::new(kind, "as the test says"));
        }
        let samples = if state.clock.is_some() { out.len().min(state.sound.len()) } else { out.len() };
        for sample in &mut out[..samples] {
            *sample = state.sound.pop_front().unwrap_or(0.0);
        }
        Ok(state.clock.map_or(ReadResult::new(samples), |at| ReadResult::captured(samples, at)))
    }

    fn latency(&self) -> Duration {
        Duration::ZERO
    }
}
