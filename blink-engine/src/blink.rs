//! The engine's interface for integrators.

mod audio_commands;
mod device_commands;
mod hold_commands;
mod media_commands;
mod message_commands;
mod recording_commands;

use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Arc, OnceLock};

use blink_api::{CallId, Configuration, Did, Endpoint, Error, IceServer, RejectReason, Result, Signaling};
use tokio::sync::{mpsc, oneshot, watch};

use crate::ask::ask;
use crate::builder::BlinkBuilder;
use crate::call_config::CallConfig;
use crate::driver::command::Command;
use crate::events::{Events, WeakEvents};
use crate::handle::Call;
use crate::levels::Levels;
use crate::statistics::ParticipantStatistics;
use blink_proto::call::{CallSnapshot, CallState, HistoryEntry, Presence, Snapshot};
use blink_proto::secure::{SecurityCounters, inbox_topic};

/// A running engine: one identity on one device.
///
/// Cheap to clone; all clones are the same engine. It ends with [`shutdown`](Blink::shutdown), or
/// in the background when the last clone is dropped.
///
/// # Cancellation
/// Every method that asks the engine for something sends it a command and waits for the answer, and
/// behaves alike where its future is dropped:
///
/// * While 64 commands wait, the command is not sent before there is room. A future that is dropped
///   by then has no effect.
/// * A command that was sent is carried out, and its answer is lost. Its effects can be read from
///   [`events`](Blink::events) and [`snapshot`](Blink::snapshot).
///
/// Where a method behaves differently, or a lost answer matters, its documentation says so.
#[derive(Clone)]
pub struct Blink {
    pub(crate) commands: mpsc::Sender<Command>,
    pub(crate) events: WeakEvents,
    pub(crate) signaling: Arc<dyn Signaling>,
    pub(crate) endpoint: Endpoint,
    pub(crate) levels: watch::Receiver<Levels>,
    /// Error with which the engine stopped by itself.
    pub(crate) stopped: Arc<OnceLock<Error>>,
}

impl Blink {
    /// Starts an engine with the backends of a configuration. Opens the signaling backend; devices
    /// are opened with a call.
    ///
    /// # Errors
    /// As [`BlinkBuilder::start`].
    ///
    /// # Cancellation
    /// As [`BlinkBuilder::start`].
    pub async fn start(configuration: &Configuration) -> Result<Self> {
        Self::builder(configuration).start().await
    }

    /// A builder for an engine with a given identity or given backends.
    pub fn builder(configuration: &Configuration) -> BlinkBuilder {
        BlinkBuilder::new(configuration)
    }

    /// Identity of this engine.
    pub fn did(&self) -> Did {
        self.endpoint.did
    }

    /// Identity and device of this engine.
    pub fn endpoint(&self) -> Endpoint {
        self.endpoint
    }

    /// Addresses of the signaling backend by which other nodes can [`connect`](Blink::connect),
    /// those of the widest reach first.
    ///
    /// # Errors
    /// [`Closed`](blink_api::ErrorKind::Closed).
    ///
    /// # Cancellation
    /// Has no side effects.
    pub async fn addresses(&self) -> Result<Vec<String>> {
        self.signaling.addresses().await
    }

    /// Connects the signaling backend to a node, and reconnects whenever the connection is lost.
    /// The address may stand behind a DID, as `DID@ADDRESS`.
    ///
    /// # Errors
    /// As [`Signaling::connect`].
    ///
    /// # Cancellation
    /// Where the future is dropped, the backend goes on connecting.
    pub async fn connect(&self, address: &str) -> Result<()> {
        let address = match address.split_once('@') {
            Some((did, address)) if did.parse::<Did>().is_ok() => address,
            _ => address,
        };
        self.signaling.connect(address).await
    }

    /// Offers a call to other identities. A ringing call between the same identities is accepted
    /// instead. The current call of this device is left.
    ///
    /// The handle follows the call where its id changes
    /// ([`CallReplaced`](crate::Event::CallReplaced)).
    ///
    /// # Errors
    /// [`Invalid`](blink_api::ErrorKind::Invalid) for an empty list, more than 15 identities, a DID
    /// without a usable key, and an audio configuration that no codec supports;
    /// [`NotFound`](blink_api::ErrorKind::NotFound) for a codec that is not configured.
    ///
    /// # Cancellation
    /// As all commands. Where the answer is lost, the offer rings all the same:
    /// [`current_call`](Blink::current_call) has its id, [`leave_call`](Blink::leave_call) revokes
    /// it.
    pub async fn offer_call(&self, people: &[Did], config: CallConfig) -> Result<Call> {
        let people = people.to_vec();
        self.ask(|reply| Command::Offer { people, config, reply }).await?
    }

