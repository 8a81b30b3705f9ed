//! A test lab for calls. Participants are real engines over any backends; a scenario states which
//! events must occur and which must not.
//!
//! ```no_run
//! use blink_api::Registry;
//! use blink_conformance::lab::{Lab, Network, Result, Stage, Timing, incoming_call, joined};
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
//! let mut lab = Lab::new(&Stage::new(registry, "memory", "memory", Timing::Virtual), Network::PLAIN, None);
//! let outcome = they_talk(&mut lab).await;
//! lab.end().await;
//! outcome
//! # }
//! ```
//!
//! Every participant has a microphone that produces a tone of its own, and a loudspeaker that
//! records what it plays: *hears* means that the listener's engine decoded the talker's tone, not
//! merely that packets arrived. The step that waits for an event claims it;
//! [`Participant::sees_nothing_more`] fails if an unclaimed event remains.
//!
//! Each engine is connected to its backends by a link that the lab can cut, count on and change:
//! for signaling messages ([`Lab::handles_letters`]), for packets ([`Participant::loses_its_path`])
//! and for the device's address ([`Participant::changes_its_address`]). This works over every
//! backend, in virtual time where the backends allow it and in real time otherwise. A cut at this
//! link hides the traffic from the engine, while the stacks below may stay connected.
//! [`Stage::impaired`] cuts in a network in user space instead ([`impaired`](crate::impaired)),
//! which tests that the stacks themselves recover.
//!
//! A lab can be given one [`Fault`], with which a scenario must fail. This shows that each scenario
//! detects the fault it is about.

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
pub use stage::{Impaired, Needs, Network, Stage, Timing};

/// Names of participants without a name of their own, in order of creation.
const NAMES: [&str; 6] = ["alice", "bob", "carol", "dave", "erin", "frank"];

/// State of one run of a scenario: its participants and the network between them.
pub struct Lab {
    core: Arc<Core>,
}

impl Lab {
    /// Creates a lab without participants, with an optional fault. The lab's clock starts at zero.
    pub fn new(stage: &Stage, network: Network, fault: Option<Fault>) -> Self {
        Self { core: Arc::new(Core::new(stage.clone(), network, fault)) }
    }

    /// Starts `N` participants, named in alphabetical order.
    ///
    /// # Errors
    /// An engine fails to start.
    pub async fn participants<const N: usize>(&mut self) -> Result<[Participant; N]> {
        let mut all = Vec::new();
        for _ in 0..N {
            let number = self.core.people().len();
            let name = NAMES.get(number).map_or_else(|| format!("number {number}"), |name| (*name).to_owned());
            all.push(self.participant(Profile::new(&name)).await?);
        }
        Ok(all.try_into().unwrap_or_else(|_| unreachable!("N were made")))
    }

    /// Starts one participant.
    ///
    /// # Errors
    /// Its engine fails to start.
    pub async fn participant(&mut self, profile: Profile) -> Result<Participant> {
        let participant = self.absent(profile);
        participant.person.start(&self.core).await?;
        Ok(participant)
    }

    /// Starts one participant, and returns the engine's error if it fails to start.
    pub async fn tries_to_start(&mut self, profile: Profile) -> Result<Participant, blink_api::Error> {
        let participant = self.absent(profile);
        participant.person.try_to_start(&self.core).await?;
        Ok(participant)
    }

    /// Returns the lab's TURN server on loopback, started at the first call.
    ///
    /// # Errors
    /// The server fails to start.
    pub async fn turn_server(&self) -> Result<Arc<TurnServer>> {
        self.core.turn().await
    }

    /// Capabilities of the two configured transports.
    ///
    /// # Errors
    /// One of them is not registered.
    pub fn transports(&self) -> Result<[TransportCapabilities; 2]> {
        let [one, other] = &self.core.stage.transports;
        let capabilities = |name: &str| {
            let entry = self.core.stage.registry.entry::<dyn Transport>(name).map_err(Failure::set_up)?;
            Ok(entry.capabilities)
        };
        Ok([capabilities(one)?, capabilities(other)?])
    }

