//! Commands of the user to the driver.

use std::collections::BTreeSet;

use blink_api::{
    CallId, DeviceDirection, Did, Endpoint, IceServer, RecordingId, RecordingReport, RejectReason, Result, StreamId,
    TrackKey,
};
use tokio::sync::oneshot;

use crate::audio_frames::AudioFrames;
use crate::call_config::{CallConfig, RequestedStream, StreamConfig};
use crate::handle::Call;
use crate::recording_request::RecordingRequest;
use crate::statistics::ParticipantStatistics;
use blink_proto::call::{Device, HistoryEntry, MessageId, Presence, Snapshot};
use blink_proto::secure::SecurityCounters;

/// A command and where its answer goes.
pub(crate) enum Command {
    Offer { people: Vec<Did>, config: CallConfig, reply: oneshot::Sender<Result<Call>> },
    Answer { call: CallId, reply: oneshot::Sender<Result<Call>> },
    Handle { call: CallId, reply: oneshot::Sender<Result<Call>> },
    Reject { call: CallId, reason: RejectReason, reply: oneshot::Sender<Result<()>> },
    Leave { call: Option<CallId>, reply: oneshot::Sender<Result<()>> },
    Hold { reply: oneshot::Sender<Result<Call>> },
    Resume { call: CallId, reply: oneshot::Sender<Result<()>> },
    Add { did: Did, reply: oneshot::Sender<Result<()>> },
    Remove { did: Did, reply: oneshot::Sender<Result<()>> },
    SetMuted { muted: bool, reply: oneshot::Sender<()> },
    SetDeafened { deafened: bool, reply: oneshot::Sender<()> },
    SendMessage { to: Option<Endpoint>, message: Vec<u8>, reply: oneshot::Sender<Result<MessageId>> },
    AudioFrames { track: TrackKey, reply: oneshot::Sender<Result<AudioFrames>> },
    SetVolume { participant: Endpoint, volume: f32, reply: oneshot::Sender<()> },
    SetRecording { recording: bool, reply: oneshot::Sender<Result<()>> },
    Devices { reply: oneshot::Sender<Result<Vec<Device>>> },
    ChooseDevice { direction: DeviceDirection, name: String, reply: oneshot::Sender<Result<()>> },
    StartRecording { request: RecordingRequest, reply: oneshot::Sender<Result<RecordingId>> },
    StopRecording { reply: oneshot::Sender<Result<RecordingReport>> },
    OfferStream { config: StreamConfig, reply: oneshot::Sender<Result<StreamId>> },
    RevokeStream { stream: StreamId, reply: oneshot::Sender<Result<()>> },
    RequestStream { participant: Endpoint, stream: StreamId, reply: oneshot::Sender<Result<RequestedStream>> },
    CloseStream { participant: Endpoint, stream: StreamId, reply: oneshot::Sender<Result<()>> },
    SetKnown { known: BTreeSet<Did>, reply: oneshot::Sender<()> },
    SetIceServers { did: Did, servers: Vec<IceServer>, reply: oneshot::Sender<()> },
    Snapshot { reply: oneshot::Sender<Snapshot> },
    History { reply: oneshot::Sender<Vec<HistoryEntry>> },
    ClearHistory { reply: oneshot::Sender<()> },
    Presence { did: Did, reply: oneshot::Sender<Presence> },
    Statistics { reply: oneshot::Sender<Vec<ParticipantStatistics>> },
    SecurityCounters { reply: oneshot::Sender<SecurityCounters> },
    Shutdown { reply: oneshot::Sender<()> },
}
