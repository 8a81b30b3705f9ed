//! The quality monitor on virtual time.

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
    // Just under the threshold is not good either, after it was good for a moment.
    for _ in 0..5 {
        call.passes(6, GOOD);
        call.passes(30, QualitySample { round_trip: Some(ms(290)), ..GOOD });
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
    assert_eq!(call.reasons(), [(133, "loss")], "a hundred packets tell");
    call.passes(20, silent);
    assert_eq!(call.reasons().last().map(|(_, name)| *name), Some("recovered"), "the participant is muted");
}

#[test]
fn settings_move_thresholds_and_times() {
    let [(_, slow), (_, lossy), ..] = bad_samples();
    let relaxed = QualitySettings { round_trip: Duration::from_millis(350), loss: 1.0, ..QualitySettings::default() };
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

/// The packets lost in an outage are revealed by the first one after it.
#[test]
fn an_outage_is_no_poor_connection_and_a_second_without_packets_is() {
    let silent = QualitySample { packets_expected: 0, concealed: S, jitter: None, round_trip: None, ..GOOD };
    let late = QualitySample { round_trip: Some(S), ..GOOD };
    let first = |lost| QualitySample { packets_expected: 50 + lost, packets_lost: lost, concealed: S / 2, ..late };
    let mut call = Call::new(QualitySettings::default());
    call.passes(6, GOOD);
    for seconds in [3_u32, 8, 20] {
        call.passes(seconds, silent);
        call.passes(1, first(u64::from(seconds) * 50));
        call.passes(9, late);
        call.passes(4, GOOD);
    }
    assert_eq!(call.changes, []);
    call.passes(1, silent);
    call.passes(1, first(50));
    call.passes(5, GOOD);
    assert!(call.reasons().iter().any(|(_, reason)| *reason == "loss"), "{:?}", call.reasons());
}
