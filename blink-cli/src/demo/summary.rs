//! Report of the demo, over all runs.

use std::path::{Path, PathBuf};
use std::time::Duration;

use blink_media_synthetic::read_wav;
use serde::{Serialize, Serializer};

use super::plan::{Plan, Side};
use super::run::Measurement;
use crate::event_text::milliseconds;
use crate::failure::Failure;
use crate::score::pesq_wb_of_call;

/// Minimum score of both directions.
const GOOD: f64 = 3.0;

/// One run with its scores.
pub(super) struct Round {
    measurements: [Measurement; 2],
    /// Score of the audio that each side received.
    scores: [Option<f32>; 2],
}

impl Round {
    /// Compares the received with the sent speech of both sides. Computes for some tenths of a
    /// second.
    pub(super) fn new(plan: &Plan, measurements: [Measurement; 2]) -> Result<Self, Failure> {
        let [alice, bob] = &plan.sides;
        Ok(Self { measurements, scores: [score(alice, bob)?, score(bob, alice)?] })
    }
}

fn score(listener: &Side, talker: &Side) -> Result<Option<f32>, Failure> {
    let heard = read_wav(&listener.heard)
        .map_err(|error| Failure::call(format!("the recording of {} cannot be read: {error}", listener.name)))?;
    let rate = blink_api::AudioFormat::CALL.sample_rate;
    let channels = usize::from(heard.format.channels.max(1));
    let mono: Vec<f32> =
        heard.samples.chunks(channels).map(|frame| frame.iter().sum::<f32>() / channels as f32).collect();
    let heard = blink_media_synthetic::resample(&mono, heard.format.sample_rate, rate);
    Ok(pesq_wb_of_call(&talker.said, &heard, rate))
}

/// Medians of all runs; the last line of `--json`.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    pub(super) ok: bool,
    pub(super) repeat: usize,
    pub(super) participants: [Participant; 2],
    /// Reason for a failure, if any.
    #[serde(skip)]
    fault: Option<String>,
}

/// Serializes a path, which need not be UTF-8.
fn as_text<S: Serializer>(path: &Path, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&path.to_string_lossy())
}

/// Medians of one side over all runs.
#[derive(Debug, Serialize)]
pub(super) struct Participant {
    pub(super) name: &'static str,
    pub(super) transport: &'static str,
    pub(super) signaling: &'static str,
    pub(super) codec: String,
    pub(super) connected_ms: f64,
    pub(super) first_audio_ms: f64,
    pub(super) packets_received: u64,
    pub(super) packets_lost: u64,
    /// `None` without a measurement.
    pub(super) rtt_ms: Option<f64>,
    /// `None` without audio to compare.
    pub(super) pesq_wb: Option<f64>,
    /// Recording of the last run.
    #[serde(serialize_with = "as_text")]
    pub(super) heard: PathBuf,
    #[serde(skip)]
    pub(super) bytes_received: u64,
    /// Minimum of all runs.
    #[serde(skip)]
    pub(super) worst_pesq_wb: Option<f64>,
}

impl Report {
    /// Computes the medians of at least one round.
    pub(super) fn new(plan: &Plan, rounds: &[Round]) -> Self {
        let participants = [0, 1].map(|n| Participant::new(&plan.sides[n], n, rounds));
        let fault = participants.iter().find_map(Participant::fault);
        Self { ok: fault.is_none(), repeat: rounds.len(), participants, fault }
    }

    /// Whether both directions were good in every run.
    pub(super) fn verdict(&self) -> Result<(), Failure> {
        match &self.fault {
            None => Ok(()),
            Some(fault) => Err(Failure::call(fault.as_str()).reported()),
        }
    }
}

impl Participant {
    fn new(side: &Side, n: usize, rounds: &[Round]) -> Self {
        let of = |figure: fn(&Measurement) -> f64| {
            median(rounds.iter().map(|round| figure(&round.measurements[n]))).unwrap_or(0.0)
        };
        let round_trips = rounds.iter().filter_map(|round| round.measurements[n].statistics.session.round_trip);
        let scores: Vec<_> = rounds.iter().map(|round| round.scores[n].map(|score| hundredths(score.into()))).collect();
        let known = scores.iter().copied().flatten();
        Self {
            name: side.name,
            transport: side.transport,
            signaling: side.signaling,
            codec: rounds
                .last()
                .map_or_else(|| side.codec.to_owned(), |round| round.measurements[n].statistics.codec.clone()),
            connected_ms: of(|talk| milliseconds(talk.connected)),
            first_audio_ms: of(|talk| milliseconds(talk.first_audio)),
            packets_received: of(|talk| talk.statistics.session.packets_received as f64).round() as u64,
            packets_lost: of(|talk| talk.statistics.session.packets_lost as f64).round() as u64,
            bytes_received: of(|talk| talk.statistics.session.bytes_received as f64).round() as u64,
            rtt_ms: median(round_trips.map(|time: Duration| (time.as_secs_f64() * 100_000.0).round() / 100.0)),
            pesq_wb: median(known.clone()),
            worst_pesq_wb: if scores.contains(&None) { None } else { known.min_by(f64::total_cmp) },
            heard: side.heard.clone(),
        }
    }

    fn fault(&self) -> Option<String> {
        match self.worst_pesq_wb {
            Some(score) if score >= GOOD => None,
            Some(score) => {
                Some(format!("{} received poor audio: PESQ-WB {score:.2}, expected at least {GOOD:.1}", self.name))
            }
            None => Some(format!("{} received no audio that can be compared with the sent speech", self.name)),
        }
    }
}

/// Middle value, or the mean of the two in the middle.
fn median(values: impl Iterator<Item = f64>) -> Option<f64> {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match (values.len() % 2, values.get(middle)) {
        (_, None) => None,
        (0, Some(upper)) => Some(((values[middle - 1] + upper) * 500.0).round() / 1_000.0),
        (_, Some(value)) => Some(*value),
    }
}

fn hundredths(score: f64) -> f64 {
    (score * 100.0).round() / 100.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn median_of_odd_and_even_counts() {
        assert_eq!(median([].into_iter()), None);
        assert_eq!(median([3.0].into_iter()), Some(3.0));
        assert_eq!(median([9.0, 1.0, 5.0].into_iter()), Some(5.0));
        assert_eq!(median([4.0, 1.0, 9.0, 2.0].into_iter()), Some(3.0));
    }
}
