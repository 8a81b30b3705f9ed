//! Between the sample rate of the call and that of the wire, 10 ms at a time. Nothing is allocated
//! after the beginning.

use blink_api::{Error, ErrorKind, Result};
use rubato::audioadapter_buffers::direct::InterleavedSlice;
use rubato::{Fft, FixedSync, Resampler, WindowFunction};

/// Converts mono sound; later by about 5 ms where the rates differ.
pub(crate) struct Converter {
    fft: Option<Fft<f32>>,
}

impl Converter {
    /// # Errors
    /// [`Unexpected`](ErrorKind::Unexpected) for rates that cannot be converted; those that the
    /// codecs take can.
    pub(crate) fn new(from: u32, to: u32) -> Result<Self> {
        if from == to {
            return Ok(Self { fft: None });
        }
        let unit = from as usize / 100;
        let window = WindowFunction::BlackmanHarris2;
        let fft = Fft::new_custom(from as usize, to as usize, unit, 1, 1, window, FixedSync::Both);
        let fault = |error| Error::new(ErrorKind::Unexpected, "the sample rate cannot be converted").source(error);
        Ok(Self { fft: Some(fft.map_err(fault)?) })
    }

    /// Converts 10 ms.
    ///
    /// # Errors
    /// [`Unexpected`](ErrorKind::Unexpected) where the slices are not 10 ms long.
    pub(crate) fn convert(&mut self, input: &[f32], output: &mut [f32]) -> Result<()> {
        let Some(fft) = &mut self.fft else {
            output.copy_from_slice(input);
            return Ok(());
        };
        let fault = |_| Error::new(ErrorKind::Unexpected, "this is no unit of 10 ms");
        let output_frames = output.len();
        let from = InterleavedSlice::new(input, 1, input.len()).map_err(fault)?;
        let mut into = InterleavedSlice::new_mut(output, 1, output_frames).map_err(fault)?;
        match fft.process_into_buffer(&from, &mut into, None) {
            Ok(_) => Ok(()),
            Err(error) => Err(Error::new(ErrorKind::Unexpected, "the sample rate was not converted").source(error)),
        }
    }

    /// Begins anew, as if silence had come before.
    pub(crate) fn reset(&mut self) {
        if let Some(fft) = &mut self.fft {
            fft.reset();
        }
    }
}
