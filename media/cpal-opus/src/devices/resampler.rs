//! Resampling by a ratio that changes by parts per million.

use blink_api::{Error, ErrorKind, Result};
use rubato::audioadapter_buffers::direct::InterleavedSlice;
use rubato::{Adjustable, Async, FixedAsync, Resampler as _, SincInterpolationParameters, WindowFunction};

use super::NAME;
use super::rate_control::MAX_CHANGE;

/// Length of the filter in samples: 0.7 ms of delay, 140 dB, 0.6 % of a core.
const TAPS: usize = 64;

/// Which side of a [`Resampler`] has a fixed number of frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fixed {
    /// Each block of input has this number of frames.
    Input(usize),
    /// Each block of output has this number of frames.
    Output(usize),
}

/// Converts blocks of interleaved samples from one sample rate to another. Allocates nothing once
/// it is built.
pub(super) struct Resampler {
    inner: Async<f32>,
    channels: usize,
    output: Vec<f32>,
}

impl Resampler {
    /// A resampler for two rates.
    ///
    /// # Errors
    /// [`Invalid`](ErrorKind::Invalid) for rates that cannot be converted.
    pub(super) fn new(from: u32, to: u32, channels: usize, fixed: Fixed) -> Result<Self> {
        let parameters = SincInterpolationParameters::new(TAPS, WindowFunction::BlackmanHarris2);
        let (frames, side) = match fixed {
            Fixed::Input(frames) => (frames, FixedAsync::Input),
            Fixed::Output(frames) => (frames, FixedAsync::Output),
        };
        let (ratio, most) = (f64::from(to) / f64::from(from), 1.0 + 2.0 * MAX_CHANGE);
        let inner = Async::new_sinc(ratio, most, &parameters, frames, channels, side).map_err(|error| {
            Error::new(ErrorKind::Invalid, "the sample rate cannot be converted")
                .backend(NAME)
                .with("from", from)
                .with("to", to)
                .source(error.to_string())
        })?;
        let output = vec![0.0; inner.output_frames_max() * channels];
        Ok(Self { inner, channels, output })
    }

    /// Makes the output shorter by a relative change, within ±1 %, as the output runs on.
    pub(super) fn set_speed(&mut self, change: f64) {
        let ratio = 1.0 / (1.0 + change.clamp(-MAX_CHANGE, MAX_CHANGE));
        // Cannot fail: the change is within the range that the resampler was built for.
        if let Err(error) = self.inner.set_resample_ratio_relative(ratio, true) {
            tracing::error!(%error, "the resampling ratio was refused");
        }
    }

    /// Frames that the next block of input has.
    pub(super) fn input_frames(&self) -> usize {
        self.inner.input_frames_next()
    }

    /// Most frames of a block of input.
    pub(super) fn max_input_frames(&self) -> usize {
        self.inner.input_frames_max()
    }

    /// Most frames of a block of output.
    pub(super) fn max_output_frames(&self) -> usize {
        self.inner.output_frames_max()
    }

    /// Delay of the filter, in frames of the output.
    pub(super) fn delay(&self) -> usize {
        self.inner.output_delay()
    }

    /// Converts a block of [`input_frames`](Self::input_frames).
    pub(super) fn process(&mut self, input: &[f32]) -> &[f32] {
        let frames = input.len() / self.channels;
        let room = self.output.len() / self.channels;
        let input = InterleavedSlice::new(input, self.channels, frames);
        let output = InterleavedSlice::new_mut(&mut self.output, self.channels, room);
        let (Ok(input), Ok(mut output)) = (input, output) else { return &[] };
        match self.inner.process_into_buffer(&input, &mut output, None) {
            Ok((_, written)) => &self.output[..written * self.channels],
            Err(error) => {
                tracing::error!(%error, "resampling failed");
                &[]
            }
        }
    }
}
