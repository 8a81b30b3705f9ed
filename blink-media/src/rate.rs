//! How much may be sent on a path, and who gets it: sound first, then pictures.
//!
//! From the receiver's reports, over every transport: a queue that builds up or much that is lost
//! is a path that is full; then the rate goes below what came through, so that the queue empties
//! (as in draft-ietf-rmcat-gcc §5.5 and §6, in terms of RFC 8836). Otherwise it grows: quickly, but
//! with care near where it was full before. Where the transport has an estimate of its own, the
//! lesser of the two counts.
//!
//! Loss without a queue may be a bad radio link rather than a full one: sending less helps no one
//! there, so that alone takes nothing from sound.

use web_time::{Duration, Instant};

/// The least and the most that a path is taken to carry, in bits per second, and what is assumed
/// before anything is known.
const LEAST: f64 = 16_000.0;
const MOST: f64 = 20_000_000.0;
const START: f64 = 2_000_000.0;

/// A queue that every packet waits in for longer is a full path; one that is shorter than the
/// second is none.
const FULL: Duration = Duration::from_millis(100);
const EMPTY: Duration = Duration::from_millis(50);
/// Shares of loss: more is a full path, less is none.
const MUCH_LOSS: f32 = 0.1;
const LITTLE_LOSS: f32 = 0.02;

/// Of what comes through a full path, so much is sent from then on (draft-ietf-rmcat-gcc §5.5, β).
const RELIEF: f64 = 0.85;
/// Growth from one report to the next, near where the path was full before and elsewhere.
const CAREFUL: f64 = 1.04;
const QUICK: f64 = 1.25;
/// What is near.
const NEAR: std::ops::Range<f64> = 0.7..1.3;

/// A transport's estimate counts for so long.
const STALE: Duration = Duration::from_secs(10);

/// The least that sound is sent with, in bits per second: still understood.
pub const LEAST_AUDIO: u32 = 8_000;
/// What a packet takes beside its payload, in bits: IP, UDP, RTP with an extension, SRTP's tag.
pub const HEADERS: f64 = 8.0 * 58.0;

/// What sound asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AudioDemand {
    /// Bits of payload per second.
    pub bitrate: u32,
    /// Sound in a packet.
    pub frame: Duration,
}

/// What a receiver told of a path.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct PathReport {
    /// The share of packets that were lost, 0.0 to 1.0.
    pub loss: f32,
    /// How long every packet waits in a queue.
    pub delay: Duration,
    /// What came through, headers included, in bits per second.
    pub received: f64,
}

/// Who gets how much, in bits of payload per second.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Allocation {
    /// For sound; no more than it asked for.
    pub audio: u32,
    /// What is left for pictures.
    pub video: u32,
}

/// What one path carries.
#[derive(Debug, Clone)]
pub struct RateController {
    rate: f64,
    /// What came through when the path was full.
    full_at: Option<f64>,
    /// The transport's own estimate.
    estimate: Option<(Instant, f64)>,
}

impl Default for RateController {
    fn default() -> Self {
        Self { rate: START, full_at: None, estimate: None }
    }
}

impl RateController {
    /// The receiver told, as it does about once a second.
    pub fn handle_report(&mut self, report: PathReport, demand: AudioDemand) {
        let received = report.received.max(LEAST);
        if report.delay > FULL {
            self.full_at = Some(received);
            self.rate = self.rate.min(RELIEF * received);
        } else if report.loss > MUCH_LOSS {
            let least = self.rate.min(demand.total());
            self.rate = (self.rate * (1.0 - f64::from(report.loss) / 2.0)).min(received.max(least)).max(least);
        } else if report.loss < LITTLE_LOSS && report.delay < EMPTY {
            let near = self.full_at.is_some_and(|full| NEAR.contains(&(self.rate / full)));
            if self.full_at.is_some_and(|full| self.rate / full >= NEAR.end) {
                self.full_at = None;
            }
            self.rate *= if near { CAREFUL } else { QUICK };
        }
        self.rate = self.rate.clamp(LEAST, MOST);
    }

    /// The transport says what the path carries.
    pub fn handle_estimate(&mut self, now: Instant, bits_per_second: u64) {
        self.estimate = Some((now, bits_per_second as f64));
    }

    /// What the path is taken to carry, in bits per second, headers included.
    pub fn rate(&self, now: Instant) -> f64 {
        match self.estimate {
            Some((at, estimate)) if now < at + STALE => self.rate.min(estimate).max(LEAST),
            _ => self.rate,
        }
    }

    /// Who gets how much of it. Sound gets all that it asks for before pictures get anything.
    pub fn allocation(&self, now: Instant, demand: AudioDemand) -> Allocation {
        let rate = self.rate(now);
        let room = (rate - demand.headers()).max(LEAST_AUDIO.into());
        let audio = f64::from(demand.bitrate).min(room);
        // A full packet of pictures has 1,200 bytes beside its headers.
        let video = (rate - audio - demand.headers()).max(0.0) * (1.0 - HEADERS / 9_600.0);
        Allocation { audio: audio as u32, video: video as u32 }
    }
}

impl AudioDemand {
    fn headers(self) -> f64 {
        HEADERS / self.frame.as_secs_f64().max(0.001)
    }

    /// With headers.
    fn total(self) -> f64 {
        f64::from(self.bitrate) + self.headers()
    }
}

/// Decides which frames of an encoded video are sent where there is not room for all: whole groups
/// from a key frame on, so that everything that is sent can be decoded.
#[derive(Debug, Clone)]
pub struct VideoRateGate {
    /// Bits per second; `None` for no limit.
    rate: Option<u32>,
    /// Bits that may still be sent; a frame is sent whole while there is any, and what it takes too
    /// much is waited for.
    left: f64,
    at: Option<Instant>,
    /// Nothing is sent until a key frame.
    waiting: bool,
}

impl Default for VideoRateGate {
    fn default() -> Self {
        Self { rate: None, left: 0.0, at: None, waiting: false }
    }
}

/// What is not sent may be sent later for so long.
const SAVED: f64 = 0.5;

impl VideoRateGate {
    /// How much there is from now on, in bits per second; `None` for no limit.
    pub fn set_rate(&mut self, now: Instant, rate: Option<u32>) {
        self.refill(now);
        self.rate = rate;
        self.left = self.left.min(self.most());
    }

    /// Whether a frame of so many bytes is sent. Ask for every frame, in order.
    pub fn admit(&mut self, now: Instant, bytes: usize, key: bool) -> bool {
        self.refill(now);
        if self.rate.is_none() && (key || !self.waiting) {
            self.waiting = false;
            return true;
        }
        if (self.waiting && !key) || self.left <= 0.0 {
            self.waiting = true;
            return false;
        }
        self.waiting = false;
        self.left -= bytes as f64 * 8.0;
        true
    }

    /// Whether there is room again, and only a key frame is missing.
    pub fn wants_key_frame(&mut self, now: Instant) -> bool {
        self.refill(now);
        self.waiting && (self.rate.is_none() || (self.left > 0.0 && self.left >= self.most() / 2.0))
    }

    fn most(&self) -> f64 {
        self.rate.map_or(0.0, |rate| f64::from(rate) * SAVED)
    }

    fn refill(&mut self, now: Instant) {
        let since = self.at.map_or(SAVED, |at| now.saturating_duration_since(at).as_secs_f64());
        self.at = Some(now);
        self.left = (self.left + self.rate.map_or(0.0, f64::from) * since).min(self.most());
    }
}

#[cfg(test)]
mod tests;
