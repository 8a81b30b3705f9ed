//! The bounded queue to the session's reader.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use blink_api::{SessionEvent, SessionEvents};
use tokio::sync::{Notify, mpsc};

use crate::unread::Unread;

/// Entries of the queue, as [`SessionEvents`] documents.
const CAPACITY: usize = 1024;
/// Events that wait for a slow reader before a transport should take no more from its peer.
const BEHIND: usize = 256;

/// The sending end of a session's events. Cheap to clone; sending never blocks.
///
/// While the reader is behind, [`Rtcp`](SessionEvent::Rtcp) and [`Data`](SessionEvent::Data) are dropped, repeated keyframe requests and estimates become one,
/// and every other event waits here until [`forward`](EventSender::forward) has put it in the
/// queue. A reader is behind with messages as soon as 1 MiB of them wait.
#[derive(Clone)]
pub struct EventSender(Arc<Inner>);

struct Inner {
    state: Mutex<State>,
    more: Notify,
}

struct State {
    /// `None` once the events have ended.
    queue: Option<mpsc::Sender<SessionEvent>>,
    waiting: VecDeque<SessionEvent>,
    unread: Unread,
}

/// A session's event queue.
pub fn channel() -> (EventSender, SessionEvents) {
    let (queue, events) = mpsc::channel(CAPACITY);
    let state = State { queue: Some(queue), waiting: VecDeque::new(), unread: Unread::default() };
    (EventSender(Arc::new(Inner { state: Mutex::new(state), more: Notify::new() })), events)
}

impl EventSender {
    /// Reports an event.
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
                // A reader that has left wants no events; the session goes on.
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

    /// Whether so many events wait that nothing which causes more should be taken from the peer.
    pub fn is_behind(&self) -> bool {
        self.state().waiting.len() >= BEHIND
    }

    /// Moves waiting events into the queue as the reader makes room. Never returns; dropping it
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

    /// Hands over what still waits, then [`SessionEvent::Closed`], after which the events end. What
    /// is sent from now on is ignored.
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
    async fn messages_of_one_mebibyte_wait_for_a_slow_reader_and_no_more() {
        let (sender, mut events) = channel();
        let message = || SessionEvent::Data { channel: ChannelId(1), message: vec![0; 16 * 1024].into() };
        (0..300).for_each(|_| sender.send(message()));
        sender.send(SessionEvent::Connected);
        for _ in 0..64 {
            assert!(matches!(events.recv().await, Some(SessionEvent::Data { .. })));
        }
        sender.send(message());
        assert!(matches!(events.recv().await, Some(SessionEvent::Connected)), "1 MiB waited, the rest was dropped");
        assert!(matches!(events.recv().await, Some(SessionEvent::Data { .. })), "there is room again");
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
