//! A call by the process that uses the data directory already, such as `blink listen`.

use std::time::Duration;

use blink_api::parse_value;
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
    set: &[String],
    (output, interrupt): (&Output, &Interrupt),
) -> Result<(), Failure> {
    refuse_files(arguments)?;
    refuse_settings(set, &client.ask(Command::Settings {}).await?)?;
    output.waiting("calling by the blink that runs already");
    let reply = client.ask(Command::Call { people: arguments.targets.clone() }).await?;
    show(&reply, output);
    let mut progress = Progress { call: reply["call"].clone(), connected: false };
    let is_alone = ["participant_left", "participant_rejected", "participant_unanswered", "participant_busy"];
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
                let may_be_last = event["event"].as_str().is_some_and(|name| is_alone.contains(&name));
                if progress.connected && may_be_last && progress.is_alone(&client.ask(Command::State {}).await?) {
                    leave(&mut client, &progress.call).await?;
                }
            }
            line = keyboard.line() => match line {
                Some(line) => client.send(&line).await?,
                None => leave(&mut client, &progress.call).await?,
            },
            () = at(leave_at) => {
                leave_at = None;
                leave(&mut client, &progress.call).await?;
            }
            () = interrupt.wait() => {
                leave(&mut client, &progress.call).await?;
                return Err(Failure::interrupted());
            }
        }
    }
}

/// Leaves the call. If it has ended meanwhile, which is refused, its event follows.
async fn leave(client: &mut Client, call: &Value) -> Result<(), Failure> {
    let call = call.as_str().and_then(|call| call.parse().ok());
    match client.ask(Command::Leave { call }).await {
        Err(failure) if client.is_open() => {
            tracing::info!(reason = failure.reason(), "the call was not left");
            Ok(())
        }
        left => left.map(drop),
    }
}

/// Refuses settings of the command line that the running process does not have: it places the call,
/// and takes no others.
fn refuse_settings(set: &[String], running: &Value) -> Result<(), Failure> {
    let values = running["settings"].as_array().map(Vec::as_slice).unwrap_or_default();
    for argument in set {
        let Some((key, value)) = argument.split_once('=') else { continue };
        let key = key.trim();
        let wanted = serde_json::to_value(parse_value(value.trim())).unwrap_or_default();
        let same = |known: &&Value| known["key"] == key;
        let is_other = match values.iter().find(same) {
            Some(known) => key != "data_dir" && plain(&known["value"]) != plain(&wanted),
            None => true,
        };
        if is_other {
            return Err(Failure::input(format!(
                "blink already runs for this identity and places the call, with its own settings: leave out --set {key}, or add --ephemeral"
            )));
        }
    }
    Ok(())
}

/// Text of a value: durations are written in several ways, and a list of one may be its element.
fn plain(value: &Value) -> String {
    let text = match value {
        Value::Array(values) if values.len() == 1 => return plain(&values[0]),
        Value::String(text) => text.clone(),
        value => value.to_string(),
    };
    humantime::parse_duration(&text).map_or(text, |duration| format!("{duration:?}"))
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
    /// Whether all others have left the call, rejected it or did not answer it.
    fn is_alone(&self, state: &Value) -> bool {
        let calls = state["calls"].as_array().map(Vec::as_slice).unwrap_or_default();
        let current = calls.iter().find(|call| call["call"] == self.call);
        let people = current.and_then(|call| call["participants"].as_array());
        let is_gone =
            |person: &Value| matches!(person["status"].as_str(), Some("left" | "rejected" | "unanswered" | "busy"));
        people.is_some_and(|people| people.iter().all(is_gone))
    }

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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_settings_that_the_running_process_has_are_accepted() {
        let running = json!({ "settings": [
            { "key": "signaling", "value": "libp2p" },
            { "key": "codec", "value": ["opus"] },
            { "key": "call.ring_time", "value": "1m" },
            { "key": "signalings.libp2p.mdns", "value": false },
            { "key": "data_dir", "value": "/home/ada/blink" },
        ] });
        let refused = |argument: &str| refuse_settings(&[argument.to_owned()], &running).err();
        let same =
            ["signaling=libp2p", "codec=opus", "call.ring_time=60s", "signalings.libp2p.mdns=false", "data_dir=blink"];
        for argument in same {
            assert_eq!(refused(argument), None, "{argument}");
        }
        for argument in ["signaling=ipfs", "call.ring_time=61s", "signalings.libp2p.mdns=true", "typo=1"] {
            let failure = refused(argument).unwrap();
            let key = argument.split('=').next().unwrap();
            assert!(failure.status() == 2 && failure.reason().contains(&format!("--set {key}")), "{failure:?}");
        }
    }

    #[test]
    fn the_last_one_in_a_group_is_alone() {
        let progress = Progress { call: json!("c"), connected: true };
        let state = |statuses: &[&str]| {
            let people: Vec<_> = statuses.iter().map(|status| json!({ "status": status })).collect();
            json!({ "calls": [{ "call": "b", "participants": [] }, { "call": "c", "participants": people }] })
        };
        assert!(progress.is_alone(&state(&["left", "rejected", "unanswered", "busy"])));
        assert!(!progress.is_alone(&state(&["left", "ringing"])) && !progress.is_alone(&state(&["connected"])));
        assert!(!progress.is_alone(&json!({ "calls": [] })));
    }
}
