//! Participant of a lab, and the commands of its user.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use blink_api::{CallId, Did, Endpoint, Error, ErrorKind, Topic};
use blink_engine::{Blink, CallConfig, CancelledReason, Event, Identity, ParticipantState, SecurityCounters, Snapshot};

use super::core::Core;
use super::failure::Result;
use super::fault::{Deed, Fault};
use super::line::Line;
use super::person::Person;

/// One user on one device, with a real engine. Clones refer to the same participant.
#[derive(Clone)]
pub struct Participant {
    pub(crate) person: Arc<Person>,
    pub(crate) core: Arc<Core>,
}

/// Commands of the user. Each fails if the engine returns an error.
impl Participant {
    /// Calls participants.
    pub async fn offers(&self, people: &[&Participant]) -> Result<CallId> {
        let names: Vec<_> = people.iter().map(ToString::to_string).collect();
        self.note(format!("calls {}", names.join(" and ")));
        let dids: Vec<Did> = people.iter().map(|person| person.did()).collect();
        let call = self.done("offer a call", self.blink()?.offer_call(&dids, CallConfig::default()).await)?.id();
        self.core.meet_call(call);
        Ok(call)
    }

    /// Answers a ringing call, or joins an ongoing one. Returns the id of the call that it is in
    /// afterwards.
    pub async fn answers(&self, call: CallId) -> Result<CallId> {
        let answered = self.tries_to_answer(call).await?;
        self.done("answer", answered)
    }

    /// As [`answers`](Self::answers), but returns the engine's error.
    pub async fn tries_to_answer(&self, call: CallId) -> Result<Result<CallId, Error>> {
        self.note(format!("answers {call}"));
        let blink = self.blink()?;
        if matches!(self.core.fault, Some(Fault::RejectsOthersOnAnswer)) {
            for other in self.done("list ringing calls", blink.pending_calls().await)? {
                if other.call != call {
                    self.done("reject", blink.reject_call(other.call).await)?;
                }
            }
        }
        if matches!(self.core.fault, Some(Fault::RejectsForGood))
            && self.person.log.has_note(&format!("rejects {call}"))
        {
            return Ok(Err(Error::new(ErrorKind::State, "the call was rejected")));
        }
        let answered = self.does(Deed::Answer, call, async { Ok(blink.answer_call(call).await?.id()) }).await;
        if matches!(self.core.fault, Some(Fault::UnmutesOnAnswer)) {
            self.done("unmute", blink.set_muted(false).await)?;
        }
        Ok(answered)
    }

    /// Rejects a ringing call.
    pub async fn rejects(&self, call: CallId) -> Result<()> {
        let rejected = self.tries_to_reject(call).await?;
        self.done("reject", rejected)
    }

    /// As [`rejects`](Self::rejects), but returns the engine's error.
    pub async fn tries_to_reject(&self, call: CallId) -> Result<Result<(), Error>> {
        self.note(format!("rejects {call}"));
        Ok(self.does(Deed::Reject, (), self.blink()?.reject_call(call)).await)
    }

    /// Leaves its call, or cancels its offer.
    pub async fn leaves(&self) -> Result<()> {
        let left = self.tries_to_leave().await?;
        self.done("leave", left)
    }

    /// As [`leaves`](Self::leaves), but returns the engine's error.
    pub async fn tries_to_leave(&self) -> Result<Result<(), Error>> {
        self.note("leaves");
        if matches!(self.core.fault, Some(Fault::OneLeaverIsAll)) {
            let reason = CancelledReason::CallerLeft;
            let others = self.core.people().into_iter().filter(|person| person.number != self.number());
            others.for_each(|person| person.log.invent(&self.core, |call| Event::CallCancelled { call, reason }));
        }
        Ok(self.does(Deed::Leave, (), self.blink()?.leave_call()).await)
    }

    /// Invites a participant into its call.
    pub async fn adds(&self, who: &Participant) -> Result<()> {
        let added = self.tries_to_add(who).await?;
        self.done("add", added)
    }

    /// As [`adds`](Self::adds), but returns the engine's error.
    pub async fn tries_to_add(&self, who: &Participant) -> Result<Result<(), Error>> {
        self.note(format!("adds {who}"));
        Ok(self.does(Deed::Add, (), self.blink()?.add_participant(who.did())).await)
    }

    /// Removes a participant permanently from the call that it created.
    pub async fn removes(&self, who: &Participant) -> Result<()> {
        self.note(format!("removes {who}"));
        let removed = self.does(Deed::Remove, (), self.blink()?.remove_participant(who.did())).await;
        self.done("remove", removed)
    }

