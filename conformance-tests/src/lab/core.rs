//! State shared by all parts of a lab.

use std::collections::HashMap;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use blink_api::{CallId, Delivery, DeliveryId, Origin, Session, SignalingEvent, Topic};
use blink_engine::{EndReason, Event};
use bytes::Bytes;
use tokio::sync::watch;

use super::clock::LabClock;
use super::config::{LabConfig, Timing};
use super::event_log::EventLog;
use super::failure::{Failure, Result};
use super::fault::Fault;
use super::link::Link;
use super::link_session::PathEnd;
use super::link_signaling::FIRST_INJECTED_ID;
use super::message_network::MessageNetwork;
use super::participant_inner::ParticipantInner;
use super::stalls::Stalls;
use crate::impaired::{ImpairedNetwork, Impairments};
use crate::turn::TurnServer;

/// Delay that stays with [`Fault::KeepsDelay`].
const KEPT_DELAY: Duration = Duration::from_millis(500);

pub(crate) struct Core {
    pub(crate) config: LabConfig,
    pub(crate) clock: LabClock,
    /// CPU stalls of the machine, in real time only.
    stalls: Option<&'static Stalls>,
    pub(crate) fault: Option<Fault>,
    pub(crate) message_network: MessageNetwork,
    /// Number of logged events, so that waiting steps check the logs again.
    pub(crate) logged_count: watch::Sender<u64>,
    path_changes: watch::Sender<u64>,
    candidates_first: AtomicBool,
    /// The emulated network, with [`LabConfig::impaired`].
    pub(crate) network: Option<Arc<ImpairedNetwork>>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    participants: Vec<Arc<ParticipantInner>>,
    links: Vec<Arc<Link>>,
    /// In the order in which they were first seen, which numbers them in logs.
    calls: Vec<CallId>,
    /// Local ends of media paths, by ICE username fragment.
    ends: HashMap<String, Arc<PathEnd>>,
    /// The lab's TURN server, once started.
    turn: Option<Arc<TurnServer>>,
    /// Sessions kept open after their engine was killed or failed to close them.
    kept_open: Vec<Arc<dyn Session>>,
    directory: Option<tempfile::TempDir>,
    injected: u64,
}

impl Core {
    pub(crate) fn new(config: LabConfig, network: Impairments, fault: Option<Fault>) -> Self {
        Self {
            network: config.impaired.map(|impaired| ImpairedNetwork::new(impaired.packets, impaired.seed)),
            stalls: (config.timing == Timing::Real).then(Stalls::watched),
            config,
            clock: LabClock::start(),
            fault,
            message_network: MessageNetwork::new(network, fault),
            logged_count: watch::Sender::new(0),
            path_changes: watch::Sender::new(0),
            candidates_first: AtomicBool::new(false),
            state: Mutex::default(),
        }
    }

    pub(crate) fn is_virtual(&self) -> bool {
        self.config.timing == Timing::Virtual
    }

    /// Time within a range during which the machine was stalled.
    pub(crate) fn stall_time(&self, stretch: &Range<Duration>) -> Duration {
        let [start, end] = [stretch.start, stretch.end].map(|time| self.clock.instant(time));
        self.stalls.map_or(Duration::ZERO, |stalls| stalls.within(start..end))
    }

    pub(crate) fn participants(&self) -> Vec<Arc<ParticipantInner>> {
        self.state().participants.clone()
    }

    pub(crate) fn add_person(&self, participant: Arc<ParticipantInner>) {
        self.state().participants.push(participant);
    }

    pub(crate) fn add_link(&self, link: Arc<Link>) {
        self.state().links.push(link);
    }

    pub(crate) fn set_candidates_first(&self) {
        self.candidates_first.store(true, Ordering::Relaxed);
    }

    pub(crate) fn candidates_first(&self) -> bool {
        self.candidates_first.load(Ordering::Relaxed)
    }

