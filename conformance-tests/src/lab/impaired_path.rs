//! Impairments of one path between an engine and its backend: packets and data-channel messages
//! that arrive late, or not at all.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use blink_api::{RtpIn, RtpSink, SessionEvent};
use blink_sim::impairment::{Impairments, Link as SimulatedLink, LinkModel};
use tokio::sync::Notify;

use super::core::Core;
use super::fault::Fault;
use super::link::Link;

/// Packets that are held in a stall. Further ones are dropped.
const MAX_HELD: usize = 4_096;

/// Packets of one session on their way through the impaired network.
pub(super) struct ImpairedPackets {
    link: Arc<Link>,
    every_second_lost: bool,
    state: Mutex<Packets>,
    changed: Notify,
}

struct Packets {
    delayed: SimulatedLink<RtpIn>,
    /// Packets of a stall, in order.
    held: VecDeque<RtpIn>,
    count: u64,
}

impl ImpairedPackets {
    pub(super) fn new(link: Arc<Link>, core: &Core) -> Self {
        let delayed = SimulatedLink::new(Impairments::NONE, link.number as u64);
        let every_second_lost = matches!(core.fault, Some(Fault::DropsEverySecondPacket));
        let state = Mutex::new(Packets { delayed, held: VecDeque::new(), count: 0 });
        Self { link, every_second_lost, state, changed: Notify::new() }
    }

    /// Takes a packet that arrived. Returns it where it passes at once.
    pub(super) fn delay(&self, packet: RtpIn) -> Option<RtpIn> {
        let impairments = self.link.impairments();
        let mut state = self.state();
        state.count += 1;
        if self.every_second_lost && state.count.is_multiple_of(2) {
            return None;
        }
        if self.link.is_stalled() || !state.held.is_empty() {
            if state.held.len() < MAX_HELD {
                state.held.push_back(packet);
            }
            return None;
        }
        if impairments == Impairments::NONE {
            return Some(packet);
        }
        if *state.delayed.impairments() != impairments {
            state.delayed.set_impairments(impairments);
        }
        state.delayed.send(now(), packet.payload.len(), packet);
        self.changed.notify_one();
        None
    }

    /// Delivers packets as they arrive behind the impaired network, until the future is dropped.
    pub(super) async fn deliver(self: Arc<Self>, core: Arc<Core>, sink: Arc<dyn RtpSink>) {
        let mut path_changes = core.path_changes();
        loop {
            for packet in self.arrived() {
                sink.deliver(RtpIn { arrival: now(), ..packet });
            }
            let next = self.state().delayed.next_arrival();
            let due = async {
                match next {
                    Some(next) => tokio::time::sleep_until(next.into()).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = due => {}
                () = self.changed.notified() => {}
                changed = path_changes.changed() => {
                    if changed.is_err() {
                        return;
                    }
                }
            }
        }
    }

    /// Packets of a stall that is over, and those that have arrived.
    fn arrived(&self) -> Vec<RtpIn> {
        let mut state = self.state();
        let mut arrived = Vec::new();
        if !self.link.is_stalled() {
            arrived.extend(state.held.drain(..));
        }
        arrived.extend(std::iter::from_fn(|| state.delayed.receive(now())).map(|(_, packet)| packet));
        arrived
    }

    fn state(&self) -> MutexGuard<'_, Packets> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Data-channel messages of one session on their way through the impaired network: delayed, in
/// order and never lost, as on a reliable channel.
pub(super) struct ImpairedMessages {
    link: Arc<Link>,
    model: LinkModel,
    delayed: VecDeque<(Instant, SessionEvent)>,
}

impl ImpairedMessages {
    pub(super) fn new(link: Arc<Link>) -> Self {
        let model = LinkModel::new(Impairments::NONE, link.number as u64);
        Self { link, model, delayed: VecDeque::new() }
    }

    /// Takes an event. Returns it where it passes at once.
    pub(super) fn delay(&mut self, event: SessionEvent) -> Option<SessionEvent> {
        let impairments = self.link.impairments();
        let is_impaired = impairments != Impairments::NONE || !self.delayed.is_empty();
        let SessionEvent::Data { message, .. } = &event else { return Some(event) };
        if !is_impaired {
            return Some(event);
        }
        self.model.set_impairments(Impairments { loss: 0.0, duplicate: 0.0, in_order: true, ..impairments });
        let last = self.delayed.back().map(|(at, _)| *at);
        let arrival = self.model.transmit(now(), message.len()).next().unwrap_or_else(now);
        self.delayed.push_back((last.map_or(arrival, |last| last.max(arrival)), event));
        None
    }

    /// The next message that has arrived. Pending while none is on its way.
    pub(super) async fn next(&mut self) -> SessionEvent {
        match self.delayed.front() {
            Some((at, _)) => tokio::time::sleep_until((*at).into()).await,
            None => std::future::pending().await,
        }
        match self.delayed.pop_front() {
            Some((_, event)) => event,
            None => std::future::pending().await,
        }
    }
}

/// The time of the runtime, which may be paused.
fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}
