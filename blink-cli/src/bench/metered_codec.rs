//! Codec wrapper that measures its CPU time.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use blink_api::{
    AudioCodec, AudioCodecCapabilities, AudioDecoder, AudioDecoderConfig, AudioEncoder, AudioEncoderConfig,
    DecoderInput, EncoderHint, Result, RtpCodec,
};

use super::clocks;

/// CPU time of a codec. Clones share their counts.
#[derive(Clone, Default)]
pub(super) struct Meter(Arc<Counts>);

#[derive(Default)]
struct Counts {
    /// CPU time in nanoseconds.
    nanos: AtomicU64,
    /// Number of measurements.
    measured: AtomicU64,
}

/// Measured CPU time of a codec.
#[derive(Debug, Clone, Copy)]
pub(super) struct CpuUsage {
    pub(super) spent: Duration,
    measured: u32,
}

impl CpuUsage {
    /// Difference to an earlier value.
    pub(super) fn since(self, before: Self) -> Self {
        Self { spent: self.spent - before.spent, measured: self.measured - before.measured }
    }

    /// CPU time of the measurements themselves, if reading the clock takes `reading`. Each
    /// measurement reads it twice, and includes about one reading.
    pub(super) fn measuring(self, reading: Duration) -> Duration {
        (reading * self.measured).min(self.spent)
    }
}

impl Meter {
    /// Total so far.
    pub(super) fn total(&self) -> CpuUsage {
        let spent = Duration::from_nanos(self.0.nanos.load(Ordering::Relaxed));
        CpuUsage { spent, measured: u32::try_from(self.0.measured.load(Ordering::Relaxed)).unwrap_or(u32::MAX) }
    }

    fn count<T>(&self, work: impl FnOnce() -> T) -> T {
        let before = clocks::of_thread();
        let done = work();
        if let Some(spent) = clocks::of_thread().zip(before).and_then(|(now, before)| now.checked_sub(before)) {
            self.0.nanos.fetch_add(spent.as_nanos() as u64, Ordering::Relaxed);
            self.0.measured.fetch_add(1, Ordering::Relaxed);
        }
        done
    }
}

/// A codec with measured CPU time.
pub(super) struct MeteredCodec {
    pub(super) codec: Arc<dyn AudioCodec>,
    pub(super) meter: Meter,
}

impl AudioCodec for MeteredCodec {
    fn capabilities(&self) -> AudioCodecCapabilities {
        self.codec.capabilities()
    }

    fn rtp(&self) -> RtpCodec {
        self.codec.rtp()
    }

    fn encoder(&self, config: AudioEncoderConfig) -> Result<Box<dyn AudioEncoder>> {
        Ok(Box::new(MeteredEncoder { encoder: self.codec.encoder(config)?, meter: self.meter.clone() }))
    }

    fn decoder(&self, config: AudioDecoderConfig) -> Result<Box<dyn AudioDecoder>> {
        Ok(Box::new(MeteredDecoder { decoder: self.codec.decoder(config)?, meter: self.meter.clone() }))
    }
}

struct MeteredEncoder {
    encoder: Box<dyn AudioEncoder>,
    meter: Meter,
}

impl AudioEncoder for MeteredEncoder {
    fn frame_samples(&self) -> usize {
        self.encoder.frame_samples()
    }

    fn encode(&mut self, samples: &[f32], out: &mut Vec<u8>) -> Result<()> {
        self.meter.count(|| self.encoder.encode(samples, out))
    }

    fn hint(&mut self, hint: EncoderHint) -> Result<()> {
        self.encoder.hint(hint)
    }

    fn bitrate(&self) -> Option<u32> {
        self.encoder.bitrate()
    }

    fn lookahead(&self) -> Duration {
        self.encoder.lookahead()
    }
}

struct MeteredDecoder {
    decoder: Box<dyn AudioDecoder>,
    meter: Meter,
}

impl AudioDecoder for MeteredDecoder {
    fn decode(&mut self, input: DecoderInput<'_>, out: &mut [f32]) -> Result<usize> {
        self.meter.count(|| self.decoder.decode(input, out))
    }

    fn duration(&self, packet: &[u8]) -> Result<Duration> {
        self.decoder.duration(packet)
    }

    fn has_fec(&self, packet: &[u8]) -> bool {
        self.decoder.has_fec(packet)
    }

    fn redundancy_span(&mut self, packet: &[u8]) -> Duration {
        self.meter.count(|| self.decoder.redundancy_span(packet))
    }
}
