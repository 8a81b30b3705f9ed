//! Noise suppression by a recurrent neural network (RNNoise).

use ::nnnoiseless::DenoiseState;
use web_time::{Duration, Instant};

use blink_api::{AudioFormat, AudioProcessor, AudioProcessorFactory, ProcessorCapabilities, Result};

use crate::NNNOISELESS;
use crate::block::{BlockFormat, Planes};
use crate::suppression_depth::SuppressionDepth;

pub(crate) const CAPABILITIES: ProcessorCapabilities =
    ProcessorCapabilities { noise_suppression: true, ..ProcessorCapabilities::NONE };

/// Full scale of the library, which counts in 16-bit samples.
const FULL_SCALE: f32 = 32_768.0;

/// Overlap of the analysis windows of 20 ms, of which each block completes one.
const DELAY: Duration = Duration::from_millis(10);

/// Factory of noise suppressors.
#[derive(Debug, Clone, Copy, Default)]
pub struct NnnoiselessFactory;

impl AudioProcessorFactory for NnnoiselessFactory {
    fn capabilities(&self) -> ProcessorCapabilities {
        CAPABILITIES
    }

    fn processor(&self, format: AudioFormat) -> Result<Box<dyn AudioProcessor>> {
        let format = BlockFormat::new(NNNOISELESS, format, &[48_000])?;
        Ok(Box::new(NnnoiselessProcessor {
            channels: (0..format.channels()).map(|_| Channel::new()).collect(),
            input: Planes::new(&format),
            previous: Planes::new(&format),
            output: Planes::new(&format),
            format,
        }))
    }
}

/// Noise suppressor of one call.
struct NnnoiselessProcessor {
    format: BlockFormat,
    channels: Vec<Channel>,
    input: Planes,
    /// Input of the block before, which the output of the network belongs to.
    previous: Planes,
    output: Planes,
}

/// One channel, with a network of its own.
struct Channel {
    network: Box<DenoiseState<'static>>,
    depth: SuppressionDepth,
    /// Depth at the end of the block before.
    reached: f32,
}

impl Channel {
    fn new() -> Self {
        Self { network: DenoiseState::new(), depth: SuppressionDepth::new(), reached: 0.0 }
    }

    /// Suppresses the noise of `previous`, the block before `input`.
    fn process(&mut self, input: &mut [f32], previous: &mut [f32], output: &mut [f32]) {
        let power = input.iter().map(|sample| sample * sample).sum::<f32>() / input.len() as f32;
        input.iter_mut().for_each(|sample| *sample *= FULL_SCALE);
        let voice = self.network.process_frame(output, input);
        let from = self.reached;
        self.reached = self.depth.update(10.0 * power.max(f32::MIN_POSITIVE).log10(), voice);
        let step = (self.reached - from) / input.len() as f32;
        for (at, (output, kept)) in output.iter_mut().zip(previous.iter()).enumerate() {
            let depth = from + step * at as f32;
            *output = (kept + depth * (*output - kept)) / FULL_SCALE;
        }
        previous.copy_from_slice(input);
    }
}

impl AudioProcessor for NnnoiselessProcessor {
    fn render(&mut self, far_end: &[f32], _: Instant) -> Result<()> {
        self.format.check("render", far_end)
    }

    fn capture(&mut self, near_end: &mut [f32], _: Instant) -> Result<()> {
        self.format.check("capture", near_end)?;
        self.input.load(near_end);
        let inputs = self.input.slices_mut().into_iter().zip(self.previous.slices_mut());
        let blocks = inputs.zip(self.output.slices_mut());
        for (channel, ((input, previous), output)) in self.channels.iter_mut().zip(blocks) {
            channel.process(input, previous, output);
        }
        self.output.store(near_end);
        Ok(())
    }

    fn reset(&mut self) {
        self.channels.iter_mut().for_each(|channel| *channel = Channel::new());
        self.previous = Planes::new(&self.format);
    }

    fn delay(&self) -> Duration {
        DELAY
    }
}
