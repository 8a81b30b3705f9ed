//! A laboratory for calls: participants are real engines, over any backends, and a scenario says in
//! prose what must happen and what must not.
//!
//! ```no_run
//! use blink_api::Registry;
//! use blink_conformance::impaired::Impairments;
//! use blink_conformance::lab::{Lab, Result, Stage, Timing, incoming_call, joined};
//! use blink_engine::EndReason;
//!
//! async fn they_talk(lab: &mut Lab) -> Result {
//!     let [alice, bob] = lab.participants().await?;
//!     let call = alice.offers(&[&bob]).await?;
//!     bob.sees(incoming_call(call, &alice)).await?;
//!     bob.answers(call).await?;
//!     alice.sees(joined(call, &bob)).await?;
//!     bob.hears(&alice).await?;
//!     bob.saw_once("incoming_call", call)
//! }
//!
//! # async fn run() -> Result {
//! let registry = Registry::discovered().expect("backends have different names");
//! let mut lab = Lab::new(&Stage::new(registry, "memory", "memory", Timing::Virtual), Impairments::NONE, None);
//! let outcome = they_talk(&mut lab).await;
//! lab.end().await;
//! outcome
//! # }
//! ```
//!
//! Every participant has a microphone that gives a tone of its own, and a loudspeaker that
//! remembers what it played: *hears* means that the listener's engine decoded the talker's tone,
//! not merely that packets came. Events are claimed by the step that awaits them;
//! [`Participant::sees_nothing_more`] fails where one is left over.
//!
//! Between an engine and its backends is a line that the lab can cut, count and change: for
//! messages ([`Lab::handles_letters`]), for packets ([`Participant::loses_its_path`]), for the
//! device's address ([`Participant::changes_its_address`]). This works over every backend, on
//! virtual time where the backends allow it and in real time otherwise. What is cut there is lost
//! to the engine while the stacks below may still have their connection. That stacks cope with dead
//! networks themselves is shown with [`Stage::impaired`], where cuts are made in a network in user
//! space ([`impaired`](crate::impaired)) instead.
//!
//! A lab can have one [`Fault`], with which a scenario must fail: that is how each is shown to test
//! something.

mod codec;
mod core;
mod failure;
mod fault;
mod line;
mod listening;
mod log;
mod media_host;
mod participant;
mod person;
mod pictures;
mod post;
mod process;
mod profile;
mod session;
mod showing;
mod sight;
mod signaling;
mod sound;
mod stage;
mod stalls;
mod time;
mod transport;
mod watching;

use std::sync::Arc;
use std::time::Duration;

use blink_api::{Topic, Transport, TransportCapabilities};
use blink_proto::wire::Kind;
use bytes::Bytes;

use self::core::Core;
use crate::impaired::Impairments;
use crate::turn::TurnServer;
pub use failure::{Failure, FailureKind, Result};
pub use fault::{Deed, Fault, Telling};
pub use listening::{hear_each_other, meet};
pub use log::{Diary, Sighting};
pub use participant::{Participant, refused};
use person::Person;
pub use post::{Handling, Letter, Published};
pub use process::Possessions;
pub use profile::Profile;
pub use showing::Screen;
pub use sight::{
    Sight, any, any_of, busy, call_cancelled, call_ended, call_joined, call_replaced, incoming_call, joined, left,
    media_started, missed_call, no_microphone, reconnected, reconnecting, rejected, ringing, speaking_started,
    speaking_stopped, state_of, stream_ended, stream_offered, unanswered, unreachable, video_started,
};
pub use stage::{Impaired, Needs, Stage, Timing};

/// Names of participants that are not named otherwise.
const NAMES: [&str; 6] = ["alice", "bob", "carol", "dave", "erin", "frank"];

/// One run of one scenario: its participants, and everything between them.
pub struct Lab {
    core: Arc<Core>,
}

impl Lab {
    /// An empty lab, in order or with a fault. Its time begins now.
    pub fn new(stage: &Stage, network: Impairments, fault: Option<Fault>) -> Self {
        Self { core: Arc::new(Core::new(stage.clone(), network, fault)) }
    }

    /// New participants, with names in the order of the alphabet.
    ///
    /// # Errors
    /// Where an engine does not start.
    pub async fn participants<const N: usize>(&mut self) -> Result<[Participant; N]> {
        let mut all = Vec::new();
        for _ in 0..N {
            let number = self.core.people().len();
            let name = NAMES.get(number).map_or_else(|| format!("number {number}"), |name| (*name).to_owned());
            all.push(self.participant(Profile::new(&name)).await?);
        }
        Ok(all.try_into().unwrap_or_else(|_| unreachable!("N were made")))
    }

    /// A new participant.
    ///
    /// # Errors
    /// Where its engine does not start.
    pub async fn participant(&mut self, profile: Profile) -> Result<Participant> {
        let participant = self.absent(profile);
        participant.person.start(&self.core).await?;
        Ok(participant)
    }

