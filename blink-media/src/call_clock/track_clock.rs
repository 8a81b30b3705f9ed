//! One track on one RTP clock.

use web_time::Instant;

use blink_api::RtpTime;

use super::ClockBasis;
use super::envelope::LowerEnvelope;
use super::fitted_line::{Fit, FittedLine};
use super::monotone_map::MonotoneMap;
use super::remote_clock::RemoteClock;
use crate::unwrap::TimestampUnwrapper;

/// Where arrival and timestamp go apart by more than this from one packet to the next, the sender
/// began anew, if the next packet says so too.
const RESTART_S: f64 = 10.0;
/// A capture time lies before the arrival of the packet, and not by more than this.
const LONGEST_DELAY_US: f64 = 10e6;
/// Questions about timestamps further than this from the newest are not answered.
const ANSWERED_S: f64 = 60.0;
/// A report that is off those before waits this long for pings to tell whose clock stepped.
const DISPUTE_S: f64 = 5.0;
/// Delay of all recent packets over the envelope that is no queue but another path.
const RISEN_US: f64 = 100_000.0;
/// Arrivals that tell of drift: dense ones over some time.
const SKEW_SAMPLES: u32 = 400;
const SKEW_SPAN_S: f64 = 20.0;
/// Distance of the points that are kept of own captures and of reports, in seconds.
const CAPTURE_SPACING_S: f64 = 0.2;
const REPORT_SPACING_S: f64 = 0.5;

/// Clocks of one track's endpoint.
#[derive(Debug, Default)]
pub(super) struct EndpointClocks {
    /// The clock of the time sync and of capture reports.
    pub(super) sync: RemoteClock,
    /// The clock of RTCP sender reports.
    pub(super) ntp: RemoteClock,
    /// When evidence came last, own microseconds.
    pub(super) heard: f64,
}

/// RTP timestamps of one track to own time.
///
/// Times are seconds of the track (`x`: ticks by the clock rate) and microseconds of this device.
#[derive(Debug)]
pub(super) struct TrackClock {
    clock_rate: u32,
    timestamps: TimestampUnwrapper,
    /// Added to the count of ticks: each restart's numbers lie behind those before.
    base: i64,
    /// A packet that is out of line, and when it came.
    stray: Option<TimestampUnwrapper>,
    newest: f64,
    /// When evidence came last, own microseconds.
    pub(super) heard: f64,
    /// Own time less track time of arrivals.
    arrivals: LowerEnvelope,
    captures: FittedLine,
    reports: FittedLine,
    sender_reports: FittedLine,
    /// Drift of arrivals, as of the last steering.
    arrival_skew: Option<f64>,
    /// Until when a report that is off those before is disputed, and how many steps of the
    /// endpoint's clock were followed until then.
    disputed: Option<(f64, u32)>,
    map: Option<MonotoneMap>,
}

impl TrackClock {
    pub(super) fn new(clock_rate: u32, first: RtpTime, at: Instant, now: f64) -> Self {
        let timestamps = TimestampUnwrapper::new(clock_rate, first, at);
        Self {
            clock_rate,
            newest: timestamps.newest() as f64 / f64::from(clock_rate),
            timestamps,
            base: 0,
            stray: None,
            heard: now,
            arrivals: LowerEnvelope::default(),
            captures: FittedLine::new(CAPTURE_SPACING_S),
            reports: FittedLine::new(REPORT_SPACING_S),
            sender_reports: FittedLine::new(REPORT_SPACING_S),
            arrival_skew: None,
            disputed: None,
            map: None,
        }
    }

    /// Takes the capture time of something this device sends.
    pub(super) fn handle_capture(
        &mut self,
        timestamp: RtpTime,
        at: Instant,
        captured: f64,
        clocks: &mut EndpointClocks,
    ) {
        self.heard = captured;
        let Some(x) = self.place(timestamp, at, captured) else { return };
        self.captures.observe(x, captured);
        self.steer(captured, clocks);
    }

    /// Takes the arrival of a packet.
    pub(super) fn handle_packet(&mut self, timestamp: RtpTime, at: Instant, now: f64, clocks: &mut EndpointClocks) {
        self.heard = now;
        let Some(x) = self.place(timestamp, at, now) else { return };
        self.arrivals.observe(now / 1e6, now - x * 1e6);
        if let Some(captured) = self.reports.at(x) {
            clocks.sync.handle_media(captured, now);
        }
        if let Some(captured) = self.sender_reports.at(x) {
            clocks.ntp.handle_media(captured, now);
        }
        self.steer(now, clocks);
    }

