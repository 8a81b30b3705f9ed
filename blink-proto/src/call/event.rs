//! Events for the user of the engine.

use std::path::PathBuf;

use blink_api::{
    CallId, DeviceDirection, DeviceId, Did, Endpoint, PathFailure, QualityReason, RecordingId, RecordingReport,
    RejectReason, TrackKey, TrackKind,
};
use serde::{Serialize, Serializer};

use super::device_event::{Device, DeviceChangeReason};
use super::message_id::MessageId;
use super::participant::{ParticipantState, StreamInfo};
use super::reason::{CancelledReason, EndReason, LeftReason, StreamEndReason};

/// An event. Events of one call are delivered in the order in which they happened.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Event {
    /// A call rings. Once per call. Until `answer_call`, no device is opened and no media address
    /// revealed. The caller learns the device id, boot and sequence number.
    IncomingCall {
        /// The call.
        call: CallId,
        /// Signer of the offer.
        from: Did,
        /// Its device, which made the offer.
        device: DeviceId,
        /// Everyone on the roster.
        members: Vec<Did>,
        /// Opaque bytes of the caller's integrator.
        conversation: Vec<u8>,
    },
    /// A ringing call stopped ringing. Once, after `IncomingCall`, instead of `MissedCall`.
    CallCancelled {
        /// The call.
        call: CallId,
        /// Reason.
        reason: CancelledReason,
    },
    /// A call was not answered on this device in time.
    MissedCall {
        /// The call.
        call: CallId,
        /// Caller.
        from: Did,
        /// Its device, which made the offer. `None` for a call that an earlier version stored.
        #[serde(skip_serializing_if = "Option::is_none")]
        device: Option<DeviceId>,
    },
    /// A device of an invited person rings. At most once per person and call.
    ParticipantRinging {
        /// The call.
        call: CallId,
        /// Invited person.
        participant: Did,
        /// The device that rings, the first of several.
        device: DeviceId,
    },
    /// An invited person is in another call and has no other device that rings.
    ParticipantBusy {
        /// The call.
        call: CallId,
        /// Invited person.
        participant: Did,
        /// The device that is in another call, the first of several.
        device: DeviceId,
    },
    /// An invited person rejected.
    ParticipantRejected {
        /// The call.
        call: CallId,
        /// Invited person.
        participant: Did,
        /// The device that rejected. `None` where another member reports the rejection: the person
        /// has signed it, but not with which device.
        #[serde(skip_serializing_if = "Option::is_none")]
        device: Option<DeviceId>,
        /// Reason that the person gave. Declined where another member reports the rejection.
        reason: RejectReason,
    },
    /// An invited person did not answer in time, on any device.
    ParticipantUnanswered {
        /// The call.
        call: CallId,
        /// Invited person.
        participant: Did,
    },
    /// The path to a participant is connected and verified; media flows. Once for each time it
    /// joins.
    ParticipantJoined {
        /// The call.
        call: CallId,
        /// The participant and its device.
        participant: Endpoint,
    },
    /// A participant has given itself a name. Once for each time it joins, right before
    /// `ParticipantJoined`, or after it where its record comes later.
    ParticipantNamed {
        /// The call.
        call: CallId,
        /// The participant.
        participant: Endpoint,
        /// Its name, at most 64 characters, all of them seen. It proves nothing: show it beside
        /// the DID, and prefer the name of a contact.
        name: String,
    },
    /// The path to a participant is silent; ICE is restarted. Before `ParticipantReconnected` or
    /// `ParticipantLeft`.
    ParticipantReconnecting {
        /// The call.
        call: CallId,
        /// The participant.
        participant: Endpoint,
    },
    /// The path to a participant carries packets again.
    ParticipantReconnected {
        /// The call.
        call: CallId,
        /// The participant.
        participant: Endpoint,
    },
    /// No path to a member of a group could be established; it is retried. Once for each time it
    /// joins.
    ParticipantUnreachable {
        /// The call.
        call: CallId,
        /// The participant.
        participant: Endpoint,
        /// Why, and how far the path came. Both sides report the same reason.
        failure: PathFailure,
    },
    /// A participant left. Once, after `ParticipantJoined` or `ParticipantUnreachable`.
    ParticipantLeft {
        /// The call.
        call: CallId,
        /// The participant.
        participant: Endpoint,
        /// Reason.
        reason: LeftReason,
    },
    /// The announced state of a participant changed, or is known for the first time.
    ParticipantStateChanged {
        /// The call.
        call: CallId,
        /// The participant.
        participant: Endpoint,
        /// New state.
        state: ParticipantState,
    },
    /// A participant offers a stream, which `request_stream` starts. Once for each stream; for
    /// streams that were offered before this device joined, right after the participant is known.
    StreamOffered {
        /// The call.
        call: CallId,
        /// The participant.
        participant: Endpoint,
        /// The stream.
        stream: StreamInfo,
    },
    /// A stream is no longer offered, or could not be sent. Once, after `StreamOffered`; no further
    /// frame of it arrives. After `Refused` it is still offered.
    StreamEnded {
        /// The call.
        call: CallId,
        /// The stream and the endpoint that offered it.
        track: TrackKey,
        /// Reason.
        reason: StreamEndReason,
    },
    /// A participant, or this device, started speaking. Once per utterance.
    SpeakingStarted {
        /// The call.
        call: CallId,
        /// The participant.
        participant: Endpoint,
    },
    /// A participant, or this device, stopped speaking, was muted or left. Once, after
    /// `SpeakingStarted`; not delivered at the end of the call.
    SpeakingStopped {
        /// The call.
        call: CallId,
        /// The participant.
        participant: Endpoint,
    },
    /// A participant's media is degraded, or likely to be. Once for each kind of reason, until
    /// `QualityRecovered`; only between `ParticipantJoined` and `ParticipantLeft`.
    QualityDegraded {
        /// The call.
        call: CallId,
        /// The participant.
        participant: Endpoint,
        /// The measure that is above its threshold.
        reason: QualityReason,
    },
    /// All measures of a participant are good again, or a new path to it is measured from the
    /// beginning. Once, after one or more `QualityDegraded`; not delivered if the participant
    /// leaves or the call ends.
    QualityRecovered {
        /// The call.
        call: CallId,
        /// The participant.
        participant: Endpoint,
    },
    /// A participant sent a message. Messages of one participant arrive in the order in which it
    /// sent them, each once; only between `ParticipantJoined` and `ParticipantLeft`.
    MessageReceived {
        /// The call.
        call: CallId,
        /// The participant.
        participant: Endpoint,
        /// Bytes of the participant's integrator, at most 16,384: treat them as untrusted.
        #[serde(serialize_with = "text_or_hex")]
        message: Vec<u8>,
    },
    /// A message of this device may not have reached a participant: it, or this device, left the
    /// call before it was acknowledged, or it reads no messages.
    MessageLost {
        /// The call.
        call: CallId,
        /// The participant.
        participant: Endpoint,
        /// The message, as `send_message` returned it.
        message: MessageId,
    },
    /// This device is in the call: a participant acknowledged it. Once for each time it joins.
    CallJoined {
        /// The call.
        call: CallId,
    },
    /// This device left the call, or its offer ended. The last event of a call of two.
    CallEnded {
        /// The call.
        call: CallId,
        /// Reason.
        reason: EndReason,
        /// With [`EndReason::Failed`]: why the path failed. Both sides report the same reason.
        #[serde(skip_serializing_if = "Option::is_none")]
        failure: Option<PathFailure>,
    },
    /// This device holds the call: it stays in it, and neither sends nor plays audio. The streams
    /// that it offered or requested, and its recording, have ended.
    CallHeld {
        /// The call.
        call: CallId,
    },
    /// This device is back in a call that it held: the current one again.
    CallResumed {
        /// The call.
        call: CallId,
    },
    /// Glare: two people called each other at the same time. Both are in `new` now, and neither
    /// rings. The old id remains valid, and a `Call` of the engine refers to the same call under
    /// both.
    CallReplaced {
        /// The call that was given up.
        old: CallId,
        /// The call that continues.
        new: CallId,
    },
    /// The first audio packet of a participant was decoded, or the first frame of a requested
    /// stream is complete. Once for each path: again after the path was established anew.
    MediaStarted {
        /// The call.
        call: CallId,
        /// The track.
        track: TrackKey,
        /// Audio or video.
        kind: TrackKind,
    },
    /// No microphone could be opened; this device only receives. After answering or offering.
    NoMicrophone {
        /// The call.
        call: CallId,
        /// Error of the media host.
        error: String,
    },
    /// The microphone or an offered audio stream of this device came to its end, such as a file
    /// that is not looped, and gives silence from now on. Once for each opening of its source.
    SourceEnded {
        /// The call.
        call: CallId,
        /// The track, of this device.
        track: TrackKey,
        /// Name of the source, as it was chosen.
        name: String,
    },
    /// A media device failed, or the speaker cannot be opened. The call continues with the default
    /// device, if there is one, until the configured one is back.
    DeviceLost {
        /// The media host's own name of the device, without `HOST/`. The configured name if the
        /// speaker cannot be opened.
        name: String,
    },
    /// Another microphone or speaker is in use. Names are those that were chosen, `HOST/NAME` for a
    /// stand-in.
    DeviceChanged {
        /// Microphone (source) or speaker (sink).
        direction: DeviceDirection,
        /// The device in use before, also where it was lost; `None` where there was none.
        from: Option<String>,
        /// The device in use now; `None` where the user chose none.
        to: Option<String>,
        /// Reason.
        reason: DeviceChangeReason,
    },
    /// The devices of a media host changed. In a call and without one.
    DevicesChanged {
        /// All devices of all media hosts.
        devices: Vec<Device>,
    },
    /// This device's user speaks while the microphone is muted. Once per utterance.
    SpeakingWhileMuted {
        /// The call.
        call: CallId,
    },
    /// This device records the call from now on, which the other participants see.
    RecordingStarted {
        /// The call.
        call: CallId,
        /// The recording.
        recording: RecordingId,
        /// Names of the recorders.
        recorders: Vec<String>,
        /// Directory of the files.
        directory: PathBuf,
    },
    /// The disk does not keep up: media was not recorded, which the call does not notice. At most
    /// once in 10 s for each recorder.
    RecordingIncomplete {
        /// The call.
        call: CallId,
        /// The recording.
        recording: RecordingId,
        /// Name of the recorder.
        recorder: String,
        /// Packets, frames and blocks of 10 ms that were not written so far.
        dropped: u64,
    },
    /// A recorder failed, such as on a full disk. What it wrote before is good. The call and the
    /// other recorders of the recording continue; after the last one, `RecordingStopped` follows.
    RecordingFailed {
        /// The call.
        call: CallId,
        /// The recording.
        recording: RecordingId,
        /// Name of the recorder.
        recorder: String,
        /// Error of the recorder.
        error: String,
    },
    /// A recording ended, and its files are complete. Once, after `RecordingStarted`; after
    /// `CallEnded` where the end of the call ends it.
    RecordingStopped {
        /// The call.
        call: CallId,
        /// Files, durations, sizes and tracks.
        report: RecordingReport,
    },
    /// Another process uses this device's identity: its data directory was copied. The engine
    /// stops; this is the last event.
    DeviceCloned,
    /// Writing to `data_dir` failed: a restart may not know of what happens now. Once, until
    /// writing succeeds again.
    PersistenceFailed {
        /// Error of the store.
        error: String,
    },
    /// A signaling node connected or disconnected.
    SignalingChanged {
        /// Connected nodes.
        nodes: usize,
    },
    /// The result of `Blink::addresses` changed.
    AddressesChanged,
}

/// Bytes as text; those that are not UTF-8 as an object with their hexadecimal digits.
fn text_or_hex<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    #[derive(Serialize)]
    struct Hex {
        hex: String,
    }
    match std::str::from_utf8(bytes) {
        Ok(text) => serializer.serialize_str(text),
        Err(_) => Hex { hex: bytes.iter().map(|byte| format!("{byte:02x}")).collect() }.serialize(serializer),
    }
}
