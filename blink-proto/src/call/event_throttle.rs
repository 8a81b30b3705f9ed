//! Rate limit of the events about one participant's state.
//!
//! A participant may change what it announces as often as it likes, but must not keep the user's
//! application busy. Once its share of events is used up, changes are deferred, and the newest
//! state is delivered when the window allows it. The end of speech and what ends because the
//! participant leaves are never deferred: events already delivered bound their number.

use std::collections::VecDeque;

use blink_api::{CallId, Endpoint, StreamId, TrackKey};
use web_time::{Duration, Instant};

use super::event::Event;
use super::participant::ParticipantState;
use super::reason::StreamEndReason;
use crate::wire::StreamOffer;

/// Events of one participant within [`WINDOW`].
const MAX_EVENTS: usize = 10;
const WINDOW: Duration = Duration::from_secs(1);

/// State of one participant as last reported to the user, with the times of recent events.
#[derive(Clone, Default)]
pub(super) struct EventThrottle {
    state: ParticipantState,
    streams: Vec<AnnouncedStream>,
    /// Times of the newest events.
    recent: VecDeque<Instant>,
    /// Time until which changes of state or streams are deferred.
    deferred_until: Option<Instant>,
    /// Time until which the start of speech is deferred.
    speech_deferred_until: Option<Instant>,
}

#[derive(Clone)]
struct AnnouncedStream {
    offer: StreamOffer,
    /// Whether it has ended since, even if it is offered again.
    ended: bool,
}

impl EventThrottle {
    /// Time until which a new event has to be deferred; `None` where it may be delivered now.
    fn blocked_until(&mut self, now: Instant) -> Option<Instant> {
        while self.recent.front().is_some_and(|at| now >= *at + WINDOW) {
            self.recent.pop_front();
        }
        let full = self.recent.len() >= MAX_EVENTS;
        self.recent.front().filter(|_| full).map(|oldest| *oldest + WINDOW)
    }

    fn record(&mut self, now: Instant) {
        self.recent.push_back(now);
    }

    /// Time at which deferred events may be delivered.
    pub(super) fn due(&self) -> Option<Instant> {
        [self.deferred_until, self.speech_deferred_until].into_iter().flatten().min()
    }

    /// Treats everything but the rate as untold.
    pub(super) fn forget(&mut self) {
        *self = Self { recent: std::mem::take(&mut self.recent), ..Self::default() };
    }

    /// Treats the state as untold.
    pub(super) fn forget_state(&mut self) {
        self.state = ParticipantState::default();
    }

    /// Marks a stream as ended: its end is reported even if it is offered again.
    pub(super) fn end_stream(&mut self, stream: StreamId) {
        self.streams.iter_mut().filter(|told| told.offer.id == stream).for_each(|told| told.ended = true);
    }

    /// Removes all announced streams.
    pub(super) fn take_streams(&mut self) -> Vec<StreamId> {
        self.deferred_until = None;
        std::mem::take(&mut self.streams).into_iter().map(|told| told.offer.id).collect()
    }

    /// Whether a change of speech may be reported now. Only the start of speech is deferred.
    pub(super) fn admit_speech(&mut self, now: Instant, was_speaking: bool, speaks: bool) -> bool {
        let changes = was_speaking != speaks;
        self.speech_deferred_until = if changes && speaks { self.blocked_until(now) } else { None };
        if self.speech_deferred_until.is_some() {
            return false;
        }
        if changes {
            self.record(now);
        }
        true
    }

    /// Changes since the last events, as far as the rate allows.
    pub(super) fn changes(
        &mut self,
        now: Instant,
        state: ParticipantState,
        offered: &[StreamOffer],
    ) -> Vec<AnnouncedChange> {
        let mut changes = Vec::new();
        self.deferred_until = None;
        if self.state != state {
            self.deferred_until = self.blocked_until(now);
            if self.deferred_until.is_none() {
                self.record(now);
                self.state = state;
                changes.push(AnnouncedChange::State(state));
            }
        }
        // Ends come before new offers: a stream that was offered anew ended in between.
        while let Some(at) = self.streams.iter().position(|told| told.ended || !offered.contains(&told.offer)) {
            self.deferred_until = self.blocked_until(now);
            if self.deferred_until.is_some() {
                return changes;
            }
            self.record(now);
            changes.push(AnnouncedChange::StreamEnded(self.streams.remove(at).offer.id));
        }
        for offer in offered {
            if self.streams.iter().any(|told| told.offer == *offer) {
                continue;
            }
            self.deferred_until = self.blocked_until(now);
            if self.deferred_until.is_some() {
                return changes;
            }
            self.record(now);
            self.streams.push(AnnouncedStream { offer: offer.clone(), ended: false });
            changes.push(AnnouncedChange::StreamOffered(offer.clone()));
        }
        changes
    }
}

/// A change of what a participant announces.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum AnnouncedChange {
    State(ParticipantState),
    StreamOffered(StreamOffer),
    StreamEnded(StreamId),
}

impl AnnouncedChange {
    /// Event for the user.
    pub(super) fn into_event(self, call: CallId, participant: Endpoint) -> Event {
        match self {
            Self::State(state) => Event::ParticipantStateChanged { call, participant, state },
            Self::StreamOffered(offer) => Event::StreamOffered { call, participant, stream: (&offer).into() },
            Self::StreamEnded(stream) => {
                let track = TrackKey::stream(participant, stream);
                Event::StreamEnded { call, track, reason: StreamEndReason::Revoked }
            }
        }
    }
}
