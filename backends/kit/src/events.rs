//! Bounded event queue of a session.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use blink_api::{SessionEvent, SessionEvents};
use tokio::sync::{Notify, mpsc};

use crate::unread::UnreadBytes;

/// Capacity of the queue, as documented in [`SessionEvents`].
const CAPACITY: usize = 1024;
/// Number of waiting events from which a transport should stop receiving from its peer.
const BEHIND: usize = 256;

/// Sender of a session's events. Cheap to clone; sending never blocks.
///
/// While the reader is behind, [`Rtcp`](SessionEvent::Rtcp) and [`Data`](SessionEvent::Data) are
/// dropped, repeated key frame requests and bandwidth estimates are merged, and all other events
/// wait until [`forward`](EventSender::forward) moves them into the queue. Messages are also
/// dropped while 1 MiB of them is unread.
#[derive(Clone)]
pub struct EventSender(Arc<Inner>);

impl fmt::Debug for EventSender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventSender").finish_non_exhaustive()
    }
}

struct Inner {
    state: Mutex<State>,
    more: Notify,
}

struct State {
    /// `None` once the events have ended.
    queue: Option<mpsc::Sender<SessionEvent>>,
    waiting: VecDeque<SessionEvent>,
    unread: UnreadBytes,
}

/// Creates a session's event queue.
pub fn channel() -> (EventSender, SessionEvents) {
    let (queue, events) = mpsc::channel(CAPACITY);
    let state = State { queue: Some(queue), waiting: VecDeque::new(), unread: UnreadBytes::default() };
    (EventSender(Arc::new(Inner { state: Mutex::new(state), more: Notify::new() })), events)
}

impl EventSender {
    /// Sends an event.
    pub fn send(&self, event: SessionEvent) {
        let state = &mut *self.state();
        let Some(queue) = &state.queue else { return };
        let message = message_length(&event);
        if message.is_some_and(|length| !state.unread.has_room(CAPACITY - queue.capacity(), length)) {
            return;
        }
        let event = if state.waiting.is_empty() {
            match queue.try_send(event) {
                Err(mpsc::error::TrySendError::Full(event)) => event,
                Ok(()) => return state.unread.add(message),
                // Without a reader events are dropped; the session continues.
                Err(mpsc::error::TrySendError::Closed(_)) => return,
            }
        } else {
            event
        };
        if !may_be_lost(&event) && !state.waiting.iter().any(|waiting| is_repeated(waiting, &event)) {
            state.waiting.push_back(event);
            self.0.more.notify_one();
        }
    }

    /// Returns whether so many events wait that the transport should stop receiving from its peer.
    pub fn is_behind(&self) -> bool {
        self.state().waiting.len() >= BEHIND
    }

    /// Moves waiting events into the queue as it has space. Never returns; dropping the future
    /// loses no event.
    pub async fn forward(&self) {
        let Some(queue) = self.state().queue.clone() else { return std::future::pending().await };
        loop {
            if self.state().waiting.is_empty() {
                self.0.more.notified().await;
                continue;
            }
            let Ok(place) = queue.reserve().await else { return std::future::pending().await };
            // The lock is held over both steps, so that `send` cannot overtake.
            let mut state = self.state();
            if let Some(event) = state.waiting.pop_front() {
                place.send(event);
                state.unread.add(None);
            }
        }
    }

    /// Sends the waiting events and [`SessionEvent::Closed`], after which the events end. Later
    /// events are ignored.
    pub async fn finish(self) {
        let (queue, waiting) = {
            let mut state = self.state();
            (state.queue.take(), std::mem::take(&mut state.waiting))
        };
        let Some(queue) = queue else { return };
        for event in waiting.into_iter().chain([SessionEvent::Closed]) {
            if queue.send(event).await.is_err() {
                return;
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn message_length(event: &SessionEvent) -> Option<usize> {
    match event {
        SessionEvent::Data { message, .. } => Some(message.len()),
        _ => None,
    }
}

fn may_be_lost(event: &SessionEvent) -> bool {
    matches!(event, SessionEvent::Rtcp(_) | SessionEvent::Data { .. })
}

fn is_repeated(waiting: &SessionEvent, event: &SessionEvent) -> bool {
    match (waiting, event) {
        (SessionEvent::KeyframeRequested { mid: one }, SessionEvent::KeyframeRequested { mid: other }) => one == other,
        (SessionEvent::BandwidthEstimate { .. }, SessionEvent::BandwidthEstimate { .. }) => true,
        _ => false,
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
    async fn control_events_reach_a_slow_reader_in_order_and_messages_are_dropped() {
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
    async fn unread_messages_are_limited_to_one_mebibyte() {
        let (sender, mut events) = channel();
        let message = || SessionEvent::Data { channel: ChannelId(1), message: vec![0; 16 * 1024].into() };
        (0..300).for_each(|_| sender.send(message()));
        sender.send(SessionEvent::Connected);
        for _ in 0..64 {
            assert!(matches!(events.recv().await, Some(SessionEvent::Data { .. })));
        }
        sender.send(message());
        assert!(matches!(events.recv().await, Some(SessionEvent::Connected)), "messages beyond 1 MiB were dropped");
        assert!(matches!(events.recv().await, Some(SessionEvent::Data { .. })), "there is space again");
    }

    #[tokio::test]
    async fn a_dropped_reader_does_not_block_the_session() {
        let (sender, events) = channel();
        drop(events);
        sender.send(SessionEvent::Connected);
        assert!(!sender.is_behind());
        sender.finish().await;
    }
}
