//! Commands to the driver, and their answers.

use blink_api::{Error, ErrorKind, Result};
use tokio::sync::{mpsc, oneshot};

use crate::driver::command::Command;

/// Sends a command and waits for its answer. Where the future is dropped, a command that was sent
/// is carried out, and one that waits for room is not.
///
/// # Errors
/// [`Closed`](blink_api::ErrorKind::Closed) once the engine is shut down.
pub(crate) async fn ask<T>(
    commands: &mpsc::Sender<Command>,
    command: impl FnOnce(oneshot::Sender<T>) -> Command,
) -> Result<T> {
    let (reply, answer) = oneshot::channel();
    commands.send(command(reply)).await.map_err(|_| closed())?;
    answer.await.map_err(|_| closed())
}

/// The error of a command without a running driver.
fn closed() -> Error {
    Error::new(ErrorKind::Closed, "the engine is shut down")
}
