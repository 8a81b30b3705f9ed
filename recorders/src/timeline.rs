//! One track's time line: packets in order, gaps filled, drift removed.
//!
//! A [`Timeline`] takes the samples of one track as they come, each with its RTP time and its
//! [`CallTime`], and gives [`Piece`]s that follow each other without gap or overlap from the
//! beginning of the recording on. All recorders use it, so that all files agree on what is when.
//!
//! * RTP packets are put in order and copies are dropped ([`Reorder`]).
//! * Within one RTP time base, RTP time decides: packets follow each other without gap. The call
//!   clock corrects it where the two differ by more than half a frame: a silent piece is inserted,
//!   or a packet dropped, in a pause where there is one in time.
//! * Lost packets of up to 100 ms are concealed by the decoder. Longer gaps (mute, DTX, leave and
//!   rejoin, a change of devices) are silence, and end where the call clock says.
//! * A new RTP time base (a sender that restarts, a participant that rejoins) begins where the call
//!   clock says.
//!
//! Nothing here reads a clock or a file.

mod frames;
mod reorder;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::time::Duration;

use blink_api::{CallTime, RtpTime};

pub(crate) use frames::{Frame, FrameTimeline, RATE as FRAME_RATE};
use reorder::{Key, Released, Reorder};

/// Gap of lost packets up to which the decoder conceals; longer ones are silence.
const LONGEST_CONCEALED: Duration = Duration::from_millis(100);
/// Difference of RTP time and call clock at which a track is corrected in any case: half of the
/// usual frame, so that no track is further off than that.
const DRIFT_LIMIT: Duration = Duration::from_millis(10);
/// The same in a pause, where a correction is inaudible.
const DRIFT_LIMIT_QUIET: Duration = Duration::from_millis(4);
/// Samples over which that difference is averaged: the call clock is exact to a few milliseconds.
const DRIFT_SMOOTHING: f64 = 16.0;
/// Age at which a track without samples is filled with silence. What comes later than this is
/// dropped.
const FILL_DELAY: Duration = Duration::from_secs(3);
/// Samples this far ahead of the last tick have an impossible time and are dropped: they would
/// otherwise be preceded by any amount of silence.
const FURTHEST_AHEAD: Duration = Duration::from_secs(60);

/// How a track is laid out.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Layout {
    /// Ticks per second, of RTP time and of positions.
    pub(crate) rate: u32,
    /// Ticks of the shortest silence: 2.5 ms for Opus, one sample for PCM.
    pub(crate) granularity: u32,
    /// Time for which a packet waits for an earlier one. Zero for samples that come in order.
    pub(crate) hold: Duration,
}

/// One sample of a track.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Item<T> {
    pub(crate) at: CallTime,
    pub(crate) timestamp: RtpTime,
    /// Sequence number, which tells loss from DTX. `None` where there is none: gaps are silence.
    pub(crate) sequence: Option<u16>,
    /// Duration in ticks.
    pub(crate) ticks: u32,
    /// Whether it may be dropped, or silence inserted before it, without being heard.
    pub(crate) quiet: bool,
    pub(crate) media: T,
}

/// Next part of a track.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Piece<T> {
    Media { ticks: u32, media: T },
    Silence { ticks: u64 },
    Concealed { ticks: u64 },
}

/// Totals of a track, in ticks and samples.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Totals {
    pub(crate) concealed: u64,
    pub(crate) silence: u64,
    pub(crate) samples: u64,
    pub(crate) dropped: u64,
}

/// The last sample that was placed.
#[derive(Debug, Clone, Copy)]
struct Placed {
    key: Key,
    /// Position of its beginning, in ticks.
    position: i64,
    ticks: u32,
    sequence: Option<u16>,
}

/// One track's time line.
#[derive(Debug)]
pub(crate) struct Timeline<T> {
    layout: Layout,
    begin: CallTime,
    now: CallTime,
    reorder: Reorder<T>,
    last: Option<Placed>,
    /// End of everything that was given out, in ticks since the beginning.
    next: i64,
    /// Smoothed difference of the call clock's position and the RTP time's, in ticks.
    drift: f64,
    output: VecDeque<Piece<T>>,
    totals: Totals,
}

