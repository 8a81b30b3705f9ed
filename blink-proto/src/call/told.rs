//! Events of a participant's state: the newest state, at a limited rate.
//!
//! A participant may change what it says about itself as often as it likes; the user's application
//! may not be kept busy by that. What changes waits while a participant's share of events is used
//! up, and is then told as it is by that time. That it stops speaking, and what ends since it
//! leaves, is told at once: what was told before bounds it.

use std::collections::VecDeque;
use web_time::{Duration, Instant};

use blink_api::{Endpoint, StreamId, TrackKey};

use super::event::{Event, ParticipantState, StreamEndReason};
use super::lifecycle::Call;
use super::shared::Shared;
use crate::wire::StreamOffer;

/// Events of one participant in [`WINDOW`].
const MAX_EVENTS: usize = 10;
/// See [`MAX_EVENTS`].
const WINDOW: Duration = Duration::from_secs(1);

/// Events told of one participant.
#[derive(Clone, Default)]
pub(super) struct Told {
    state: ParticipantState,
    streams: Vec<ToldStream>,
    /// When the newest events were told.
    recent: VecDeque<Instant>,
    /// Until when something of the state or the streams waits.
    waits: Option<Instant>,
    /// Until when it waits that it speaks.
    pub(super) speech_waits: Option<Instant>,
}

#[derive(Clone)]
struct ToldStream {
    offer: StreamOffer,
    /// It ended since, even if it is offered again.
    ended: bool,
}

impl Told {
    /// Until when something that begins has to wait; `None` where it may be told now.
    pub(super) fn waits_until(&mut self, now: Instant) -> Option<Instant> {
        while self.recent.front().is_some_and(|at| now >= *at + WINDOW) {
            self.recent.pop_front();
        }
        let full = self.recent.len() >= MAX_EVENTS;
        self.recent.front().filter(|_| full).map(|oldest| *oldest + WINDOW)
    }

    /// An event is told now.
    pub(super) fn note(&mut self, now: Instant) {
        self.recent.push_back(now);
    }

    /// When what waits may be told.
    pub(super) fn due(&self) -> Option<Instant> {
        [self.waits, self.speech_waits].into_iter().flatten().min()
    }

    /// Nothing of the participant counts as told from now on.
    pub(super) fn forget(&mut self) {
        *self = Self { recent: std::mem::take(&mut self.recent), ..Self::default() };
    }

    /// Of its state nothing was told.
    pub(super) fn forget_state(&mut self) {
        self.state = ParticipantState::default();
    }

    /// A stream that the user asked for ended: that is told whatever comes after it.
    pub(super) fn end_stream(&mut self, stream: StreamId) {
        self.streams.iter_mut().filter(|told| told.offer.id == stream).for_each(|told| told.ended = true);
    }

    /// All streams that were told of, which are none from now on.
    pub(super) fn take_streams(&mut self) -> Vec<StreamId> {
        self.waits = None;
        std::mem::take(&mut self.streams).into_iter().map(|told| told.offer.id).collect()
    }
}

impl Call {
    /// Tells the user what changed of a participant's state and streams since it was told last.
    pub(super) fn tell_state(&mut self, participant: Endpoint, shared: &mut Shared) {
        let (call, now, current) = (self.id(), shared.mono(), self.phase.is_current());
        let Some(peer) = self.peers.get_mut(&participant).filter(|_| current) else { return };
        let (told, state) = (&mut peer.told, peer.state);
        told.waits = None;
        if told.state != state {
            told.waits = told.waits_until(now);
            if told.waits.is_none() {
                told.note(now);
                told.state = state;
                shared.emit(Event::ParticipantStateChanged { call, participant, state });
            }
        }
        let offered = &peer.streams;
        let ended = |stream: &ToldStream| stream.ended || !offered.contains(&stream.offer);
        while let Some(at) = told.streams.iter().position(ended) {
            told.waits = told.waits_until(now);
            if told.waits.is_some() {
                return;
            }
            told.note(now);
            let (stream, reason) = (told.streams.remove(at).offer.id, StreamEndReason::Revoked);
            shared.emit(Event::StreamEnded { call, track: TrackKey::stream(participant, stream), reason });
        }
        for offer in offered {
            if told.streams.iter().any(|known| known.offer == *offer) {
                continue;
            }
            told.waits = told.waits_until(now);
            if told.waits.is_some() {
                return;
            }
            told.note(now);
            told.streams.push(ToldStream { offer: offer.clone(), ended: false });
            shared.emit(Event::StreamOffered { call, participant, stream: offer.into() });
        }
    }

    /// Tells what had to wait.
    pub(super) fn tell_what_waits(&mut self, shared: &mut Shared) {
        let now = shared.mono();
        let due = |told: &Told| told.due().is_some_and(|at| now >= at);
        let waiting: Vec<_> =
            self.peers.iter().filter(|(_, peer)| due(&peer.told)).map(|(endpoint, _)| *endpoint).collect();
        for endpoint in waiting {
            self.tell_state(endpoint, shared);
            self.tell_speaking(endpoint, shared);
        }
    }
}
