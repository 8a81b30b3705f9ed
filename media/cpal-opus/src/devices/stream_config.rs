//! Choice of a device's format: the one that needs the least conversion.

use std::time::Duration;

use blink_api::{AudioFormat, Error, ErrorKind, Result};
use cpal::{BufferSize, SampleFormat, StreamConfig, SupportedBufferSize, SupportedStreamConfigRange};

use super::NAME;

/// Format and buffer size that a device is opened with.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct ChosenConfig {
    /// Channels, rate and buffer size.
    pub(super) stream: StreamConfig,
    /// Sample format.
    pub(super) samples: SampleFormat,
}

/// Chooses among the formats of a device: the call's sample rate, or the nearest one, the greater
/// of two; the call's channels, or the fewest above; float samples, or the most precise ones.
///
/// # Errors
/// [`Unsupported`](ErrorKind::Unsupported) for a device without a format that can be converted.
pub(super) fn choose(
    ranges: impl Iterator<Item = SupportedStreamConfigRange>,
    format: AudioFormat,
    period: Duration,
) -> Result<ChosenConfig> {
    let usable = ranges.filter(|range| range.channels() > 0 && precision(range.sample_format()).is_some());
    let best = usable.min_by_key(|range| {
        let rate = rate_in(range, format.sample_rate);
        let channels = range.channels();
        (
            (rate < format.sample_rate, rate.abs_diff(format.sample_rate)),
            (channels < format.channels, channels.abs_diff(format.channels)),
            precision(range.sample_format()),
        )
    });
    let best = best.ok_or_else(|| {
        Error::new(ErrorKind::Unsupported, "the device has no format that can be converted").backend(NAME)
    })?;
    let sample_rate = rate_in(&best, format.sample_rate);
    // PipeWire's PulseAudio server works in quanta of a power of two, at least 256 frames. A buffer
    // of two periods of 240 holds less than two quanta: each late refill is a quantum of silence.
    let frames = (u128::from(sample_rate) * period.as_micros() / 1_000_000).clamp(1, 1 << 20) as u32;
    let frames = frames.next_power_of_two();
    let buffer_size = match *best.buffer_size() {
        SupportedBufferSize::Range { min, max } if min <= max => BufferSize::Fixed(frames.clamp(min, max)),
        // Never the default of the sound system first: with PulseAudio it is 2 s.
        _ => BufferSize::Fixed(frames),
    };
    let stream = StreamConfig { channels: best.channels(), sample_rate, buffer_size };
    Ok(ChosenConfig { stream, samples: best.sample_format() })
}

/// The rate of a range that is nearest to the wanted one.
fn rate_in(range: &SupportedStreamConfigRange, wanted: u32) -> u32 {
    wanted.clamp(range.min_sample_rate().max(1), range.max_sample_rate().max(1))
}

/// Rank of a sample format, the most precise one first; `None` where it is not converted.
fn precision(format: SampleFormat) -> Option<u8> {
    Some(match format {
        SampleFormat::F32 => 0,
        SampleFormat::I32 | SampleFormat::U32 => 1,
        SampleFormat::F64 => 2,
        SampleFormat::I64 | SampleFormat::U64 => 3,
        SampleFormat::I24 | SampleFormat::U24 => 4,
        SampleFormat::I16 | SampleFormat::U16 => 5,
        SampleFormat::I8 | SampleFormat::U8 => 6,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(channels: u16, rates: (u32, u32), format: SampleFormat) -> SupportedStreamConfigRange {
        let buffer = SupportedBufferSize::Range { min: 64, max: 4_096 };
        SupportedStreamConfigRange::new(channels, rates.0, rates.1, buffer, format)
    }

    fn chosen(ranges: &[SupportedStreamConfigRange]) -> (u16, u32, SampleFormat, BufferSize) {
        let chosen = choose(ranges.iter().copied(), AudioFormat::CALL, Duration::from_millis(5)).unwrap();
        (chosen.stream.channels, chosen.stream.sample_rate, chosen.samples, chosen.stream.buffer_size)
    }

    #[test]
    fn the_format_with_the_least_conversion_is_chosen() {
        use SampleFormat::{F32, I16, U8};
        let all = [range(2, (8_000, 192_000), F32), range(1, (8_000, 96_000), I16), range(1, (8_000, 96_000), F32)];
        assert_eq!(chosen(&all), (1, 48_000, F32, BufferSize::Fixed(256)));
        assert_eq!(chosen(&[range(6, (44_100, 44_100), U8)]), (6, 44_100, U8, BufferSize::Fixed(256)));
        let rates = [range(1, (44_100, 44_100), F32), range(2, (96_000, 96_000), I16)];
        assert_eq!(chosen(&rates), (2, 96_000, I16, BufferSize::Fixed(512)));
        assert_eq!(chosen(&[range(8, (8_000, 8_000), F32)]), (8, 8_000, F32, BufferSize::Fixed(64)));
    }

    #[test]
    fn a_device_without_a_usable_format_is_refused() {
        let dsd = [range(2, (2_822_400, 2_822_400), SampleFormat::DsdU8)];
        for ranges in [&dsd[..], &[]] {
            let error = choose(ranges.iter().copied(), AudioFormat::CALL, Duration::from_millis(5)).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Unsupported);
        }
    }
}
