//! Commands of a running program: typed, as JSON lines on standard input, over the control socket,
//! and from the full-screen program.
//!
//! [`Request::parse`] reads a line, [`Executor::run`] executes the command, and a [`Reply`] is
//! shown as text or JSON. Nothing here prints.

mod dial;
mod executor;
mod reply;
mod vocabulary;

use std::fmt;

use blink_api::CallId;
use serde::{Deserialize, Serialize};
use serde_json::Value;

pub(crate) use self::dial::{dial, use_servers};
pub(crate) use self::executor::Executor;
pub(crate) use self::reply::{Reply, State, describe};
pub(crate) use self::vocabulary::VOCABULARY;

/// Longest line in bytes.
pub(crate) const LONGEST: usize = 64 * 1024;

/// A command, in JSON `{"command": "mute"}` with its fields.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) enum Command {
    /// Calls people: names of contacts, invites, DIDs or DID@ADDRESS.
    Call {
        /// The people.
        people: Vec<String>,
    },
    /// Answers a ringing call; without `call`, the one that rings.
    Answer {
        /// The call.
        #[serde(default)]
        call: Option<CallId>,
    },
    /// Rejects a ringing call; without `call`, the one that rings.
    Reject {
        /// The call.
        #[serde(default)]
        call: Option<CallId>,
    },
    /// Joins an ongoing group call: without `call` the one that was left, or lists them.
    Join {
        /// The call, or its number in the last list.
        #[serde(default)]
        call: Option<String>,
    },
    /// Leaves the call; without `call` the current one, else the only one on hold.
    Leave {
        /// The call.
        #[serde(default)]
        call: Option<CallId>,
    },
    /// Holds the call: it stays connected, and nothing is sent or played.
    Hold {},
    /// Returns to a call on hold, and holds the current one; without `call`, the only one.
    Resume {
        /// The call, or its number in the last list.
        #[serde(default)]
        call: Option<String>,
    },
    /// Mutes the microphone.
    Mute {},
    /// Unmutes the microphone.
    Unmute {},
    /// Stops playing the others.
    Deafen {},
    /// Plays the others again.
    Undeafen {},
    /// Sets the playback volume of a participant, 0 to 4; 1 is unchanged.
    Volume {
        /// Name of a contact, or DID.
        who: String,
        /// Linear gain.
        volume: f32,
    },
    /// Sends a message to a participant; without `who`, to all.
    Message {
        /// Text, at most 16,384 bytes of UTF-8.
        message: String,
        /// Name of a contact, or DID.
        #[serde(default)]
        who: Option<String>,
    },
    /// Adds people to the call.
    Add {
        /// Names of contacts, invites, DIDs or DID@ADDRESS.
        people: Vec<String>,
    },
    /// Removes a person from the call, which only its creator may.
    Remove {
        /// Name of a contact, or DID.
        who: String,
    },
    /// Lists the devices.
    Devices {},
    /// Chooses the microphone.
    Microphone {
        /// Name of the device.
        name: String,
    },
    /// Chooses the speaker.
    Speaker {
        /// Name of the device.
        name: String,
    },
    /// Records the call.
    Record {
        /// Names of recorders; empty: those of the configuration, else `mp4`.
        #[serde(default)]
        recorders: Vec<String>,
        /// Directory for the files; absent: that of `--out`, else one below `data_dir`.
        #[serde(default)]
        directory: Option<std::path::PathBuf>,
    },
    /// Stops recording.
    StopRecording {},
    /// Offers a video or audio stream.
    OfferStream {
        /// Source, such as `clip:vp8`.
        source: String,
        /// Name that the others see; absent: the source.
        #[serde(default)]
        name: Option<String>,
    },
    /// Withdraws an offered stream; without `stream`, the only one.
    RevokeStream {
        /// The stream.
        #[serde(default)]
        stream: Option<String>,
    },
    /// Shows every configuration key with its value and source.
    Settings {},
    /// Shows the calls with their participants, and the state of this device.
    State {},
    /// Shows the statistics of the paths of the call.
    Statistics {},
    /// Shows past calls, newest first.
    History {},
    /// Reads the contacts again.
    ReloadContacts {},
    /// Lists the commands.
    Help {},
}

/// A command with the id that its reply repeats.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Request {
    /// Any JSON value of the sender; `None` for typed commands.
    pub(crate) id: Option<Value>,
    /// The command.
    pub(crate) command: Command,
}

/// A line that is no command.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Invalid {
    /// Id of the line, if it could be read.
    pub(crate) id: Option<Value>,
    /// Reason, with what was expected.
    pub(crate) reason: String,
}

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)
    }
}

impl From<Command> for Request {
    fn from(command: Command) -> Self {
        Self { id: None, command }
    }
}

impl Request {
    /// Reads a line: JSON where it begins with `{`, else words. `None` for an empty line.
    ///
    /// # Errors
    /// The reason, with what was expected.
    pub(crate) fn parse(line: &str) -> Result<Option<Self>, Invalid> {
        let line = line.trim();
        if line.len() > LONGEST {
            return Err(Invalid { id: None, reason: format!("a command has at most {LONGEST} bytes") });
        }
        if line.is_empty() {
            return Ok(None);
        }
        if line.starts_with('{') {
            return Self::parse_json(line).map(Some);
        }
        let command = vocabulary::parse(line).map_err(|reason| Invalid { id: None, reason })?;
        Ok(Some(command.into()))
    }

    fn parse_json(line: &str) -> Result<Self, Invalid> {
        let mut value: Value = serde_json::from_str(line)
            .map_err(|error| Invalid { id: None, reason: format!("this line is not JSON: {error}") })?;
        let id = value.as_object_mut().and_then(|object| object.remove("id"));
        match serde_json::from_value(value) {
            Ok(command) => Ok(Self { id, command }),
            Err(error) => Err(Invalid { id, reason: format!("this is not a command: {error}") }),
        }
    }
}

impl Command {
    /// Name, as in JSON.
    pub(crate) fn name(&self) -> String {
        let value = serde_json::to_value(self).unwrap_or_default();
        value["command"].as_str().unwrap_or_default().to_owned()
    }
}

#[cfg(test)]
mod tests;
