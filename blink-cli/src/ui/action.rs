//! Effects that the state asks for, and their results.

use blink_api::{CallId, DeviceDirection, Did, Endpoint, StreamId, TrackKind};
use blink_engine::{Device, HistoryEntry, Presence};

use crate::contacts::Contacts;
use crate::invite::Invite;
use crate::target::Target;

/// An effect, carried out by [`perform`](super::perform).
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Action {
    /// Calls these people.
    Call(Vec<Target>),
    /// Invites a person into the call.
    Add(Target),
    /// Answers a ringing call, or joins an ongoing one.
    Answer(CallId),
    /// Holds the current call, and answers a ringing one.
    HoldAndAnswer(CallId),
    /// Holds the current call.
    Hold,
    /// Returns to a call on hold; the current one is held.
    Resume(CallId),
    /// Rejects a ringing call.
    Reject(CallId),
    /// Leaves the call, or revokes its offer.
    Leave,
    /// Mutes or unmutes the microphone.
    Mute(bool),
    /// Stops or resumes playback.
    Deafen(bool),
    /// Sets a participant's volume.
    Volume(Endpoint, f32),
    /// Sends a message to all participants.
    Message(String),
    /// Chooses the microphone (source) or the speaker (sink).
    Choose(DeviceDirection, String),
    /// Starts to record the call, with these names of participants.
    Record(Vec<(Did, String)>),
    /// Completes the recording.
    StopRecording,
    /// Offers a stream from a source of a media host.
    OfferStream(TrackKind, String),
    /// Revokes an own stream.
    RevokeStream(StreamId),
    /// Requests a stream.
    Watch(Endpoint, StreamId),
    /// Ends the request of a stream.
    Unwatch(Endpoint, StreamId),
    /// Stores a contact with this name.
    AddContact(String, Invite),
    /// Records that a contact's safety words were compared.
    Verify(String),
    /// Removes a contact.
    RemoveContact(String),
    /// Reads the engine's calls.
    Snapshot,
    /// Reads the contacts, which another process may have changed.
    ReadContacts,
    /// Lists the devices.
    ListDevices,
    /// Reads the history.
    ReadHistory,
    /// Reads the presence of these people.
    ReadPresence(Vec<Did>),
    /// Reads the own addresses and makes an invite.
    MakeInvite,
    /// Copies a text to the clipboard of the user's terminal.
    Copy(String),
    /// Sounds the terminal's bell.
    Bell,
    /// Draws the whole screen again.
    Redraw,
    /// Suspends the program, as Ctrl-Z does.
    Suspend,
    /// Leaves the call and ends the program.
    Quit,
}

/// Result of an action.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Outcome {
    /// It was done; a snapshot shows the effect.
    Done,
    /// It failed.
    Failed(String),
    /// Devices of all media hosts.
    Devices(Vec<Device>),
    /// This device was chosen.
    Chosen(DeviceDirection, String),
    /// Calls, the newest first.
    History(Vec<HistoryEntry>),
    /// Presence of people.
    Presence(Vec<(Did, Presence)>),
    /// Lines that others call this device by, the invite first.
    Invite(Vec<String>),
    /// Contacts as they are stored now.
    Contacts(Contacts),
    /// Frames and bytes of a requested stream so far; `None` at its end.
    Watched(Endpoint, StreamId, Option<(u64, u64)>),
}
