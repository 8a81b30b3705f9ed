//! The engine as an integrator sees it.

use std::collections::BTreeSet;
use std::sync::{Arc, OnceLock};

use blink_api::{CallId, Configuration, Did, Endpoint, Error, Result, Signaling, StreamId};
use tokio::sync::{mpsc, oneshot};

use crate::ask::ask;
use crate::builder::BlinkBuilder;
use crate::call_config::{CallConfig, RequestedStream, StreamConfig};
use crate::driver::command::Command;
use crate::events::{Events, WeakEvents};
use crate::handle::Call;
use crate::statistics::ParticipantStatistics;
use blink_proto::call::{CallSnapshot, CallState, HistoryEntry, Presence, Snapshot};
use blink_proto::secure::{SecurityCounters, inbox_topic};

/// A running engine: one person on one device.
///
/// Cheap to clone; all clones are the same engine. It ends with [`shutdown`](Blink::shutdown), or
/// when the last clone is dropped, in the background.
#[derive(Clone)]
pub struct Blink {
    pub(crate) commands: mpsc::Sender<Command>,
    pub(crate) events: WeakEvents,
    pub(crate) signaling: Arc<dyn Signaling>,
    pub(crate) endpoint: Endpoint,
    /// Why the engine stopped by itself, if it did.
    pub(crate) stopped: Arc<OnceLock<Error>>,
}

impl Blink {
    /// Starts an engine with the parts a configuration names. Opens the signaling backend; devices
    /// are opened when there is a call.
    ///
    /// # Errors
    /// Whatever opening the parts can meet: an occupied port, a data directory in use.
    pub async fn start(configuration: &Configuration) -> Result<Self> {
        Self::builder(configuration).start().await
    }

    /// For an engine with an identity or parts of one's own.
    pub fn builder(configuration: &Configuration) -> BlinkBuilder {
        BlinkBuilder::new(configuration)
    }

    /// Who this is.
    pub fn did(&self) -> Did {
        self.endpoint.did
    }

    /// Who this is, on which device.
    pub fn endpoint(&self) -> Endpoint {
        self.endpoint
    }

    /// Addresses of the signaling backend that others can [`connect`](Blink::connect) to; those
    /// that reach further first.
    ///
    /// # Errors
    /// [`Closed`](blink_api::ErrorKind::Closed).
    pub async fn addresses(&self) -> Result<Vec<String>> {
        self.signaling.addresses().await
    }

    /// Connects the signaling backend to a node, and again whenever the connection is lost.
    ///
    /// # Errors
    /// As [`Signaling::connect`].
    pub async fn connect(&self, address: &str) -> Result<()> {
        self.signaling.connect(address).await
    }

    /// Calls other people. A call they offered to the very same people, ringing here, is answered
    /// instead; a call this device is in is left.
    ///
    /// The handle follows the call where it goes on under another id
    /// ([`CallReplaced`](crate::Event::CallReplaced)).
    ///
    /// # Errors
    /// [`Invalid`](blink_api::ErrorKind::Invalid) for nobody, more than 15 or a DID without a
    /// usable key, and for sound that cannot be sent so;
    /// [`NotFound`](blink_api::ErrorKind::NotFound) for a codec that is not configured.
    pub async fn offer_call(&self, people: &[Did], config: CallConfig) -> Result<Call> {
        let people = people.to_vec();
        self.ask(|reply| Command::Offer { people, config, reply }).await?
    }

    /// Answers a call that rings, or joins one that goes on without this device. Microphone,
    /// speaker and path open now, not before; sound connects by itself. A call this device is in is
    /// left.
    ///
    /// The handle follows the call as that of [`offer_call`](Blink::offer_call).
    ///
    /// # Errors
    /// [`NotFound`](blink_api::ErrorKind::NotFound) for an unknown call,
    /// [`State`](blink_api::ErrorKind::State) for one this device is in or that is over; with
    /// `call.require_microphone` that of the microphone, and the call still rings.
    pub async fn answer_call(&self, call: impl Into<CallId>) -> Result<Call> {
        let call = call.into();
        self.ask(|reply| Command::Answer { call, reply }).await?
    }

    /// Rejects a call that rings. One of a group may be joined later all the same.
    ///
    /// # Errors
    /// [`NotFound`](blink_api::ErrorKind::NotFound), [`State`](blink_api::ErrorKind::State) for one
    /// that does not ring.
    pub async fn reject_call(&self, call: impl Into<CallId>) -> Result<()> {
        let call = call.into();
        self.ask(|reply| Command::Reject { call, reply }).await?
    }

    /// Leaves the call this device is in, or revokes its offer.
    ///
    /// # Errors
    /// [`State`](blink_api::ErrorKind::State) where there is none.
    pub async fn leave_call(&self) -> Result<()> {
        self.ask(|reply| Command::Leave { reply }).await?
    }

