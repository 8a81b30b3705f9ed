//! One clock per call: RTP timestamps of every track to [`CallTime`] and back.
//!
//! ```text
//!  evidence                                          answer
//!  handle_capture        (own track, Instant)  ─┐
//!  handle_packet         (track, arrival)       │
//!  handle_capture_report (track, their clock)   ├──► call_time(track, RTP) ── CallTime
//!  handle_sender_report  (track, NTP)           │    rtp_time(track, CallTime) ── RTP
//!  handle_sync           (endpoint, ping)      ─┘    capture_points() ── what the reports carry
//! ```
//!
//! Recorders, lip-sync, latency figures and quality analysis use this mapping and nothing else. It
//! reads no clock, takes no lock, and holds a bounded amount of memory whatever peers send.

mod envelope;
mod fitted_line;
mod monotone_map;
mod remote_clock;
mod track_clock;

use std::collections::BTreeMap;

use web_time::{Duration, Instant};

use blink_api::{CallTime, Endpoint, RtpTime, TrackKey};

use track_clock::{EndpointClocks, TrackClock};

/// An RTP timestamp together with the clock that it counts: a track that is sent with Opus and with
/// PCMU has one timeline at 48 kHz and one at 8 kHz.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct RtpStamp {
    /// The timestamp (RFC 3550 §5.1).
    pub timestamp: RtpTime,
    /// Ticks per second of the payload format: 8,000, 48,000, 90,000, …
    pub clock_rate: u32,
}

/// One round of the time sync with an endpoint: a Ping of this device and its Pong
/// (docs/protocol.md, "The data channel"). All times are microseconds since the zero of a clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SyncRound {
    /// When the Ping left, on this device's clock.
    pub sent_us: u64,
    /// When the Ping arrived, on the endpoint's clock.
    pub received_us: u64,
    /// When the Pong arrived, on this device's clock.
    pub answered_us: u64,
}

impl SyncRound {
    /// Time from the Ping to the Pong.
    pub fn round_trip(&self) -> Duration {
        Duration::from_micros(self.answered_us.saturating_sub(self.sent_us))
    }
}

/// "The sample or frame with this timestamp was captured at this time": an entry of the
/// data-channel report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CapturePoint {
    /// The track, of this device.
    pub track: TrackKey,
    /// The timestamp.
    pub stamp: RtpStamp,
    /// When it was captured: microseconds on the clock of this device's time sync.
    pub captured_us: u64,
}

/// The best evidence that the mapping of a track rests on, worst first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ClockBasis {
    /// Arrivals of packets: late by the shortest delay of the path unless that is known.
    Arrivals,
    /// RTCP sender reports, placed by arrivals: as above, but tracks of one endpoint agree.
    SenderReports,
    /// Capture reports of the endpoint, placed by arrivals until there is a time sync.
    CaptureReports,
    /// Capture reports of the endpoint and the time sync with it.
    Synchronized,
    /// Capture times of this device.
    Captured,
}

/// Endpoints, and tracks of one endpoint, that are known at a time. Of more, the one that was heard
/// of least recently is forgotten.
const MAX_ENDPOINTS: usize = 64;
const MAX_TRACKS: usize = 16;
/// Clock rates that payload formats have.
const CLOCK_RATES: std::ops::RangeInclusive<u32> = 1_000..=192_000;
/// Own tracks are in reports for this long after their last capture.
const REPORTED_FOR: Duration = Duration::from_secs(5);

/// Maps RTP timestamps to the call's time.
///
/// Evidence, best first: own capture times; capture reports with the time sync; capture reports or
/// RTCP sender reports, placed by arrivals; arrivals alone, of which the lower envelope counts: the
/// least-delayed packets of the last four minutes, with the drift of the clocks taken out, less the
/// shortest one-way delay where pings tell it.
///
/// When the evidence improves, the mapping follows as this says, and never goes backwards:
///
/// | it should be | it |
/// |---|---|
/// | up to 250 ms earlier or later | is slewed by at most 5 % of the time, over 2 s or longer |
/// | more than 250 ms later | steps there |
/// | more than 250 ms earlier | stands still until it is right |
///
/// Nothing that an endpoint says moves a capture time past the arrival of the packet, or more than
/// 10 s before it, and nothing that it says concerns another endpoint's tracks. What no receiver
/// can know remains as an error: half the difference between the two ways' shortest delays.
#[derive(Debug)]
pub struct CallClock {
    epoch: Instant,
    start: Instant,
    endpoints: BTreeMap<Endpoint, EndpointClocks>,
    tracks: BTreeMap<(TrackKey, u32), TrackClock>,
    /// The newest moment of any evidence, own microseconds.
    newest: f64,
}

