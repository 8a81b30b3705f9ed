//! Replies to commands, as text and JSON.

use blink_api::{CallId, DeviceId, Did, EffectiveValue, RecordingId, StreamId};
use blink_engine::{
    CallSnapshot, Device, HistoryEntry, MessageId, ParticipantStatistics, ParticipantStatus, StreamInfo,
};
use serde::Serialize;
use serde_json::{Value, json};

use super::{Request, VOCABULARY};
use crate::event_text::{Names, milliseconds};
use crate::{device_lines, history};

/// Reply to a command. In JSON an object with `event`, as all lines.
#[derive(Debug, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub(crate) enum Reply {
    /// The command took effect; events may tell more.
    Done,
    /// A call was offered.
    Calling {
        /// The call.
        call: CallId,
        /// The people.
        people: Vec<Did>,
        /// People whose addresses did not answer, so far; they are still called.
        unreachable: Vec<Did>,
    },
    /// Devices of all media hosts.
    Devices {
        /// The devices.
        devices: Vec<Device>,
    },
    /// A device was chosen.
    DeviceChosen {
        /// `microphone` or `speaker`.
        device: &'static str,
        /// Its name.
        name: String,
    },
    /// A recording began.
    Recording {
        /// The recording.
        recording: RecordingId,
    },
    /// A message is sent.
    Sent {
        /// Its number, in `message_lost`.
        message: MessageId,
    },
    /// A stream is offered.
    Offering {
        /// The stream.
        stream: StreamId,
    },
    /// Values of all configuration keys, with their sources.
    Settings {
        /// The values.
        settings: Vec<EffectiveValue>,
    },
    /// State of this device.
    State(Box<State>),
    /// Statistics of the paths of the call.
    Statistics {
        /// One entry for each participant with a path.
        participants: Vec<ParticipantStatistics>,
    },
    /// Past calls.
    History {
        /// The calls, newest first.
        calls: Vec<HistoryEntry>,
    },
    /// Ongoing group calls that can be joined, numbered from 1.
    Ongoing {
        /// The calls.
        calls: Vec<CallSnapshot>,
    },
    /// Calls on hold, numbered from 1.
    Held {
        /// The calls.
        calls: Vec<CallSnapshot>,
    },
    /// Words of typed commands.
    Help {
        /// Each command with its arguments and summary.
        commands: Vec<[&'static str; 3]>,
    },
    /// The command has no effect.
    Refused {
        /// Reason.
        error: String,
    },
}

/// Calls and settings of this device.
#[derive(Debug, Serialize)]
pub(crate) struct State {
    /// Own identity.
    pub(crate) did: Did,
    /// This device.
    pub(crate) device: DeviceId,
    /// Addresses of the node, the best first.
    pub(crate) addresses: Vec<String>,
    /// Whether this device sends no audio.
    pub(crate) muted: bool,
    /// Whether this device plays no audio.
    pub(crate) deafened: bool,
    /// Whether this device records.
    pub(crate) recording: bool,
    /// Streams that this device offers.
    pub(crate) streams: Vec<StreamInfo>,
    /// All calls that have not ended.
    pub(crate) calls: Vec<CallSnapshot>,
}

impl Reply {
    /// Reply with the commands.
    pub(crate) fn help() -> Self {
        Self::Help { commands: VOCABULARY.iter().map(|word| [word.name, word.arguments, word.summary]).collect() }
    }

    /// As JSON, with the command's name and id.
    pub(crate) fn json(&self, request: Option<&Request>) -> Value {
        let mut value = serde_json::to_value(self).unwrap_or_else(|error| json!({ "error": error.to_string() }));
        if let Some(request) = request {
            value["command"] = json!(request.command.name());
            if let Some(id) = &request.id {
                value["id"] = id.clone();
            }
        }
        value
    }

