//! Quality of the media exchanged with one participant: when it is degraded, and when it has
//! recovered.
//!
//! ```text
//!  observe(sample), once per report ──► window of `degraded_after` ──► five measures
//!                                                                          │
//!        Recovered ◄── no reason left ◄── ≤ ¾ threshold for                │ > threshold
//!                                         `recovered_after` ◄── degraded ◄─┴──► Degraded(reason)
//! ```
//!
//! | measure | over the window |
//! |---|---|
//! | round trip | shortest: a single late Pong is no long path |
//! | loss | lost share of the packets |
//! | jitter | average of the reports (RFC 3550 §6.4.1) |
//! | concealment | concealed share of the time |
//! | bandwidth | dropped share of the video frames |
//!
//! A measure without data, such as the loss of a muted participant, is good. Neither is an outage
//! degraded quality, which the call reports as reconnecting: a sample without packets conceals
//! nothing, after a pause of [`OUTAGE`] the first sample is not about losses, and round trips are
//! not measured for [`SETTLING`].
//!
//! The thresholds are those of [`QualitySettings`]. It reads no clock, and allocates nothing once
//! its window is full.

#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use web_time::{Duration, Instant};

use blink_api::{QualityReason, QualitySettings};

/// Share of its threshold that a measure may have to count as good again. Between the two it keeps
/// its state, so that a value around the threshold does not alternate.
const GOOD_AGAIN: f64 = 0.75;
/// Packets within the window from which loss is measured: of fewer, each lost one is a high share.
/// With 60 ms of audio in a packet, 5 s have 83.
const FEWEST_PACKETS: u64 = 80;
/// Time without packets after which the losses that the next ones reveal are those of an outage.
/// Shorter than the silence after which a path is reconnecting (2.5 s), which spans fewer whole
/// samples.
const OUTAGE: Duration = Duration::from_secs(2);
/// Time after an outage in which the data channel, by which round trips are measured, retransmits
/// with the timeouts to which it backed off (RFC 9260 §6.3.3).
const SETTLING: Duration = Duration::from_secs(10);
/// Video frames within the window from which dropped ones are measured.
const FEWEST_FRAMES: u64 = 10;

/// Statistics of a path since the sample before.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct QualitySample {
    /// Time that the sample is about.
    pub interval: Duration,
    /// Newest round trip; `None` without one since the sample before.
    pub round_trip: Option<Duration>,
    /// Packets that the participant sent.
    pub packets_expected: u64,
    /// Packets of these that were lost.
    pub packets_lost: u64,
    /// Interarrival jitter of its audio; `None` where none arrived.
    pub jitter: Option<Duration>,
    /// Audio of it that was concealed.
    pub concealed: Duration,
    /// Video frames that were sent to it.
    pub frames_sent: u64,
    /// Video frames that the path had no bandwidth for.
    pub frames_dropped: u64,
}

/// A change of a participant's quality.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum QualityChange {
    /// It is degraded for one more reason.
    Degraded(QualityReason),
    /// It is not degraded any more.
    Recovered,
}

/// Decides by thresholds with hysteresis when a participant's quality is degraded.
#[derive(Debug, Clone)]
pub struct QualityMonitor {
    settings: QualitySettings,
    window: VecDeque<QualitySample>,
    /// Time without packets up to the newest sample.
    pause: Duration,
    /// End of the time after an outage in which round trips are those of retransmissions.
    settled: Option<Instant>,
    /// State of each measure, in the order of [`MEASURES`].
    states: [State; MEASURES.len()],
}

impl QualityMonitor {
    /// A monitor of a path of which nothing is known.
    pub fn new(settings: QualitySettings) -> Self {
        Self {
            settings,
            window: VecDeque::new(),
            pause: Duration::ZERO,
            settled: None,
            states: [State::Good; MEASURES.len()],
        }
    }

    /// Takes the newest sample, and passes on the changes that follow from it.
    pub fn observe(&mut self, now: Instant, sample: QualitySample, mut on_change: impl FnMut(QualityChange)) {
        let length = self.settings.degraded_after;
        let sample = self.without_outage(now, sample);
        self.window.push_back(sample);
        while self.window.front().is_some_and(|oldest| self.covered() - oldest.interval >= length) {
            self.window.pop_front();
        }
        if self.covered() < length {
            return;
        }
        let was_degraded = self.is_degraded();
        let totals = Totals::of(&self.window);
        for (measure, state) in MEASURES.into_iter().zip(&mut self.states) {
            let (value, threshold) = (measure.value(&totals), measure.threshold(&self.settings));
            if state.update(now, value, threshold, self.settings.recovered_after) {
                on_change(QualityChange::Degraded(measure.reason(value, &self.settings)));
            }
        }
        if was_degraded && !self.is_degraded() {
            on_change(QualityChange::Recovered);
        }
    }