    /// Handle of a call that is not over, by any id that it has had: of one that rings, or of one
    /// that a [`Snapshot`] lists.
    ///
    /// # Errors
    /// [`NotFound`](blink_api::ErrorKind::NotFound) for an unknown call.
    pub async fn call(&self, call: CallId) -> Result<Call> {
        self.ask(|reply| Command::Handle { call, reply }).await?
    }

    /// Invites somebody into the call this device is in; it is a group's from then on.
    ///
    /// # Errors
    /// [`State`](blink_api::ErrorKind::State) without a call, or for somebody who was removed, has
    /// rejected, is in it, or finds no room (32 people, four invitations for each of them);
    /// [`Invalid`](blink_api::ErrorKind::Invalid) for a DID without a usable key.
    pub async fn add_participant(&self, did: Did) -> Result<()> {
        self.ask(|reply| Command::Add { did, reply }).await?
    }

    /// Removes somebody for good from a call that this person began.
    ///
    /// # Errors
    /// [`State`](blink_api::ErrorKind::State) without a call, for one that somebody else began, or
    /// for somebody who is not in it.
    pub async fn remove_participant(&self, did: Did) -> Result<()> {
        self.ask(|reply| Command::Remove { did, reply }).await?
    }

    /// Calls that ring here, those too that rang before a restart and were not told of anew.
    ///
    /// # Errors
    /// [`Closed`](blink_api::ErrorKind::Closed), as of every question below;
    /// [`Busy`](blink_api::ErrorKind::Busy) once the engine has stopped because this device runs
    /// elsewhere, too ([`DeviceCloned`](crate::Event::DeviceCloned)), as of every command.
    pub async fn pending_calls(&self) -> Result<Vec<CallSnapshot>> {
        let calls = self.snapshot().await?.calls;
        Ok(calls.into_iter().filter(|call| call.state == CallState::Ringing).collect())
    }

    /// The call this device is in or offers.
    ///
    /// # Errors
    /// [`Closed`](blink_api::ErrorKind::Closed).
    pub async fn current_call(&self) -> Result<Option<CallSnapshot>> {
        let current =
            |call: &CallSnapshot| matches!(call.state, CallState::Calling | CallState::Joining | CallState::Active);
        Ok(self.snapshot().await?.calls.into_iter().find(current))
    }

    /// Calls of groups that go on without this device, which may join them with
    /// [`answer_call`](Blink::answer_call). Those who are in them have the status
    /// [`Joined`](crate::ParticipantStatus::Joined), as far as is known here: from offers, and from
    /// what those say who leave. Whoever crashed is listed until somebody says otherwise; a call is
    /// forgotten after a day.
    ///
    /// # Errors
    /// [`Closed`](blink_api::ErrorKind::Closed).
    pub async fn ongoing_calls(&self) -> Result<Vec<CallSnapshot>> {
        let calls = self.snapshot().await?.calls;
        Ok(calls.into_iter().filter(|call| call.state == CallState::Open).collect())
    }

    /// Calls that were and the one that is, the newest first; at most `call.history`. With
    /// `data_dir` they survive a restart.
    ///
    /// # Errors
    /// [`Closed`](blink_api::ErrorKind::Closed).
    pub async fn call_history(&self) -> Result<Vec<HistoryEntry>> {
        self.ask(|reply| Command::History { reply }).await
    }

    /// Forgets all calls of the history but what is ongoing.
    ///
    /// # Errors
    /// [`Closed`](blink_api::ErrorKind::Closed).
    pub async fn clear_history(&self) -> Result<()> {
        self.ask(|reply| Command::ClearHistory { reply }).await
    }

    /// Whether somebody can be reached, as far as is known here. A hint that asks nobody: see
    /// [`Presence`].
    ///
    /// # Errors
    /// [`Closed`](blink_api::ErrorKind::Closed).
    pub async fn presence(&self, did: Did) -> Result<Presence> {
        let heard = self.ask(|reply| Command::Presence { did, reply }).await?;
        if heard == Presence::Unknown && self.signaling.subscribers(&inbox_topic(&did)).await? > 0 {
            return Ok(Presence::Online);
        }
        Ok(heard)
    }

    /// All calls that are not over.
    ///
    /// # Errors
    /// [`Closed`](blink_api::ErrorKind::Closed).
    pub async fn snapshot(&self) -> Result<Snapshot> {
        self.ask(|reply| Command::Snapshot { reply }).await
    }

    /// Sends no sound, or sends it again; others are told. Returns when no more sound leaves.
    ///
    /// # Errors
    /// [`Closed`](blink_api::ErrorKind::Closed).
    pub async fn set_muted(&self, muted: bool) -> Result<()> {
        self.ask(|reply| Command::SetMuted { muted, reply }).await
    }

    /// Plays no sound, or plays it again; others are told.
    ///
    /// # Errors
    /// [`Closed`](blink_api::ErrorKind::Closed).
    pub async fn set_deafened(&self, deafened: bool) -> Result<()> {
        self.ask(|reply| Command::SetDeafened { deafened, reply }).await
    }

