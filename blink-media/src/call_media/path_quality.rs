//! Samples of a path's quality, from the statistics that it has.

use web_time::{Duration, Instant};

use blink_api::{Mid, QualitySettings};

use super::section_report::SectionReport;
use crate::quality_monitor::{QualityChange, QualityMonitor, QualitySample};
use crate::statistics::AudioStatistics;

/// Statistics of a path at the end of an interval.
pub(super) struct PathCounts<'a> {
    /// Received media sections, of the interval.
    pub(super) sections: &'a [SectionReport],
    /// The section of the participant's microphone.
    pub(super) microphone: Option<&'a Mid>,
    /// Audio of the participant's microphone, since it was added.
    pub(super) audio: AudioStatistics,
    /// Video frames that were sent and dropped, since the path was added.
    pub(super) frames: Frames,
}

/// Counts of video frames.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Frames {
    pub(super) sent: u64,
    pub(super) dropped: u64,
}

/// Feeds a [`QualityMonitor`] with the differences between successive statistics.
pub(super) struct PathQuality {
    monitor: QualityMonitor,
    /// Since the sample before.
    round_trip: Option<Duration>,
    concealed: Duration,
    frames: Frames,
}

impl PathQuality {
    pub(super) fn new(settings: QualitySettings) -> Self {
        Self {
            monitor: QualityMonitor::new(settings),
            round_trip: None,
            concealed: Duration::ZERO,
            frames: Frames::default(),
        }
    }

    /// Takes a measured round trip.
    pub(super) fn handle_round_trip(&mut self, round_trip: Duration) {
        self.round_trip = Some(round_trip);
    }

    /// Takes the statistics at the end of an interval, and passes on what changes.
    pub(super) fn observe(
        &mut self,
        now: Instant,
        interval: Duration,
        counts: &PathCounts<'_>,
        on_change: impl FnMut(QualityChange),
    ) {
        let PathCounts { sections, microphone, audio, frames } = counts;
        let sum = |count: fn(&SectionReport) -> u32| sections.iter().map(|section| u64::from(count(section))).sum();
        let voice = sections.iter().find(|section| Some(&section.mid) == *microphone);
        let concealed = audio.duration_of(audio.concealed_samples);
        let sample = QualitySample {
            interval,
            round_trip: self.round_trip.take(),
            packets_expected: sum(|section| section.expected),
            packets_lost: sum(|section| section.lost),
            jitter: voice.map(|section| section.jitter),
            // Another decoder counts from zero.
            concealed: concealed.saturating_sub(self.concealed),
            frames_sent: frames.sent.saturating_sub(self.frames.sent),
            frames_dropped: frames.dropped.saturating_sub(self.frames.dropped),
        };
        (self.concealed, self.frames) = (concealed, *frames);
        self.monitor.observe(now, sample, on_change);
    }

    pub(super) fn is_degraded(&self) -> bool {
        self.monitor.is_degraded()
    }
}
