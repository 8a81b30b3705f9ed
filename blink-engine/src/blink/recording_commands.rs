//! Recording of the current call.

use blink_api::{RecordingId, RecordingReport, Result};

use super::Blink;
use crate::driver::command::Command;
use crate::recording_request::RecordingRequest;

impl Blink {
    /// Starts to record the current call, which all participants see
    /// ([`ParticipantState::recording`](crate::ParticipantState)). It ends with
    /// [`stop_recording`](Blink::stop_recording), the call, or its last recorder's failure.
    ///
    /// Recorders that do not start are reported
    /// ([`RecordingFailed`](crate::Event::RecordingFailed)), and the others record. Each writes on
    /// a thread of its own: the call waits for none. Media is recorded from the first participant
    /// that joins on; this device's, too.
    ///
    /// # Errors
    /// [`State`](blink_api::ErrorKind::State) without a call, and while one is recorded;
    /// [`NotFound`](blink_api::ErrorKind::NotFound) for a recorder that is not configured;
    /// [`Invalid`](blink_api::ErrorKind::Invalid) without any recorder or directory; that of the
    /// first recorder where none of them starts.
    ///
    /// # Cancellation
    /// As all commands. Where the answer is lost, the call is recorded all the same.
    pub async fn start_recording(&self, request: RecordingRequest) -> Result<RecordingId> {
        self.ask(|reply| Command::StartRecording { request, reply }).await?
    }

    /// Stops the recording, and returns once its files are complete.
    ///
    /// # Errors
    /// [`State`](blink_api::ErrorKind::State) where nothing is recorded.
    ///
    /// # Cancellation
    /// As all commands. Where the answer is lost, the report is in
    /// [`RecordingStopped`](crate::Event::RecordingStopped).
    pub async fn stop_recording(&self) -> Result<RecordingReport> {
        self.ask(|reply| Command::StopRecording { reply }).await?
    }
}
