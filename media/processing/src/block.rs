//! Blocks of 10 ms: their formats, and conversion between interleaved samples and one slice per
//! channel.

use blink_api::{AudioFormat, Error, ErrorKind, Result};

/// Maximum number of channels of a processor.
pub(crate) const MAX_CHANNELS: usize = 2;

/// Format of the blocks that a processor takes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BlockFormat {
    name: &'static str,
    pub(crate) format: AudioFormat,
}

impl BlockFormat {
    /// Checks a format against the sample rates of a processor; it has one or two channels.
    ///
    /// # Errors
    /// [`Invalid`](ErrorKind::Invalid), naming the accepted rates.
    pub(crate) fn new(name: &'static str, format: AudioFormat, rates: &[u32]) -> Result<Self> {
        if rates.contains(&format.sample_rate) && (1..=MAX_CHANNELS).contains(&format.channels.into()) {
            return Ok(Self { name, format });
        }
        let why = format!("accepted are {rates:?} Hz with one or two channels");
        Err(Error::new(ErrorKind::Invalid, why)
            .backend(name)
            .operation("processor")
            .with("format", format!("{} Hz, {} channels", format.sample_rate, format.channels)))
    }

    pub(crate) fn channels(&self) -> usize {
        self.format.channels.into()
    }

    /// Frames of a block.
    pub(crate) fn frames(&self) -> usize {
        self.format.sample_rate as usize / 100
    }

    /// Checks that a block has 10 ms.
    ///
    /// # Errors
    /// [`Invalid`](ErrorKind::Invalid).
    pub(crate) fn check(&self, operation: &'static str, block: &[f32]) -> Result<()> {
        let expected = self.frames() * self.channels();
        if block.len() == expected {
            return Ok(());
        }
        Err(Error::new(ErrorKind::Invalid, "expected a block of 10 ms")
            .backend(self.name)
            .operation(operation)
            .with("samples", block.len())
            .with("expected", expected))
    }
}

/// One block with a slice per channel.
pub(crate) struct Planes {
    channels: [Box<[f32]>; MAX_CHANNELS],
    used: usize,
}

impl Planes {
    pub(crate) fn new(format: &BlockFormat) -> Self {
        let plane = || vec![0.0; format.frames()].into_boxed_slice();
        Self { channels: [plane(), plane()], used: format.channels() }
    }

    /// Takes interleaved samples, bounded to `-1.0..=1.0`. A non-finite sample, which would stay
    /// in a recursive filter for ever, becomes silence.
    pub(crate) fn load(&mut self, block: &[f32]) {
        for (channel, plane) in self.channels.iter_mut().take(self.used).enumerate() {
            for (sample, frame) in plane.iter_mut().zip(block.chunks_exact(self.used)) {
                let value = frame[channel];
                *sample = if value.is_finite() { value.clamp(-1.0, 1.0) } else { 0.0 };
            }
        }
    }

    /// Gives interleaved samples, bounded to `-1.0..=1.0`.
    pub(crate) fn store(&self, block: &mut [f32]) {
        for (channel, plane) in self.channels.iter().take(self.used).enumerate() {
            for (sample, frame) in plane.iter().zip(block.chunks_exact_mut(self.used)) {
                frame[channel] = if sample.is_finite() { sample.clamp(-1.0, 1.0) } else { 0.0 };
            }
        }
    }

    /// The used channels.
    pub(crate) fn slices(&self) -> [&[f32]; MAX_CHANNELS] {
        self.channels.each_ref().map(|plane| &**plane)
    }

    /// The used channels, to write to.
    pub(crate) fn slices_mut(&mut self) -> [&mut [f32]; MAX_CHANNELS] {
        self.channels.each_mut().map(|plane| &mut **plane)
    }
}