    /// Tells others whether this device records the call, for whoever records it by means of their
    /// own. The flag ends with the call.
    ///
    /// # Errors
    /// [`State`](blink_api::ErrorKind::State) without a call.
    pub async fn set_recording(&self, recording: bool) -> Result<()> {
        self.ask(|reply| Command::SetRecording { recording, reply }).await?
    }

    /// Announces a stream beside the microphone to everybody in the call, and whoever joins it:
    /// another sound, or pictures. Its source is opened now and read once somebody asks for it. It
    /// ends with [`revoke_stream`](Blink::revoke_stream) or the call.
    ///
    /// # Errors
    /// [`State`](blink_api::ErrorKind::State) without a call or with 8 streams already;
    /// [`Invalid`](blink_api::ErrorKind::Invalid) for a name over 64 bytes;
    /// [`Unsupported`](blink_api::ErrorKind::Unsupported) for pictures where the transport or the
    /// media host has none, or in a codec other than VP8 and H.264; whatever opening the source can
    /// meet.
    pub async fn offer_stream(&self, config: StreamConfig) -> Result<StreamId> {
        self.ask(|reply| Command::OfferStream { config, reply }).await?
    }

    /// Takes an announced stream back: it stops for everybody, and its source closes.
    ///
    /// # Errors
    /// [`NotFound`](blink_api::ErrorKind::NotFound) for a stream that this device does not offer.
    pub async fn revoke_stream(&self, stream: StreamId) -> Result<()> {
        self.ask(|reply| Command::RevokeStream { stream, reply }).await?
    }

    /// Asks for a stream that a participant offers; it comes until it is closed or revoked, over
    /// lost and found paths too.
    ///
    /// # Errors
    /// [`NotFound`](blink_api::ErrorKind::NotFound) for a stream that is not offered;
    /// [`State`](blink_api::ErrorKind::State) without a call, for one that was asked for already,
    /// and where as many come from that participant as can: one of audio, two of video.
    /// [`Unsupported`](blink_api::ErrorKind::Unsupported) for a codec that cannot be read.
    pub async fn request_stream(&self, participant: Endpoint, stream: StreamId) -> Result<RequestedStream> {
        self.ask(|reply| Command::RequestStream { participant, stream, reply }).await?
    }

    /// Asks for a stream no more; for others it goes on.
    ///
    /// # Errors
    /// [`NotFound`](blink_api::ErrorKind::NotFound) for one that was not asked for,
    /// [`State`](blink_api::ErrorKind::State) without a call.
    pub async fn close_stream(&self, participant: Endpoint, stream: StreamId) -> Result<()> {
        self.ask(|reply| Command::CloseStream { participant, stream, reply }).await?
    }

    /// How loud one participant is played: 0.0 silent, 1.0 as it came, at most 4.0. Kept over
    /// leaving and joining again.
    ///
    /// # Errors
    /// [`Closed`](blink_api::ErrorKind::Closed).
    pub async fn set_volume(&self, participant: Endpoint, volume: f32) -> Result<()> {
        self.ask(|reply| Command::SetVolume { participant, volume, reply }).await
    }

    /// People whose calls ring under `call.from = "known"`.
    ///
    /// # Errors
    /// [`Closed`](blink_api::ErrorKind::Closed).
    pub async fn set_known_people(&self, known: impl IntoIterator<Item = Did>) -> Result<()> {
        let known: BTreeSet<Did> = known.into_iter().collect();
        self.ask(|reply| Command::SetKnown { known, reply }).await
    }

    /// Everything that happens from now on. Subscribe before the command whose events are wanted.
    pub fn events(&self) -> Events {
        self.events.subscribe(self.commands.downgrade())
    }

    /// Figures of the participants this device has a path to.
    ///
    /// # Errors
    /// [`Closed`](blink_api::ErrorKind::Closed).
    pub async fn statistics(&self) -> Result<Vec<ParticipantStatistics>> {
        self.ask(|reply| Command::Statistics { reply }).await
    }

    /// How many messages were refused, by reason.
    ///
    /// # Errors
    /// [`Closed`](blink_api::ErrorKind::Closed).
    pub async fn security_counters(&self) -> Result<SecurityCounters> {
        self.ask(|reply| Command::SecurityCounters { reply }).await
    }

    /// Leaves the call, tells the others, completes files and closes everything. Returns when that
    /// is done; at once where it was done before.
    pub async fn shutdown(&self) {
        // Closed already: nothing to do.
        self.ask(|reply| Command::Shutdown { reply }).await.ok();
    }

    async fn ask<T>(&self, command: impl FnOnce(oneshot::Sender<T>) -> Command) -> Result<T> {
        ask(&self.commands, command).await.map_err(|error| self.stopped.get().cloned().unwrap_or(error))
    }
}