impl CallClock {
    /// Creates a clock. `epoch` is the zero of this device's clock in the time sync (what `sent_us`
    /// of a Ping counts from); `start` is the zero of [`CallTime`].
    pub fn new(epoch: Instant, start: Instant) -> Self {
        Self { epoch, start, endpoints: BTreeMap::new(), tracks: BTreeMap::new(), newest: f64::NEG_INFINITY }
    }

    /// Zero of [`CallTime`].
    pub fn start(&self) -> Instant {
        self.start
    }

    /// Call time of a moment of this device; zero for moments before the start.
    pub fn call_time_at(&self, at: Instant) -> CallTime {
        CallTime(at.saturating_duration_since(self.start))
    }

    /// Moment of this device at a call time.
    pub fn instant_at(&self, at: CallTime) -> Instant {
        self.start.checked_add(at.0).unwrap_or(self.start)
    }

    /// Takes the capture time of something this device sends. Give those of paused and muted tracks
    /// too, as far as their timestamps go on.
    pub fn handle_capture(&mut self, track: TrackKey, stamp: RtpStamp, captured: Instant) {
        let at = self.micros(captured);
        self.with_track(track, stamp, captured, |clock, clocks| {
            clock.handle_capture(stamp.timestamp, captured, at, clocks);
        });
    }

    /// Takes the arrival of a packet with payload. Padding has no time (RFC 3550 §5.1).
    pub fn handle_packet(&mut self, track: TrackKey, stamp: RtpStamp, arrival: Instant) {
        let now = self.micros(arrival);
        self.with_track(track, stamp, arrival, |clock, clocks| {
            clock.handle_packet(stamp.timestamp, arrival, now, clocks);
        });
    }

    /// Takes an entry of an endpoint's data-channel report that arrived at `arrival`:
    /// `captured_us` is on the endpoint's clock. Absurd values change nothing.
    pub fn handle_capture_report(&mut self, track: TrackKey, stamp: RtpStamp, captured_us: u64, arrival: Instant) {
        let now = self.micros(arrival);
        self.with_track(track, stamp, arrival, |clock, clocks| {
            clock.handle_report(stamp.timestamp, captured_us as f64, arrival, now, clocks);
        });
    }

    /// Takes an RTCP sender report (RFC 3550 §6.4.1) of a track: its RTP timestamp and its 64-bit
    /// NTP timestamp. One of a track without packets is ignored.
    pub fn handle_sender_report(&mut self, track: TrackKey, stamp: RtpStamp, ntp: u64, arrival: Instant) {
        if let Some(clock) = self.tracks.get_mut(&(track, stamp.clock_rate)) {
            // 32 bits of seconds, 32 bits of their fraction.
            clock.handle_sender_report(stamp.timestamp, ntp as f64 * 1e6 / 2f64.powi(32), arrival);
        }
    }

    /// Takes a round of the time sync with an endpoint. Give every round, not only the quickest;
    /// rounds that were given before are ignored.
    pub fn handle_sync(&mut self, endpoint: Endpoint, round: SyncRound) {
        self.clocks(endpoint).sync.handle_round(round);
    }

    /// Forgets a track that ended.
    pub fn remove_track(&mut self, track: &TrackKey) {
        self.tracks.retain(|(key, _), _| key != track);
    }

    /// Forgets an endpoint with all its tracks, such as one that left or whose session is replaced:
    /// its clock may be another one then.
    pub fn remove_endpoint(&mut self, endpoint: &Endpoint) {
        self.endpoints.remove(endpoint);
        self.tracks.retain(|(key, _), _| key.endpoint != *endpoint);
    }

