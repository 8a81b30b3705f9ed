//! One track of decoded audio.

use std::path::PathBuf;
use std::time::Duration;

use blink_api::{AudioFormat, CallTime, Result, RtpTime, TrackKey, TrackSummary};

use super::mix::Mix;
use super::parts::Parts;
use crate::timeline::{Item, Layout, Piece, Timeline, duration_of, position, ticks_in};

/// Deviation from the track's own course that is a gap or an overlap; below it, samples follow each
/// other.
const JUMP: Duration = Duration::from_millis(15);
/// Samples over which that course is averaged.
const SMOOTHING: i64 = 16;
/// Peak below which audio is a pause: −50 dBFS.
const QUIET: f32 = 0.003;

/// A track and its files.
pub(super) struct Track {
    pub(super) key: TrackKey,
    format: AudioFormat,
    begin: CallTime,
    timeline: Timeline<Vec<f32>>,
    course: Option<Course>,
    parts: Parts,
    /// Frames that are written.
    written: u64,
}

/// RTP time in samples: that of the sender's codec may have another rate.
#[derive(Debug, Clone, Copy)]
struct Course {
    /// Time of the next sample if it follows.
    next: i64,
    /// Smoothed difference of the call clock and that.
    deviation: i64,
}

impl Track {
    pub(super) fn new(
        key: TrackKey,
        format: AudioFormat,
        begin: Option<CallTime>,
        now: CallTime,
        parts: Parts,
    ) -> Self {
        let layout = Layout { rate: format.sample_rate, granularity: 1, hold: Duration::ZERO };
        let begin = begin.unwrap_or_default();
        let mut timeline = Timeline::new(layout, begin);
        timeline.tick(now);
        Self { key, format, begin, timeline, course: None, parts, written: 0 }
    }

    pub(super) fn set_begin(&mut self, begin: CallTime) {
        self.begin = begin;
        self.timeline.set_begin(begin);
    }

    /// Takes interleaved samples; an incomplete frame at the end is dropped.
    pub(super) fn push(&mut self, at: CallTime, samples: &[f32]) {
        let channels = usize::from(self.format.channels);
        let frames = samples.len() / channels;
        let timestamp = self.timestamp(at, frames as i64);
        self.timeline.push(Item {
            at,
            timestamp: RtpTime(timestamp as u32),
            sequence: None,
            ticks: frames as u32,
            quiet: samples.iter().all(|sample| sample.abs() < QUIET),
            media: samples[..frames * channels].to_vec(),
        });
    }

    pub(super) fn tick(&mut self, now: CallTime) {
        self.timeline.tick(now);
    }

    /// Fills with silence up to `end` since the beginning.
    pub(super) fn fill_to(&mut self, end: Duration) {
        self.timeline.drain();
        self.timeline.fill_to(ticks_in(end, self.format.sample_rate));
    }

    /// Writes what the time line gives.
    pub(super) fn write(&mut self, mut mix: Option<&mut Mix>, paths: &mut Vec<PathBuf>) -> Result<()> {
        while let Some(piece) = self.timeline.poll() {
            match piece {
                Piece::Media { ticks, media } => {
                    if let Some(mix) = mix.as_mut().filter(|mix| mix.takes(self.format)) {
                        mix.add(self.written, &media, self.format.channels);
                    }
                    self.parts.write(&media, paths)?;
                    self.written += u64::from(ticks);
                }
                Piece::Silence { ticks } | Piece::Concealed { ticks } => {
                    self.parts.write_silence(ticks * u64::from(self.format.channels), paths)?;
                    self.written += ticks;
                }
            }
        }
        Ok(())
    }

    pub(super) fn flush(&mut self) -> Result<()> {
        self.parts.flush()
    }

    pub(super) fn is_mixed(&self, mix: &Mix) -> bool {
        mix.takes(self.format)
    }

    /// End in frames since the beginning.
    pub(super) fn end(&self) -> u64 {
        self.written
    }

    pub(super) fn duration(&self) -> Duration {
        self.timeline.duration()
    }

    pub(super) fn summary(&self) -> TrackSummary {
        let totals = self.timeline.totals();
        let mut summary = TrackSummary::new(self.key);
        summary.duration = duration_of(self.written, self.format.sample_rate);
        summary.concealed = duration_of(totals.concealed, self.format.sample_rate);
        summary.silence = duration_of(totals.silence, self.format.sample_rate);
        (summary.samples, summary.dropped) = (totals.samples, totals.dropped);
        summary
    }

    /// Samples that come within a few milliseconds of the end of the last ones follow them.
    fn timestamp(&mut self, at: CallTime, frames: i64) -> i64 {
        let clock = position(self.begin, at, self.format.sample_rate);
        let jump = ticks_in(JUMP, self.format.sample_rate) as i64;
        let follows = self.course.filter(|course| (clock - course.next - course.deviation).abs() <= jump);
        let (timestamp, deviation) = match follows {
            Some(Course { next, deviation }) => (next, deviation + (clock - next - deviation) / SMOOTHING),
            None => (clock, 0),
        };
        self.course = Some(Course { next: timestamp + frames, deviation });
        timestamp
    }
}
