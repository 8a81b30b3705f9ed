//! Opening of streams.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use blink_api::{AudioFormat, Clock, DeviceDirection, Error, ErrorKind, OpenRequest, Result};
use cpal::traits::{DeviceTrait, StreamTrait};
use cpal::{BufferSize, FromSample, InputCallbackInfo, OutputCallbackInfo, Sample, SampleFormat, SizedSample};
use rtrb::RingBuffer;

use super::device_clock::STAMPS;
use super::input::{DeviceSource, InputParts, InputRing};
use super::output::{DeviceSink, OutputParts, OutputRing};
use super::stream_config::{self, ChosenConfig};
use super::stream_health::StreamHealth;
use super::{CpalConfig, NAME};

/// Longest time that a sound system may take to make a stream.
const TIMEOUT: Duration = Duration::from_secs(2);

/// Duration of a ring. A callback of 100,000 frames fits twice.
const RING_SECONDS: usize = 5;

/// Opens a microphone.
///
/// # Errors
/// As [`MediaHost::open_audio_source`](blink_api::MediaHost::open_audio_source).
pub(super) fn open_source(
    device: &cpal::Device,
    request: OpenRequest,
    config: CpalConfig,
    (clock, health): (Arc<dyn Clock>, Arc<StreamHealth>),
) -> Result<DeviceSource> {
    let ranges = device.supported_input_configs().map_err(|error| failure(error, "open_audio_source"))?;
    let chosen = checked(ranges, request, config)?;
    let format = request.format;
    let channels = (usize::from(format.channels), usize::from(chosen.stream.channels));
    let build = |chosen: ChosenConfig| {
        let (frames, from_device) = RingBuffer::new(ring_samples(format, chosen.stream.sample_rate));
        let (stamps, from_callback) = RingBuffer::new(STAMPS);
        let (ring_clock, ring_health) = (clock.clone(), health.clone());
        let ring = InputRing { frames, stamps, clock: ring_clock, health: ring_health, channels, written: 0 };
        Ok((build_input(device, chosen, ring)?, from_device, from_callback))
    };
    let (stream, frames, stamps) = with_any_buffer(chosen, build, "open_audio_source")?;
    DeviceSource::new(InputParts {
        format,
        period: request.period,
        device_rate: chosen.stream.sample_rate,
        callback_period: callback_period(chosen),
        frames,
        stamps,
        clock,
        health,
        stream,
    })
}

/// Opens a loudspeaker.
///
/// # Errors
/// As [`open_source`].
pub(super) fn open_sink(
    device: &cpal::Device,
    request: OpenRequest,
    config: CpalConfig,
    (clock, health): (Arc<dyn Clock>, Arc<StreamHealth>),
) -> Result<DeviceSink> {
    let ranges = device.supported_output_configs().map_err(|error| failure(error, "open_audio_sink"))?;
    let chosen = checked(ranges, request, config)?;
    let format = request.format;
    let channels = (usize::from(format.channels), usize::from(chosen.stream.channels));
    let start_at = Arc::new(AtomicUsize::new(usize::MAX));
    let build = |chosen: ChosenConfig| {
        let (to_device, frames) = RingBuffer::new(ring_samples(format, chosen.stream.sample_rate));
        let (stamps, from_callback) = RingBuffer::new(STAMPS);
        let (ring_clock, ring_health, start_at) = (clock.clone(), health.clone(), start_at.clone());
        let (clock, health) = (ring_clock, ring_health);
        let ring = OutputRing { frames, stamps, clock, health, channels, start_at, is_playing: false, played: 0 };
        Ok((build_output(device, chosen, ring)?, to_device, from_callback))
    };
    let (stream, frames, stamps) = with_any_buffer(chosen, build, "open_audio_sink")?;
    DeviceSink::new(OutputParts {
        format,
        period: request.period,
        device_rate: chosen.stream.sample_rate,
        callback_period: callback_period(chosen),
        frames,
        stamps,
        start_at,
        clock,
        health,
        stream,
    })
}

fn checked(
    ranges: impl Iterator<Item = cpal::SupportedStreamConfigRange>,
    request: OpenRequest,
    config: CpalConfig,
) -> Result<ChosenConfig> {
    let format = request.format;
    if !(8_000..=192_000).contains(&format.sample_rate) || !matches!(format.channels, 1 | 2) {
        let format = format!("{} Hz, {} channels", format.sample_rate, format.channels);
        return Err(Error::new(ErrorKind::Invalid, "the format must have 8 to 192 kHz and one or two channels")
            .backend(NAME)
            .with("format", format));
    }
    stream_config::choose(ranges, format, Duration::from_millis(config.period_ms.into()))
}

fn ring_samples(format: AudioFormat, device_rate: u32) -> usize {
    device_rate as usize * usize::from(format.channels) * RING_SECONDS
}

fn callback_period(chosen: ChosenConfig) -> Duration {
    match chosen.stream.buffer_size {
        BufferSize::Fixed(frames) => Duration::from_secs(frames.into()) / chosen.stream.sample_rate.max(1),
        BufferSize::Default => Duration::from_millis(10),
    }
}

/// Builds and starts a stream; with the sound system's own buffer size where it refuses the chosen
/// one.
fn with_any_buffer<A, B>(
    chosen: ChosenConfig,
    build: impl Fn(ChosenConfig) -> Result<(cpal::Stream, A, B), cpal::Error>,
    operation: &'static str,
) -> Result<(StreamGuard, A, B)> {
    let built = build(chosen).or_else(|error| match error.kind() {
        cpal::ErrorKind::UnsupportedConfig | cpal::ErrorKind::InvalidInput => {
            let mut other = chosen;
            other.stream.buffer_size = BufferSize::Default;
            build(other)
        }
        _ => Err(error),
    });
    let (stream, frames, stamps) = built.map_err(|error| failure(error, operation))?;
    let stream = StreamGuard(Some(stream));
    stream.play().map_err(|error| failure(error, operation))?;
    tracing::debug!(?chosen, operation, "device opened");
    Ok((stream, frames, stamps))
}

