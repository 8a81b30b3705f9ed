//! Commands about calls on hold.

use blink_api::{CallId, Result};
use blink_proto::call::{CallSnapshot, CallState};

use super::Blink;
use crate::driver::command::Command;
use crate::handle::Call;

impl Blink {
    /// Holds the current call: this device stays in it and neither sends nor plays audio, which the
    /// others see ([`ParticipantState::held`](crate::ParticipantState)). Another call can be
    /// offered or answered meanwhile, and [`resume_call`](Blink::resume_call) returns to this one.
    ///
    /// Its microphone and speaker close. Its recording is completed; streams that this device
    /// offered or requested, and [`audio_frames`](Blink::audio_frames), end.
    ///
    /// ```no_run
    /// # async fn example(blink: blink_engine::Blink, ringing: blink_api::CallId) -> blink_api::Result<()> {
    /// let first = blink.hold_call().await?;
    /// let second = blink.answer_call(ringing).await?;
    /// // Back to the first one; the second is held.
    /// blink.resume_call(&first).await?;
    /// blink.leave_held_call(&second).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`State`](blink_api::ErrorKind::State) without a call, and for one that is not joined yet;
    /// [`Full`](blink_api::ErrorKind::Full) while 8 calls are held.
    ///
    /// # Cancellation
    /// As all commands.
    pub async fn hold_call(&self) -> Result<Call> {
        self.ask(|reply| Command::Hold { reply }).await?
    }

    /// Returns to a held call; its paths are still connected. The current call, if there is one, is
    /// held in turn.
    ///
    /// # Errors
    /// [`NotFound`](blink_api::ErrorKind::NotFound) for an unknown call;
    /// [`State`](blink_api::ErrorKind::State) for one that is not held, and while another one is
    /// offered or joined: leave that first.
    ///
    /// # Cancellation
    /// As all commands.
    pub async fn resume_call(&self, call: impl Into<CallId>) -> Result<()> {
        let call = call.into();
        self.ask(|reply| Command::Resume { call, reply }).await?
    }

    /// Leaves a call that this device holds; any other one that it is in, too.
    ///
    /// # Errors
    /// [`NotFound`](blink_api::ErrorKind::NotFound) for an unknown call,
    /// [`State`](blink_api::ErrorKind::State) for one that this device is not in.
    ///
    /// # Cancellation
    /// As all commands.
    pub async fn leave_held_call(&self, call: impl Into<CallId>) -> Result<()> {
        let call = Some(call.into());
        self.ask(|reply| Command::Leave { call, reply }).await?
    }

    /// The calls that this device holds.
    ///
    /// # Errors
    /// [`Closed`](blink_api::ErrorKind::Closed).
    ///
    /// # Cancellation
    /// Has no side effects.
    pub async fn held_calls(&self) -> Result<Vec<CallSnapshot>> {
        let calls = self.snapshot().await?.calls;
        Ok(calls.into_iter().filter(|call| call.state == CallState::Held).collect())
    }
}
