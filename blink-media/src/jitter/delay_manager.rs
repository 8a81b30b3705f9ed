//! How long to wait for packets.

use web_time::Duration;

use blink_api::Preference;

use super::DelayRange;
use crate::delay_histogram::DelayHistogram;

/// Where more packets than these are lost, waiting for what makes up for them pays.
const LOSSY: f32 = 0.01;

/// The share of packets that should be in time where nothing else makes up for them, and where
/// copies do.
const IN_TIME: f32 = 0.99;
const IN_TIME_WITH_COPIES: f32 = 0.84;
/// The share of packets with copies that should be in time. What is a little late is mended.
const COPIES_IN_TIME: f32 = 0.63;
/// All that, where the sound matters more than the delay.
const PATIENT: f32 = 0.99;

/// Packets that a description of the past (deep redundancy) is waited for: after these, most bursts
/// are over.
const LOOKAHEAD: u32 = 4;
const PATIENT_LOOKAHEAD: u32 = 8;

/// After so many packets without a copy, none is expected.
const WITHOUT_COPY: u32 = 50;

/// Learns from arrivals, losses and redundancy.
#[derive(Debug)]
pub(super) struct DelayManager {
    range: DelayRange,
    prefer: Preference,
    lateness: DelayHistogram,
    /// How far back the packets' copies were taken lately, and since how many packets.
    copies: Option<(Duration, u32)>,
    /// How far back the descriptions in packets reach.
    reach: Duration,
}

impl DelayManager {
    pub(super) fn new(range: DelayRange, prefer: Preference) -> Self {
        Self { range, prefer, lateness: DelayHistogram::new(), copies: None, reach: Duration::ZERO }
    }

    /// A packet came so much later than the fastest would have, with a copy of what was that long
    /// ago.
    pub(super) fn observe(&mut self, lateness: Duration, copy: Option<Duration>) {
        self.lateness.observe(lateness);
        self.copies = match (copy, self.copies) {
            (Some(distance), _) => Some((distance, 0)),
            (None, Some((distance, since))) if since < WITHOUT_COPY => Some((distance, since + 1)),
            (None, _) => None,
        };
    }

    /// A packet carries a description of so much of the past; zero for none.
    pub(super) fn observe_redundancy_span(&mut self, reach: Duration) {
        self.reach = reach;
    }

    /// Whether enough packets came for a delay shorter than the first one. A few that were fast by
    /// chance say nothing, a few slow ones do.
    pub(super) fn is_settled(&self) -> bool {
        self.lateness.is_settled()
    }

    /// The delay to have, where `loss` is the share of packets that are lost and each holds a
    /// `frame` of sound; `None` before there was enough to tell.
    pub(super) fn delay(&self, loss: f32, frame: Duration) -> Option<Duration> {
        let patient = self.prefer == Preference::Quality;
        let lossy = loss > LOSSY;
        let copies = self.copies.map(|(distance, _)| distance);
        let (in_time, with_redundancy) = match (patient, lossy && copies.is_some()) {
            (true, _) => (PATIENT, PATIENT),
            (false, true) => (IN_TIME_WITH_COPIES, COPIES_IN_TIME),
            (false, false) => (IN_TIME, COPIES_IN_TIME),
        };
        let mut delay = self.lateness.wait(in_time)?;
        if lossy {
            let lookahead = frame * if patient { PATIENT_LOOKAHEAD } else { LOOKAHEAD };
            // The copy in the next packet (the codec's own) is there whether or not one knows.
            let redundancy = copies.unwrap_or(self.reach.min(lookahead).max(frame));
            delay = delay.max(redundancy + self.lateness.wait(with_redundancy)?);
        }
        Some(delay.clamp(self.range.shortest, self.range.longest.max(self.range.shortest)))
    }
}
