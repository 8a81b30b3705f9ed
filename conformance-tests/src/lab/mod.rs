//! A test lab for calls. Participants are real engines over any backends; a scenario states which
//! events must occur and which must not.
//!
//! ```no_run
//! use blink_api::Registry;
//! use blink_conformance::impaired::Impairments;
//! use blink_conformance::lab::{Lab, Result, LabConfig, Timing, incoming_call, joined};
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
//! let mut lab = Lab::new(&LabConfig::new(registry, "memory", "memory", Timing::Virtual), Impairments::NONE, None);
//! let outcome = they_talk(&mut lab).await;
//! lab.end().await;
//! outcome
//! # }
//! ```
//!
//! Every participant has a microphone that produces a tone of its own, and a loudspeaker that
//! records what it plays: *hears* means that the listener's engine decoded the talker's tone, not
//! merely that packets arrived. The step that waits for an event claims it;
//! [`Participant::sees_no_unexpected_events`] fails if an unclaimed event remains.
//!
//! Each engine is connected to its backends by a link that the lab can cut, count on and change:
//! for signaling messages ([`Lab::set_message_rule`]), for packets
//! ([`Participant::loses_media_path`]) and for the device's address
//! ([`Participant::changes_address`]). This works over every backend, in virtual time where the
//! backends allow it and in real time otherwise. A cut at this link hides the traffic from the
//! engine, while the stacks below may stay connected. [`LabConfig::impaired`] cuts in a network in
//! user space instead ([`impaired`](crate::impaired)), which tests that the stacks themselves
//! recover.
//!
//! A lab can be given one [`Fault`], with which a scenario must fail. This shows that each scenario
//! detects the fault it is about.

mod audio_checks;
mod camera;
mod clock;
mod config;
mod core;
mod event_checks;
mod event_log;
mod expected_event;
mod failure;
mod fault;
mod headset;
mod impaired_path;
mod lab_codec;
mod lab_recorder;
mod link;
mod link_events;
mod link_session;
mod link_signaling;
mod link_transport;
mod media_host;
mod message_network;
mod participant;
mod participant_devices;
mod participant_hold;
mod participant_inner;
mod playback;
mod profile;
mod recorded;
mod resource_usage;
mod speech;
mod speech_checks;
mod stalls;
mod video_streams;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use blink_api::{AudioCodec, Topic, Transport, TransportCapabilities};
use blink_proto::wire::Kind;
use bytes::Bytes;

use self::core::Core;
use crate::impaired::Impairments;
use crate::turn::TurnServer;
pub use audio_checks::{all_hear_each_other, all_meet};
pub use config::{Impaired, LabConfig, Requirements, Timing};
pub use event_log::{EventLog, ObservedEvent};
pub use expected_event::{
    ExpectedEvent, any, any_of, busy, call_cancelled, call_ended, call_failed, call_held, call_joined,
    call_replaced_by, call_resumed, device_changed, device_lost, incoming_call, joined, left, media_started,
    message_received, missed_call, no_microphone, quality_degraded, quality_recovered, reconnected, reconnecting,
    rejected, ringing, speaking_started, speaking_stopped, state_of, stream_ended, stream_offered, unanswered,
    unreachable, video_started,
};
pub use failure::{Failure, FailureKind, Result};
pub use fault::{Command, EventMutation, Fault};
pub use headset::Unplugging;
pub use message_network::{Message, MessageAction, Published};
pub use participant::{Participant, expect_error};
use participant_inner::{ParticipantInner, SPEECH_CODEC};
pub use profile::Profile;
pub use recorded::{Beep, FULL_RECORDER, RECORDER, beeps_in};
pub use resource_usage::ResourceUsage;
pub use video_streams::VideoReceiver;

/// Names of participants without a name of their own, in order of creation.
const NAMES: [&str; 6] = ["alice", "bob", "carol", "dave", "erin", "frank"];

/// State of one run of a scenario: its participants and the network between them.
pub struct Lab {
    core: Arc<Core>,
    /// Most by which a message of the signaling is delayed more than another.
    jitter: Duration,
}

impl fmt::Debug for Lab {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lab").finish_non_exhaustive()
    }
}

impl Lab {
    /// Creates a lab without participants, with an optional fault. The lab's clock starts at zero.
    pub fn new(config: &LabConfig, network: Impairments, fault: Option<Fault>) -> Self {
        Self { core: Arc::new(Core::new(config.clone(), network, fault)), jitter: network.jitter }
    }

