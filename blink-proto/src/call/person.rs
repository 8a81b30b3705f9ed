//! An invited person: the progress of the invitation.

use blink_api::{DeviceId, Did, RejectReason, Topic};
use web_time::{Duration, Instant};

use super::repeat::Repeat;
use crate::secure::{Random, inbox_topic};
use crate::wire::Bytes16;

/// Nonces kept of one person: one for each of its devices.
const MAX_NONCES: usize = 4;

/// A person on the roster other than the own.
#[derive(Clone)]
pub(super) struct Person {
    state: PersonState,
    inbox: Topic,
    /// End of ringing.
    ring_until: Instant,
    /// Retransmission of the offer.
    offer: Repeat,
    /// Nonces that the person's devices asked to have echoed.
    nonces: Vec<Bytes16>,
    ringing_announced: bool,
    /// Device that sent a rejection, and its reason.
    rejection: Option<(DeviceId, RejectReason)>,
}

/// Progress of an invitation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PersonState {
    /// No reply yet.
    Invited,
    /// A device rings.
    Ringing,
    /// A device is in another call; final after a grace period, in which another device may ring.
    Busy { since: Instant, device: DeviceId, announced: bool },
    /// Rejected.
    Rejected,
    /// Not answered in time.
    Missed,
    /// Joined, now or earlier.
    Joined,
    /// Left the call.
    Gone,
}

impl PersonState {
    /// Whether offers are still sent.
    pub(super) fn is_unresolved(self) -> bool {
        matches!(self, Self::Invited | Self::Ringing | Self::Busy { announced: false, .. })
    }

    /// Whether the person will not join any more.
    pub(super) fn is_final(self) -> bool {
        matches!(self, Self::Rejected | Self::Missed | Self::Gone | Self::Busy { announced: true, .. })
    }
}

impl Person {
    pub(super) fn new(did: &Did, state: PersonState, ring_until: Instant, offer: Repeat) -> Self {
        Self {
            state,
            inbox: inbox_topic(did),
            ring_until,
            offer,
            nonces: Vec::new(),
            ringing_announced: false,
            rejection: None,
        }
    }

    pub(super) fn state(&self) -> PersonState {
        self.state
    }

    pub(super) fn set_state(&mut self, state: PersonState) {
        self.state = state;
    }

    pub(super) fn set_rejection(&mut self, device: DeviceId, reason: RejectReason) {
        self.rejection = Some((device, reason));
    }

    /// Device that rejected, and the reason that it gave. A rejection that only another member
    /// reports has neither.
    pub(super) fn rejection(&self) -> (Option<DeviceId>, RejectReason) {
        self.rejection.map(|(device, reason)| (Some(device), reason)).unwrap_or_default()
    }

    pub(super) fn is_unresolved(&self) -> bool {
        self.state.is_unresolved()
    }

    pub(super) fn inbox(&self) -> &Topic {
        &self.inbox
    }

    pub(super) fn ring_until(&self) -> Instant {
        self.ring_until
    }

    pub(super) fn nonces(&self) -> &[Bytes16] {
        &self.nonces
    }

    /// Records a reply to an offer. A new nonce makes the next offer due at once.
    pub(super) fn add_nonce(&mut self, nonce: Bytes16, now: Instant) {
        if self.nonces.contains(&nonce) {
            return;
        }
        if self.nonces.len() == MAX_NONCES {
            self.nonces.remove(0);
        }
        self.nonces.push(nonce);
        self.offer.expedite(now);
    }

    /// Records that a device rings: offers slow down. True for the first time.
    pub(super) fn set_ringing(&mut self) -> bool {
        self.state = PersonState::Ringing;
        self.offer.back_off();
        !std::mem::replace(&mut self.ringing_announced, true)
    }

    /// Records that a device is busy, unless another device has already replied.
    pub(super) fn set_busy(&mut self, device: DeviceId, since: Instant) {
        if self.state == PersonState::Invited {
            self.state = PersonState::Busy { since, device, announced: false };
        }
    }

    /// Makes busy final once the grace period is over; returns the busy device if it does.
    pub(super) fn finalize_busy(&mut self, now: Instant, grace: Duration) -> Option<DeviceId> {
        match self.state {
            PersonState::Busy { since, device, announced: false } if now >= since + grace => {
                self.state = PersonState::Busy { since, device, announced: true };
                Some(device)
            }
            _ => None,
        }
    }

    /// Whether an offer is due; if so, schedules the next.
    pub(super) fn fire_offer(&mut self, now: Instant, random: &mut Random) -> bool {
        self.is_unresolved() && self.offer.fire(now, random)
    }

    /// Schedules the next offer at a fixed time.
    pub(super) fn offer_again_at(&mut self, at: Instant) {
        self.offer.stop();
        self.offer.no_later_than(at);
    }

    /// Makes an offer due for a new subscriber of the inbox: it may be the person.
    pub(super) fn expedite_for_subscriber(&mut self, topic: &Topic, now: Instant, at_once: bool) {
        if self.inbox == *topic && self.is_unresolved() {
            self.offer.expedite_for_subscriber(now, at_once);
        }
    }

    /// Time of the next step of an unresolved invitation.
    pub(super) fn deadline(&self, busy_grace: Duration) -> Option<Instant> {
        if !self.is_unresolved() {
            return None;
        }
        let busy = match self.state {
            PersonState::Busy { since, .. } => Some(since + busy_grace),
            _ => None,
        };
        [busy, self.offer.due(), Some(self.ring_until)].into_iter().flatten().min()
    }
}
