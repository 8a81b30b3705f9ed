//! Noise suppression by a recurrent neural network (RNNoise).

use ::nnnoiseless::DenoiseState;
use web_time::{Duration, Instant};

use blink_api::{AudioFormat, AudioProcessor, AudioProcessorFactory, ProcessorCapabilities, Result};

use crate::NNNOISELESS;
use crate::block::{BlockFormat, Planes};

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
            states: (0..format.channels()).map(|_| DenoiseState::new()).collect(),
            input: Planes::new(&format),
            output: Planes::new(&format),
            format,
        }))
    }
}

/// Noise suppressor of one call, with a network for each channel.
struct NnnoiselessProcessor {
    format: BlockFormat,
    states: Vec<Box<DenoiseState<'static>>>,
    input: Planes,
    output: Planes,
}

impl AudioProcessor for NnnoiselessProcessor {
    fn render(&mut self, far_end: &[f32], _: Instant) -> Result<()> {
        self.format.check("render", far_end)
    }

    fn capture(&mut self, near_end: &mut [f32], _: Instant) -> Result<()> {
        self.format.check("capture", near_end)?;
        self.input.load(near_end);
        let planes = self.input.slices_mut().into_iter().zip(self.output.slices_mut());
        for (state, (input, output)) in self.states.iter_mut().zip(planes) {
            input.iter_mut().for_each(|sample| *sample *= FULL_SCALE);
            state.process_frame(output, input);
            output.iter_mut().for_each(|sample| *sample /= FULL_SCALE);
        }
        self.output.store(near_end);
        Ok(())
    }

    fn reset(&mut self) {
        self.states.iter_mut().for_each(|state| *state = DenoiseState::new());
    }

    fn delay(&self) -> Duration {
        DELAY
    }
}
