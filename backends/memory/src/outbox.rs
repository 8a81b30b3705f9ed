//! Bounded event queue of a session.

use std::collections::VecDeque;

use blink_api::{SessionEvent, SessionEvents};
use blink_transport_kit::unread::UnreadBytes;
use tokio::sync::mpsc;

/// Queue entries before media and messages are dropped, as documented in [`SessionEvents`].
const CAPACITY: usize = 1_024;
/// Additional entries for other events. Events beyond them wait for the next `send`.
const RESERVE: usize = 1_024;

/// Sender of a session's events.
pub(crate) struct Outbox {
    queue: mpsc::Sender<SessionEvent>,
    /// Slot reserved for the last event.
    last: mpsc::OwnedPermit<SessionEvent>,
    waiting: VecDeque<SessionEvent>,
    unread: UnreadBytes,
}

impl Outbox {
    pub(crate) fn new() -> (Self, SessionEvents) {
        let (queue, events) = mpsc::channel(CAPACITY + RESERVE + 1);
        let last = queue.clone().try_reserve_owned().expect("a new queue has room");
        (Self { queue, last, waiting: VecDeque::new(), unread: UnreadBytes::default() }, events)
    }

    /// Sends an event. While the reader is behind, messages and key frame requests are dropped and
    /// other events are queued.
    pub(crate) fn send(&mut self, event: SessionEvent) {
        self.flush();
        let is_behind = !self.waiting.is_empty() || self.queue.capacity() <= RESERVE;
        let may_drop = matches!(event, SessionEvent::Data { .. } | SessionEvent::KeyframeRequested { .. });
        // One slot of the queue is reserved for the last event.
        let entries = CAPACITY + RESERVE - self.queue.capacity();
        let is_too_much = message_length(&event).is_some_and(|length| !self.unread.has_room(entries, length));
        if is_too_much || (may_drop && is_behind) {
            return;
        }
        self.waiting.push_back(event);
        self.flush();
    }

    fn flush(&mut self) {
        while !self.waiting.is_empty() {
            match self.queue.try_reserve() {
                Ok(place) => {
                    if let Some(event) = self.waiting.pop_front() {
                        self.unread.add(message_length(&event));
                        place.send(event);
                    }
                }
                Err(mpsc::error::TrySendError::Full(())) => return,
                // Without a reader events are dropped; the session continues.
                Err(mpsc::error::TrySendError::Closed(())) => self.waiting.clear(),
            }
        }
    }

    /// Ends the events with [`SessionEvent::Closed`].
    pub(crate) fn finish(mut self) {
        self.flush();
        self.last.send(SessionEvent::Closed);
    }
}

fn message_length(event: &SessionEvent) -> Option<usize> {
    match event {
        SessionEvent::Data { message, .. } => Some(message.len()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use blink_api::{ChannelId, TrackKind};

    #[tokio::test]
    async fn control_events_reach_a_slow_reader_in_order_and_messages_are_dropped() {
        let (mut outbox, mut events) = Outbox::new();
        let message = || SessionEvent::Data { channel: ChannelId(1), message: Default::default() };
        (0..CAPACITY + 10).for_each(|_| outbox.send(message()));
        outbox.send(SessionEvent::Connected);
        outbox.send(message());
        let started =
            |n: usize| SessionEvent::TrackStarted { mid: blink_api::Mid::new(&n.to_string()), kind: TrackKind::Audio };
        (0..RESERVE + 5).for_each(|n| outbox.send(started(n)));
        for _ in 0..CAPACITY {
            assert!(matches!(events.recv().await, Some(SessionEvent::Data { .. })));
        }
        assert!(matches!(events.recv().await, Some(SessionEvent::Connected)));
        outbox.send(SessionEvent::Disconnected);
        for n in 0..RESERVE + 5 {
            assert!(
                matches!(events.recv().await, Some(SessionEvent::TrackStarted { mid, .. }) if mid.as_str() == n.to_string())
            );
        }
        assert!(matches!(events.recv().await, Some(SessionEvent::Disconnected)));
        outbox.finish();
        assert!(matches!(events.recv().await, Some(SessionEvent::Closed)));
        assert!(events.recv().await.is_none());
    }

    #[tokio::test]
    async fn unread_messages_are_limited_to_one_mebibyte() {
        let (mut outbox, mut events) = Outbox::new();
        let message = || SessionEvent::Data { channel: ChannelId(1), message: vec![0; 16 * 1024].into() };
        (0..300).for_each(|_| outbox.send(message()));
        outbox.send(SessionEvent::Connected);
        for _ in 0..64 {
            assert!(matches!(events.recv().await, Some(SessionEvent::Data { .. })));
        }
        outbox.send(message());
        assert!(matches!(events.recv().await, Some(SessionEvent::Connected)), "messages beyond 1 MiB were dropped");
        assert!(matches!(events.recv().await, Some(SessionEvent::Data { .. })), "there is space again");
    }

    #[tokio::test]
    async fn the_last_event_has_a_reserved_slot() {
        let (mut outbox, mut events) = Outbox::new();
        (0..10_000).for_each(|_| outbox.send(SessionEvent::Connected));
        outbox.finish();
        let mut last = None;
        while let Some(event) = events.recv().await {
            last = Some(event);
        }
        assert!(matches!(last, Some(SessionEvent::Closed)));
    }
}