    /// The sample without what an outage is to blame for.
    fn without_outage(&mut self, now: Instant, mut sample: QualitySample) -> QualitySample {
        if sample.packets_expected <= sample.packets_lost {
            self.pause += sample.interval;
            return QualitySample { packets_expected: 0, packets_lost: 0, concealed: Duration::ZERO, ..sample };
        }
        if std::mem::take(&mut self.pause) >= OUTAGE {
            self.settled = Some(now + SETTLING);
            sample = QualitySample { packets_lost: 0, concealed: Duration::ZERO, jitter: None, ..sample };
        }
        if self.settled.is_some_and(|settled| now < settled) {
            sample.round_trip = None;
        }
        sample
    }

    /// Whether it is degraded for any reason.
    pub fn is_degraded(&self) -> bool {
        self.states.iter().any(|state| *state != State::Good)
    }

    /// Time that the samples of the window are about.
    fn covered(&self) -> Duration {
        self.window.iter().map(|sample| sample.interval).sum()
    }
}

/// State of one measure.
#[derive(Debug, Clone, Copy, PartialEq)]
enum State {
    Good,
    Degraded,
    /// Still degraded; good since then.
    Recovering(Instant),
}

impl State {
    /// Takes the newest value. Returns whether it is degraded from now on.
    fn update(&mut self, now: Instant, value: f64, threshold: f64, recovered_after: Duration) -> bool {
        let was_good = *self == Self::Good;
        *self = match *self {
            Self::Good if value > threshold => Self::Degraded,
            Self::Degraded if value <= threshold * GOOD_AGAIN => Self::Recovering(now),
            Self::Recovering(_) if value > threshold * GOOD_AGAIN => Self::Degraded,
            Self::Recovering(since) if now.saturating_duration_since(since) >= recovered_after => Self::Good,
            unchanged => unchanged,
        };
        was_good && *self != Self::Good
    }
}

/// A measure, in seconds or as a share.
#[derive(Debug, Clone, Copy)]
enum Measure {
    RoundTrip,
    Loss,
    Jitter,
    Concealment,
    Bandwidth,
}

const MEASURES: [Measure; 5] =
    [Measure::RoundTrip, Measure::Loss, Measure::Jitter, Measure::Concealment, Measure::Bandwidth];

impl Measure {
    fn value(self, totals: &Totals) -> f64 {
        match self {
            Self::RoundTrip => totals.round_trip.unwrap_or_default().as_secs_f64(),
            Self::Loss => share(totals.packets_lost, totals.packets_expected, FEWEST_PACKETS),
            Self::Jitter => totals.jitter.as_secs_f64() / f64::from(totals.jitters.max(1)),
            Self::Concealment => (totals.concealed.as_secs_f64() / totals.interval.as_secs_f64().max(1e-3)).min(1.0),
            Self::Bandwidth => share(totals.frames_dropped, totals.frames_dropped + totals.frames_sent, FEWEST_FRAMES),
        }
    }

    fn threshold(self, settings: &QualitySettings) -> f64 {
        match self {
            Self::RoundTrip => settings.round_trip.as_secs_f64(),
            Self::Loss => settings.loss.into(),
            Self::Jitter => settings.jitter.as_secs_f64(),
            Self::Concealment => settings.concealment.into(),
            Self::Bandwidth => settings.frames_dropped.into(),
        }
    }

    fn reason(self, value: f64, settings: &QualitySettings) -> QualityReason {
        let (share, duration) = (value as f32, Duration::from_secs_f64(value));
        match self {
            Self::RoundTrip => QualityReason::RoundTrip { measured: duration, threshold: settings.round_trip },
            Self::Loss => QualityReason::Loss { measured: share, threshold: settings.loss },
            Self::Jitter => QualityReason::Jitter { measured: duration, threshold: settings.jitter },
            Self::Concealment => QualityReason::Concealment { measured: share, threshold: settings.concealment },
            Self::Bandwidth => QualityReason::Bandwidth { measured: share, threshold: settings.frames_dropped },
        }
    }
}

/// The samples of a window, taken together.
#[derive(Debug, Default)]
struct Totals {
    interval: Duration,
    round_trip: Option<Duration>,
    packets_expected: u64,
    packets_lost: u64,
    /// Sum and number of the known ones.
    jitter: Duration,
    jitters: u32,
    concealed: Duration,
    frames_sent: u64,
    frames_dropped: u64,
}

impl Totals {
    fn of(window: &VecDeque<QualitySample>) -> Self {
        let mut totals = Self::default();
        for sample in window {
            totals.interval += sample.interval;
            totals.round_trip = totals.round_trip.into_iter().chain(sample.round_trip).min();
            totals.packets_expected += sample.packets_expected;
            totals.packets_lost += sample.packets_lost;
            totals.jitter += sample.jitter.unwrap_or_default();
            totals.jitters += u32::from(sample.jitter.is_some());
            totals.concealed += sample.concealed;
            totals.frames_sent += sample.frames_sent;
            totals.frames_dropped += sample.frames_dropped;
        }
        totals
    }
}

/// A part as share of the whole; 0 where the whole is less than `fewest`.
fn share(part: u64, whole: u64, fewest: u64) -> f64 {
    if whole < fewest { 0.0 } else { part.min(whole) as f64 / whole as f64 }
}
