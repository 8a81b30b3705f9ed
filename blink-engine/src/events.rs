//! The engine's events on their way to the integrator.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use futures_core::Stream;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{broadcast, mpsc};
use tokio_util::sync::ReusableBoxFuture;

use crate::ask::ask;
use crate::driver::command::Command;
use crate::event_sender::{EventSender, Numbered};
use crate::handle::Call;
use blink_proto::call::{CallState, Event, Snapshot};

/// The engine's events in order, for one listener.
///
/// 1,024 events wait for a slow listener. Then the oldest are dropped, and the listener gets
/// [`EventItem::Lagged`].
pub struct Events {
    receiving: ReusableBoxFuture<'static, (Receiver, Option<NumberedItem>)>,
    is_over: bool,
}

/// An item with the event's number; 0 for [`EventItem::Lagged`].
type NumberedItem = (u64, EventItem);

/// Item of [`Events`].
#[derive(Debug, Clone, PartialEq)]
pub enum EventItem {
    /// An event.
    Event(Event),
    /// Events were dropped, because this listener was too slow.
    Lagged {
        /// Number of events that it will never see.
        missed: u64,
        /// The current state; events that follow may be older.
        snapshot: Snapshot,
    },
}

impl Events {
    /// The next item; `None` once the engine is shut down.
    ///
    /// # Cancellation
    /// Where the future is dropped before it is ready, no item is lost.
    pub async fn next(&mut self) -> Option<EventItem> {
        std::future::poll_fn(|context| self.poll_numbered(context)).await.map(|(_, item)| item)
    }

    /// The events of one call only, up to its end.
    pub fn of(self, call: &Call) -> CallEvents {
        CallEvents { events: self, call: call.clone(), is_over: false }
    }

    fn new(receiver: Receiver) -> Self {
        Self { receiving: ReusableBoxFuture::new(receiver.receive()), is_over: false }
    }

    fn poll_numbered(&mut self, context: &mut Context<'_>) -> Poll<Option<NumberedItem>> {
        if self.is_over {
            return Poll::Ready(None);
        }
        let (receiver, item) = ready!(self.receiving.poll(context));
        match item {
            Some(_) => self.receiving.set(receiver.receive()),
            None => self.is_over = true,
        }
        Poll::Ready(item)
    }
}

impl Stream for Events {
    type Item = EventItem;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<EventItem>> {
        self.get_mut().poll_numbered(context).map(|item| item.map(|(_, item)| item))
    }
}

impl fmt::Debug for Events {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Events").field("is_over", &self.is_over).finish_non_exhaustive()
    }
}

/// The receiving end that a pending future of [`Events`] owns.
struct Receiver {
    receiver: broadcast::Receiver<Numbered>,
    commands: mpsc::WeakSender<Command>,
}

impl Receiver {
    async fn receive(mut self) -> (Self, Option<NumberedItem>) {
        let item = match self.receiver.recv().await {
            Ok(Numbered { number, event }) => Some((number, EventItem::Event(Arc::unwrap_or_clone(event)))),
            Err(RecvError::Closed) => None,
            Err(RecvError::Lagged(missed)) => self.snapshot(missed).await,
        };
        (self, item)
    }

    async fn snapshot(&self, missed: u64) -> Option<NumberedItem> {
        let commands = self.commands.upgrade()?;
        let snapshot = ask(&commands, |reply| Command::Snapshot { reply }).await.ok()?;
        Some((0, EventItem::Lagged { missed, snapshot }))
    }
}

/// Events of one call, under every id that it has had, up to its last event.
///
/// The last one is [`CallEnded`](Event::CallEnded), or [`CallCancelled`](Event::CallCancelled) or
/// [`MissedCall`](Event::MissedCall) where the call was not answered. Events of the same call from
/// before it was offered or joined, and events without a call, are not part of it.
#[derive(Debug)]
pub struct CallEvents {
    events: Events,
    call: Call,
    is_over: bool,
}

impl CallEvents {
    /// The next item; `None` after the call's last event, and once the engine is shut down.
    /// [`EventItem::Lagged`] is the last item where its snapshot no longer has the call.
    ///
    /// # Cancellation
    /// As [`Events::next`].
    pub async fn next(&mut self) -> Option<EventItem> {
        std::future::poll_fn(|context| self.poll_item(context)).await
    }

    /// All events, from the current position on.
    pub fn into_inner(self) -> Events {
        self.events
    }

    fn poll_item(&mut self, context: &mut Context<'_>) -> Poll<Option<EventItem>> {
        while !self.is_over {
            let Some((number, item)) = ready!(self.events.poll_numbered(context)) else { break };
            match &item {
                EventItem::Event(event) if !self.call.concerns_now(number, event) => continue,
                EventItem::Event(event) => self.is_over = event.ends_call(),
                EventItem::Lagged { snapshot, .. } => self.is_over = !self.is_in(snapshot),
            }
            return Poll::Ready(Some(item));
        }
        Poll::Ready(None)
    }

    fn is_in(&self, snapshot: &Snapshot) -> bool {
        snapshot.calls.iter().any(|call| self.call.is(call.call) && call.state != CallState::Open)
    }
}

impl Stream for CallEvents {
    type Item = EventItem;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<EventItem>> {
        self.get_mut().poll_item(context)
    }
}

/// The engine's events for as long as it runs.
#[derive(Clone)]
pub(crate) struct WeakEvents(broadcast::WeakSender<Numbered>);

impl WeakEvents {
    /// The events of a sender, which these do not keep open.
    pub(crate) fn of(sender: &EventSender) -> Self {
        Self(sender.downgrade())
    }

    pub(crate) fn subscribe(&self, commands: mpsc::WeakSender<Command>) -> Events {
        // Once the engine is shut down, the events end at once.
        let receiver = self.0.upgrade().map_or_else(|| broadcast::channel(1).1, |listeners| listeners.subscribe());
        Events::new(Receiver { receiver, commands })
    }
}
