//! Target delay of an adapting jitter buffer.

use web_time::Duration;

use blink_api::Preference;

use super::jitter_config::DelayRange;
use crate::delay_histogram::DelayHistogram;

/// Share of losses from which on it pays to wait for redundancy.
const LOSSY: f32 = 0.01;

/// Shares of packets that should be in time: without other redundancy, and with copies.
const IN_TIME: f32 = 0.99;
const IN_TIME_WITH_COPIES: f32 = 0.84;
/// Share of packets with copies that should be in time. Slightly late ones are repaired.
const COPIES_IN_TIME: f32 = 0.63;
/// Share of packets in time where quality is preferred to latency.
const IN_TIME_FOR_QUALITY: f32 = 0.99;

/// Packets that deep redundancy is waited for, by preference: most bursts are over after these.
const LOOKAHEAD: u32 = 4;
const LOOKAHEAD_FOR_QUALITY: u32 = 8;

/// Packets without a copy after which none is expected.
const WITHOUT_COPY: u32 = 50;

/// Learns the target delay from arrivals, losses and redundancy.
#[derive(Debug)]
pub(super) struct DelayManager {
    range: DelayRange,
    prefer: Preference,
    delays: DelayHistogram,
    /// Distance of the copies in recent packets, and packets since the last copy.
    copies: Option<(Duration, u32)>,
    /// Span of the past that the packets' deep redundancy describes.
    span: Duration,
}

impl DelayManager {
    pub(super) fn new(range: DelayRange, prefer: Preference) -> Self {
        Self { range, prefer, delays: DelayHistogram::new(), copies: None, span: Duration::ZERO }
    }

    /// Takes a packet's delay beyond that of the fastest one, and the distance of the furthest copy
    /// in it.
    pub(super) fn observe(&mut self, delay: Duration, copy: Option<Duration>) {
        self.delays.observe(delay);
        self.copies = match (copy, self.copies) {
            (Some(distance), _) => Some((distance, 0)),
            (None, Some((distance, since))) if since < WITHOUT_COPY => Some((distance, since + 1)),
            (None, _) => None,
        };
    }

    /// Takes the span of a packet's deep redundancy; zero for none.
    pub(super) fn observe_redundancy_span(&mut self, span: Duration) {
        self.span = span;
    }

    /// Whether enough packets came to shorten the first delay. A few that were fast by chance say
    /// nothing, a few slow ones do.
    pub(super) fn is_settled(&self) -> bool {
        self.delays.is_settled()
    }

    /// Target delay, where `loss` is the share of packets that are lost and each holds a `frame` of
    /// audio; `None` before there was enough to tell.
    pub(super) fn delay(&self, loss: f32, frame: Duration) -> Option<Duration> {
        let for_quality = self.prefer == Preference::Quality;
        let lossy = loss > LOSSY;
        let copies = self.copies.map(|(distance, _)| distance);
        let (in_time, with_redundancy) = match (for_quality, lossy && copies.is_some()) {
            (true, _) => (IN_TIME_FOR_QUALITY, IN_TIME_FOR_QUALITY),
            (false, true) => (IN_TIME_WITH_COPIES, COPIES_IN_TIME),
            (false, false) => (IN_TIME, COPIES_IN_TIME),
        };
        let mut delay = self.delays.wait(in_time)?;
        if lossy {
            let lookahead = frame * if for_quality { LOOKAHEAD_FOR_QUALITY } else { LOOKAHEAD };
            // The codec's own copy is in the next packet, a frame later, whether or not it is
            // known. A packet with the copy is waited for as any other, so that its delay adds to
            // that distance.
            let redundancy = copies.unwrap_or(self.span.min(lookahead).max(frame));
            delay = delay.max(redundancy + self.delays.wait(with_redundancy)?);
        }
        Some(delay.clamp(self.range.shortest, self.range.longest.max(self.range.shortest)))
    }
}
