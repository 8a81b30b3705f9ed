//! Who works on a session: its task, and whoever has something to send while the task does not.
//!
//! A packet that had to wait for the task would cost waking it, which is most of what a packet
//! costs. So the session lies behind a lock; where that is free, the thread that sends does
//! everything itself, up to the socket. Where it is not, the task is woken: who sends never waits,
//! and the task waits for no more than what one sender does.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use blink_api::Clock;
use blink_transport_kit::events::EventSender;
use tokio::sync::{Notify, mpsc};

use crate::driver::{Call, Driver, Found};
use crate::rtp::Outgoing;
use crate::sockets::Sockets;

/// Larger than any datagram of WebRTC.
const LARGEST_DATAGRAM: usize = 2048;
/// Packets and messages that wait while somebody is at work: a few hundred milliseconds of
/// everything.
const MOST_OUTGOING: usize = 512;

/// A session that one at a time works on.
pub(crate) struct Workplace {
    /// What nobody has begun to send.
    outgoing: Mutex<VecDeque<Outgoing>>,
    /// `None` once the session is over.
    attended: Mutex<Option<Attended>>,
    /// There is something to do for the task.
    woken: Notify,
}

/// What is worked on.
struct Attended {
    driver: Driver,
    /// What is being sent.
    batch: VecDeque<Outgoing>,
    /// When the task comes by at the latest.
    visit: Instant,
}

/// What the task waits for, beside datagrams and time.
pub(crate) struct Inbox {
    pub(crate) calls: mpsc::Receiver<Call>,
    pub(crate) found: mpsc::UnboundedReceiver<Found>,
}

/// What there is for the task to do.
enum Input {
    /// `None` if the session was dropped without being closed.
    Call(Option<Call>),
    Found(Found),
    Datagrams,
    /// What was handed over, or what is due.
    Work,
}

/// What the task waits for next.
struct Rest {
    until: Instant,
    sockets: Sockets,
    /// The socket without room.
    blocked: Option<SocketAddr>,
}

impl Workplace {
    /// The task is expected to begin at once.
    pub(crate) fn new(driver: Driver) -> Self {
        let visit = driver.peer.clock.now();
        let attended = Attended { driver, batch: VecDeque::new(), visit };
        Self { outgoing: Mutex::default(), attended: Mutex::new(Some(attended)), woken: Notify::new() }
    }

    /// Sends something: here and now where nobody else is at work, and by whoever is or by the task
    /// otherwise. Never waits. Returns `false` where too much waits already.
    pub(crate) fn send(&self, outgoing: Outgoing) -> bool {
        {
            let mut waiting = lock(&self.outgoing);
            if waiting.len() == MOST_OUTGOING {
                return false;
            }
            waiting.push_back(outgoing);
        }
        // Who holds the lock may have looked already.
        let is_done = self.attended.try_lock().is_ok_and(|mut attended| {
            let worked = guarded(&mut attended, |attended| {
                let due = attended.go_on(&self.outgoing);
                due >= attended.visit && attended.driver.blocked().is_none()
            });
            worked.unwrap_or(false)
        });
        if !is_done {
            self.woken.notify_one();
        }
        true
    }

    /// Runs until the session is closed or dropped. The sockets are closed when it has, however it
    /// ends.
    pub(crate) async fn run(&self, events: &EventSender, clock: &dyn Clock, mut inbox: Inbox) {
        let _leaving = Leaving(self);
        let mut buffer = vec![0; LARGEST_DATAGRAM];
        let mut forward = pin!(events.forward());
        let mut timer = pin!(tokio::time::sleep(Duration::ZERO));
        let mut input = Input::Work;
        while let Some(Rest { until, sockets, blocked }) = self.turn(input, &mut buffer) {
            let left = until.saturating_duration_since(clock.now());
            timer.as_mut().reset(tokio::time::Instant::now() + left);
            input = tokio::select! {
                biased;
                () = &mut forward => unreachable!("forwarding ends with the task"),
                call = inbox.calls.recv() => Input::Call(call),
                Some(found) = inbox.found.recv() => Input::Found(found),
                // A reader that is far behind stops what its peer can cause, but neither calls nor
                // timers.
                () = sockets.readable(), if !events.is_behind() => Input::Datagrams,
                () = sockets.writable(blocked) => Input::Work,
                () = self.woken.notified() => Input::Work,
                () = &mut timer => Input::Work,
            };
        }
    }

    /// Does what there is to do; `None` when the session is over.
    fn turn(&self, input: Input, buffer: &mut [u8]) -> Option<Rest> {
        let mut attended = lock(&self.attended);
        let rest = guarded(&mut attended, |attended| {
            let driver = &mut attended.driver;
            match input {
                Input::Call(Some(call)) => driver.handle_call(call),
                Input::Call(None) => driver.close(),
                Input::Found(found) => driver.handle_found(found),
                Input::Datagrams => driver.receive(buffer),
                Input::Work => {}
            }
            let until = attended.go_on(&self.outgoing);
            attended.visit = until;
            let driver = &mut attended.driver;
            if driver.is_closing {
                driver.say_goodbye();
                return None;
            }
            Some(Rest { until, sockets: driver.sockets.clone(), blocked: driver.blocked() })
        });
        rest.flatten()
    }
}

impl Attended {
    /// Sends what waited and does what is due. Returns when there will be more. What is handed over
    /// meanwhile is for the next time, so that nobody works for others without end.
    fn go_on(&mut self, outgoing: &Mutex<VecDeque<Outgoing>>) -> Instant {
        std::mem::swap(&mut self.batch, &mut lock(outgoing));
        self.batch.drain(..).for_each(|outgoing| self.driver.send(outgoing));
        self.driver.go_on()
    }
}

/// The task is gone: so is what it worked on.
struct Leaving<'a>(&'a Workplace);

impl Drop for Leaving<'_> {
    fn drop(&mut self) {
        *lock(&self.0.attended) = None;
    }
}

/// Works on a session; `None` where it is over. A fault of the stack is its end, and not that of
/// whoever works.
fn guarded<T>(attended: &mut Option<Attended>, work: impl FnOnce(&mut Attended) -> T) -> Option<T> {
    let inner = attended.as_mut()?;
    let worked = catch_unwind(AssertUnwindSafe(|| work(inner)));
    worked
        .inspect_err(|_| {
            tracing::error!("str0m panicked; the session is over");
            *attended = None;
        })
        .ok()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
