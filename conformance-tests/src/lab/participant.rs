//! A participant of a lab, and what a user does.

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

/// One person on one device, with a real engine. Cheap to clone; all clones are the same
/// participant.
#[derive(Clone)]
pub struct Participant {
    pub(crate) person: Arc<Person>,
    pub(crate) core: Arc<Core>,
}

/// What the user does. Each fails where the engine refuses.
impl Participant {
    /// Calls people.
    pub async fn offers(&self, people: &[&Participant]) -> Result<CallId> {
        let names: Vec<_> = people.iter().map(ToString::to_string).collect();
        self.note(format!("calls {}", names.join(" and ")));
        let dids: Vec<Did> = people.iter().map(|person| person.did()).collect();
        let call = self.done("offer a call", self.blink()?.offer_call(&dids, CallConfig::default()).await)?.id();
        self.core.meet_call(call);
        Ok(call)
    }

    /// Answers a call that rings, or joins one that goes on; gives the id of the call it is in
    /// then.
    pub async fn answers(&self, call: CallId) -> Result<CallId> {
        let answered = self.tries_to_answer(call).await?;
        self.done("answer", answered)
    }

    /// As [`answers`](Self::answers), with what the engine says.
    pub async fn tries_to_answer(&self, call: CallId) -> Result<Result<CallId, Error>> {
        self.note(format!("answers {call}"));
        let blink = self.blink()?;
        if matches!(self.core.fault, Some(Fault::RejectsOthersOnAnswer)) {
            for other in self.done("see what rings", blink.pending_calls().await)? {
                if other.call != call {
                    self.done("reject", blink.reject_call(other.call).await)?;
                }
            }
        }
        if matches!(self.core.fault, Some(Fault::RejectsForGood))
            && self.person.log.has_note(&format!("rejects {call}"))
        {
            return Ok(Err(Error::new(ErrorKind::State, "it was rejected")));
        }
        let answered = self.does(Deed::Answer, call, async { Ok(blink.answer_call(call).await?.id()) }).await;
        if matches!(self.core.fault, Some(Fault::UnmutesOnAnswer)) {
            self.done("unmute", blink.set_muted(false).await)?;
        }
        Ok(answered)
    }

    /// Rejects a call that rings.
    pub async fn rejects(&self, call: CallId) -> Result<()> {
        let rejected = self.tries_to_reject(call).await?;
        self.done("reject", rejected)
    }

    /// As [`rejects`](Self::rejects), with what the engine says.
    pub async fn tries_to_reject(&self, call: CallId) -> Result<Result<(), Error>> {
        self.note(format!("rejects {call}"));
        Ok(self.does(Deed::Reject, (), self.blink()?.reject_call(call)).await)
    }

    /// Leaves the call it is in, or takes back its offer.
    pub async fn leaves(&self) -> Result<()> {
        let left = self.tries_to_leave().await?;
        self.done("leave", left)
    }

    /// As [`leaves`](Self::leaves), with what the engine says.
    pub async fn tries_to_leave(&self) -> Result<Result<(), Error>> {
        self.note("leaves");
        if matches!(self.core.fault, Some(Fault::OneLeaverIsAll)) {
            let reason = CancelledReason::CallerLeft;
            let others = self.core.people().into_iter().filter(|person| person.number != self.number());
            others.for_each(|person| person.log.invent(&self.core, |call| Event::CallCancelled { call, reason }));
        }
        Ok(self.does(Deed::Leave, (), self.blink()?.leave_call()).await)
    }

    /// Invites somebody into the call it is in.
    pub async fn adds(&self, who: &Participant) -> Result<()> {
        let added = self.tries_to_add(who).await?;
        self.done("add", added)
    }

    /// As [`adds`](Self::adds), with what the engine says.
    pub async fn tries_to_add(&self, who: &Participant) -> Result<Result<(), Error>> {
        self.note(format!("adds {who}"));
        Ok(self.does(Deed::Add, (), self.blink()?.add_participant(who.did())).await)
    }