    /// Creates a participant whose engine is not started yet, but that others can call; see
    /// [`Participant::comes_back`].
    pub fn absent(&mut self, profile: Profile) -> Participant {
        // An inbox topic can be published to whether or not its owner is subscribed.
        let person = Arc::new(Person::new(&self.core, self.core.people().len(), profile));
        self.core.post.add_inbox(&person.identity);
        self.core.add_person(person.clone());
        Participant { person, core: self.core.clone() }
    }

    /// Waits.
    pub async fn passes(&self, time: Duration) {
        tokio::time::sleep(time).await;
    }

    /// Number of live tasks on the runtime: those of engines, backends and the lab.
    pub fn tasks(&self) -> usize {
        tokio::runtime::Handle::current().metrics().num_alive_tasks()
    }

    /// Sockets and memory of the process; `None` unless [`Stage::alone`] is set, and on systems
    /// without Linux's `/proc`.
    pub fn possessions(&self) -> Option<Possessions> {
        if self.core.stage.alone { Possessions::now(self.core.size()) } else { None }
    }

    /// Time since the lab was created.
    pub fn now(&self) -> Duration {
        self.core.clock.elapsed()
    }

    /// Waits for 2 s and verifies that no participant has an unclaimed event.
    ///
    /// # Errors
    /// A participant has an unclaimed event.
    pub async fn nobody_sees_anything_more(&self) -> Result {
        let everybody = self.core.people().into_iter();
        let everybody = everybody.map(|person| Participant { person, core: self.core.clone() });
        let everybody: Vec<_> = everybody.collect();
        if let Some(first) = everybody.first() {
            first.sees_nothing_more().await?;
        }
        everybody.iter().try_for_each(Participant::has_seen_nothing_more)
    }

    /// Installs a rule that decides what happens to each message at each participant that is about
    /// to receive it.
    pub fn handles_letters(&self, rule: impl FnMut(&Letter) -> Handling + Send + 'static) {
        self.core.post.set_rule(Some(Box::new(rule)));
    }

    /// Removes the rule of [`handles_letters`](Lab::handles_letters), and delivers all held
    /// messages, oldest first.
    pub fn releases_letters(&self) {
        self.core.post.set_rule(None);
        for held in self.core.post.release() {
            // The subscription may have been dropped meanwhile.
            held.queue.push(held.delivery).ok();
        }
    }

    /// Delays every answer from now on until one of its candidates was delivered.
    pub fn lets_candidates_overtake_answers(&self) {
        self.core.set_candidates_first();
    }

    /// All messages published so far.
    pub fn published(&self) -> Vec<Published> {
        self.core.post.published()
    }

    /// Kinds of all messages that a participant published; `None` for messages outside inboxes,
    /// which the lab cannot decrypt.
    pub fn letters_of(&self, participant: &Participant) -> Vec<Option<Kind>> {
        self.core.post.kinds_from(participant.number())
    }

    /// Delivers a message to every subscriber of a topic, as if an unknown node had published it.
    /// Returns the number of subscriptions that received it.
    pub fn delivers(&self, topic: Topic, message: &Bytes) -> usize {
        self.core.inject(topic, message)
    }

    /// Whether a topic is a participant's inbox rather than a call's topic.
    pub fn is_inbox(&self, topic: &Topic) -> bool {
        self.core.post.is_inbox(topic)
    }

    /// Shuts down all engines. Dropping the lab shuts them down in the background.
    pub async fn end(&self) {
        self.core.end().await;
    }

    /// Event logs of all participants so far.
    pub fn diaries(&self) -> Vec<Diary> {
        self.core.diaries()
    }

    /// Times from answering a call to the first `ParticipantJoined`, of all participants.
    pub fn set_ups(&self) -> Vec<Duration> {
        self.core.people().iter().flat_map(|person| person.log.set_ups()).collect()
    }

    pub(crate) fn fails(&self, why: &str) -> Failure {
        self.core.fails(why)
    }
}
