//! Samples in the formats of virtual devices.

use cpal::{Data, SampleFormat};

/// Samples in a device's format.
pub(super) enum DeviceSamples {
    U8(Vec<u8>),
    I16(Vec<i16>),
    F32(Vec<f32>),
}

impl DeviceSamples {
    pub(super) fn new(samples: &[f32], format: SampleFormat) -> Self {
        match format {
            SampleFormat::U8 => Self::U8(samples.iter().map(|x| (x * 127.0 + 128.0) as u8).collect()),
            SampleFormat::I16 => Self::I16(samples.iter().map(|x| (x * 32_767.0) as i16).collect()),
            SampleFormat::F32 => Self::F32(samples.to_vec()),
            other => panic!("no virtual device has {other}"),
        }
    }

    /// The samples as the sound system passes them to a callback.
    #[allow(unsafe_code)]
    pub(super) fn data(&mut self) -> Data {
        let (samples, length, format) = match self {
            Self::U8(samples) => (samples.as_mut_ptr().cast(), samples.len(), SampleFormat::U8),
            Self::I16(samples) => (samples.as_mut_ptr().cast(), samples.len(), SampleFormat::I16),
            Self::F32(samples) => (samples.as_mut_ptr().cast(), samples.len(), SampleFormat::F32),
        };
        // SAFETY: the pointer is to `length` samples of the format, and the data is dropped first.
        unsafe { Data::from_parts(samples, length, format) }
    }

    pub(super) fn samples(&self) -> Vec<f32> {
        match self {
            Self::U8(samples) => samples.iter().map(|x| (f32::from(*x) - 128.0) / 128.0).collect(),
            Self::I16(samples) => samples.iter().map(|x| f32::from(*x) / 32_768.0).collect(),
            Self::F32(samples) => samples.clone(),
        }
    }
}
