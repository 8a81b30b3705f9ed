//! Properties of virtual devices.

use std::time::Duration;

use cpal::SampleFormat;

/// Latency that the devices report for the first frame of a callback, beyond its duration.
pub(super) const LATENCY: Duration = Duration::from_millis(3);

/// Frequency of the tone that microphones hear, in Hz, and its amplitude.
pub(super) const TONE: f64 = 440.0;
pub(super) const AMPLITUDE: f64 = 0.5;

/// Properties of a device.
#[derive(Debug, Clone)]
pub(super) struct Spec {
    pub(super) is_input: bool,
    pub(super) channels: u16,
    pub(super) rate: u32,
    pub(super) format: SampleFormat,
    /// Frames per callback, whatever is requested.
    pub(super) frames: u32,
    /// How much faster than nominal the device's clock runs.
    pub(super) ppm: f64,
}

impl Spec {
    pub(super) const MICROPHONE: Self =
        Self { is_input: true, channels: 1, rate: 48_000, format: SampleFormat::F32, frames: 480, ppm: 0.0 };
    pub(super) const SPEAKER: Self = Self { is_input: false, ..Self::MICROPHONE };
}

/// Behaviour of a device that is unplugged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unplug {
    /// The stream continues on another device, without an error.
    Moves,
    /// One error, then nothing; the drop of the stream hangs until [`VirtualHost::release`].
    HangsOnDrop,
    /// Several errors.
    Invalidates,
    /// 100,000 errors.
    FloodsWithErrors,
    /// The sound system is gone, with all devices.
    KillsTheDaemon,
    /// The device stays listed, and makes no more callbacks.
    Starves,
}
