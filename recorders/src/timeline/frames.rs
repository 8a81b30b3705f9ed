//! The time line of video frames.

use std::time::Duration;

use blink_api::{CallTime, RtpTime};

use super::{Totals, position, ticks_in};

/// Ticks of RTP time and positions per second (RFC 3551 §4.1).
pub(crate) const RATE: u32 = 90_000;
/// Difference of RTP time and call clock from which on the call clock decides.
const CLOCK_LIMIT: Duration = Duration::from_millis(15);
/// Pause after which only a key frame can be shown: the stream was closed and opened again, or
/// frames were lost.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// Frames this far ahead of the last tick have an impossible time.
const FURTHEST_AHEAD: Duration = Duration::from_secs(60);
/// Duration of the last frame of a track that ends with it.
const LAST_FRAME: u64 = RATE as u64 / 30;

/// A frame with its place, in ticks since the beginning of the recording.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Frame<T> {
    pub(crate) position: u64,
    pub(crate) ticks: u32,
    pub(crate) key: bool,
    pub(crate) media: T,
}

#[derive(Debug)]
struct Pending<T> {
    position: u64,
    key: bool,
    media: T,
}

/// One stream's time line: each frame is shown until the next one.
#[derive(Debug)]
pub(crate) struct FrameTimeline<T> {
    begin: CallTime,
    now: CallTime,
    /// RTP time and position of the last frame.
    last: Option<(RtpTime, i64)>,
    /// The frame whose duration is not known yet.
    pending: Option<Pending<T>>,
    totals: Totals,
}

impl<T> FrameTimeline<T> {
    pub(crate) fn new(begin: CallTime) -> Self {
        Self { begin, now: begin, last: None, pending: None, totals: Totals::default() }
    }

    /// Sets the beginning of the recording, before anything is pushed.
    pub(crate) fn set_begin(&mut self, begin: CallTime) {
        self.begin = begin;
        self.now = self.now.max(begin);
    }

    pub(crate) fn tick(&mut self, now: CallTime) {
        self.now = self.now.max(now);
    }

    /// Takes a frame; gives the one before it, whose duration is known now.
    pub(crate) fn push(&mut self, at: CallTime, timestamp: RtpTime, key: bool, media: T) -> Option<Frame<T>> {
        let clock = position(self.begin, at, RATE);
        let position = self.place(clock, timestamp);
        let pause = self.last.is_none_or(|(_, last)| position - last > ticks_in(LONGEST_PAUSE, RATE) as i64);
        let impossible = at.0 > self.now.0.saturating_add(FURTHEST_AHEAD) || clock < 0;
        let backwards = self.last.is_some_and(|(_, last)| position <= last);
        if impossible || backwards || pause && !key {
            self.totals.dropped += 1;
            return None;
        }
        self.last = Some((timestamp, position));
        self.totals.samples += 1;
        let position = position.unsigned_abs();
        let before = self.pending.replace(Pending { position, key, media });
        before.map(|before| finished(before, position))
    }

    /// The last frame, shown until `end` ticks.
    pub(crate) fn finish(&mut self, end: u64) -> Option<Frame<T>> {
        let last = self.pending.take()?;
        let end = end.max(last.position + LAST_FRAME);
        Some(finished(last, end))
    }

    /// Position of the frame whose duration is not known yet.
    pub(crate) fn pending(&self) -> Option<u64> {
        self.pending.as_ref().map(|pending| pending.position)
    }

    /// End of the last frame, were it the end of the track.
    pub(crate) fn end(&self) -> u64 {
        self.pending.as_ref().map_or(0, |pending| pending.position + LAST_FRAME)
    }

    pub(crate) fn totals(&self) -> Totals {
        self.totals
    }

    pub(crate) fn count_dropped(&mut self) {
        self.totals.dropped += 1;
    }

    /// RTP time decides while it agrees with the call clock: frames keep their even distances.
    fn place(&self, clock: i64, timestamp: RtpTime) -> i64 {
        let limit = ticks_in(CLOCK_LIMIT, RATE) as i64;
        let by_rtp = self.last.map(|(last, position)| position + i64::from(timestamp.since(last)));
        by_rtp.filter(|by_rtp| (by_rtp - clock).abs() <= limit).unwrap_or(clock).max(0)
    }
}

fn finished<T>(frame: Pending<T>, end: u64) -> Frame<T> {
    let ticks = u32::try_from(end.saturating_sub(frame.position)).unwrap_or(u32::MAX);
    Frame { position: frame.position, ticks, key: frame.key, media: frame.media }
}