    /// Accepts a ringing call, or joins an ongoing one. Microphone, speaker and media paths are
    /// opened now, not before. The current call of this device is left.
    ///
    /// The handle follows the call as that of [`offer_call`](Blink::offer_call).
    ///
    /// # Errors
    /// [`NotFound`](blink_api::ErrorKind::NotFound) for an unknown call,
    /// [`State`](blink_api::ErrorKind::State) for the current call of this device and for one that
    /// has ended; with `call.require_microphone` that of the microphone, in which case the call
    /// still rings.
    ///
    /// # Cancellation
    /// As all commands. Where the answer is lost, the device is in the call all the same.
    pub async fn answer_call(&self, call: impl Into<CallId>) -> Result<Call> {
        let call = call.into();
        self.ask(|reply| Command::Answer { call, reply }).await?
    }

    /// Rejects a ringing call. A group call can still be joined later.
    ///
    /// # Errors
    /// [`NotFound`](blink_api::ErrorKind::NotFound) for an unknown call,
    /// [`State`](blink_api::ErrorKind::State) for one that does not ring.
    ///
    /// # Cancellation
    /// As all commands.
    pub async fn reject_call(&self, call: impl Into<CallId>) -> Result<()> {
        self.reject_call_because(call, RejectReason::Declined).await
    }

    /// Rejects a ringing call with a reason, which the others are told
    /// ([`ParticipantRejected`](crate::Event::ParticipantRejected)).
    ///
    /// # Errors
    /// As [`reject_call`](Blink::reject_call).
    ///
    /// # Cancellation
    /// As all commands.
    pub async fn reject_call_because(&self, call: impl Into<CallId>, reason: RejectReason) -> Result<()> {
        let call = call.into();
        self.ask(|reply| Command::Reject { call, reason, reply }).await?
    }

    /// Leaves the current call, or revokes its offer.
    ///
    /// # Errors
    /// [`State`](blink_api::ErrorKind::State) without a call.
    ///
    /// # Cancellation
    /// As all commands.
    pub async fn leave_call(&self) -> Result<()> {
        self.ask(|reply| Command::Leave { call: None, reply }).await?
    }

    /// Handle of a call that has not ended, such as one of a [`Snapshot`], by any id that it has
    /// had.
    ///
    /// # Errors
    /// [`NotFound`](blink_api::ErrorKind::NotFound) for an unknown call.
    ///
    /// # Cancellation
    /// Has no side effects.
    pub async fn call(&self, call: CallId) -> Result<Call> {
        self.ask(|reply| Command::Handle { call, reply }).await?
    }

    /// Invites an identity into the current call, which is a group call from then on.
    ///
    /// # Errors
    /// [`State`](blink_api::ErrorKind::State) without a call, for an identity that was removed, has
    /// rejected the call or is in it, and beyond the limits of a call (32 identities, four
    /// invitations of each); [`Invalid`](blink_api::ErrorKind::Invalid) for a DID without a usable
    /// key.
    ///
    /// # Cancellation
    /// As all commands.
    pub async fn add_participant(&self, did: Did) -> Result<()> {
        self.ask(|reply| Command::Add { did, reply }).await?
    }

    /// Removes an identity permanently from the current call, which this identity created.
    ///
    /// # Errors
    /// [`State`](blink_api::ErrorKind::State) without a call, for a call that another identity
    /// created, and for an identity that is not in it.
    ///
    /// # Cancellation
    /// As all commands.
    pub async fn remove_participant(&self, did: Did) -> Result<()> {
        self.ask(|reply| Command::Remove { did, reply }).await?
    }

    /// Ringing calls, including those that rang before a restart, for which no event is repeated.
    ///
    /// # Errors
    /// [`Closed`](blink_api::ErrorKind::Closed) after shutdown;
    /// [`Busy`](blink_api::ErrorKind::Busy) once the engine has stopped because another engine uses
    /// the same device ([`DeviceCloned`](crate::Event::DeviceCloned)). The same for every command.
    ///
    /// # Cancellation
    /// Has no side effects.
    pub async fn pending_calls(&self) -> Result<Vec<CallSnapshot>> {
        let calls = self.snapshot().await?.calls;
        Ok(calls.into_iter().filter(|call| call.state == CallState::Ringing).collect())
    }

    /// The current call: the one that this device is in or offers.
    ///
    /// # Errors
    /// [`Closed`](blink_api::ErrorKind::Closed).
    ///
    /// # Cancellation
    /// Has no side effects.
    pub async fn current_call(&self) -> Result<Option<CallSnapshot>> {
        let current =
            |call: &CallSnapshot| matches!(call.state, CallState::Calling | CallState::Joining | CallState::Active);
        Ok(self.snapshot().await?.calls.into_iter().find(current))
    }

