//! Messages to the participants of the current call.

use blink_api::{Endpoint, Result};
use blink_proto::call::MessageId;

use super::Blink;
use crate::driver::command::Command;

impl Blink {
    /// Sends a message of up to 16,384 bytes to a participant of the current call, over the
    /// encrypted path to it. Returns once the message is queued.
    ///
    /// Messages of this device reach a participant in the order in which they were sent, each once
    /// ([`MessageReceived`](crate::Event::MessageReceived)); also over a lost path, once that works
    /// again. A message that was not acknowledged before the participant, or this device, left the
    /// call is reported ([`MessageLost`](crate::Event::MessageLost)); it may have arrived.
    ///
    /// # Errors
    /// [`TooLarge`](blink_api::ErrorKind::TooLarge) over 16,384 bytes;
    /// [`State`](blink_api::ErrorKind::State) without a call;
    /// [`NotFound`](blink_api::ErrorKind::NotFound) for a participant that has not joined;
    /// [`Unsupported`](blink_api::ErrorKind::Unsupported) for one whose version of Blink reads no
    /// messages; [`Full`](blink_api::ErrorKind::Full) after 32 messages at once, above 10 a second,
    /// and while 64 messages or 256 KiB wait for the participant. Nothing was sent then.
    ///
    /// # Cancellation
    /// As all commands.
    pub async fn send_message(&self, participant: Endpoint, message: impl Into<Vec<u8>>) -> Result<MessageId> {
        let message = message.into();
        self.ask(|reply| Command::SendMessage { to: Some(participant), message, reply }).await?
    }

    /// Sends a message to all participants that have joined the current call, as
    /// [`send_message`](Blink::send_message). Those that read no messages are reported
    /// ([`MessageLost`](crate::Event::MessageLost)).
    ///
    /// # Errors
    /// As [`send_message`](Blink::send_message); [`State`](blink_api::ErrorKind::State) where no
    /// one has joined.
    ///
    /// # Cancellation
    /// As all commands.
    pub async fn send_message_to_all(&self, message: impl Into<Vec<u8>>) -> Result<MessageId> {
        let message = message.into();
        self.ask(|reply| Command::SendMessage { to: None, message, reply }).await?
    }
}
