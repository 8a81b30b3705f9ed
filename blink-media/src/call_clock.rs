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

use web_time::{Duration, Instant};

use blink_api::{CallTime, Endpoint, RtpTime, StreamId};

/// The source of a track. (Moves to `blink-api`.)
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum TrackSource {
    /// The endpoint's microphone.
    Microphone,
    /// A stream that the endpoint offers.
    Stream(StreamId),
}

/// The name of a track. (Moves to `blink-api`.)
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TrackKey {
    /// The sender.
    pub endpoint: Endpoint,
    /// The sender's source.
    pub source: TrackSource,
}

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

/// Maps RTP timestamps to the call's time.
#[derive(Debug)]
pub struct CallClock {
    epoch: Instant,
    start: Instant,
}

impl CallClock {
    /// Creates a clock. `epoch` is the zero of this device's clock in the time sync (what `sent_us`
    /// counts from); `start` is the zero of [`CallTime`].
    pub fn new(epoch: Instant, start: Instant) -> Self {
        Self { epoch, start }
    }

    /// Call time of a moment of this device; zero for moments before the start.
    pub fn call_time_at(&self, at: Instant) -> CallTime {
        CallTime(at.saturating_duration_since(self.start))
    }

    /// Moment of this device at a call time.
    pub fn instant_at(&self, at: CallTime) -> Instant {
        self.start + at.0
    }

    /// Takes the capture time of something this device sends.
    pub fn handle_capture(&mut self, _track: TrackKey, _stamp: RtpStamp, _captured: Instant) {}

    /// Takes the arrival of a packet with payload.
    pub fn handle_packet(&mut self, _track: TrackKey, _stamp: RtpStamp, _arrival: Instant) {}

    /// Takes an entry of an endpoint's data-channel report that arrived at `arrival`:
    /// `captured_us` is on the endpoint's clock. Absurd values change nothing.
    pub fn handle_capture_report(&mut self, _track: TrackKey, _stamp: RtpStamp, _captured_us: u64, _arrival: Instant) {}

    /// Takes an RTCP sender report (RFC 3550 §6.4.1) of a track: its RTP timestamp and its 64-bit
    /// NTP timestamp.
    pub fn handle_sender_report(&mut self, _track: TrackKey, _stamp: RtpStamp, _ntp: u64, _arrival: Instant) {}

    /// Takes a round of the time sync with an endpoint. Feed every round, not only the quickest.
    pub fn handle_sync(&mut self, _endpoint: Endpoint, _round: SyncRound) {}

    /// Forgets a track that ended.
    pub fn remove_track(&mut self, _track: &TrackKey) {}

    /// Forgets an endpoint with all its tracks, such as one that left.
    pub fn remove_endpoint(&mut self, _endpoint: &Endpoint) {}

    /// Call time at which a sample or frame was captured; `None` for an unknown track, or for a
    /// timestamp more than a minute from the newest.
    ///
    /// For one track it never goes backwards: what it answers for timestamps up to 250 ms beyond
    /// the newest packet is not revised later.
    pub fn call_time(&self, _track: &TrackKey, _stamp: RtpStamp) -> Option<CallTime> {
        None
    }

    /// RTP timestamp of what a track captured at a call time; the inverse of
    /// [`call_time`](Self::call_time).
    pub fn rtp_time(&self, _track: &TrackKey, _clock_rate: u32, _at: CallTime) -> Option<RtpTime> {
        None
    }

    /// Evidence that a track's mapping rests on; `None` for an unknown track.
    pub fn basis(&self, _track: &TrackKey) -> Option<ClockBasis> {
        None
    }

    /// Capture points of everything this device sent of late, for the data-channel report. One
    /// entry per track and clock rate: send those that the recipient receives.
    pub fn capture_points(&self) -> impl Iterator<Item = CapturePoint> + '_ {
        let _ = Duration::ZERO;
        std::iter::empty()
    }
}
