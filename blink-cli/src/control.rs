//! Control socket: a running `blink listen` or `blink call` takes commands of other processes of
//! the same user, who share its data directory.
//!
//! `data_dir/control.sock` carries JSON lines in both directions: commands as on standard input,
//! and every event of the program, among them the reply, with the command's `id`.

use std::path::Path;

use serde_json::Value;

use crate::commands::Command;
use crate::failure::Failure;

#[cfg(unix)]
mod socket;
#[cfg(not(unix))]
#[path = "control/no_socket.rs"]
mod socket;

pub(crate) use self::socket::{Client, Server};

/// The process that uses this data directory and takes commands, if there is one.
pub(crate) async fn connect(data_dir: Option<&Path>) -> Option<Client> {
    Client::connect(data_dir?).await
}

/// Executes a command in the process that uses this data directory; `None` if there is none.
///
/// # Errors
/// A failure with the reason of a refusal, or if the process ends meanwhile.
pub(crate) async fn ask(data_dir: Option<&Path>, command: Command) -> Result<Option<Value>, Failure> {
    match connect(data_dir).await {
        Some(mut client) => client.ask(command).await.map(Some),
        None => Ok(None),
    }
}

/// Has a running process read the contacts again.
pub(crate) async fn reload_contacts(data_dir: &Path) {
    if let Err(failure) = ask(Some(data_dir), Command::ReloadContacts {}).await {
        tracing::warn!(reason = failure.reason(), "the running process did not read the contacts again");
    }
}

/// Reply of a command, or the failure of a refused one.
fn accepted(reply: Value) -> Result<Value, Failure> {
    match (reply["event"].as_str(), reply["error"].as_str()) {
        (Some("refused"), Some(error)) => Err(Failure::input(error)),
        _ => Ok(reply),
    }
}
