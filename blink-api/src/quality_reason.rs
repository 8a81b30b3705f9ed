//! Reasons for degraded quality.

use std::fmt;

use serde::{Serialize, Serializer};
use web_time::Duration;

/// Reason why the quality of a participant's media is degraded, or likely to be: the measure, its
/// value and its threshold in [`QualitySettings`](crate::QualitySettings).
///
/// As JSON an object with `kind`, and `measured_ms` and `threshold_ms` of durations or `measured`
/// and `threshold` of shares.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
#[non_exhaustive]
pub enum QualityReason {
    /// Round trip to the participant and back. Replies come late.
    RoundTrip {
        /// The shortest round trip within the window.
        #[serde(rename = "measured_ms", serialize_with = "as_milliseconds")]
        measured: Duration,
        /// The threshold.
        #[serde(rename = "threshold_ms", serialize_with = "as_milliseconds")]
        threshold: Duration,
    },
    /// Packets of the participant that the network lost.
    Loss {
        /// Share of all its packets within the window, 0.0 to 1.0.
        measured: f32,
        /// The threshold.
        threshold: f32,
    },
    /// Interarrival jitter of the participant's audio (RFC 3550 §6.4.1). Its audio is played with
    /// more delay.
    Jitter {
        /// Average within the window.
        #[serde(rename = "measured_ms", serialize_with = "as_milliseconds")]
        measured: Duration,
        /// The threshold.
        #[serde(rename = "threshold_ms", serialize_with = "as_milliseconds")]
        threshold: Duration,
    },
    /// Concealed audio of the participant: it was missing when it had to be played.
    Concealment {
        /// Share of the window, 0.0 to 1.0.
        measured: f32,
        /// The threshold.
        threshold: f32,
    },
    /// Video frames that are not sent to the participant, because the path lacks the bandwidth.
    Bandwidth {
        /// Dropped share of the frames within the window, 0.0 to 1.0.
        measured: f32,
        /// The threshold.
        threshold: f32,
    },
}

impl QualityReason {
    /// Name of the measure, as `kind` of its JSON form.
    pub fn name(&self) -> &'static str {
        match self {
            Self::RoundTrip { .. } => "round_trip",
            Self::Loss { .. } => "loss",
            Self::Jitter { .. } => "jitter",
            Self::Concealment { .. } => "concealment",
            Self::Bandwidth { .. } => "bandwidth",
        }
    }
}

impl fmt::Display for QualityReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::RoundTrip { measured, threshold } => {
                write!(f, "round trip of {} ms, over {} ms", measured.as_millis(), threshold.as_millis())
            }
            Self::Jitter { measured, threshold } => {
                write!(f, "jitter of {} ms, over {} ms", measured.as_millis(), threshold.as_millis())
            }
            Self::Loss { measured, threshold } => {
                write!(f, "{} of packets lost, over {}", Percent(*measured), Percent(*threshold))
            }
            Self::Concealment { measured, threshold } => {
                write!(f, "{} of audio concealed, over {}", Percent(*measured), Percent(*threshold))
            }
            Self::Bandwidth { measured, threshold } => {
                write!(f, "{} of video frames dropped, over {}", Percent(*measured), Percent(*threshold))
            }
        }
    }
}

/// A share as per cent, with one decimal where it is not whole.
struct Percent(f32);

impl fmt::Display for Percent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tenths = (self.0 * 1_000.0).round() / 10.0;
        write!(f, "{tenths} %")
    }
}

fn as_milliseconds<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64(duration.as_millis().try_into().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_have_one_name_in_text_and_json() {
        let ms = Duration::from_millis;
        let (measured, threshold) = (0.123, 0.05);
        let cases = [
            (
                QualityReason::RoundTrip { measured: ms(412), threshold: ms(300) },
                "round trip of 412 ms, over 300 ms",
                r#"{"kind":"round_trip","measured_ms":412,"threshold_ms":300}"#,
            ),
            (
                QualityReason::Jitter { measured: ms(45), threshold: ms(30) },
                "jitter of 45 ms, over 30 ms",
                r#"{"kind":"jitter","measured_ms":45,"threshold_ms":30}"#,
            ),
            (
                QualityReason::Loss { measured, threshold },
                "12.3 % of packets lost, over 5 %",
                r#"{"kind":"loss","measured":0.123,"threshold":0.05}"#,
            ),
            (
                QualityReason::Concealment { measured, threshold },
                "12.3 % of audio concealed, over 5 %",
                r#"{"kind":"concealment","measured":0.123,"threshold":0.05}"#,
            ),
            (
                QualityReason::Bandwidth { measured, threshold },
                "12.3 % of video frames dropped, over 5 %",
                r#"{"kind":"bandwidth","measured":0.123,"threshold":0.05}"#,
            ),
        ];
        for (reason, text, json) in cases {
            assert_eq!(reason.to_string(), text);
            assert_eq!(serde_json::to_string(&reason).unwrap(), json);
            assert!(json.contains(&format!("\"kind\":\"{}\"", reason.name())));
        }
    }
}