impl<T> Timeline<T> {
    /// A track of a recording that begins at `begin`.
    pub(crate) fn new(layout: Layout, begin: CallTime) -> Self {
        Self {
            layout,
            begin,
            now: begin,
            reorder: Reorder::new(layout.rate, layout.hold),
            last: None,
            next: 0,
            drift: 0.0,
            output: VecDeque::new(),
            totals: Totals::default(),
        }
    }

    /// Sets the beginning of the recording, before anything is pushed.
    pub(crate) fn set_begin(&mut self, begin: CallTime) {
        self.begin = begin;
        self.now = self.now.max(begin);
    }

    /// Takes a sample. Pieces that are complete are given by [`poll`](Self::poll).
    pub(crate) fn push(&mut self, item: Item<T>) {
        if item.ticks == 0 || item.at.0 > self.now.0.saturating_add(FURTHEST_AHEAD) {
            self.totals.dropped += 1;
            return;
        }
        if !self.reorder.insert(item, self.now) {
            self.totals.dropped += 1;
        }
        self.release();
    }

    /// Advances the time: gives out what has waited long enough, and fills a pause with silence.
    pub(crate) fn tick(&mut self, now: CallTime) {
        self.now = self.now.max(now);
        self.release();
        let filled = self.position(self.now) - self.ticks_in(FILL_DELAY) as i64;
        if self.reorder.is_empty() && filled > self.next {
            self.fill(filled, false);
        }
    }

    /// The next piece.
    pub(crate) fn poll(&mut self) -> Option<Piece<T>> {
        self.output.pop_front()
    }

    /// Gives out everything that still waits.
    pub(crate) fn drain(&mut self) {
        while let Some(released) = self.reorder.pop_any() {
            self.place(released);
        }
    }

    /// Fills with silence up to `end` ticks.
    pub(crate) fn fill_to(&mut self, end: u64) {
        self.fill(i64::try_from(end).unwrap_or(i64::MAX), false);
    }

    /// End of what was given out, in ticks since the beginning.
    pub(crate) fn end(&self) -> u64 {
        self.next.unsigned_abs()
    }

    /// End of what was given out, since the beginning.
    pub(crate) fn duration(&self) -> Duration {
        duration_of(self.end(), self.layout.rate)
    }

    pub(crate) fn totals(&self) -> Totals {
        self.totals
    }

    /// Counts a sample that was dropped before it came here.
    pub(crate) fn count_dropped(&mut self) {
        self.totals.dropped += 1;
    }

    fn release(&mut self) {
        while let Some(released) = self.reorder.pop(self.now) {
            self.place(released);
        }
    }

    fn place(&mut self, released: Released<T>) {
        let Released { key, item } = released;
        match self.last {
            Some(last) if last.key.generation == key.generation => self.continue_from(last, key, item),
            _ => self.begin_at_clock(key, item),
        }
    }

    /// Places the first sample of an RTP time base where the call clock says.
    fn begin_at_clock(&mut self, key: Key, item: Item<T>) {
        let clock = self.position(item.at);
        // Half a sample may be before the beginning, or overlap what another time base brought.
        if clock < self.next - i64::from(item.ticks) / 2 {
            self.totals.dropped += 1;
            return;
        }
        self.fill(clock, false);
        self.drift = (clock - self.next) as f64;
        self.append(key, item);
    }