    /// Opens or closes a link for packets, or all links with [`Fault::SharesPacketQueue`].
    pub(crate) fn set_media(&self, link: &Link, open: bool) {
        if matches!(self.fault, Some(Fault::SharesPacketQueue)) {
            self.state().links.iter().for_each(|link| link.set_media(open));
        }
        link.set_media(open);
        self.paths_changed();
    }

    /// Impairs what arrives at every participant, from now on.
    pub(crate) fn set_impairments(&self, impairments: Impairments) {
        if let Some(network) = &self.network {
            return network.set_impairments(impairments);
        }
        self.state().links.iter().for_each(|link| link.set_impairments(self.with_fault(impairments)));
        self.paths_changed();
    }

    /// Holds all that arrives at a link, or delivers it at once.
    pub(crate) fn set_stalled(&self, link: &Link, stalled: bool) {
        link.set_impairments(self.with_fault(link.impairments()));
        link.set_stalled(stalled);
        self.paths_changed();
    }

    /// Impairments that include the delay of [`Fault::KeepsDelay`].
    fn with_fault(&self, impairments: Impairments) -> Impairments {
        match self.fault {
            Some(Fault::KeepsDelay) => Impairments { delay: impairments.delay.max(KEPT_DELAY), ..impairments },
            _ => impairments,
        }
    }

    /// Makes every session check again whether packets pass.
    pub(crate) fn paths_changed(&self) {
        self.path_changes.send_modify(|count| *count += 1);
    }

    pub(crate) fn path_changes(&self) -> watch::Receiver<u64> {
        self.path_changes.subscribe()
    }

    /// Registers the local end of a media path under its ICE username fragment.
    pub(crate) fn register_path_end(&self, user: &str, end: Arc<PathEnd>) {
        self.state().ends.insert(user.to_owned(), end);
    }

    /// The end of the media path with this ICE username fragment.
    pub(crate) fn path_end(&self, user: &str) -> Option<Arc<PathEnd>> {
        self.state().ends.get(user).cloned()
    }

    /// Opens or closes a link for signaling messages, and reports the change to its engine as a
    /// real backend would.
    pub(crate) fn set_signaling(&self, link: &Link, open: bool) {
        if link.set_signaling(open) {
            return;
        }
        let event = match open {
            true => SignalingEvent::Connected { nodes: 1 },
            false => SignalingEvent::Disconnected { nodes: 0 },
        };
        // The engine may have stopped, and have no receiver.
        link.network_events.send(event).ok();
    }

    pub(crate) fn is_signaling_cut(&self) -> bool {
        self.state().links.iter().any(|link| !link.has_signaling())
    }

    /// Keeps a session open until the lab ends.
    pub(crate) fn keep_open(&self, session: Arc<dyn Session>) {
        self.state().kept_open.push(session);
    }

    /// Delivers a message to every subscriber of a topic, as if an unknown node had published it.
    /// Returns the number of subscriptions that received it.
    pub(crate) fn inject(&self, topic: Topic, message: &Bytes) -> usize {
        let (links, participants, number) = {
            let mut state = self.state();
            state.injected += 1;
            (state.links.clone(), state.participants.clone(), state.injected)
        };
        let mut origin = *b"forged  ........";
        origin[8..].copy_from_slice(&number.to_be_bytes());
        let delivery = Delivery {
            id: DeliveryId(FIRST_INJECTED_ID + number),
            origin: Some(Origin(origin)),
            message: message.clone(),
        };
        let mut readers = 0;
        for link in links.iter().filter(|link| link.has_signaling()) {
            for queue in link.queues(&topic) {
                if queue.push(delivery.clone()).is_ok() {
                    readers += 1;
                    if matches!(self.fault, Some(Fault::AcceptsForgedMessages)) {
                        let reason = EndReason::RemoteLeft;
                        participants[link.number].log.record_false_event(self, |call| Event::CallEnded {
                            call,
                            reason,
                            failure: None,
                        });
                    }
                }
            }
        }
        readers
    }