    /// Removes somebody for good from the call it began.
    pub async fn removes(&self, who: &Participant) -> Result<()> {
        self.note(format!("removes {who}"));
        let removed = self.does(Deed::Remove, (), self.blink()?.remove_participant(who.did())).await;
        self.done("remove", removed)
    }

    /// Sends no sound from now on, or sends it again.
    pub async fn sets_muted(&self, muted: bool) -> Result<()> {
        self.note(if muted { "mutes" } else { "unmutes" });
        if matches!(self.core.fault, Some(Fault::MutesForShow)) {
            self.only_announces(ParticipantState { muted, ..ParticipantState::default() });
            return Ok(());
        }
        let set = self.does(Deed::Mute, (), self.blink()?.set_muted(muted)).await;
        self.done("mute", set)
    }

    /// Plays no sound from now on, or plays it again.
    pub async fn sets_deafened(&self, deafened: bool) -> Result<()> {
        self.note(if deafened { "deafens" } else { "listens again" });
        if matches!(self.core.fault, Some(Fault::MutesForShow)) {
            self.only_announces(ParticipantState { deafened, ..ParticipantState::default() });
            return Ok(());
        }
        let set = self.does(Deed::Deafen, (), self.blink()?.set_deafened(deafened)).await;
        self.done("deafen", set)
    }

    /// Plays somebody louder or less loud: 1.0 as it came.
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

    /// Names the people whose calls ring under `call.from = "known"`.
    pub async fn knows(&self, people: &[&Participant]) -> Result<()> {
        let known: Vec<Did> = people.iter().map(|person| person.did()).collect();
        self.done("name people it knows", self.blink()?.set_known_people(known).await)
    }

    /// The engine ends without a word, as when the power fails.
    pub async fn is_killed(&self) {
        self.note("is killed");
        self.person.kill(&self.core);
    }

    /// The engine starts again, with what its data directory has.
    pub async fn comes_back(&self) -> Result<()> {
        self.note("starts again");
        self.person.start(&self.core).await
    }

    /// Everybody else is told something about this one.
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

/// What happens to its network.
impl Participant {
    /// No packet gets through any more; signaling is as it was.
    pub fn loses_its_path(&self) -> Result<()> {
        self.note("loses its path");
        self.core.set_media(&*self.line()?, false);
        Ok(())
    }

    /// Packets get through again.
    pub fn finds_its_path(&self) -> Result<()> {
        self.note("could be reached again");
        self.core.set_media(&*self.line()?, true);
        Ok(())
    }

    /// No message gets through any more; paths are as they were.
    pub fn loses_signaling(&self) -> Result<()> {
        self.note("loses signaling");
        self.core.set_signaling(&*self.line()?, false);
        Ok(())
    }

    /// Messages get through again.
    pub fn finds_signaling(&self) -> Result<()> {
        self.note("has signaling again");
        self.core.set_signaling(&*self.line()?, true);
        Ok(())
    }

    /// Neither packets nor messages get through.
    pub fn goes_dark(&self) -> Result<()> {
        self.loses_signaling()?;
        self.loses_its_path()
    }

    /// Ends what [`goes_dark`](Self::goes_dark) did.
    pub fn is_back(&self) -> Result<()> {
        self.finds_signaling()?;
        self.finds_its_path()
    }

    /// Its device has another address: paths made before are dead, those that an ICE restart makes
    /// are not.
    pub fn changes_its_address(&self) -> Result<()> {
        self.note("has another address");
        self.line()?.change_address();
        self.core.paths_changed();
        Ok(())
    }
}

/// What it is and has.
impl Participant {
    /// Who it is.
    pub fn did(&self) -> Did {
        self.person.identity.did()
    }

    /// Its identity, for what only it can sign.
    pub fn identity(&self) -> &Identity {
        &self.person.identity
    }

    /// Who it is, on which device; `None` before its first start.
    pub fn endpoint(&self) -> Option<Endpoint> {
        self.person.endpoint()
    }