    /// A new participant, or what its engine says instead of starting.
    pub async fn tries_to_start(&mut self, profile: Profile) -> Result<Participant, blink_api::Error> {
        let participant = self.absent(profile);
        participant.person.try_to_start(&self.core).await?;
        Ok(participant)
    }

    /// A TURN server for everybody, on loopback.
    ///
    /// # Errors
    /// Where it does not start.
    pub async fn turn_server(&self) -> Result<Arc<TurnServer>> {
        self.core.turn().await
    }

    /// What the transports of the stage can do.
    ///
    /// # Errors
    /// Where one is not registered.
    pub fn transports(&self) -> Result<[TransportCapabilities; 2]> {
        let [one, other] = &self.core.stage.transports;
        let capabilities = |name: &str| {
            let entry = self.core.stage.registry.entry::<dyn Transport>(name).map_err(Failure::set_up)?;
            Ok(entry.capabilities)
        };
        Ok([capabilities(one)?, capabilities(other)?])
    }

    /// Somebody who can be called and has not started yet; see [`Participant::comes_back`].
    pub fn absent(&mut self, profile: Profile) -> Participant {
        // Everybody knows where an inbox is, whether or not anybody reads it.
        let person = Arc::new(Person::new(&self.core, self.core.people().len(), profile));
        self.core.post.add_inbox(&person.identity);
        self.core.add_person(person.clone());
        Participant { person, core: self.core.clone() }
    }

    /// Time passes.
    pub async fn passes(&self, time: Duration) {
        tokio::time::sleep(time).await;
    }

    /// Tasks that are alive on the runtime: those of engines and backends, and the lab's own.
    pub fn tasks(&self) -> usize {
        tokio::runtime::Handle::current().metrics().num_alive_tasks()
    }

    /// Sockets and memory of the process, where the stage has it alone. `None` elsewhere, and where
    /// the system does not tell.
    pub fn possessions(&self) -> Option<Possessions> {
        if self.core.stage.alone { Possessions::now(self.core.size()) } else { None }
    }

    /// The time since the lab began.
    pub fn now(&self) -> Duration {
        self.core.clock.elapsed()
    }

    /// For 2 s nothing happens to anybody, and nothing has happened that was not awaited.
    ///
    /// # Errors
    /// Where something did.
    pub async fn nobody_sees_anything_more(&self) -> Result {
        let everybody = self.core.people().into_iter();
        let everybody = everybody.map(|person| Participant { person, core: self.core.clone() });
        let everybody: Vec<_> = everybody.collect();
        if let Some(first) = everybody.first() {
            first.sees_nothing_more().await?;
        }
        everybody.iter().try_for_each(Participant::has_seen_nothing_more)
    }

    /// From now on says what happens to each message at each participant it is about to reach.
    pub fn handles_letters(&self, rule: impl FnMut(&Letter) -> Handling + Send + 'static) {
        self.core.post.set_rule(Some(Box::new(rule)));
    }

    /// Ends what [`handles_letters`](Lab::handles_letters) did, and delivers all that is held,
    /// oldest first.
    pub fn releases_letters(&self) {
        self.core.post.set_rule(None);
        for held in self.core.post.release() {
            // A reader that is gone wants no messages.
            held.queue.push(held.delivery).ok();
        }
    }

    /// From now on transports are given an answer only after a candidate of it.
    pub fn lets_candidates_overtake_answers(&self) {
        self.core.set_candidates_first();
    }

    /// All that was published until now.
    pub fn published(&self) -> Vec<Published> {
        self.core.post.published()
    }

    /// The kinds of all that somebody published; `None` for what is not in somebody's inbox, and
    /// for its owner.
    pub fn letters_of(&self, participant: &Participant) -> Vec<Option<Kind>> {
        self.core.post.kinds_from(participant.number())
    }

    /// Hands a message to everybody who reads a topic, as if somebody unknown had published it;
    /// says how many got it.
    pub fn delivers(&self, topic: Topic, message: &Bytes) -> usize {
        self.core.inject(topic, message)
    }

    /// Whether a topic is somebody's inbox, and not a call's.
    pub fn is_inbox(&self, topic: &Topic) -> bool {
        self.core.post.is_inbox(topic)
    }

    /// Ends all engines. Without it they end in the background.
    pub async fn end(&self) {
        self.core.end().await;
    }

    /// What everybody saw until now.
    pub fn diaries(&self) -> Vec<Diary> {
        self.core.diaries()
    }

    /// How long everybody took, each time, from answering a call to the first other one in it.
    pub fn set_ups(&self) -> Vec<Duration> {
        self.core.people().iter().flat_map(|person| person.log.set_ups()).collect()
    }

    pub(crate) fn fails(&self, why: &str) -> Failure {
        self.core.fails(why)
    }
}
