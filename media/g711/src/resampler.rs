//! Resampling between the format's rate and the wire's, in blocks of 10 ms, without allocation
//! after creation.

use blink_api::{Error, ErrorKind, Result};
use rubato::audioadapter_buffers::direct::InterleavedSlice;
use rubato::{Fft, FixedSync, Resampler, WindowFunction};

/// Resampler of mono audio. Delays it by about 5 ms if the rates differ.
pub(crate) struct BlockResampler {
    fft: Option<Fft<f32>>,
}

impl BlockResampler {
    /// Creates a resampler.
    ///
    /// # Errors
    /// [`Unexpected`](ErrorKind::Unexpected) for unsupported rates; those that the codecs accept
    /// are supported.
    pub(crate) fn new(from: u32, to: u32) -> Result<Self> {
        if from == to {
            return Ok(Self { fft: None });
        }
        let block = from as usize / 100;
        let window = WindowFunction::BlackmanHarris2;
        let fft = Fft::new_custom(from as usize, to as usize, block, 1, 1, window, FixedSync::Both);
        let fault = |error| Error::new(ErrorKind::Unexpected, "the sample rate cannot be converted").source(error);
        Ok(Self { fft: Some(fft.map_err(fault)?) })
    }

    /// Resamples a block of 10 ms.
    ///
    /// # Errors
    /// [`Unexpected`](ErrorKind::Unexpected) if the slices are not 10 ms long.
    pub(crate) fn resample(&mut self, input: &[f32], output: &mut [f32]) -> Result<()> {
        let Some(fft) = &mut self.fft else {
            output.copy_from_slice(input);
            return Ok(());
        };
        let fault = |_| Error::new(ErrorKind::Unexpected, "expected a block of 10 ms");
        let output_frames = output.len();
        let from = InterleavedSlice::new(input, 1, input.len()).map_err(fault)?;
        let mut into = InterleavedSlice::new_mut(output, 1, output_frames).map_err(fault)?;
        match fft.process_into_buffer(&from, &mut into, None) {
            Ok(_) => Ok(()),
            Err(error) => Err(Error::new(ErrorKind::Unexpected, "resampling failed").source(error)),
        }
    }

    /// Resets the filter state to silence.
    pub(crate) fn reset(&mut self) {
        if let Some(fft) = &mut self.fft {
            fft.reset();
        }
    }
}