    /// Places a sample of the same RTP time base as the last one.
    fn continue_from(&mut self, last: Placed, key: Key, item: Item<T>) {
        let clock = self.position(item.at);
        let expected = last.position + (key.timestamp - last.key.timestamp);
        let gap = expected - (last.position + i64::from(last.ticks));
        if gap > self.ticks_in(LONGEST_CONCEALED) as i64 {
            // A pause: the call clock decides where it ends, which removes drift for nothing.
            return self.begin_at_clock(key, item);
        }
        if expected < self.next - i64::from(item.ticks) / 2 {
            self.totals.dropped += 1;
            return;
        }
        let lost = matches!((last.sequence, item.sequence), (Some(a), Some(b)) if b.wrapping_sub(a) != 1);
        self.fill(expected, lost);
        let placed = self.next;
        self.drift += (expected - placed) as f64;
        self.drift += ((clock - placed) as f64 - self.drift) / DRIFT_SMOOTHING;
        self.correct_drift(key, item);
    }

    /// Appends a sample, with silence before it or silence in its place where the track has
    /// drifted away from the call clock.
    fn correct_drift(&mut self, key: Key, item: Item<T>) {
        let limit = self.ticks_in(if item.quiet { DRIFT_LIMIT_QUIET } else { DRIFT_LIMIT }) as f64;
        if self.drift.abs() < limit {
            return self.append(key, item);
        }
        let correction = self.round(self.drift as i64);
        if correction > 0 {
            self.fill(self.next + correction, false);
            self.drift -= correction as f64;
            return self.append(key, item);
        }
        let ticks = i64::from(item.ticks);
        let before = self.next;
        self.fill(before + (ticks + correction).max(0), false);
        let removed = ticks - (self.next - before);
        self.drift += removed as f64;
        self.totals.dropped += 1;
        let position = self.next - ticks;
        self.last = Some(Placed { key, position, ticks: item.ticks, sequence: item.sequence });
    }

    fn append(&mut self, key: Key, item: Item<T>) {
        self.last = Some(Placed { key, position: self.next, ticks: item.ticks, sequence: item.sequence });
        self.next += i64::from(item.ticks);
        self.totals.samples += 1;
        self.output.push_back(Piece::Media { ticks: item.ticks, media: item.media });
    }

    /// Fills up to a position, as exactly as the granularity allows.
    fn fill(&mut self, position: i64, concealed: bool) {
        let ticks = self.round(position.saturating_sub(self.next)).max(0);
        if ticks == 0 {
            return;
        }
        self.next += ticks;
        let ticks = ticks.unsigned_abs();
        if concealed {
            self.totals.concealed += ticks;
            self.output.push_back(Piece::Concealed { ticks });
        } else {
            self.totals.silence += ticks;
            self.output.push_back(Piece::Silence { ticks });
        }
    }

    /// The nearest multiple of the granularity.
    fn round(&self, ticks: i64) -> i64 {
        let granularity = i64::from(self.layout.granularity.max(1));
        (ticks.saturating_add(granularity / 2)).div_euclid(granularity) * granularity
    }

    /// Position of a call time, negative before the beginning.
    fn position(&self, at: CallTime) -> i64 {
        position(self.begin, at, self.layout.rate)
    }

    fn ticks_in(&self, duration: Duration) -> u64 {
        ticks_in(duration, self.layout.rate)
    }
}

/// Ticks from the beginning of a recording to a call time, to the nearest tick.
pub(crate) fn position(begin: CallTime, at: CallTime, rate: u32) -> i64 {
    let ticks = |from: CallTime, to: CallTime| {
        let ticks = ticks_in(to.0.saturating_sub(from.0), rate);
        i64::try_from(ticks).unwrap_or(i64::MAX)
    };
    if at >= begin { ticks(begin, at) } else { -ticks(at, begin) }
}

/// Ticks in a duration, to the nearest one.
pub(crate) fn ticks_in(duration: Duration, rate: u32) -> u64 {
    let ticks = (duration.as_nanos() * u128::from(rate) + 500_000_000) / 1_000_000_000;
    u64::try_from(ticks).unwrap_or(u64::MAX)
}

/// The duration of these ticks.
pub(crate) fn duration_of(ticks: u64, rate: u32) -> Duration {
    let nanos = u128::from(ticks) * 1_000_000_000 / u128::from(rate.max(1));
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}