    /// Starts `N` participants, named in alphabetical order.
    ///
    /// # Errors
    /// An engine fails to start.
    pub async fn participants<const N: usize>(&mut self) -> Result<[Participant; N]> {
        let mut all = Vec::new();
        for _ in 0..N {
            let number = self.core.participants().len();
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
        let participant = self.unstarted_participant(profile);
        participant.inner.start(&self.core).await?;
        Ok(participant)
    }

    /// Starts one participant, and returns the engine's error if it fails to start.
    pub async fn tries_to_start(&mut self, profile: Profile) -> Result<Participant, blink_api::Error> {
        let participant = self.unstarted_participant(profile);
        participant.inner.try_to_start(&self.core).await?;
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
        let [one, other] = &self.core.config.transports;
        let capabilities = |name: &str| {
            let entry = self.core.config.registry.entry::<dyn Transport>(name).map_err(Failure::set_up)?;
            Ok(entry.capabilities)
        };
        Ok([capabilities(one)?, capabilities(other)?])
    }

    /// Creates a participant whose engine is not started yet, but that others can call; see
    /// [`Participant::restarts`].
    pub fn unstarted_participant(&mut self, profile: Profile) -> Participant {
        // An inbox topic can be published to whether or not its owner is subscribed.
        let participant = Arc::new(ParticipantInner::new(&self.core, self.core.participants().len(), profile));
        self.core.message_network.add_inbox(&participant.identity);
        self.core.add_person(participant.clone());
        Participant { inner: participant, core: self.core.clone() }
    }

    /// Whether messages overtake each other from the beginning.
    pub fn has_late_messages(&self) -> bool {
        !self.jitter.is_zero()
    }

    /// Waits.
    pub async fn passes(&self, time: Duration) {
        tokio::time::sleep(time).await;
    }

    /// Impairs all packets and data-channel messages that arrive at any participant, from now on.
    pub fn impairs(&self, impairments: Impairments) {
        self.core.set_impairments(impairments);
    }

    /// Whether participants with speech have a codec for speech; otherwise they have the lab's own,
    /// which conceals nothing.
    pub fn has_speech_codec(&self) -> bool {
        self.core.config.registry.entry::<dyn AudioCodec>(SPEECH_CODEC).is_ok()
    }

    /// Number of live tasks on the runtime: those of engines, backends and the lab.
    pub fn tasks(&self) -> usize {
        tokio::runtime::Handle::current().metrics().num_alive_tasks()
    }

    /// Sockets and memory of the process; `None` unless [`LabConfig::exclusive_process`] is set,
    /// and on systems without Linux's `/proc`.
    pub fn resource_usage(&self) -> Option<ResourceUsage> {
        if self.core.config.exclusive_process { ResourceUsage::now(self.core.size()) } else { None }
    }

    /// Time since the lab was created.
    pub fn now(&self) -> Duration {
        self.core.clock.elapsed()
    }

    /// Waits for 2 s and verifies that no participant has an unclaimed event.
    ///
    /// # Errors
    /// A participant has an unclaimed event.
    pub async fn no_unexpected_events(&self) -> Result {
        let everyone = self.core.participants().into_iter();
        let everyone = everyone.map(|participant| Participant { inner: participant, core: self.core.clone() });
        let everyone: Vec<_> = everyone.collect();
        if let Some(first) = everyone.first() {
            first.sees_no_unexpected_events().await?;
        }
        everyone.iter().try_for_each(Participant::has_no_unexpected_events)
    }

    /// Installs a rule that decides what happens to each message at each participant that is about
    /// to receive it.
    pub fn set_message_rule(&self, rule: impl FnMut(&Message) -> MessageAction + Send + 'static) {
        self.core.message_network.set_rule(Some(Box::new(rule)));
    }

    /// Removes the rule of [`set_message_rule`](Lab::set_message_rule), and inject_message all held
    /// messages, oldest first.
    pub fn release_held_messages(&self) {
        self.core.message_network.set_rule(None);
        for held in self.core.message_network.release() {
            // The subscription may have been dropped meanwhile.
            held.queue.push(held.delivery).ok();
        }
    }

    /// Delays every answer from now on until one of its candidates was delivered.
    pub fn deliver_candidates_before_answers(&self) {
        self.core.set_candidates_first();
    }

    /// All messages published so far.
    pub fn published(&self) -> Vec<Published> {
        self.core.message_network.published()
    }

    /// Kinds of all messages that a participant published; `None` for messages outside inboxes,
    /// which the lab cannot decrypt.
    pub fn message_kinds_from(&self, participant: &Participant) -> Vec<Option<Kind>> {
        self.core.message_network.kinds_from(participant.number())
    }

    /// Delivers a message to every subscriber of a topic, as if an unknown node had published it.
    /// Returns the number of subscriptions that received it.
    pub fn inject_message(&self, topic: Topic, message: &Bytes) -> usize {
        self.core.inject(topic, message)
    }

    /// Whether a topic is a participant's inbox rather than a call's topic.
    pub fn is_inbox(&self, topic: &Topic) -> bool {
        self.core.message_network.is_inbox(topic)
    }

    /// Shuts down all engines. Dropping the lab shuts them down in the background.
    pub async fn end(&self) {
        self.core.end().await;
    }

    /// Event logs of all participants so far.
    pub fn event_logs(&self) -> Vec<EventLog> {
        self.core.event_logs()
    }

    /// Times from answering a call to the first `ParticipantJoined`, of all participants.
    pub fn setup_times(&self) -> Vec<Duration> {
        self.core.participants().iter().flat_map(|participant| participant.log.setup_times()).collect()
    }

    pub(crate) fn fails(&self, why: &str) -> Failure {
        self.core.fails(why)
    }
}
