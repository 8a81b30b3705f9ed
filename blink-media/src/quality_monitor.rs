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
//! A measure without data, such as the loss of a muted participant, is good. The thresholds are
//! those of [`QualitySettings`]. It reads no clock, and allocates nothing once its window is full.

use std::collections::VecDeque;
use web_time::{Duration, Instant};

use blink_api::{QualityReason, QualitySettings};

/// Share of its threshold that a measure may have to count as good again. Between the two it keeps
/// its state, so that a value around the threshold does not alternate.
const GOOD_AGAIN: f64 = 0.75;
/// Packets within the window from which loss is measured: of fewer, each lost one is a high share.
/// With 60 ms of audio in a packet, 5 s have 83.
const FEWEST_PACKETS: u64 = 80;
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
    /// State of each measure, in the order of [`MEASURES`].
    states: [State; MEASURES.len()],
}

impl QualityMonitor {
    /// A monitor of a path of which nothing is known.
    pub fn new(settings: QualitySettings) -> Self {
        Self { settings, window: VecDeque::new(), states: [State::Good; MEASURES.len()] }
    }

    /// Takes the newest sample, and passes on the changes that follow from it.
    pub fn observe(&mut self, now: Instant, sample: QualitySample, mut on_change: impl FnMut(QualityChange)) {
        let length = self.settings.degraded_after;
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
            Self::Recovering(_) if value > threshold => Self::Degraded,
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

#[cfg(test)]
mod tests {
    use super::*;

    const S: Duration = Duration::from_secs(1);

    /// A monitor on virtual time, and the changes that it reported with their second.
    struct Call {
        monitor: QualityMonitor,
        now: Instant,
        second: u32,
        changes: Vec<(u32, QualityChange)>,
    }

    impl Call {
        fn new(settings: QualitySettings) -> Self {
            Self { monitor: QualityMonitor::new(settings), now: Instant::now(), second: 0, changes: Vec::new() }
        }

        /// Samples of one second each.
        fn passes(&mut self, seconds: u32, sample: QualitySample) {
            for _ in 0..seconds {
                self.second += 1;
                self.now += S;
                let (second, changes) = (self.second, &mut self.changes);
                self.monitor.observe(self.now, sample, |change| changes.push((second, change)));
            }
        }

        fn reasons(&self) -> Vec<(u32, &'static str)> {
            let name = |change: &QualityChange| match change {
                QualityChange::Degraded(reason) => reason.name(),
                QualityChange::Recovered => "recovered",
            };
            self.changes.iter().map(|(second, change)| (*second, name(change))).collect()
        }
    }

    /// A second of a good call: 50 packets each way and 15 frames of video.
    const GOOD: QualitySample = QualitySample {
        interval: S,
        round_trip: Some(Duration::from_millis(40)),
        packets_expected: 50,
        packets_lost: 0,
        jitter: Some(Duration::from_millis(3)),
        concealed: Duration::ZERO,
        frames_sent: 15,
        frames_dropped: 0,
    };

    fn bad_samples() -> [(&'static str, QualitySample); 5] {
        let ms = Duration::from_millis;
        [
            ("round_trip", QualitySample { round_trip: Some(ms(301)), ..GOOD }),
            ("loss", QualitySample { packets_lost: 5, ..GOOD }),
            ("jitter", QualitySample { jitter: Some(ms(34)), ..GOOD }),
            ("concealment", QualitySample { concealed: ms(100), ..GOOD }),
            ("bandwidth", QualitySample { frames_sent: 12, frames_dropped: 3, ..GOOD }),
        ]
    }

    #[test]
    fn each_measure_degrades_and_recovers_once() {
        for (name, bad) in bad_samples() {
            let mut call = Call::new(QualitySettings::default());
            call.passes(60, GOOD);
            call.passes(60, bad);
            call.passes(60, GOOD);
            let reasons = call.reasons();
            let [(degraded, reason), (recovered, "recovered")] = reasons[..] else { panic!("{name}: {reasons:?}") };
            assert_eq!(reason, name);
            // Shares exceed their threshold before the window is full of them, the shortest round
            // trip when it is.
            assert!((61..=65).contains(&degraded), "{name}: {reasons:?}");
            // Ten seconds after the window is good enough.
            assert!((131..=135).contains(&recovered), "{name}: {reasons:?}");
            assert!(!call.monitor.is_degraded());
        }
    }

    #[test]
    fn reasons_have_the_measured_value_and_the_threshold() {
        let ms = Duration::from_millis;
        let settings = QualitySettings::default();
        let mut call = Call::new(settings);
        let bad = QualitySample { round_trip: Some(ms(420)), packets_lost: 10, jitter: Some(ms(45)), ..GOOD };
        call.passes(5, bad);
        let expected = [
            QualityReason::RoundTrip { measured: ms(420), threshold: settings.round_trip },
            QualityReason::Loss { measured: 0.2, threshold: settings.loss },
            QualityReason::Jitter { measured: ms(45), threshold: settings.jitter },
        ];
        assert_eq!(call.changes, expected.map(|reason| (5, QualityChange::Degraded(reason))));
    }

    #[test]
    fn several_reasons_recover_together() {
        let [(_, slow), (_, lossy), ..] = bad_samples();
        let mut call = Call::new(QualitySettings::default());
        call.passes(10, slow);
        call.passes(10, QualitySample { packets_lost: 5, ..slow });
        call.passes(30, lossy);
        assert_eq!(call.reasons(), [(5, "round_trip"), (13, "loss")], "the loss goes on");
        call.passes(30, GOOD);
        assert_eq!(call.reasons()[2..].iter().map(|(_, name)| *name).collect::<Vec<_>>(), ["recovered"]);
        // The reason that had ended before can be reported again.
        call.passes(10, slow);
        assert_eq!(call.reasons().last(), Some(&(85, "round_trip")));
    }

    #[test]
    fn a_value_around_the_threshold_does_not_alternate() {
        let ms = Duration::from_millis;
        let mut call = Call::new(QualitySettings::default());
        for _ in 0..20 {
            call.passes(7, QualitySample { round_trip: Some(ms(310)), ..GOOD });
            call.passes(30, QualitySample { round_trip: Some(ms(290)), ..GOOD });
        }
        assert_eq!(call.reasons(), [(5, "round_trip")]);
        // It has to stay good for the whole time.
        for _ in 0..20 {
            call.passes(5, GOOD);
            call.passes(7, QualitySample { round_trip: Some(ms(310)), ..GOOD });
        }
        assert_eq!(call.reasons().len(), 1);
        call.passes(16, GOOD);
        assert_eq!(call.reasons()[1].1, "recovered");
    }

    #[test]
    fn a_single_bad_second_and_the_first_seconds_say_nothing() {
        let ms = Duration::from_millis;
        let mut call = Call::new(QualitySettings::default());
        // Until the window is full, a start with a lost packet is no bad path.
        call.passes(1, QualitySample { packets_lost: 10, ..GOOD });
        call.passes(20, GOOD);
        call.passes(1, QualitySample { round_trip: Some(ms(3_000)), concealed: ms(200), packets_lost: 10, ..GOOD });
        call.passes(20, GOOD);
        assert_eq!(call.reasons(), []);
    }

    #[test]
    fn what_cannot_be_measured_is_good() {
        let silent = QualitySample { interval: S, ..QualitySample::default() };
        let mut call = Call::new(QualitySettings::default());
        call.passes(60, silent);
        // Comfort noise: of few packets, one lost says nothing.
        call.passes(60, QualitySample { packets_expected: 3, packets_lost: 1, frames_dropped: 1, ..silent });
        assert_eq!(call.reasons(), []);
        let [_, (_, lossy), ..] = bad_samples();
        call.passes(10, silent);
        call.passes(10, lossy);
        assert_eq!(call.reasons(), [(132, "loss")], "a hundred packets tell");
        call.passes(20, silent);
        assert_eq!(call.reasons().last().map(|(_, name)| *name), Some("recovered"), "the participant is muted");
    }

    #[test]
    fn settings_move_thresholds_and_times() {
        let [(_, slow), (_, lossy), ..] = bad_samples();
        let relaxed =
            QualitySettings { round_trip: Duration::from_millis(350), loss: 1.0, ..QualitySettings::default() };
        let mut call = Call::new(relaxed);
        call.passes(60, slow);
        call.passes(60, lossy);
        call.passes(60, QualitySample { packets_lost: 50, ..GOOD });
        assert_eq!(call.reasons(), []);

        let hasty = QualitySettings { degraded_after: 2 * S, recovered_after: S, ..QualitySettings::default() };
        let mut call = Call::new(hasty);
        call.passes(2, slow);
        call.passes(2, GOOD);
        assert_eq!(call.reasons(), [(2, "round_trip"), (4, "recovered")]);
    }

    /// Samples of other lengths, as after a stall of the thread, fill the window by their time.
    #[test]
    fn the_window_is_measured_in_time() {
        let [_, (_, lossy), ..] = bad_samples();
        let mut call = Call::new(QualitySettings::default());
        call.passes(1, QualitySample { interval: 5 * S, packets_expected: 250, packets_lost: 25, ..GOOD });
        assert_eq!(call.reasons(), [(1, "loss")]);
        let mut call = Call::new(QualitySettings::default());
        call.passes(9, QualitySample { interval: S / 2, ..lossy });
        assert_eq!(call.reasons(), []);
        call.passes(1, QualitySample { interval: S / 2, ..lossy });
        assert_eq!(call.reasons(), [(10, "loss")]);
        call.passes(1_000, lossy);
        assert!(call.monitor.window.len() <= 6, "{}", call.monitor.window.len());
    }
}