/// Chooses the sample type of a callback by the device's sample format.
macro_rules! with_sample_type {
    ($format:expr, $function:ident($($argument:expr),*)) => {
        match $format {
            SampleFormat::I8 => $function::<i8>($($argument),*),
            SampleFormat::I16 => $function::<i16>($($argument),*),
            SampleFormat::I24 => $function::<cpal::I24>($($argument),*),
            SampleFormat::I32 => $function::<i32>($($argument),*),
            SampleFormat::I64 => $function::<i64>($($argument),*),
            SampleFormat::U8 => $function::<u8>($($argument),*),
            SampleFormat::U16 => $function::<u16>($($argument),*),
            SampleFormat::U24 => $function::<cpal::U24>($($argument),*),
            SampleFormat::U32 => $function::<u32>($($argument),*),
            SampleFormat::U64 => $function::<u64>($($argument),*),
            SampleFormat::F32 => $function::<f32>($($argument),*),
            SampleFormat::F64 => $function::<f64>($($argument),*),
            other => Err(cpal::Error::with_message(cpal::ErrorKind::UnsupportedConfig, other.to_string())),
        }
    };
}

fn build_input(device: &cpal::Device, chosen: ChosenConfig, ring: InputRing) -> Result<cpal::Stream, cpal::Error> {
    with_sample_type!(chosen.samples, input_of(device, chosen, ring))
}

fn build_output(device: &cpal::Device, chosen: ChosenConfig, ring: OutputRing) -> Result<cpal::Stream, cpal::Error> {
    with_sample_type!(chosen.samples, output_of(device, chosen, ring))
}

fn input_of<T>(device: &cpal::Device, chosen: ChosenConfig, mut ring: InputRing) -> Result<cpal::Stream, cpal::Error>
where
    T: SizedSample + Sample + Send + 'static,
    f32: FromSample<T>,
{
    let health = ring.health.clone();
    let on_data = move |data: &[T], info: &InputCallbackInfo| {
        let times = info.timestamp();
        ring.take(data, times.callback.saturating_duration_since(times.capture));
    };
    device.build_input_stream(chosen.stream, on_data, move |error| health.handle(&error), Some(TIMEOUT))
}

fn output_of<T>(device: &cpal::Device, chosen: ChosenConfig, mut ring: OutputRing) -> Result<cpal::Stream, cpal::Error>
where
    T: SizedSample + Sample + FromSample<f32> + Send + 'static,
{
    let health = ring.health.clone();
    let on_data = move |data: &mut [T], info: &OutputCallbackInfo| {
        let times = info.timestamp();
        ring.fill(data, times.playback.saturating_duration_since(times.callback));
    };
    device.build_output_stream(chosen.stream, on_data, move |error| health.handle(&error), Some(TIMEOUT))
}

/// Translates an error of the sound system.
pub(super) fn failure(error: cpal::Error, operation: &'static str) -> Error {
    let (kind, why) = match error.kind() {
        cpal::ErrorKind::DeviceNotAvailable => (ErrorKind::NotFound, "the device is not there"),
        cpal::ErrorKind::DeviceBusy => (ErrorKind::Busy, "another program uses the device"),
        cpal::ErrorKind::HostUnavailable => (ErrorKind::Io, "the sound system does not answer"),
        cpal::ErrorKind::PermissionDenied => (ErrorKind::Io, "access to the device is denied"),
        cpal::ErrorKind::UnsupportedConfig | cpal::ErrorKind::UnsupportedOperation => {
            (ErrorKind::Unsupported, "the device refuses the format")
        }
        _ => (ErrorKind::Io, "the device cannot be opened"),
    };
    Error::new(kind, why).backend(NAME).operation(operation).retryable(true).source(error.to_string())
}

/// The error for a name that no device has.
pub(super) fn not_found(direction: DeviceDirection, name: &str) -> Error {
    let why = match (direction, name) {
        (DeviceDirection::Source, "default") => "there is no microphone; connect one, or see `blink devices`",
        (DeviceDirection::Sink, "default") => "there is no loudspeaker; connect one, or see `blink devices`",
        (DeviceDirection::Source, _) => "there is no such microphone; see `blink devices`",
        (DeviceDirection::Sink, _) => "there is no such loudspeaker; see `blink devices`",
    };
    Error::new(ErrorKind::NotFound, why).backend(NAME).with("name", name)
}

/// A stream, dropped on a thread of its own: the drop of a stream whose device is gone may never
/// return.
pub(super) struct StreamGuard(Option<cpal::Stream>);

impl StreamGuard {
    fn play(&self) -> Result<(), cpal::Error> {
        self.0.as_ref().map_or(Ok(()), StreamTrait::play)
    }

    /// Logs how a stream went, for complaints about its sound.
    pub(super) fn log_end(&self, what: &str, health: &StreamHealth, drift_ppm: f64) {
        let (callbacks, underruns, xruns) = (health.callbacks(), health.underruns(), health.xruns());
        tracing::debug!(what, callbacks, underruns, xruns, drift_ppm, "device closed");
    }
}

impl Drop for StreamGuard {
    fn drop(&mut self) {
        let Some(stream) = self.0.take() else { return };
        let closing = std::thread::Builder::new().name("device-close".into()).spawn(move || drop(stream));
        if let Err(error) = closing {
            tracing::error!(%error, "no thread to close a device; closed here");
        }
    }
}