    /// Mutes or unmutes its microphone.
    pub async fn sets_muted(&self, muted: bool) -> Result<()> {
        self.note(if muted { "mutes" } else { "unmutes" });
        if matches!(self.core.fault, Some(Fault::MutesForShow)) {
            self.only_announces(ParticipantState { muted, ..ParticipantState::default() });
            return Ok(());
        }
        let set = self.does(Deed::Mute, (), self.blink()?.set_muted(muted)).await;
        self.done("mute", set)
    }

    /// Deafens or undeafens it.
    pub async fn sets_deafened(&self, deafened: bool) -> Result<()> {
        self.note(if deafened { "deafens" } else { "undeafens" });
        if matches!(self.core.fault, Some(Fault::MutesForShow)) {
            self.only_announces(ParticipantState { deafened, ..ParticipantState::default() });
            return Ok(());
        }
        let set = self.does(Deed::Deafen, (), self.blink()?.set_deafened(deafened)).await;
        self.done("deafen", set)
    }

    /// Sets the playback volume of a participant, where 1.0 leaves the level unchanged.
    pub async fn sets_volume(&self, of: &Participant, volume: f32) -> Result<()> {
        self.note(format!("sets the volume of {of} to {volume}"));
        let blink = self.blink()?;
        let mut turned = vec![of.person.clone()];
        if matches!(self.core.fault, Some(Fault::TurnsEverybody)) {
            turned = self.core.people();
        }
        for endpoint in turned.iter().filter_map(|person| person.endpoint()) {
            let set = self.does(Deed::SetVolume, (), blink.set_volume(endpoint, volume)).await;
            self.done("set the volume", set)?;
        }
        Ok(())
    }

    /// Sets the known DIDs, whose calls ring with `call.from = "known"`.
    pub async fn knows(&self, people: &[&Participant]) -> Result<()> {
        let known: Vec<Did> = people.iter().map(|person| person.did()).collect();
        self.done("set the known people", self.blink()?.set_known_people(known).await)
    }

    /// Kills the engine without any message, as by a power failure.
    pub async fn is_killed(&self) {
        self.note("is killed");
        self.person.kill(&self.core);
    }

    /// Restarts the engine with the state of its data directory.
    pub async fn comes_back(&self) -> Result<()> {
        self.note("starts again");
        self.person.start(&self.core).await
    }

    /// Announces a state to the other participants without changing it.
    fn only_announces(&self, state: ParticipantState) {
        let Some(participant) = self.endpoint() else { return };
        for other in self.core.people().into_iter().filter(|person| person.number != self.number()) {
            other.log.invent(&self.core, |call| Event::ParticipantStateChanged { call, participant, state });
        }
    }

    pub(super) async fn does<T>(
        &self,
        deed: Deed,
        pretended: T,
        done: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        match self.core.fault {
            Some(Fault::Neglects(neglected)) if neglected == deed => Ok(pretended),
            Some(Fault::SaysYes) => Ok(done.await.unwrap_or(pretended)),
            _ => done.await,
        }
    }

    pub(super) fn done<T>(&self, what: &str, result: Result<T, Error>) -> Result<T> {
        result.map_err(|error| self.fails(format!("could not {what}: {error}")))
    }
}

/// Changes of its network.
impl Participant {
    /// Cuts its packet path; signaling is unaffected.
    pub fn loses_its_path(&self) -> Result<()> {
        self.note("loses its path");
        self.core.set_media(&*self.line()?, false);
        Ok(())
    }

    /// Restores its packet path.
    pub fn finds_its_path(&self) -> Result<()> {
        self.note("regains its path");
        self.core.set_media(&*self.line()?, true);
        Ok(())
    }

    /// Cuts its signaling; packet paths are unaffected.
    pub fn loses_signaling(&self) -> Result<()> {
        self.note("loses signaling");
        self.core.set_signaling(&*self.line()?, false);
        Ok(())
    }

    /// Restores its signaling.
    pub fn finds_signaling(&self) -> Result<()> {
        self.note("regains signaling");
        self.core.set_signaling(&*self.line()?, true);
        Ok(())
    }

    /// Cuts its packet path and its signaling.
    pub fn goes_dark(&self) -> Result<()> {
        self.loses_signaling()?;
        self.loses_its_path()
    }

    /// Restores its packet path and its signaling.
    pub fn is_back(&self) -> Result<()> {
        self.finds_signaling()?;
        self.finds_its_path()
    }

    /// Changes its device's address: existing paths die, and an ICE restart finds new ones.
    pub fn changes_its_address(&self) -> Result<()> {
        self.note("changes its address");
        self.line()?.change_address();
        self.core.paths_changed();
        Ok(())
    }
}

/// Identity, counters and resources.
impl Participant {
    /// DID of the participant.
    pub fn did(&self) -> Did {
        self.person.identity.did()
    }

