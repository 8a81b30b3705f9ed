//! Participant of a lab, and the commands of its user.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use blink_api::{CallId, Did, Endpoint, Error, ErrorKind, Topic};
use blink_engine::{Blink, CallConfig, CancelledReason, Event, Identity, ParticipantState, SecurityCounters, Snapshot};

use super::core::Core;
use super::failure::Result;
use super::fault::{Command, Fault};
use super::link::Link;
use super::participant_inner::ParticipantInner;

/// One user on one device, with a real engine. Clones refer to the same participant.
#[derive(Clone)]
pub struct Participant {
    pub(crate) inner: Arc<ParticipantInner>,
    pub(crate) core: Arc<Core>,
}

impl fmt::Debug for Participant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Participant").finish_non_exhaustive()
    }
}

/// Commands of the user. Each fails if the engine returns an error.
impl Participant {
    /// Calls participants.
    pub async fn offers(&self, participants: &[&Participant]) -> Result<CallId> {
        let names: Vec<_> = participants.iter().map(ToString::to_string).collect();
        self.log_action(format!("calls {}", names.join(" and ")));
        let dids: Vec<Did> = participants.iter().map(|participant| participant.did()).collect();
        let call = self.expect_ok("offer a call", self.blink()?.offer_call(&dids, CallConfig::default()).await)?.id();
        self.core.register_call(call);
        Ok(call)
    }

    /// Answers a ringing call, or joins an ongoing one. Returns the id of the call that it is in
    /// afterwards.
    pub async fn answers(&self, call: CallId) -> Result<CallId> {
        let answered = self.tries_to_answer(call).await?;
        self.expect_ok("answer", answered)
    }

    /// As [`answers`](Self::answers), but returns the engine's error.
    pub async fn tries_to_answer(&self, call: CallId) -> Result<Result<CallId, Error>> {
        self.log_action(format!("answers {call}"));
        let blink = self.blink()?;
        if matches!(self.core.fault, Some(Fault::RejectsOthersOnAnswer)) {
            for other in self.expect_ok("list ringing calls", blink.pending_calls().await)? {
                if other.call != call {
                    self.expect_ok("reject", blink.reject_call(other.call).await)?;
                }
            }
        }
        if matches!(self.core.fault, Some(Fault::RejectIsPermanent))
            && self.inner.log.has_action(&format!("rejects {call}"))
        {
            return Ok(Err(Error::new(ErrorKind::State, "the call was rejected")));
        }
        let answered = self.run_command(Command::Answer, call, async { Ok(blink.answer_call(call).await?.id()) }).await;
        if matches!(self.core.fault, Some(Fault::UnmutesOnAnswer)) {
            self.expect_ok("unmute", blink.set_muted(false).await)?;
        }
        Ok(answered)
    }

    /// Rejects a ringing call.
    pub async fn rejects(&self, call: CallId) -> Result<()> {
        let rejected = self.tries_to_reject(call).await?;
        self.expect_ok("reject", rejected)
    }

    /// As [`rejects`](Self::rejects), but returns the engine's error.
    pub async fn tries_to_reject(&self, call: CallId) -> Result<Result<(), Error>> {
        self.log_action(format!("rejects {call}"));
        Ok(self.run_command(Command::Reject, (), self.blink()?.reject_call(call)).await)
    }

    /// Leaves its call, or cancels its offer.
    pub async fn leaves(&self) -> Result<()> {
        let left = self.tries_to_leave().await?;
        self.expect_ok("leave", left)
    }

    /// As [`leaves`](Self::leaves), but returns the engine's error.
    pub async fn tries_to_leave(&self) -> Result<Result<(), Error>> {
        self.log_action("leaves");
        if matches!(self.core.fault, Some(Fault::LeaveEndsGroupCall)) {
            let reason = CancelledReason::CallerLeft;
            let others = self.core.participants().into_iter().filter(|participant| participant.number != self.number());
            others.for_each(|participant| {
                participant.log.record_false_event(&self.core, |call| Event::CallCancelled { call, reason });
            });
        }
        Ok(self.run_command(Command::Leave, (), self.blink()?.leave_call()).await)
    }

    /// Invites a participant into its call.
    pub async fn adds(&self, who: &Participant) -> Result<()> {
        let added = self.tries_to_add(who).await?;
        self.expect_ok("add", added)
    }

    /// As [`adds`](Self::adds), but returns the engine's error.
    pub async fn tries_to_add(&self, who: &Participant) -> Result<Result<(), Error>> {
        self.log_action(format!("adds {who}"));
        Ok(self.run_command(Command::Add, (), self.blink()?.add_participant(who.did())).await)
    }

    /// Removes a participant permanently from the call that it created.
    pub async fn removes(&self, who: &Participant) -> Result<()> {
        self.log_action(format!("removes {who}"));
        let removed = self.run_command(Command::Remove, (), self.blink()?.remove_participant(who.did())).await;
        self.expect_ok("remove", removed)
    }