    /// As lines of text; none where events tell.
    pub(crate) fn words(&self, request: Option<&Request>, names: &Names) -> Vec<String> {
        match self {
            Self::Done => request.and_then(|request| done(&request.command.name())).into_iter().collect(),
            Self::Calling { people, unreachable, .. } => {
                let list = |people: &[Did]| people.iter().map(|did| names.of(did)).collect::<Vec<_>>().join(", ");
                let calling = format!("calling {}", list(people));
                let unreachable = (!unreachable.is_empty())
                    .then(|| format!("no answer at the addresses of {}: still trying", list(unreachable)));
                [Some(calling), unreachable].into_iter().flatten().collect()
            }
            Self::Devices { devices } => devices.iter().filter_map(device_lines::text).collect(),
            Self::DeviceChosen { device, name } => vec![format!("{device}: `{name}`")],
            Self::Recording { .. } | Self::Sent { .. } => Vec::new(),
            Self::Offering { stream } => vec![format!("offering the stream {stream}")],
            Self::Settings { settings } => {
                settings.iter().map(|value| format!("{} = {}  ({})", value.key, value.value, value.source)).collect()
            }
            Self::State(state) => state.words(names),
            Self::Statistics { participants } => participants.iter().map(|figures| path(figures, names)).collect(),
            Self::History { calls } if calls.is_empty() => vec!["no calls".to_owned()],
            Self::History { calls } => calls.iter().map(|entry| history::line(entry, names)).collect(),
            Self::Ongoing { calls } if calls.is_empty() => vec!["no call is ongoing that could be joined".to_owned()],
            Self::Ongoing { calls } => {
                let line = |(n, call)| format!("join {n} joins {}", describe(call, names));
                (1..).zip(calls).map(line).collect()
            }
            Self::Held { calls } => {
                let line = |(n, call)| format!("resume {n} returns to {}", describe(call, names));
                (1..).zip(calls).map(line).collect()
            }
            Self::Help { commands } => {
                let form = |[name, arguments, _]: &[&str; 3]| format!("{name} {arguments}");
                let width = commands.iter().map(|command| form(command).chars().count()).max().unwrap_or(0);
                commands.iter().map(|command| format!("{:width$}  {}", form(command), command[2])).collect()
            }
            Self::Refused { error } => vec![error.clone()],
        }
    }
}

impl State {
    fn words(&self, names: &Names) -> Vec<String> {
        let flags = [(self.muted, "muted"), (self.deafened, "deafened"), (self.recording, "recording")];
        let flags: Vec<_> = flags.iter().filter(|(is, _)| *is).map(|(_, flag)| *flag).collect();
        let flags = if flags.is_empty() { String::new() } else { format!(", {}", flags.join(", ")) };
        let mut lines = vec![format!("you are {}{flags}", self.did)];
        let mut names = names.clone();
        for person in self.calls.iter().flat_map(|call| &call.participants) {
            person.name.iter().for_each(|name| names.claim(person.did, name));
        }
        let names = &names;
        for call in &self.calls {
            let state = serde_json::to_value(call.state).unwrap_or_default();
            lines.push(format!("{}: {}", describe(call, names), state.as_str().unwrap_or("unknown")));
            for person in &call.participants {
                let status = serde_json::to_value(person.status).unwrap_or_default();
                let flags = [(person.state.muted, ", muted"), (person.state.held, ", holds the call")];
                let flags: String = flags.iter().filter(|(is, _)| *is).map(|(_, flag)| *flag).collect();
                lines.push(format!("  {}: {}{flags}", names.of(&person.did), status.as_str().unwrap_or("unknown")));
            }
        }
        if self.calls.is_empty() {
            lines.push("in no call".to_owned());
        }
        lines
    }
}

/// Text of an effect that no event tells.
fn done(command: &str) -> Option<String> {
    let text = match command {
        "mute" => "you are muted",
        "unmute" => "you are not muted any more",
        "deafen" => "you are deafened: the others are not played",
        "undeafen" => "the others are played again",
        "volume" => "the volume is set",
        "add" => "the person is invited to the call",
        "remove" => "the person is removed from the call",
        "reload-contacts" => "the contacts were read again",
        "revoke-stream" => "the stream is withdrawn",
        _ => return None,
    };
    Some(text.to_owned())
}

/// Creator and participants of a call.
pub(crate) fn describe(call: &CallSnapshot, names: &Names) -> String {
    let is_in = |status| matches!(status, ParticipantStatus::Joined | ParticipantStatus::Connected);
    let present = call.participants.iter().filter(|participant| is_in(participant.status));
    let present: Vec<_> = present.map(|participant| names.of(&participant.did)).collect();
    let with = if present.is_empty() { String::new() } else { format!(" ({} in it)", present.join(", ")) };
    format!("the call of {}{with}", names.of(&call.from))
}

fn path(figures: &ParticipantStatistics, names: &Names) -> String {
    let session = &figures.session;
    let round_trip = session.round_trip.map(|time| format!(", {:.1} ms round trip", milliseconds(time)));
    format!(
        "{}: {} packets received, {} lost{}",
        names.of(&figures.participant.did),
        session.packets_received,
        session.packets_lost,
        round_trip.unwrap_or_default()
    )
}