    /// Call time at which a sample or frame was captured; `None` for an unknown track, or for a
    /// timestamp more than a minute from the newest.
    ///
    /// For one track it never goes backwards: what it answers for timestamps up to 250 ms beyond
    /// the newest packet is not revised later.
    pub fn call_time(&self, track: &TrackKey, stamp: RtpStamp) -> Option<CallTime> {
        let own = self.tracks.get(&(*track, stamp.clock_rate))?.own_time(stamp.timestamp)?;
        let since = own - self.micros(self.start);
        // A float becomes the nearest integer there is: 0 for what was captured before the start.
        Some(CallTime(Duration::from_micros(since as u64)))
    }

    /// RTP timestamp of what a track captured at a call time; the inverse of
    /// [`call_time`](Self::call_time). `None` for an unknown track, or for a time more than a
    /// minute from the newest.
    pub fn rtp_time(&self, track: &TrackKey, clock_rate: u32, at: CallTime) -> Option<RtpTime> {
        let own = self.micros(self.start) + at.0.as_secs_f64() * 1e6;
        self.tracks.get(&(*track, clock_rate))?.timestamp(own)
    }

    /// Evidence that a track's mapping rests on; `None` for an unknown track.
    pub fn basis(&self, track: &TrackKey, clock_rate: u32) -> Option<ClockBasis> {
        let clock = self.tracks.get(&(*track, clock_rate))?;
        clock.basis(self.endpoints.get(&track.endpoint)?)
    }

    /// Capture points of everything this device captured in the last 5 s, for the data-channel
    /// report: one for each track and clock rate. Send those that the recipient receives.
    pub fn capture_points(&self) -> impl Iterator<Item = CapturePoint> + '_ {
        let since = self.newest - REPORTED_FOR.as_secs_f64() * 1e6;
        let own = self.tracks.iter().filter(move |(_, clock)| clock.heard >= since);
        own.filter_map(|((track, clock_rate), clock)| {
            let (timestamp, captured) = clock.newest_capture()?;
            let stamp = RtpStamp { timestamp, clock_rate: *clock_rate };
            Some(CapturePoint { track: *track, stamp, captured_us: captured as u64 })
        })
    }

    /// Has a track take evidence of a moment, a new one if need be.
    fn with_track(
        &mut self,
        track: TrackKey,
        stamp: RtpStamp,
        at: Instant,
        handle: impl FnOnce(&mut TrackClock, &mut EndpointClocks),
    ) {
        if !CLOCK_RATES.contains(&stamp.clock_rate) {
            return;
        }
        let (key, now) = ((track, stamp.clock_rate), self.micros(at));
        self.newest = self.newest.max(now);
        if !self.tracks.contains_key(&key) {
            self.make_room(&track.endpoint);
            self.tracks.insert(key, TrackClock::new(stamp.clock_rate, stamp.timestamp, at, now));
        }
        self.clocks(track.endpoint);
        if let (Some(clock), Some(clocks)) = (self.tracks.get_mut(&key), self.endpoints.get_mut(&track.endpoint)) {
            clocks.heard = now;
            handle(clock, clocks);
        }
    }

    fn make_room(&mut self, endpoint: &Endpoint) {
        let of_endpoint = self.tracks.iter().filter(|((key, _), _)| key.endpoint == *endpoint);
        if of_endpoint.clone().count() >= MAX_TRACKS
            && let Some((&stale, _)) = of_endpoint.min_by(|(_, a), (_, b)| a.heard.total_cmp(&b.heard))
        {
            self.tracks.remove(&stale);
        }
    }

    fn clocks(&mut self, endpoint: Endpoint) -> &mut EndpointClocks {
        if !self.endpoints.contains_key(&endpoint) && self.endpoints.len() >= MAX_ENDPOINTS {
            let stale = self.endpoints.iter().min_by(|(_, a), (_, b)| a.heard.total_cmp(&b.heard));
            if let Some(stale) = stale.map(|(stale, _)| *stale) {
                self.remove_endpoint(&stale);
            }
        }
        self.endpoints.entry(endpoint).or_default()
    }

    /// Microseconds of this device's clock.
    fn micros(&self, at: Instant) -> f64 {
        match at.checked_duration_since(self.epoch) {
            Some(since) => since.as_secs_f64() * 1e6,
            None => -self.epoch.saturating_duration_since(at).as_secs_f64() * 1e6,
        }
    }
}

#[cfg(test)]
mod tests;
