//! Who works on a session: its task, and whoever has something to send while the task does not.
//!
//! A packet that had to wait for the task would cost waking it, which is most of what a packet costs. So the session lies behind a lock; where
//! that is free, the thread that sends does everything itself, up to the socket. Where it is not, the task is woken, and nobody waits.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use blink_api::Clock;
use blink_transport_kit::events::EventSender;
use tokio::sync::{Notify, mpsc};

use crate::driver::{Call, Driver, Found};
use crate::sockets::Sockets;

/// Larger than any datagram of WebRTC.
const LARGEST_DATAGRAM: usize = 2048;

/// A session that is worked on by one at a time.
pub(crate) struct Worker {
    /// `None` once the session is over.
    place: Mutex<Option<Place>>,
    /// There is something to do for the task.
    woken: Notify,
}

struct Place {
    driver: Driver,
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

impl Worker {
    /// The task is expected to begin at once.
    pub(crate) fn new(driver: Driver) -> Self {
        let visit = driver.peer.clock.now();
        Self { place: Mutex::new(Some(Place { driver, visit })), woken: Notify::new() }
    }

    /// Something is to be sent: it is done here and now where nobody else is at work, and by the task otherwise. Never waits.
    pub(crate) fn go_on(&self) {
        let is_done = match self.place.try_lock() {
            Ok(mut place) => work(&mut place),
            Err(_) => false,
        };
        if !is_done {
            self.woken.notify_one();
        }
    }

    /// Runs until the session is closed or dropped. The sockets are closed when it returns.
    pub(crate) async fn run(&self, events: &EventSender, clock: &dyn Clock, mut inbox: Inbox) {
        let mut buffer = vec![0; LARGEST_DATAGRAM];
        let mut forward = pin!(events.forward());
        let mut timer = pin!(tokio::time::sleep(Duration::ZERO));
        let mut input = Input::Work;
        while let Some((visit, sockets)) = self.turn(input, &mut buffer) {
            let left = visit.saturating_duration_since(clock.now());
            timer.as_mut().reset(tokio::time::Instant::now() + left);
            input = tokio::select! {
                biased;
                call = inbox.calls.recv() => Input::Call(call),
                Some(found) = inbox.found.recv() => Input::Found(found),
                // A reader that is far behind stops what its peer can cause, but neither calls nor timers.
                () = sockets.readable(), if !events.is_behind() => Input::Datagrams,
                () = self.woken.notified() => Input::Work,
                () = &mut timer => Input::Work,
                () = &mut forward => unreachable!("forwarding ends with the task"),
            };
        }
    }

    /// Does what there is to do. Returns when there will be more at the latest, and where; `None` when the session is over.
    fn turn(&self, input: Input, buffer: &mut [u8]) -> Option<(Instant, Sockets)> {
        let mut place = self.place.lock().ok()?;
        let Place { driver, visit } = place.as_mut()?;
        match input {
            Input::Call(Some(call)) => driver.handle_call(call),
            Input::Call(None) => driver.close(),
            Input::Found(found) => driver.handle_found(found),
            Input::Datagrams => driver.receive(buffer),
            Input::Work => {}
        }
        if driver.is_closing {
            driver.say_goodbye();
            *place = None;
            return None;
        }
        *visit = driver.go_on();
        Some((*visit, driver.sockets.clone()))
    }
}

/// Works in place of the task. Returns whether there is nothing left that it should come for earlier than it would.
fn work(place: &mut Option<Place>) -> bool {
    let Some(Place { driver, visit }) = place else { return true };
    match catch_unwind(AssertUnwindSafe(|| driver.go_on())) {
        Ok(due) => due >= *visit,
        // The stack's fault is the end of this session, not of whoever sends.
        Err(_) => {
            *place = None;
            false
        }
    }
}