    /// Identity of the participant, for messages that only it can sign.
    pub fn identity(&self) -> &Identity {
        &self.person.identity
    }

    /// Endpoint of the participant; `None` before its first start.
    pub fn endpoint(&self) -> Option<Endpoint> {
        self.person.endpoint()
    }

    /// Number of the participant, in order of creation, from 0.
    pub fn number(&self) -> usize {
        self.person.number
    }

    /// Topic of its inbox.
    pub fn inbox(&self) -> Topic {
        blink_proto::secure::inbox_topic(&self.did())
    }

    /// Snapshot of its current calls.
    pub async fn snapshot(&self) -> Result<Snapshot> {
        self.done("take a snapshot", self.blink()?.snapshot().await)
    }

    /// Counters of rejected messages, by reason.
    pub async fn counters(&self) -> Result<SecurityCounters> {
        if matches!(self.core.fault, Some(Fault::CountsNothing)) {
            return Ok(SecurityCounters::default());
        }
        self.done("read the counters", self.blink()?.security_counters().await)
    }

    /// Media packets that its engine sent in this run.
    pub fn packets_sent(&self) -> Result<u64> {
        Ok(self.line()?.packets_sent.load(Ordering::Relaxed))
    }

    /// Media packets that its engine received in this run.
    pub fn packets_received(&self) -> Result<u64> {
        Ok(self.line()?.packets_received.load(Ordering::Relaxed))
    }

    /// Candidates that its transport gathered in this run.
    pub fn candidates_gathered(&self) -> Result<u64> {
        Ok(self.line()?.candidates_sent.load(Ordering::Relaxed))
    }

    /// Descriptions and candidates that its transport created in this run.
    pub fn addresses_told(&self) -> Result<Vec<String>> {
        Ok(self.line()?.told())
    }

    /// Sessions that its engine opened in this run.
    pub fn sessions_opened(&self) -> Result<usize> {
        Ok(self.line()?.sessions_opened.load(Ordering::Relaxed))
    }

    /// Number of open sessions.
    pub fn open_sessions(&self) -> Result<usize> {
        Ok(self.line()?.sessions_open.load(Ordering::Relaxed))
    }

    /// Number of open subscriptions; two of the same topic count twice.
    pub fn open_topics(&self) -> Result<usize> {
        Ok(self.line()?.subscriptions_open.load(Ordering::Relaxed))
    }

    /// ICE restarts that its engine offered in this run.
    pub fn ice_restarts(&self) -> Result<usize> {
        Ok(self.line()?.restarts.load(Ordering::Relaxed))
    }

    /// Number of times that its microphone was opened.
    pub fn microphones_opened(&self) -> usize {
        self.person.devices.microphones_opened.load(Ordering::Relaxed)
    }

    /// Number of open microphones and loudspeakers.
    pub fn open_devices(&self) -> usize {
        self.person.devices.open.load(Ordering::Relaxed)
    }

    /// Messages that it received on calls' topics since a time.
    pub fn call_letters_since(&self, since: std::time::Duration) -> Result<u64> {
        let post = &self.core.post;
        Ok(self.line()?.delivered_since(since, |topic| !post.is_inbox(topic)))
    }

    /// Messages that others published to its inbox since a time.
    pub fn inbox_letters_since(&self, since: std::time::Duration) -> usize {
        let inbox = self.inbox();
        let fresh = |letter: &&super::post::Published| letter.at >= since && letter.topic == inbox;
        self.core.post.published().iter().filter(fresh).count()
    }

    /// Handle of its engine, for steps without a method of their own.
    ///
    /// # Errors
    /// The engine is not running.
    pub fn blink(&self) -> Result<Blink> {
        self.person.blink().ok_or_else(|| self.fails("cannot execute a command: its engine is not running"))
    }

    pub(crate) fn line(&self) -> Result<Arc<Line>> {
        self.person.line().ok_or_else(|| self.fails("was never started"))
    }

    pub(super) fn note(&self, what: impl Into<String>) {
        self.person.log.note(self.core.clock.elapsed(), what);
    }
}

impl fmt::Display for Participant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.person.name)
    }
}

/// Verifies that a command failed with the expected kind of error.
pub fn refused<T>(who: &Participant, kind: ErrorKind, what: &str, result: Result<T, Error>) -> Result<()> {
    match result {
        Err(error) if error.kind() == kind => Ok(()),
        Err(error) => Err(who.fails(format!("{what}: failed with {:?} instead of {kind:?}: {error}", error.kind()))),
        Ok(_) => Err(who.fails(format!("{what}: succeeded, and should fail with {kind:?}"))),
    }
}
