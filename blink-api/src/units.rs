//! Units that are easy to confuse, and the clock.

use std::fmt;
use web_time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

/// An RTP timestamp: ticks of the codec's clock rate, modulo 2³² (RFC 3550 §5.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct RtpTime(pub u32);

impl RtpTime {
    /// This time moved by `ticks`, around the wrap.
    pub fn wrapping_add(self, ticks: u32) -> Self {
        Self(self.0.wrapping_add(ticks))
    }

    /// The signed distance from `earlier` to this time in ticks, valid up to a distance of 2³¹.
    pub fn since(self, earlier: Self) -> i32 {
        self.0.wrapping_sub(earlier.0).cast_signed()
    }
}

/// A point on the call's common clock: the time since the call's first media, in microseconds'
/// resolution.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct CallTime(pub Duration);

/// An audio level as RFC 6464 §3 defines it: 0 (loudest) to 127 (silence) in −dBov, and whether it
/// is voice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct AudioLevel {
    level: u8,
    voice: bool,
}

impl AudioLevel {
    /// Digital silence.
    pub const SILENCE: Self = Self { level: 127, voice: false };

    /// A level in −dBov; values over 127 become 127.
    pub fn new(minus_dbov: u8, voice: bool) -> Self {
        Self { level: minus_dbov.min(127), voice }
    }

    /// The level of samples in −1.0..=1.0: `round(-10 log10(mean(x²)))`, clamped to 0..=127.
    /// Silence and no samples are 127, a full-scale sine is 3.
    pub fn of(samples: &[f32], voice: bool) -> Self {
        if samples.is_empty() {
            return Self { level: 127, voice };
        }
        // Eight independent sums vectorize; in a single one, each addition waits for the one
        // before.
        let (chunks, rest) = samples.as_chunks::<8>();
        let square = |sample: &f32| f64::from(*sample).powi(2);
        let mut sums = [0.0; 8];
        for chunk in chunks {
            sums.iter_mut().zip(chunk).for_each(|(sum, sample)| *sum += square(sample));
        }
        let power = (sums.iter().sum::<f64>() + rest.iter().map(square).sum::<f64>()) / samples.len() as f64;
        let level = if power > 0.0 { (-10.0 * power.log10()).round().clamp(0.0, 127.0) } else { 127.0 };
        Self { level: level as u8, voice }
    }

    /// Reads the extension's byte: bit 7 is voice, bits 0 to 6 the level (RFC 6464 §3).
    pub fn from_byte(byte: u8) -> Self {
        Self { level: byte & 0x7f, voice: byte & 0x80 != 0 }
    }

    /// The extension's byte (RFC 6464 §3).
    pub fn to_byte(self) -> u8 {
        self.level | (u8::from(self.voice) << 7)
    }

    /// 0 (loudest) to 127 (silence), −dBov.
    pub fn minus_dbov(self) -> u8 {
        self.level
    }

    /// Whether the sender classified it as voice.
    pub fn is_voice(self) -> bool {
        self.voice
    }
}

impl fmt::Display for AudioLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "-{} dBov", self.level)
    }
}

/// Source of time for backends and the engine, replaceable in tests.
pub trait Clock: Send + Sync {
    /// Monotonic time.
    fn now(&self) -> Instant;

    /// Milliseconds since the Unix epoch. May jump; only the `boot` of the protocol depends on it.
    fn unix_ms(&self) -> u64;
}

/// The system's clocks.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Instant {
        Instant::now()
    }

    fn unix_ms(&self) -> u64 {
        // A system clock before 1970 counts as 1970: this is never compared with the clock of
        // another device.
        SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |elapsed| elapsed.as_millis() as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn level_of_silence_sine_and_square_is_what_rfc_6464_says() {
        let sine: Vec<f32> = (0..4800).map(|n| (n as f32 * 0.1).sin()).collect();
        assert_eq!(AudioLevel::of(&[0.0; 480], false).minus_dbov(), 127);
        assert_eq!(AudioLevel::of(&sine, true).minus_dbov(), 3);
        assert_eq!(AudioLevel::of(&[1.0; 485], true).minus_dbov(), 0);
        assert_eq!(AudioLevel::of(&[], true).minus_dbov(), 127);
    }

    #[test]
    fn every_level_byte_survives_a_round_trip() {
        for byte in 0..=u8::MAX {
            assert_eq!(AudioLevel::from_byte(byte).to_byte(), byte);
        }
    }

    #[test]
    fn rtp_time_is_compared_around_the_wrap() {
        assert_eq!(RtpTime(10).since(RtpTime(u32::MAX - 9)), 20);
        assert_eq!(RtpTime(u32::MAX - 9).since(RtpTime(10)), -20);
        assert_eq!(RtpTime(u32::MAX).wrapping_add(961), RtpTime(960));
    }
}
