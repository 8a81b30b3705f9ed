//! `[quality]`: which property of received audio matters more where the network allows only one,
//! and from when on the quality of a call counts as degraded.

use serde::{Deserialize, Serialize};
use web_time::Duration;

use crate::{Error, ErrorKind, Result};

/// `[quality]`: how calls behave on networks that lose and delay packets.
///
/// The thresholds decide when the event `QualityDegraded` is delivered: a measure over the last
/// [`degraded_after`](Self::degraded_after) is above its threshold. `QualityRecovered` follows when
/// all measures have been at most three quarters of theirs for
/// [`recovered_after`](Self::recovered_after).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct QualitySettings {
    /// The preferred property of received audio.
    pub prefer: Preference,
    /// Threshold of the round trip, 1 ms to 10 s. 300 ms is the delay from mouth to ear of 150 ms
    /// up to which conversations are not affected (ITU-T G.114), both ways.
    #[serde(with = "humantime_serde")]
    pub round_trip: Duration,
    /// Threshold of the share of lost packets, above 0 and up to 1; 1: never reported.
    pub loss: f32,
    /// Threshold of the interarrival jitter (RFC 3550 §6.4.1), 1 ms to 10 s. Delays that vary by
    /// 100 ms have a jitter of 33 ms.
    #[serde(with = "humantime_serde")]
    pub jitter: Duration,
    /// Threshold of the share of concealed audio, above 0 and up to 1; 1: never reported.
    pub concealment: f32,
    /// Threshold of the share of video frames that are dropped for want of bandwidth, above 0 and
    /// up to 1; 1: never reported.
    pub frames_dropped: f32,
    /// Window over which all is measured, 2 s to 1 min.
    #[serde(with = "humantime_serde")]
    pub degraded_after: Duration,
    /// Time for which all measures have to be good again, 1 s to 10 min.
    #[serde(with = "humantime_serde")]
    pub recovered_after: Duration,
}

impl Default for QualitySettings {
    fn default() -> Self {
        Self {
            prefer: Preference::default(),
            round_trip: Duration::from_millis(300),
            loss: 0.05,
            jitter: Duration::from_millis(30),
            concealment: 0.05,
            frames_dropped: 0.1,
            degraded_after: Duration::from_secs(5),
            recovered_after: Duration::from_secs(10),
        }
    }
}

impl QualitySettings {
    /// Checks the thresholds and times.
    ///
    /// # Errors
    /// [`Invalid`](ErrorKind::Invalid) for values out of range, naming the key.
    pub fn check(&self) -> Result<()> {
        let (ms, s) = (Duration::from_millis, Duration::from_secs);
        let durations = [
            ("round_trip", self.round_trip, ms(1)..=s(10), "the threshold is 1 ms to 10 s"),
            ("jitter", self.jitter, ms(1)..=s(10), "the threshold is 1 ms to 10 s"),
            ("degraded_after", self.degraded_after, s(2)..=s(60), "the time is 2 s to 1 min"),
            ("recovered_after", self.recovered_after, s(1)..=s(600), "the time is 1 s to 10 min"),
        ];
        for (key, value, range, why) in durations {
            if !range.contains(&value) {
                return Err(out_of_range(key, why).with("value", format!("{value:?}")));
            }
        }
        let shares = [("loss", self.loss), ("concealment", self.concealment), ("frames_dropped", self.frames_dropped)];
        for (key, value) in shares {
            // Not a number is neither.
            if !(value > 0.0 && value <= 1.0) {
                return Err(out_of_range(key, "the threshold is a share above 0 and up to 1").with("value", value));
            }
        }
        Ok(())
    }
}

/// Whether the jitter buffer waits for audio that comes late or is restored from later packets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Preference {
    /// A short delay, for conversations: waits for nearly all packets, and for the redundancy that
    /// covers most losses.
    #[default]
    Latency,
    /// Complete speech, for listening: waits for all but the latest packets and the furthest
    /// redundancy.
    Quality,
}

fn out_of_range(key: &'static str, why: &'static str) -> Error {
    Error::new(ErrorKind::Invalid, why).with("key", format!("quality.{key}"))
}