    /// Ongoing group calls without this device, which may join them with
    /// [`answer_call`](Blink::answer_call).
    ///
    /// Their participants have the status [`Joined`](crate::ParticipantStatus::Joined) as far as
    /// this device knows, from offers and from messages of participants who left. A participant
    /// that crashed is listed until another one reports it. A call is forgotten after a day.
    ///
    /// # Errors
    /// [`Closed`](blink_api::ErrorKind::Closed).
    ///
    /// # Cancellation
    /// Has no side effects.
    pub async fn ongoing_calls(&self) -> Result<Vec<CallSnapshot>> {
        let calls = self.snapshot().await?.calls;
        Ok(calls.into_iter().filter(|call| call.state == CallState::Open).collect())
    }

    /// Past calls and the current one, the newest first, at most `call.history`. With `data_dir`
    /// they survive a restart.
    ///
    /// # Errors
    /// [`Closed`](blink_api::ErrorKind::Closed).
    ///
    /// # Cancellation
    /// Has no side effects.
    pub async fn call_history(&self) -> Result<Vec<HistoryEntry>> {
        self.ask(|reply| Command::History { reply }).await
    }

    /// Removes all calls but the current one from the history.
    ///
    /// # Errors
    /// [`Closed`](blink_api::ErrorKind::Closed).
    ///
    /// # Cancellation
    /// As all commands.
    pub async fn clear_history(&self) -> Result<()> {
        self.ask(|reply| Command::ClearHistory { reply }).await
    }

    /// Whether an identity can be reached, as far as this device knows. A hint, for which no
    /// message is sent: see [`Presence`].
    ///
    /// # Errors
    /// [`Closed`](blink_api::ErrorKind::Closed).
    ///
    /// # Cancellation
    /// Has no side effects.
    pub async fn presence(&self, did: Did) -> Result<Presence> {
        let presence = self.ask(|reply| Command::Presence { did, reply }).await?;
        if presence == Presence::Unknown && self.signaling.subscribers(&inbox_topic(&did)).await? > 0 {
            return Ok(Presence::Online);
        }
        Ok(presence)
    }

    /// All calls that have not ended.
    ///
    /// # Errors
    /// [`Closed`](blink_api::ErrorKind::Closed).
    ///
    /// # Cancellation
    /// Has no side effects.
    pub async fn snapshot(&self) -> Result<Snapshot> {
        self.ask(|reply| Command::Snapshot { reply }).await
    }

    /// Sets the identities whose calls ring under `call.from = "known"`.
    ///
    /// # Errors
    /// [`Closed`](blink_api::ErrorKind::Closed).
    ///
    /// # Cancellation
    /// As all commands.
    pub async fn set_known_people(&self, known: impl IntoIterator<Item = Did>) -> Result<()> {
        let known: BTreeSet<Did> = known.into_iter().collect();
        self.ask(|reply| Command::SetKnown { known, reply }).await
    }

    /// Sets STUN and TURN servers for paths to a person, beside those of the configuration: such as
    /// those of the person's invite. Replaces the servers that were set before for this person;
    /// paths that exist keep theirs until they are negotiated anew.
    ///
    /// # Errors
    /// Those of [`IceServer::check`](blink_api::IceServer::check), and
    /// [`Closed`](blink_api::ErrorKind::Closed).
    ///
    /// # Cancellation
    /// As all commands.
    pub async fn set_ice_servers(&self, did: Did, servers: Vec<IceServer>) -> Result<()> {
        servers.iter().try_for_each(IceServer::check)?;
        self.ask(|reply| Command::SetIceServers { did, servers, reply }).await
    }

    /// Events from now on. Subscribe before the command whose events are wanted.
    #[must_use]
    pub fn events(&self) -> Events {
        self.events.subscribe(self.commands.downgrade())
    }

    /// Statistics of the participants to which this device has a media path.
    ///
    /// # Errors
    /// [`Closed`](blink_api::ErrorKind::Closed).
    ///
    /// # Cancellation
    /// Has no side effects.
    pub async fn statistics(&self) -> Result<Vec<ParticipantStatistics>> {
        self.ask(|reply| Command::Statistics { reply }).await
    }

    /// Numbers of rejected messages by reason.
    ///
    /// # Errors
    /// [`Closed`](blink_api::ErrorKind::Closed).
    ///
    /// # Cancellation
    /// Has no side effects.
    pub async fn security_counters(&self) -> Result<SecurityCounters> {
        self.ask(|reply| Command::SecurityCounters { reply }).await
    }

    /// Leaves the call, completes files, closes all backends and stops the engine. Returns when
    /// that is done. Idempotent.
    ///
    /// # Cancellation
    /// As all commands: a shutdown that has begun completes.
    pub async fn shutdown(&self) {
        // The only error is that the engine is shut down already.
        self.ask(|reply| Command::Shutdown { reply }).await.ok();
    }

    /// Sends a command and waits for its answer.
    async fn ask<T>(&self, command: impl FnOnce(oneshot::Sender<T>) -> Command) -> Result<T> {
        ask(&self.commands, command).await.map_err(|error| self.stopped.get().cloned().unwrap_or(error))
    }
}

impl fmt::Debug for Blink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Blink").field("endpoint", &self.endpoint).finish_non_exhaustive()
    }
}
