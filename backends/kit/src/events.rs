//! The bounded queue to the session's reader.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use blink_api::{SessionEvent, SessionEvents};
use tokio::sync::{Notify, mpsc};

/// Entries of the queue, as [`SessionEvents`] documents.
const CAPACITY: usize = 1024;
/// Events that wait for a slow reader before a transport should take no more from its peer.
const BEHIND: usize = 256;

/// The sending end of a session's events. Cheap to clone; sending never blocks.
///
/// While the reader is behind, [`Rtp`](SessionEvent::Rtp), [`Rtcp`](SessionEvent::Rtcp) and [`Data`](SessionEvent::Data) are dropped, repeated
/// keyframe requests and estimates become one, and every other event waits here until [`forward`](EventSender::forward) has put it in the queue.
#[derive(Clone)]
pub struct EventSender(Arc<Inner>);

struct Inner {
    queue: mpsc::Sender<SessionEvent>,
    waiting: Mutex<Waiting>,
    more: Notify,
}

#[derive(Default)]
struct Waiting {
    events: VecDeque<SessionEvent>,
    is_finished: bool,
}

/// A session's event queue.
pub fn channel() -> (EventSender, SessionEvents) {
    let (queue, events) = mpsc::channel(CAPACITY);
    (EventSender(Arc::new(Inner { queue, waiting: Mutex::default(), more: Notify::new() })), events)
}

impl EventSender {
    /// Reports an event.
    pub fn send(&self, event: SessionEvent) {
        let mut waiting = self.waiting();
        if waiting.is_finished {
            return;
        }
        let waiting = &mut waiting.events;
        let event = if waiting.is_empty() {
            match self.0.queue.try_send(event) {
                Err(mpsc::error::TrySendError::Full(event)) => event,
                // A reader that has left wants no events; the session goes on.
                Ok(()) | Err(mpsc::error::TrySendError::Closed(_)) => return,
            }
        } else {
            event
        };
        let is_repeated = match &event {
            SessionEvent::Rtp(_) | SessionEvent::Rtcp(_) | SessionEvent::Data { .. } => return,
            SessionEvent::KeyframeRequested { mid } => waiting
                .iter()
                .any(|event| matches!(event, SessionEvent::KeyframeRequested { mid: other } if other == mid)),
            SessionEvent::BandwidthEstimate { .. } => {
                waiting.iter().any(|event| matches!(event, SessionEvent::BandwidthEstimate { .. }))
            }
            _ => false,
        };
        if !is_repeated {
            waiting.push_back(event);
            self.0.more.notify_one();
        }
    }

    /// Whether so many events wait that nothing which causes more should be taken from the peer.
    pub fn is_behind(&self) -> bool {
        self.waiting().events.len() >= BEHIND
    }

    /// Moves waiting events into the queue as the reader makes room. Never returns before the reader has left; dropping it loses no event.
    pub async fn forward(&self) {
        loop {
            if self.waiting().events.is_empty() {
                self.0.more.notified().await;
                continue;
            }
            let Ok(place) = self.0.queue.reserve().await else { return std::future::pending().await };
            // The lock is held over both steps, so that `send` cannot overtake.
            let mut waiting = self.waiting();
            if let Some(event) = waiting.events.pop_front() {
                place.send(event);
            }
        }
    }

    /// Hands over what still waits, then [`SessionEvent::Closed`]. What is sent from now on is ignored.
    pub async fn finish(self) {
        {
            let mut waiting = self.waiting();
            if std::mem::replace(&mut waiting.is_finished, true) {
                return;
            }
            waiting.events.push_back(SessionEvent::Closed);
        }
        while !self.waiting().events.is_empty() {
            let Ok(place) = self.0.queue.reserve().await else { return };
            if let Some(event) = self.waiting().events.pop_front() {
                place.send(event);
            }
        }
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.0.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use blink_api::ChannelId;

    use super::*;

    fn data() -> SessionEvent {
        SessionEvent::Data { channel: ChannelId(1), message: Default::default() }
    }

    #[tokio::test]
    async fn control_events_wait_in_order_for_a_slow_reader_and_media_is_dropped() {
        let (sender, mut events) = channel();
        for _ in 0..CAPACITY + 10 {
            sender.send(data());
        }
        sender.send(SessionEvent::Connected);
        sender.send(data());
        sender.send(SessionEvent::Disconnected);
        let reader = async move {
            let mut seen = Vec::new();
            while let Some(event) = events.recv().await {
                seen.push(event);
            }
            seen
        };
        let (seen, ()) = tokio::join!(reader, sender.finish());
        assert_eq!(seen.len(), CAPACITY + 3);
        assert!(matches!(
            seen[CAPACITY..],
            [SessionEvent::Connected, SessionEvent::Disconnected, SessionEvent::Closed]
        ));
    }

    #[tokio::test]
    async fn a_reader_that_has_left_holds_nothing_up() {
        let (sender, events) = channel();
        drop(events);
        sender.send(SessionEvent::Connected);
        assert!(!sender.is_behind());
        sender.finish().await;
    }
}