    /// Takes a capture report of the endpoint.
    pub(super) fn handle_report(
        &mut self,
        timestamp: RtpTime,
        captured: f64,
        at: Instant,
        now: f64,
        clocks: &mut EndpointClocks,
    ) {
        let Some(x) = self.near(timestamp, at) else { return };
        self.heard = now;
        match self.reports.observe(x, captured) {
            Fit::Ignored => return,
            Fit::Fitted => {}
            // The endpoint's clock went on by `off`, or the track fell behind by as much. If pings
            // tell the former, all is well; until they do, the mapping goes on as it was.
            Fit::Stepped(off) if clocks.sync.handle_step(now / 1e6, off) => {}
            Fit::Stepped(_) => self.disputed = Some((now + DISPUTE_S * 1e6, clocks.sync.steps())),
        }
        self.steer(now, clocks);
    }

    /// Takes an RTCP sender report, whose NTP time is given in microseconds.
    pub(super) fn handle_sender_report(&mut self, timestamp: RtpTime, ntp: f64, at: Instant) {
        if let Some(x) = self.near(timestamp, at) {
            self.sender_reports.observe(x, ntp);
        }
    }

    /// Own time at which something was captured.
    pub(super) fn own_time(&self, timestamp: RtpTime) -> Option<f64> {
        let newest = self.timestamps.newest();
        let x = self.seconds(newest + i64::from(timestamp.since(RtpTime(newest as u32))));
        let map = self.map.as_ref()?;
        ((x - self.newest).abs() <= ANSWERED_S).then(|| map.at(x))
    }

    /// Timestamp of what was captured at an own time.
    pub(super) fn timestamp(&self, own: f64) -> Option<RtpTime> {
        let x = self.map.as_ref()?.inverse(own);
        let ticks = (x * f64::from(self.clock_rate)).round() as i64 - self.base;
        ((x - self.newest).abs() <= ANSWERED_S).then_some(RtpTime(ticks as u32))
    }

    /// Newest timestamp and when it was captured, of a track of this device.
    pub(super) fn newest_capture(&self) -> Option<(RtpTime, f64)> {
        let newest = self.timestamps.newest();
        Some((RtpTime(newest as u32), self.captures.at(self.seconds(newest))?))
    }

    pub(super) fn basis(&self, clocks: &EndpointClocks) -> Option<ClockBasis> {
        self.map.as_ref()?;
        let has = |line: &FittedLine| line.at(0.0).is_some();
        Some(match () {
            () if has(&self.captures) => ClockBasis::Captured,
            () if has(&self.reports) && clocks.sync.is_synchronized() => ClockBasis::Synchronized,
            () if has(&self.reports) => ClockBasis::CaptureReports,
            () if has(&self.sender_reports) => ClockBasis::SenderReports,
            () => ClockBasis::Arrivals,
        })
    }

    /// Track time of a packet; `None` for one that is out of line.
    fn place(&mut self, timestamp: RtpTime, at: Instant, now: f64) -> Option<f64> {
        if let Some(x) = self.near(timestamp, at) {
            self.stray = None;
            if x > self.newest || self.map.is_none() {
                self.timestamps.advance(timestamp, at);
                self.newest = x;
            }
            return Some(x);
        }
        // One packet may be damaged, or late by a wrap; two that follow each other are a restart.
        let rate = f64::from(self.clock_rate);
        let follows = |stray: &TimestampUnwrapper| {
            let moved = stray.extend(timestamp, at) - stray.newest();
            (0.0..RESTART_S).contains(&(moved as f64 / rate))
        };
        if !self.stray.as_ref().is_some_and(follows) {
            self.stray = Some(TimestampUnwrapper::new(self.clock_rate, timestamp, at));
            return None;
        }
        self.restart(timestamp, at, now);
        Some(self.newest)
    }

