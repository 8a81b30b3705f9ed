//! Access to a session by its task and by sending threads.
//!
//! Waking the task for each packet would be most of a packet's cost. So the session is behind a
//! lock; if that is free, the sending thread does everything itself, up to the socket. Otherwise it
//! wakes the task: a sender never blocks, and the task waits at most for one sender.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use blink_api::Clock;
use blink_transport_kit::events::EventSender;
use tokio::sync::{Notify, mpsc};

use crate::driver::{Call, Driver, Resolved};
use crate::rtp::Outgoing;
use crate::sockets::Sockets;

/// Larger than any WebRTC datagram.
const MAX_DATAGRAM: usize = 2048;
/// Limit of packets and messages queued while the session is locked: a few hundred milliseconds.
const MAX_OUTGOING: usize = 512;

/// Session shared by its task and sending threads, one of which drives it at a time.
pub(crate) struct SharedSession {
    /// Packets and messages to be sent.
    outgoing: Mutex<VecDeque<Outgoing>>,
    /// Locked state; `None` once the session has ended.
    inner: Mutex<Option<Inner>>,
    /// Wakes the task.
    wakeup: Notify,
}

/// State that is driven under the lock.
struct Inner {
    driver: Driver,
    /// Packets and messages being sent.
    batch: VecDeque<Outgoing>,
    /// Time of the task's next scheduled wakeup.
    next_wakeup: Instant,
}

/// Inputs of the task besides datagrams and time.
pub(crate) struct Inbox {
    pub(crate) calls: mpsc::Receiver<Call>,
    pub(crate) found: mpsc::UnboundedReceiver<Resolved>,
}

/// Input of the task.
enum Input {
    /// `None` if the session was dropped without being closed.
    Call(Option<Call>),
    Resolved(Resolved),
    Datagrams,
    /// Queued packets, or due work.
    Work,
}

/// Conditions of the task's next wakeup.
struct Wait {
    until: Instant,
    sockets: Sockets,
    /// Full socket.
    blocked: Option<SocketAddr>,
}

impl SharedSession {
    /// Creates the session. Its task should start immediately.
    pub(crate) fn new(driver: Driver) -> Self {
        let next_wakeup = driver.peer.clock.now();
        let inner = Inner { driver, batch: VecDeque::new(), next_wakeup };
        Self { outgoing: Mutex::default(), inner: Mutex::new(Some(inner)), wakeup: Notify::new() }
    }

    /// Sends something: on this thread if the session is not locked, otherwise by the lock's holder
    /// or the task. Never blocks. Returns `false` if the queue is full.
    pub(crate) fn send(&self, outgoing: Outgoing) -> bool {
        {
            let mut waiting = lock(&self.outgoing);
            if waiting.len() == MAX_OUTGOING {
                return false;
            }
            waiting.push_back(outgoing);
        }
        // The holder of the lock may have emptied the queue before this item was added.
        let is_done = self.inner.try_lock().is_ok_and(|mut inner| {
            let worked = catch_panics(&mut inner, |inner| {
                let due = inner.advance(&self.outgoing);
                due >= inner.next_wakeup && inner.driver.blocked().is_none()
            });
            worked.unwrap_or(false)
        });
        if !is_done {
            self.wakeup.notify_one();
        }
        true
    }

    /// Runs until the session is closed or dropped. The sockets are closed when it returns or is
    /// dropped.
    pub(crate) async fn run(&self, events: &EventSender, clock: &dyn Clock, mut inbox: Inbox) {
        let _leaving = ClearOnDrop(self);
        let mut buffer = vec![0; MAX_DATAGRAM];
        let mut forward = pin!(events.forward());
        let mut timer = pin!(tokio::time::sleep(Duration::ZERO));
        let mut input = Input::Work;
        while let Some(Wait { until, sockets, blocked }) = self.turn(input, &mut buffer) {
            let left = until.saturating_duration_since(clock.now());
            timer.as_mut().reset(tokio::time::Instant::now() + left);
            input = tokio::select! {
                biased;
                () = &mut forward => unreachable!("forwarding ends with the task"),
                call = inbox.calls.recv() => Input::Call(call),
                Some(found) = inbox.found.recv() => Input::Resolved(found),
                // Backpressure: a slow reader stops what its peer can cause, but neither calls nor
                // timers.
                () = sockets.readable(), if !events.is_behind() => Input::Datagrams,
                () = sockets.writable(blocked) => Input::Work,
                () = self.wakeup.notified() => Input::Work,
                () = &mut timer => Input::Work,
            };
        }
    }

    /// Handles an input; returns `None` when the session has ended.
    fn turn(&self, input: Input, buffer: &mut [u8]) -> Option<Wait> {
        let mut inner = lock(&self.inner);
        let rest = catch_panics(&mut inner, |inner| {
            let driver = &mut inner.driver;
            match input {
                Input::Call(Some(call)) => driver.handle_call(call),
                Input::Call(None) => driver.close(),
                Input::Resolved(found) => driver.handle_resolved(found),
                Input::Datagrams => driver.receive(buffer),
                Input::Work => {}
            }
            let until = inner.advance(&self.outgoing);
            inner.next_wakeup = until;
            let driver = &mut inner.driver;
            if driver.is_closing {
                driver.shut_down();
                return None;
            }
            Some(Wait { until, sockets: driver.sockets.clone(), blocked: driver.blocked() })
        });
        rest.flatten()
    }
}

impl Inner {
    /// Sends queued items and does due work; returns the time of the next. Items queued meanwhile
    /// are left for the next time, so that no thread works for others without end.
    fn advance(&mut self, outgoing: &Mutex<VecDeque<Outgoing>>) -> Instant {
        std::mem::swap(&mut self.batch, &mut lock(outgoing));
        self.batch.drain(..).for_each(|outgoing| self.driver.send(outgoing));
        self.driver.advance()
    }
}

/// Guard that drops the session state when its task ends.
struct ClearOnDrop<'a>(&'a SharedSession);

impl Drop for ClearOnDrop<'_> {
    fn drop(&mut self) {
        *lock(&self.0.inner) = None;
    }
}

/// Drives the session; `None` if it has ended. A panic of the stack ends the session, but not the
/// calling thread.
fn catch_panics<T>(state: &mut Option<Inner>, work: impl FnOnce(&mut Inner) -> T) -> Option<T> {
    let inner = state.as_mut()?;
    let worked = catch_unwind(AssertUnwindSafe(|| work(inner)));
    worked
        .inspect_err(|_| {
            tracing::error!("str0m panicked: the session is closed");
            *state = None;
        })
        .ok()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
