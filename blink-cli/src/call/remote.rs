//! A call by the process that uses the data directory already, such as `blink listen`.

use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;

use super::at;
use crate::args::CallArguments;
use crate::commands::Command;
use crate::control::Client;
use crate::failure::Failure;
use crate::interrupt::Interrupt;
use crate::keyboard::Keyboard;
use crate::output::Output;

/// Places a call and follows it to its end.
pub(super) async fn call(
    mut client: Client,
    arguments: &CallArguments,
    seconds: Option<Duration>,
    output: &Output,
    interrupt: &Interrupt,
) -> Result<(), Failure> {
    refuse_files(arguments)?;
    output.waiting("calling by the blink that runs already");
    let reply = client.ask(Command::Call { people: arguments.targets.clone() }).await?;
    show(&reply, output);
    let mut progress = Progress { call: reply["call"].clone(), connected: false };
    let mut keyboard = Keyboard::new();
    let mut leave_at = None;
    loop {
        tokio::select! {
            event = client.next() => {
                let event = event.ok_or_else(|| Failure::call("the running blink ended, and with it the call"))?;
                show(&event, output);
                let was_connected = progress.connected;
                if let Some(result) = progress.handle(&event) {
                    output.waited();
                    return result;
                }
                if progress.connected && !was_connected {
                    output.waiting("in the call");
                    leave_at = seconds.map(|seconds| Instant::now() + seconds);
                }
            }
            line = keyboard.line() => client.send(&line).await?,
            () = at(leave_at) => {
                leave_at = None;
                client.ask(Command::Leave {}).await?;
            }
            () = interrupt.wait() => {
                client.ask(Command::Leave {}).await?;
                return Err(Failure::interrupted());
            }
        }
    }
}

/// Refuses options about files and devices, which are those of the running process: chosen for this
/// call, they would stay chosen for all that follow.
fn refuse_files(arguments: &CallArguments) -> Result<(), Failure> {
    let given = [
        ("--in", arguments.input.is_some()),
        ("--out", arguments.out.is_some()),
        ("--video", arguments.video.is_some()),
        ("--record", !arguments.record.record.is_empty()),
        ("--microphone", arguments.devices.microphone.is_some()),
        ("--speaker", arguments.devices.speaker.is_some()),
    ];
    match given.iter().find(|(_, is_given)| *is_given) {
        Some((option, _)) => Err(Failure::input(format!(
            "blink already runs for this identity and places the call, with its own files and devices: leave out {option}, or add --ephemeral"
        ))),
        None => Ok(()),
    }
}

struct Progress {
    call: Value,
    connected: bool,
}

impl Progress {
    /// Follows an event of the call; the result once it has ended.
    fn handle(&mut self, event: &Value) -> Option<Result<(), Failure>> {
        if event["event"] == "call_replaced" && event["old"] == self.call {
            self.call = event["new"].clone();
        }
        if event["call"] != self.call {
            return None;
        }
        match event["event"].as_str() {
            Some("participant_joined") => self.connected = true,
            Some("call_ended") => {
                let is_regular = matches!(event["reason"].as_str(), Some("left" | "remote_left"));
                let text = event["text"].as_str().unwrap_or("the call ended");
                return Some(if self.connected && is_regular { Ok(()) } else { Err(Failure::call(text)) });
            }
            _ => {}
        }
        None
    }
}

fn show(event: &Value, output: &Output) {
    output.json_event(event);
    for line in event["text"].as_str().into_iter().flat_map(str::lines) {
        output.event(&format!("            {line}"));
    }
}
