//! Calls on hold: this device stays in them, and neither sends nor plays audio.
//!
//! At most one call is current; it has microphone, speaker, streams and recording. The paths of a
//! held call stay connected, so that it resumes at once.

use blink_api::{CallId, Error, ErrorKind, Result};

use super::event::Event;
use super::io::{Now, Output};
use super::machine::Machine;
use super::reason::EndReason;
use super::shared::Shared;
use super::state::{Call, Phase};

/// Calls that are held at a time.
const MAX_HELD: usize = 8;

impl Machine {
    /// Holds the current call: this device stays in it, and neither sends nor plays audio. Its
    /// offered and requested streams and its recording end. Returns the call.
    ///
    /// # Errors
    /// [`State`](ErrorKind::State) without a call, and for one that is not joined yet;
    /// [`Full`](ErrorKind::Full) while 8 calls are held.
    pub fn hold(&mut self, now: Now) -> Result<CallId> {
        self.begin_input(now);
        let id = self.check_hold()?;
        self.with_call(id, Call::begin_hold);
        Ok(id)
    }

    /// Returns to a held call. The current call is held in turn.
    ///
    /// # Errors
    /// [`NotFound`](ErrorKind::NotFound) for an unknown call; [`State`](ErrorKind::State) for one
    /// that is not held, and while another one is offered or joined: leave that first.
    pub fn resume(&mut self, now: Now, id: CallId) -> Result<()> {
        self.begin_input(now);
        let id = self.resolve(id);
        if !self.known(id)?.is_held() {
            return Err(Error::new(ErrorKind::State, "that call is not held").with("call", id));
        }
        if let Some(current) = self.current() {
            if self.known(current)?.phase() != Phase::Active {
                let error = Error::new(ErrorKind::State, "another call is being set up: leave it first");
                return Err(error.with("call", current));
            }
            self.with_call(current, Call::begin_hold);
        }
        self.with_call(id, Call::end_hold);
        Ok(())
    }

    /// Leaves a call, held or not, or withdraws its offer.
    ///
    /// # Errors
    /// [`NotFound`](ErrorKind::NotFound) for an unknown call, [`State`](ErrorKind::State) for one
    /// that this device is not in.
    pub fn leave_call(&mut self, now: Now, id: CallId) -> Result<()> {
        self.begin_input(now);
        let id = self.resolve(id);
        if !self.known(id)?.takes_part() {
            return Err(Error::new(ErrorKind::State, "this device is not in that call").with("call", id));
        }
        self.with_call(id, |call, shared| call.end(EndReason::Left, shared));
        Ok(())
    }

    /// Leaves all calls, held or not.
    pub fn leave_all(&mut self, now: Now) {
        self.begin_input(now);
        let calls: Vec<_> = self.calls.values().filter(|call| call.takes_part()).map(Call::id).collect();
        for id in calls {
            self.with_call(id, |call, shared| call.end(EndReason::Left, shared));
        }
    }

    /// The call that [`hold`](Self::hold) would hold; changes nothing.
    fn check_hold(&self) -> Result<CallId> {
        let current = self.current().map(|id| self.known(id)).transpose()?;
        let call = current.ok_or_else(|| Error::new(ErrorKind::State, "not in a call"))?;
        if call.phase() != Phase::Active {
            return Err(Error::new(ErrorKind::State, "a call can be held once it is joined").with("call", call.id()));
        }
        if self.calls.values().filter(|call| call.is_held()).count() >= MAX_HELD {
            return Err(Error::new(ErrorKind::Full, "8 calls are held already"));
        }
        Ok(call.id())
    }
}

impl Call {
    fn begin_hold(&mut self, shared: &mut Shared) {
        self.set_held(true);
        self.forget_requests(shared);
        self.sync_all_flows(shared);
        self.update_all_speaking(shared);
        shared.end_media();
        shared.output(Output::HoldCall(self.id()));
        shared.emit(Event::CallHeld { call: self.id() });
        self.change_record(shared, true);
    }

    fn end_hold(&mut self, shared: &mut Shared) {
        self.set_held(false);
        shared.output(Output::ResumeCall(self.id()));
        shared.emit(Event::CallResumed { call: self.id() });
        self.update_all_speaking(shared);
        self.change_record(shared, true);
        self.sync_all_flows(shared);
    }

    /// Reports who speaks, because this device begins or ceases to hear the call.
    fn update_all_speaking(&mut self, shared: &mut Shared) {
        let own = shared.own;
        for endpoint in self.peers.keys().copied().chain([own]).collect::<Vec<_>>() {
            self.update_speaking(endpoint, shared);
        }
    }
}
