//! Calls of a participant on hold.

use blink_api::CallId;
use blink_engine::{Event, ParticipantState};

use super::failure::Result;
use super::fault::{Command, Fault};
use super::participant::Participant;

impl Participant {
    /// Holds its call.
    pub async fn holds(&self) -> Result<()> {
        self.log_action("holds its call");
        if matches!(self.core.fault, Some(Fault::OnlyAnnouncesMute)) {
            self.announce_only(ParticipantState { held: true, ..ParticipantState::default() });
            self.inner.log.record_false_event(&self.core, |call| Event::CallHeld { call });
            return Ok(());
        }
        let blink = self.blink()?;
        let held = self.run_command(Command::Hold, (), async { blink.hold_call().await.map(drop) }).await;
        self.expect_ok("hold", held)
    }

    /// Returns to a held call.
    pub async fn returns_to(&self, call: CallId) -> Result<()> {
        self.log_action(format!("resumes {call}"));
        let resumed = self.run_command(Command::Resume, (), self.blink()?.resume_call(call)).await;
        self.expect_ok("resume", resumed)
    }
}
