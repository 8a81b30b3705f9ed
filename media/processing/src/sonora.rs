//! Echo cancellation, noise suppression and gain control by a port of WebRTC's audio processing.

use ::sonora::config::{
    AdaptiveDigital, EchoCanceller, GainController2, HighPassFilter, MaxProcessingRate, NoiseSuppression, Pipeline,
};
use ::sonora::{AudioProcessing, Config, StreamConfig};
use web_time::{Duration, Instant};

use blink_api::{AudioFormat, AudioProcessor, AudioProcessorFactory, Error, ErrorKind, ProcessorCapabilities, Result};

use crate::block::{BlockFormat, Planes};
use crate::far_end::FarEnd;
use crate::{NoiseSuppressionLevel, SONORA, SonoraConfig};

pub(crate) const CAPABILITIES: ProcessorCapabilities =
    ProcessorCapabilities { echo_cancellation: true, noise_suppression: true, gain_control: true };

/// Sample rates that the library processes without resampling.
const RATES: [u32; 3] = [16_000, 32_000, 48_000];

/// Factory of processors with one configuration.
#[derive(Debug, Clone, Copy)]
pub struct SonoraFactory {
    config: SonoraConfig,
}

impl SonoraFactory {
    /// Creates a factory.
    ///
    /// # Errors
    /// [`Invalid`](ErrorKind::Invalid) for a value out of range.
    pub fn new(config: SonoraConfig) -> Result<Self> {
        config.check()?;
        Ok(Self { config })
    }
}

impl AudioProcessorFactory for SonoraFactory {
    fn capabilities(&self) -> ProcessorCapabilities {
        ProcessorCapabilities {
            echo_cancellation: self.config.echo_cancellation,
            noise_suppression: self.config.noise_suppression,
            gain_control: self.config.gain_control,
        }
    }

    fn processor(&self, format: AudioFormat) -> Result<Box<dyn AudioProcessor>> {
        let format = BlockFormat::new(SONORA, format, &RATES)?;
        Ok(Box::new(SonoraProcessor {
            config: self.config,
            processing: processing(&self.config, &format),
            far_end: self.config.echo_cancellation.then(|| FarEnd::new(format.format)),
            interleaved: vec![0.0; format.frames() * format.channels()].into(),
            input: Planes::new(&format),
            output: Planes::new(&format),
            format,
        }))
    }
}

/// Processor of one call.
struct SonoraProcessor {
    config: SonoraConfig,
    format: BlockFormat,
    processing: AudioProcessing,
    /// Far end, until the capture block that can contain its echo; `None` without echo
    /// cancellation.
    far_end: Option<FarEnd>,
    interleaved: Box<[f32]>,
    input: Planes,
    output: Planes,
}

impl AudioProcessor for SonoraProcessor {
    fn render(&mut self, far_end: &[f32], at: Instant) -> Result<()> {
        self.format.check("render", far_end)?;
        if let Some(timeline) = &mut self.far_end {
            timeline.write(far_end, at);
        }
        Ok(())
    }

    fn capture(&mut self, near_end: &mut [f32], at: Instant) -> Result<()> {
        self.format.check("capture", near_end)?;
        let channels = self.format.channels();
        let fault = |error| Error::new(ErrorKind::Unexpected, "processing failed").backend(SONORA).source(error);
        if let Some(far_end) = &mut self.far_end {
            far_end.read(&mut self.interleaved, at);
            self.input.load(&self.interleaved);
            let (from, mut into) = (self.input.slices(), self.output.slices_mut());
            self.processing
                .process_render_f32(&from[..channels], &mut into[..channels])
                .map_err(|error| fault(error).operation("render"))?;
            // What is left of the delay between both directions: the canceller looks there first.
            let lead = i32::try_from(far_end.lead().as_millis()).unwrap_or(0);
            self.processing.set_stream_delay_ms(lead).map_err(|error| fault(error).operation("capture"))?;
        }
        self.input.load(near_end);
        let (from, mut into) = (self.input.slices(), self.output.slices_mut());
        self.processing
            .process_capture_f32(&from[..channels], &mut into[..channels])
            .map_err(|error| fault(error).operation("capture"))?;
        self.output.store(near_end);
        Ok(())
    }

    /// Allocates, as the library's state is built anew.
    fn reset(&mut self) {
        self.processing = processing(&self.config, &self.format);
        if let Some(far_end) = &mut self.far_end {
            far_end.reset();
        }
    }

    fn delay(&self) -> Duration {
        delay(&self.config, &self.format)
    }
}

fn processing(config: &SonoraConfig, format: &BlockFormat) -> AudioProcessing {
    let stream = StreamConfig::new(format.format.sample_rate, format.format.channels);
    let level = match config.noise_suppression_level {
        NoiseSuppressionLevel::Low => ::sonora::config::NoiseSuppressionLevel::Low,
        NoiseSuppressionLevel::Moderate => ::sonora::config::NoiseSuppressionLevel::Moderate,
        NoiseSuppressionLevel::High => ::sonora::config::NoiseSuppressionLevel::High,
        NoiseSuppressionLevel::VeryHigh => ::sonora::config::NoiseSuppressionLevel::VeryHigh,
    };
    let gain = AdaptiveDigital {
        headroom_db: config.headroom_db,
        max_gain_db: config.max_gain_db,
        // No gain before speech was heard: the library's 15 dB would raise noise and residual echo.
        initial_gain_db: 0.0,
        ..AdaptiveDigital::default()
    };
    // The filter costs 1.3 PESQ-WB of clean speech, and cancellation works without it.
    let echo = EchoCanceller { enforce_high_pass_filtering: false, ..EchoCanceller::default() };
    let config = Config {
        pipeline: Pipeline { maximum_internal_processing_rate: MaxProcessingRate::Rate48kHz, ..Pipeline::default() },
        high_pass_filter: config.high_pass_filter.then(HighPassFilter::default),
        echo_canceller: config.echo_cancellation.then_some(echo),
        noise_suppression: config.noise_suppression.then(|| NoiseSuppression { level, ..NoiseSuppression::default() }),
        gain_controller2: config
            .gain_control
            .then(|| GainController2 { adaptive_digital: Some(gain), ..GainController2::default() }),
        ..Config::default()
    };
    AudioProcessing::builder().config(config).capture_config(stream).render_config(stream).build()
}

/// Delay of the library, as measured by correlation: it splits the bands of 32 and 48 kHz, frames
/// blocks of 4 ms for echo cancellation (8 ms in all), and overlaps windows for noise suppression
/// (6 ms).
fn delay(config: &SonoraConfig, format: &BlockFormat) -> Duration {
    let rate = u64::from(format.format.sample_rate);
    let splits = config.echo_cancellation || config.noise_suppression;
    let split = match rate {
        48_000 if splits => 46,
        32_000 if splits => 4,
        _ => 0,
    };
    let echo = if config.echo_cancellation { Duration::from_millis(8) } else { Duration::ZERO };
    let noise = if config.noise_suppression { Duration::from_millis(6) } else { Duration::ZERO };
    echo + noise + Duration::from_nanos(split * 1_000_000_000 / rate)
}

#[cfg(test)]
mod tests;
