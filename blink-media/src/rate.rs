//! Rate control of one path, and its division: audio first, then video.
//!
//! It uses the receiver's reports, over every transport. A standing queue or much loss is a full
//! path: the rate goes below what was received, so that the queue empties (draft-ietf-rmcat-gcc
//! §5.5 and §6; terms of RFC 8836). Otherwise the rate grows, slowly near where the path was full
//! before. If the transport has an estimate of its own, the lower of the two counts.
//!
//! Loss without a queue may be a bad radio link rather than a full path. Sending less helps no one
//! there, so loss alone takes nothing from audio.

use web_time::{Duration, Instant};

/// Least and greatest rate of a path, and the rate assumed at the beginning, in bits per second.
const LEAST: f64 = 16_000.0;
const MOST: f64 = 20_000_000.0;
const START: f64 = 2_000_000.0;

/// Standing delay above which a path is full, and below which it has no queue.
const FULL: Duration = Duration::from_millis(100);
const EMPTY: Duration = Duration::from_millis(50);
/// Shares of loss above which a path is full, and below which it has room.
const MUCH_LOSS: f32 = 0.1;
const LITTLE_LOSS: f32 = 0.02;

/// Share of the received rate that is sent on a full path (draft-ietf-rmcat-gcc §5.5, β).
const RELIEF: f64 = 0.85;
/// Growth from one report to the next: near where the path was full before, and elsewhere.
const CAREFUL: f64 = 1.04;
const QUICK: f64 = 1.25;
/// Range around the rate at which the path was full, as a share of it, that counts as near.
const NEAR: std::ops::Range<f64> = 0.7..1.3;

/// Age at which a transport's estimate is ignored.
const STALE: Duration = Duration::from_secs(10);

/// Least bitrate of audio, in bits per second: still intelligible.
pub const LEAST_AUDIO: u32 = 8_000;
/// Bits of a packet beside its payload: IP, UDP, RTP with an extension, SRTP's tag.
pub const HEADERS: f64 = 8.0 * 58.0;

/// Bitrate that audio asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AudioDemand {
    /// Bits of payload per second.
    pub bitrate: u32,
    /// Duration of the audio in a packet.
    pub frame: Duration,
}

/// Receiver's report about a path.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct PathReport {
    /// Share of packets that were lost, 0.0 to 1.0.
    pub loss: f32,
    /// Standing delay: the time that every packet waits in a queue.
    pub delay: Duration,
    /// Received rate, headers included, in bits per second.
    pub received: f64,
}

/// Division of a path's rate, in bits of payload per second.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Allocation {
    /// Bitrate of audio; at most what it asked for.
    pub audio: u32,
    /// Bitrate that is left for video.
    pub video: u32,
}

/// Rate controller of one path.
#[derive(Debug, Clone)]
pub struct RateController {
    rate: f64,
    /// Received rate when the path was full.
    full_at: Option<f64>,
    /// The transport's own estimate, and when it came.
    estimate: Option<(Instant, f64)>,
}

impl Default for RateController {
    fn default() -> Self {
        Self { rate: START, full_at: None, estimate: None }
    }
}

impl RateController {
    /// Takes a report of the receiver, one a second.
    pub fn handle_report(&mut self, report: PathReport, demand: AudioDemand) {
        let received = report.received.max(LEAST);
        if report.delay > FULL {
            // A full path: below what it carries, so that the queue empties.
            self.full_at = Some(received);
            self.rate = self.rate.min(RELIEF * received);
        } else if report.loss > MUCH_LOSS {
            // A policer without a queue, or a bad radio link: video gives way, audio keeps its
            // rate.
            let least = self.rate.min(demand.total());
            self.rate = (self.rate * (1.0 - f64::from(report.loss) / 2.0)).min(received.max(least)).max(least);
        } else if report.loss < LITTLE_LOSS && report.delay < EMPTY {
            let near = self.full_at.is_some_and(|full| NEAR.contains(&(self.rate / full)));
            // Well past where it was full before: the path has become wider.
            if self.full_at.is_some_and(|full| self.rate / full >= NEAR.end) {
                self.full_at = None;
            }
            self.rate *= if near { CAREFUL } else { QUICK };
        }
        self.rate = self.rate.clamp(LEAST, MOST);
    }

    /// Takes the transport's own estimate.
    pub fn handle_estimate(&mut self, now: Instant, bits_per_second: u64) {
        self.estimate = Some((now, bits_per_second as f64));
    }

    /// Estimated rate of the path, in bits per second, headers included.
    pub fn rate(&self, now: Instant) -> f64 {
        match self.estimate {
            Some((at, estimate)) if now < at + STALE => self.rate.min(estimate).max(LEAST),
            _ => self.rate,
        }
    }

    /// Divides the rate. Audio gets all that it asks for before video gets anything.
    pub fn allocation(&self, now: Instant, demand: AudioDemand) -> Allocation {
        let rate = self.rate(now);
        let room = (rate - demand.headers()).max(LEAST_AUDIO.into());
        let audio = f64::from(demand.bitrate).min(room);
        // A full packet of video has 1,200 bytes beside its headers.
        let video = (rate - audio - demand.headers()).max(0.0) * (1.0 - HEADERS / 9_600.0);
        Allocation { audio: audio as u32, video: video as u32 }
    }
}

impl AudioDemand {
    fn headers(self) -> f64 {
        HEADERS / self.frame.as_secs_f64().max(0.001)
    }

    /// Bitrate with headers.
    fn total(self) -> f64 {
        f64::from(self.bitrate) + self.headers()
    }
}

/// Decides which frames of an encoded video are sent where the path has no room for all: whole
/// groups of frames from a key frame on, so that everything that is sent can be decoded.
#[derive(Debug, Clone)]
pub struct VideoRateGate {
    /// Bits per second; `None` for no limit.
    rate: Option<u32>,
    /// Bits that may still be sent. A frame is sent whole while there are any; the debt it leaves
    /// is waited for.
    left: f64,
    at: Option<Instant>,
    /// Frames are dropped until a key frame.
    waiting: bool,
}

impl Default for VideoRateGate {
    fn default() -> Self {
        Self { rate: None, left: 0.0, at: None, waiting: false }
    }
}

/// Time for which unused rate is saved, in seconds.
const SAVED: f64 = 0.5;

impl VideoRateGate {
    /// Sets the rate from now on, in bits per second; `None` for no limit.
    pub fn set_rate(&mut self, now: Instant, rate: Option<u32>) {
        self.refill(now);
        self.rate = rate;
        self.left = self.left.min(self.most());
    }

    /// Whether a frame of so many bytes is sent. To be asked for every frame, in order.
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