    /// Its number, in the order of appearance, from 0.
    pub fn number(&self) -> usize {
        self.person.number
    }

    /// The topic it is called on.
    pub fn inbox(&self) -> Topic {
        blink_proto::secure::inbox_topic(&self.did())
    }

    /// All its calls that are not over.
    pub async fn snapshot(&self) -> Result<Snapshot> {
        self.done("tell how things stand", self.blink()?.snapshot().await)
    }

    /// How many messages it refused, by reason.
    pub async fn counters(&self) -> Result<SecurityCounters> {
        if matches!(self.core.fault, Some(Fault::CountsNothing)) {
            return Ok(SecurityCounters::default());
        }
        self.done("count refusals", self.blink()?.security_counters().await)
    }

    /// Packets of media that its engine sent, in this life.
    pub fn packets_sent(&self) -> Result<u64> {
        Ok(self.line()?.packets_sent.load(Ordering::Relaxed))
    }

    /// Packets of media that reached its engine, in this life.
    pub fn packets_received(&self) -> Result<u64> {
        Ok(self.line()?.packets_received.load(Ordering::Relaxed))
    }

    /// Candidates that its transport gathered, in this life.
    pub fn candidates_gathered(&self) -> Result<u64> {
        Ok(self.line()?.candidates_sent.load(Ordering::Relaxed))
    }

    /// Descriptions and candidates that its transport made for others, in this life.
    pub fn addresses_told(&self) -> Result<Vec<String>> {
        Ok(self.line()?.told())
    }

    /// Sessions that its engine opened, in this life.
    pub fn sessions_opened(&self) -> Result<usize> {
        Ok(self.line()?.sessions_opened.load(Ordering::Relaxed))
    }

    /// Sessions that are open.
    pub fn open_sessions(&self) -> Result<usize> {
        Ok(self.line()?.sessions_open.load(Ordering::Relaxed))
    }

    /// Topics that it is subscribed to; one that it subscribed to twice counts twice.
    pub fn open_topics(&self) -> Result<usize> {
        Ok(self.line()?.subscriptions_open.load(Ordering::Relaxed))
    }

    /// ICE restarts that its engine offered, in this life.
    pub fn ice_restarts(&self) -> Result<usize> {
        Ok(self.line()?.restarts.load(Ordering::Relaxed))
    }

    /// How often its microphone was opened.
    pub fn microphones_opened(&self) -> usize {
        self.person.devices.microphones_opened.load(Ordering::Relaxed)
    }

    /// Microphones and loudspeakers that are open.
    pub fn open_devices(&self) -> usize {
        self.person.devices.open.load(Ordering::Relaxed)
    }

    /// How many messages reached it on calls' topics since a time.
    pub fn call_letters_since(&self, since: std::time::Duration) -> Result<u64> {
        let post = &self.core.post;
        Ok(self.line()?.delivered_since(since, |topic| !post.is_inbox(topic)))
    }

    /// How many messages of others were published to its inbox since a time.
    pub fn inbox_letters_since(&self, since: std::time::Duration) -> usize {
        let inbox = self.inbox();
        let fresh = |letter: &&super::post::Published| letter.at >= since && letter.topic == inbox;
        self.core.post.published().iter().filter(fresh).count()
    }

    /// Its engine, for what a scenario cannot say otherwise.
    ///
    /// # Errors
    /// Where it is dead.
    pub fn blink(&self) -> Result<Blink> {
        self.person.blink().ok_or_else(|| self.fails("is dead, and was asked to do something"))
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

/// Says of a command that it was refused in the way it should be.
pub fn refused<T>(who: &Participant, kind: ErrorKind, what: &str, result: Result<T, Error>) -> Result<()> {
    match result {
        Err(error) if error.kind() == kind => Ok(()),
        Err(error) => Err(who.fails(format!("{what}: refused with {:?} instead of {kind:?}: {error}", error.kind()))),
        Ok(_) => Err(who.fails(format!("{what}: was allowed, and should be refused with {kind:?}"))),
    }
}