    /// Mutes or unmutes its microphone.
    pub async fn sets_muted(&self, muted: bool) -> Result<()> {
        self.log_action(if muted { "mutes" } else { "unmutes" });
        if matches!(self.core.fault, Some(Fault::OnlyAnnouncesMute)) {
            self.announce_only(ParticipantState { muted, ..ParticipantState::default() });
            return Ok(());
        }
        let set = self.run_command(Command::Mute, (), self.blink()?.set_muted(muted)).await;
        self.expect_ok("mute", set)
    }

    /// Deafens or undeafens it.
    pub async fn sets_deafened(&self, deafened: bool) -> Result<()> {
        self.log_action(if deafened { "deafens" } else { "undeafens" });
        if matches!(self.core.fault, Some(Fault::OnlyAnnouncesMute)) {
            self.announce_only(ParticipantState { deafened, ..ParticipantState::default() });
            return Ok(());
        }
        let set = self.run_command(Command::Deafen, (), self.blink()?.set_deafened(deafened)).await;
        self.expect_ok("deafen", set)
    }

    /// Sets the playback volume of a participant, where 1.0 leaves the level unchanged.
    pub async fn sets_volume(&self, of: &Participant, volume: f32) -> Result<()> {
        self.log_action(format!("sets the volume of {of} to {volume}"));
        let blink = self.blink()?;
        let mut turned = vec![of.inner.clone()];
        if matches!(self.core.fault, Some(Fault::SetsVolumeOfAll)) {
            turned = self.core.participants();
        }
        for endpoint in turned.iter().filter_map(|participant| participant.endpoint()) {
            let set = self.run_command(Command::SetVolume, (), blink.set_volume(endpoint, volume)).await;
            self.expect_ok("set the volume", set)?;
        }
        Ok(())
    }

    /// Sets the known DIDs, whose calls ring with `call.from = "known"`.
    pub async fn knows(&self, participants: &[&Participant]) -> Result<()> {
        let known: Vec<Did> = participants.iter().map(|participant| participant.did()).collect();
        self.expect_ok("set the known participants", self.blink()?.set_known_people(known).await)
    }

    /// Kills the engine without any message, as by a power failure.
    pub async fn is_killed(&self) {
        self.log_action("is killed");
        self.inner.kill(&self.core);
    }

    /// Restarts the engine with the state of its data directory.
    pub async fn restarts(&self) -> Result<()> {
        self.log_action("starts again");
        self.inner.start(&self.core).await
    }

    /// Announces a state to the other participants without changing it.
    pub(super) fn announce_only(&self, state: ParticipantState) {
        let Some(participant) = self.endpoint() else { return };
        for other in self.core.participants().into_iter().filter(|participant| participant.number != self.number()) {
            other.log.record_false_event(&self.core, |call| Event::ParticipantStateChanged {
                call,
                participant,
                state,
            });
        }
    }

    pub(super) async fn run_command<T>(
        &self,
        command: Command,
        default: T,
        result: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        match self.core.fault {
            Some(Fault::IgnoresCommand(ignored)) if ignored == command => Ok(default),
            Some(Fault::NeverReportsErrors) => Ok(result.await.unwrap_or(default)),
            _ => result.await,
        }
    }

    pub(super) fn expect_ok<T>(&self, what: &str, result: Result<T, Error>) -> Result<T> {
        result.map_err(|error| self.fails(format!("could not {what}: {error}")))
    }
}

/// Changes of its network.
impl Participant {
    /// Cuts its packet path; signaling is unaffected.
    pub fn loses_media_path(&self) -> Result<()> {
        self.log_action("loses its path");
        self.core.set_media(&*self.link()?, false);
        Ok(())
    }

    /// Restores its packet path.
    pub fn regains_media_path(&self) -> Result<()> {
        self.log_action("regains its path");
        self.core.set_media(&*self.link()?, true);
        Ok(())
    }

    /// Cuts its signaling; packet paths are unaffected.
    pub fn loses_signaling(&self) -> Result<()> {
        self.log_action("loses signaling");
        self.core.set_signaling(&*self.link()?, false);
        Ok(())
    }

    /// Restores its signaling.
    pub fn regains_signaling(&self) -> Result<()> {
        self.log_action("regains signaling");
        self.core.set_signaling(&*self.link()?, true);
        Ok(())
    }

    /// Cuts its packet path and its signaling.
    pub fn loses_network(&self) -> Result<()> {
        self.loses_signaling()?;
        self.loses_media_path()
    }

    /// Restores its packet path and its signaling.
    pub fn regains_network(&self) -> Result<()> {
        self.regains_signaling()?;
        self.regains_media_path()
    }

    /// Changes its device's address: existing paths die, and an ICE restart finds new ones.
    pub fn changes_address(&self) -> Result<()> {
        self.log_action("changes its address");
        self.link()?.change_address();
        self.core.paths_changed();
        Ok(())
    }
}