    /// Begins anew with other timestamps.
    fn restart(&mut self, timestamp: RtpTime, at: Instant, now: f64) {
        let before = self.timestamps.newest() + self.base;
        let timestamps = TimestampUnwrapper::new(self.clock_rate, timestamp, at);
        // The count goes on: everything after the restart lies behind everything before it.
        self.base = before + i64::from(self.clock_rate) - timestamps.newest();
        self.timestamps = timestamps;
        self.stray = None;
        let (newest, x) = (self.newest, self.seconds(self.timestamps.newest()));
        self.newest = x;
        self.arrivals.clear();
        for line in [&mut self.captures, &mut self.reports, &mut self.sender_reports] {
            line.clear();
        }
        (self.arrival_skew, self.disputed) = (None, None);
        if let Some(map) = &mut self.map {
            map.restart(newest, x, now);
        }
    }

    /// Track time of a timestamp that is near where the sender's clock must be by now.
    fn near(&self, timestamp: RtpTime, at: Instant) -> Option<f64> {
        let expected = self.timestamps.expected(at);
        let count = self.timestamps.extend(timestamp, at);
        let off = (count - expected) as f64 / f64::from(self.clock_rate);
        (off.abs() <= RESTART_S).then(|| self.seconds(count))
    }

    fn seconds(&self, count: i64) -> f64 {
        (count + self.base) as f64 / f64::from(self.clock_rate)
    }

    /// Where all recent packets came later than the envelope says, it is one of another path, or
    /// the track stood still.
    fn forget_the_old_path(&mut self, now: f64) {
        let (at, skew) = (now / 1e6, self.arrival_skew.unwrap_or(0.0));
        let risen = self.arrivals.recent(at, skew).zip(self.arrivals.at(at, skew));
        if risen.is_some_and(|(recent, least)| recent > least + RISEN_US) {
            self.arrivals.keep_newest(2);
        }
    }

    /// Brings the mapping nearer to what the evidence says, every half second.
    fn steer(&mut self, now: f64, clocks: &mut EndpointClocks) {
        if self.map.as_ref().is_some_and(|map| !map.is_due(self.newest)) {
            return;
        }
        self.forget_the_old_path(now);
        let is_dense = self.arrivals.samples() >= SKEW_SAMPLES && self.arrivals.span() >= SKEW_SPAN_S;
        self.arrival_skew = self.arrivals.skew().filter(|_| is_dense);
        if let Some((arrivals, reports)) = self.arrival_skew.zip(self.reports.skew()) {
            // Own against RTP, and RTP against remote.
            clocks.sync.handle_skew(arrivals - reports);
        }
        let steps = clocks.sync.steps();
        self.disputed = self.disputed.filter(|(until, before)| now < *until && *before == steps);
        let Some((value, slope)) = self.target(now, clocks) else { return };
        let target = |x: f64| value + slope * x;
        match &mut self.map {
            None => self.map = Some(MonotoneMap::new(self.newest, target(self.newest))),
            Some(_) if self.disputed.is_some() => {}
            Some(map) => map.steer(self.newest, slope - 1e6, target),
        }
    }

    /// Own time of track time by the best evidence there is: its value at 0, and its slope.
    fn target(&self, now: f64, clocks: &EndpointClocks) -> Option<(f64, f64)> {
        let at = now / 1e6;
        let line = |line: &FittedLine, offset: f64| Some((line.at(0.0)? + offset, line.slope()));
        if let Some(captured) = line(&self.captures, 0.0) {
            return Some(captured);
        }
        let skew = self.arrival_skew.unwrap_or(0.0);
        let delay = clocks.sync.one_way(at).unwrap_or(0.0);
        let reported = clocks.sync.offset(at).and_then(|offset| line(&self.reports, offset));
        let reported = reported.or_else(|| line(&self.sender_reports, clocks.ntp.offset(at)? - delay));
        let Some(earliest) = self.arrivals.recent(at, skew) else {
            // Nothing came yet: the endpoint's word is all there is.
            return reported;
        };
        let envelope = self.arrivals.at(at, skew).unwrap_or(earliest) - delay;
        let (value, slope) = reported.unwrap_or((envelope - skew * self.newest, 1e6 + skew));
        // Nothing is captured after it arrived, whatever a report says.
        let at_newest = value + (slope - 1e6) * self.newest;
        let bounded = at_newest.clamp(earliest - LONGEST_DELAY_US, earliest);
        Some((value + bounded - at_newest, slope))
    }
}