    /// Approximate memory of the lab's records of messages, addresses and audio, in bytes.
    pub(crate) fn size(&self) -> usize {
        let state = self.state();
        let recordings: usize = state.participants.iter().map(|participant| participant.devices.size()).sum();
        let links: usize = state.links.iter().map(|link| link.size()).sum();
        recordings + links + self.message_network.size()
    }

    /// A temporary directory, removed when the lab is dropped.
    ///
    /// # Errors
    /// A [`Failure`] of the set-up if it cannot be created.
    pub(crate) fn directory(&self) -> Result<PathBuf> {
        let mut state = self.state();
        if state.directory.is_none() {
            state.directory = Some(tempfile::tempdir().map_err(Failure::set_up)?);
        }
        Ok(state.directory.as_ref().map(|directory| directory.path().to_owned()).unwrap_or_default())
    }

    /// Assigns a short name for logs to a call.
    pub(crate) fn register_call(&self, call: CallId) {
        let mut state = self.state();
        if !state.calls.contains(&call) {
            state.calls.push(call);
        }
    }

    /// Replaces the ids of participants and calls in a text by their short names.
    pub(crate) fn with_names(&self, text: &str) -> String {
        let state = self.state();
        let mut text = text.to_owned();
        for participant in &state.participants {
            if let Some(endpoint) = participant.endpoint() {
                let full = format!("Endpoint {{ did: {}, device: {} }}", endpoint.did, endpoint.device);
                text = text.replace(&full, &participant.name);
                text = text.replace(&endpoint.to_string(), &participant.name);
            }
        }
        for participant in &state.participants {
            text = text.replace(&participant.identity.did().to_string(), &participant.name);
        }
        for (n, call) in state.calls.iter().enumerate() {
            text = text.replace(&call.to_string(), &format!("call {}", n + 1));
        }
        text
    }

    /// Builds an assertion failure: the reason, followed by all event logs.
    pub(crate) fn fails(&self, why: &str) -> Failure {
        let mut text = why.to_owned();
        for participant in self.participants() {
            text.push_str(&format!("\n  {}:", participant.name));
            let lines = participant.log.lines();
            if lines.is_empty() {
                text.push_str("\n    (nothing)");
            }
            for line in lines {
                text.push_str(&format!("\n    {line}"));
            }
        }
        Failure::assertion(self.with_names(&text))
    }

    /// Event logs of all participants so far.
    pub(crate) fn event_logs(&self) -> Vec<EventLog> {
        let event_log = |participant: &Arc<ParticipantInner>| EventLog {
            name: participant.name.clone(),
            lines: participant.log.lines().iter().map(|line| self.with_names(line)).collect(),
        };
        self.participants().iter().map(event_log).collect()
    }

    /// Shuts down every engine.
    pub(crate) async fn end(&self) {
        let participants = self.participants();
        for participant in &participants {
            participant.end().await;
        }
        let kept_open = std::mem::take(&mut self.state().kept_open);
        for session in kept_open {
            session.close().await;
        }
        let mut state = self.state();
        state.participants.clear();
        state.links.clear();
    }

    /// Returns the lab's TURN server, and starts it at the first call.
    ///
    /// # Errors
    /// A [`Failure`] of the set-up if it has no socket.
    pub(crate) async fn turn(&self) -> Result<Arc<TurnServer>> {
        if let Some(turn) = &self.state().turn {
            return Ok(turn.clone());
        }
        let turn = Arc::new(TurnServer::start().await.map_err(Failure::set_up)?);
        self.state().turn = Some(turn.clone());
        Ok(turn)
    }

    /// Wakes the steps that wait for an event.
    pub(crate) fn notify_logged(&self) {
        self.logged_count.send_modify(|count| *count += 1);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Formats a time for logs: `12.345 s`.
pub(crate) fn seconds(time: Duration) -> String {
    format!("{:7.3} s", time.as_secs_f64())
}