/// Identity, counters and resources.
impl Participant {
    /// DID of the participant.
    pub fn did(&self) -> Did {
        self.inner.identity.did()
    }

    /// Identity of the participant, for messages that only it can sign.
    pub fn identity(&self) -> &Identity {
        &self.inner.identity
    }

    /// Endpoint of the participant; `None` before its first start.
    pub fn endpoint(&self) -> Option<Endpoint> {
        self.inner.endpoint()
    }

    /// Number of the participant, in order of creation, from 0.
    pub fn number(&self) -> usize {
        self.inner.number
    }

    /// Topic of its inbox.
    pub fn inbox(&self) -> Topic {
        blink_proto::secure::inbox_topic(&self.did())
    }

    /// Snapshot of its current calls.
    pub async fn snapshot(&self) -> Result<Snapshot> {
        self.expect_ok("take a snapshot", self.blink()?.snapshot().await)
    }

    /// Counters of rejected messages, by reason.
    pub async fn counters(&self) -> Result<SecurityCounters> {
        if matches!(self.core.fault, Some(Fault::NeverCountsRejections)) {
            return Ok(SecurityCounters::default());
        }
        self.expect_ok("read the counters", self.blink()?.security_counters().await)
    }

    /// Media packets that its engine sent in this run.
    pub fn packets_sent(&self) -> Result<u64> {
        Ok(self.link()?.packets_sent.load(Ordering::Relaxed))
    }

    /// Media packets that its engine received in this run.
    pub fn packets_received(&self) -> Result<u64> {
        Ok(self.link()?.packets_received.load(Ordering::Relaxed))
    }

    /// Candidates that its transport gathered in this run.
    pub fn candidates_gathered(&self) -> Result<u64> {
        Ok(self.link()?.candidates_sent.load(Ordering::Relaxed))
    }

    /// Descriptions and candidates that its transport created in this run.
    pub fn signaled_addresses(&self) -> Result<Vec<String>> {
        Ok(self.link()?.signaled())
    }

    /// Sessions that its engine opened in this run.
    pub fn sessions_opened(&self) -> Result<usize> {
        Ok(self.link()?.sessions_opened.load(Ordering::Relaxed))
    }

    /// Number of open sessions.
    pub fn open_sessions(&self) -> Result<usize> {
        Ok(self.link()?.sessions_open.load(Ordering::Relaxed))
    }

    /// Number of open subscriptions; two of the same topic count duplicate.
    pub fn open_subscriptions(&self) -> Result<usize> {
        Ok(self.link()?.subscriptions_open.load(Ordering::Relaxed))
    }

    /// ICE restarts that its engine offered in this run.
    pub fn ice_restarts(&self) -> Result<usize> {
        Ok(self.link()?.restarts.load(Ordering::Relaxed))
    }

    /// Number of times that its microphone was opened.
    pub fn microphones_opened(&self) -> usize {
        self.inner.devices.microphones_opened.load(Ordering::Relaxed)
    }

    /// Number of open microphones and loudspeakers.
    pub fn open_devices(&self) -> usize {
        self.inner.devices.open.load(Ordering::Relaxed)
    }

    /// Messages that it received on calls' topics since a time.
    pub fn call_messages_since(&self, since: std::time::Duration) -> Result<u64> {
        let message_network = &self.core.message_network;
        Ok(self.link()?.delivered_since(since, |topic| !message_network.is_inbox(topic)))
    }

    /// Messages that others published to its inbox since a time.
    pub fn inbox_messages_since(&self, since: std::time::Duration) -> usize {
        let inbox = self.inbox();
        let fresh = |message: &&super::message_network::Published| message.at >= since && message.topic == inbox;
        self.core.message_network.published().iter().filter(fresh).count()
    }

    /// Handle of its engine, for steps without a method of their own.
    ///
    /// # Errors
    /// The engine is not running.
    pub fn blink(&self) -> Result<Blink> {
        self.inner.blink().ok_or_else(|| self.fails("cannot execute a command: its engine is not running"))
    }

    pub(crate) fn link(&self) -> Result<Arc<Link>> {
        self.inner.link().ok_or_else(|| self.fails("was never started"))
    }

    pub(super) fn log_action(&self, what: impl Into<String>) {
        self.inner.log.log_action(self.core.clock.elapsed(), what);
    }
}

impl fmt::Display for Participant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.inner.name)
    }
}

/// Verifies that a command failed with the expected kind of error.
pub fn expect_error<T>(who: &Participant, kind: ErrorKind, what: &str, result: Result<T, Error>) -> Result<()> {
    match result {
        Err(error) if error.kind() == kind => Ok(()),
        Err(error) => Err(who.fails(format!("{what}: failed with {:?} instead of {kind:?}: {error}", error.kind()))),
        Ok(_) => Err(who.fails(format!("{what}: succeeded, and should fail with {kind:?}"))),
    }
}
