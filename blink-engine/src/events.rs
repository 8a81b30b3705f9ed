//! The engine's events on their way to those who listen.

use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{broadcast, mpsc};

use crate::driver::command::{Command, ask};
use crate::event_sender::{EventSender, Numbered};
use crate::handle::Call;
use blink_proto::call::{CallState, Event, Snapshot};

/// The engine's events, in order, for one listener. 1,024 wait for a slow one; then the oldest are
/// dropped, and it is told.
pub struct EventStream {
    receiver: broadcast::Receiver<Numbered>,
    commands: mpsc::WeakSender<Command>,
    /// Events that were dropped, of which the listener has not been told.
    missed: u64,
}

/// Item of an event stream.
#[derive(Debug, Clone, PartialEq)]
pub enum StreamItem {
    /// Something happened.
    Event(Event),
    /// This listener was too slow.
    Lagged {
        /// Events it will never see.
        missed: u64,
        /// How things stand now; the events that follow may be older than it.
        snapshot: Snapshot,
    },
}

impl EventStream {
    /// Waits for the next item; `None` once the engine is shut down. Nothing is lost where the
    /// future is dropped before it is done.
    pub async fn next(&mut self) -> Option<StreamItem> {
        self.next_numbered().await.map(|(_, item)| item)
    }

    /// Only the events of one call, up to its end.
    pub fn of(self, call: &Call) -> CallEvents {
        CallEvents { events: self, call: call.clone(), is_over: false }
    }

    async fn next_numbered(&mut self) -> Option<(u64, StreamItem)> {
        if self.missed == 0 {
            match self.receiver.recv().await {
                Ok(Numbered { number, event }) => return Some((number, StreamItem::Event(event))),
                Err(RecvError::Closed) => return None,
                Err(RecvError::Lagged(missed)) => self.missed = missed,
            }
        }
        let commands = self.commands.upgrade()?;
        let snapshot = ask(&commands, |reply| Command::Snapshot { reply }).await.ok()?;
        let missed = std::mem::take(&mut self.missed);
        Some((0, StreamItem::Lagged { missed, snapshot }))
    }
}

/// Events of one call, under every id that it has had, up to the one that says it is over.
///
/// The last one is [`CallEnded`](Event::CallEnded), or [`CallCancelled`](Event::CallCancelled) or
/// [`MissedCall`](Event::MissedCall) where the call was not answered. Events of the same call from
/// before it was offered or joined, and those about no call, are left out.
pub struct CallEvents {
    events: EventStream,
    call: Call,
    is_over: bool,
}

impl CallEvents {
    /// Waits for the next item; `None` after the call is over, and once the engine is shut down.
    /// Nothing is lost where the future is dropped before it is done.
    ///
    /// [`StreamItem::Lagged`] is the last item where its snapshot no longer has the call.
    pub async fn next(&mut self) -> Option<StreamItem> {
        while !self.is_over {
            let (number, item) = self.events.next_numbered().await?;
            match &item {
                StreamItem::Event(event) if !self.call.concerns_now(number, event) => continue,
                StreamItem::Event(event) => self.is_over = is_last(event),
                StreamItem::Lagged { snapshot, .. } => self.is_over = !self.is_in(snapshot),
            }
            return Some(item);
        }
        None
    }

    /// The stream of all events, from where this one is.
    pub fn into_inner(self) -> EventStream {
        self.events
    }

    fn is_in(&self, snapshot: &Snapshot) -> bool {
        snapshot.calls.iter().any(|call| self.call.is(call.call) && call.state != CallState::Open)
    }
}

fn is_last(event: &Event) -> bool {
    matches!(event, Event::CallEnded { .. } | Event::CallCancelled { .. } | Event::MissedCall { .. })
}

/// The engine's events, for as long as the engine runs.
#[derive(Clone)]
pub(crate) struct WeakEvents(broadcast::WeakSender<Numbered>);

impl WeakEvents {
    /// The events of a sender, which these do not keep open.
    pub(crate) fn of(sender: &EventSender) -> Self {
        Self(sender.downgrade())
    }

    pub(crate) fn subscribe(&self, commands: mpsc::WeakSender<Command>) -> EventStream {
        // Once the engine is shut down there is nothing to listen to: the stream ends at once.
        let receiver = self.0.upgrade().map_or_else(|| broadcast::channel(1).1, |listeners| listeners.subscribe());
        EventStream { receiver, commands, missed: 0 }
    }
}
