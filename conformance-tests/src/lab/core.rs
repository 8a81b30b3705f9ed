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

use super::failure::{Failure, Result};
use super::fault::Fault;
use super::line::Line;
use super::log::Diary;
use super::person::Person;
use super::post::Post;
use super::session::End;
use super::signaling::MADE_UP;
use super::stage::{Network, Stage, Timing};
use super::stalls::Stalls;
use super::time::LabClock;
use crate::impaired::ImpairedNetwork;
use crate::turn::TurnServer;

pub(crate) struct Core {
    pub(crate) stage: Stage,
    pub(crate) clock: LabClock,
    /// CPU stalls of the machine, in real time only.
    stalls: Option<&'static Stalls>,
    pub(crate) fault: Option<Fault>,
    pub(crate) post: Post,
    /// Number of logged events, so that waiting steps check the logs again.
    pub(crate) news: watch::Sender<u64>,
    path_changes: watch::Sender<u64>,
    candidates_first: AtomicBool,
    /// The emulated network, with [`Stage::impaired`].
    pub(crate) network: Option<Arc<ImpairedNetwork>>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    people: Vec<Arc<Person>>,
    lines: Vec<Arc<Line>>,
    /// In the order in which they were first seen, which numbers them in logs.
    calls: Vec<CallId>,
    /// Local ends of media paths, by ICE username fragment.
    ends: HashMap<String, Arc<End>>,
    /// The lab's TURN server, once started.
    turn: Option<Arc<TurnServer>>,
    /// Sessions kept open after their engine was killed or failed to close them.
    buried: Vec<Arc<dyn Session>>,
    directory: Option<tempfile::TempDir>,
    made_up: u64,
}

impl Core {
    pub(crate) fn new(stage: Stage, network: Network, fault: Option<Fault>) -> Self {
        Self {
            network: stage.impaired.map(|impaired| ImpairedNetwork::new(impaired.packets)),
            stalls: (stage.timing == Timing::Real).then(Stalls::watched),
            stage,
            clock: LabClock::start(),
            fault,
            post: Post::new(network, fault),
            news: watch::Sender::new(0),
            path_changes: watch::Sender::new(0),
            candidates_first: AtomicBool::new(false),
            state: Mutex::default(),
        }
    }

    pub(crate) fn is_virtual(&self) -> bool {
        self.stage.timing == Timing::Virtual
    }

    /// Time within a range during which the machine was stalled.
    pub(crate) fn stood_still(&self, stretch: &Range<Duration>) -> Duration {
        let [start, end] = [stretch.start, stretch.end].map(|time| self.clock.instant(time));
        self.stalls.map_or(Duration::ZERO, |stalls| stalls.within(start..end))
    }

    pub(crate) fn people(&self) -> Vec<Arc<Person>> {
        self.state().people.clone()
    }

    pub(crate) fn add_person(&self, person: Arc<Person>) {
        self.state().people.push(person);
    }

    pub(crate) fn add_line(&self, line: Arc<Line>) {
        self.state().lines.push(line);
    }

    pub(crate) fn set_candidates_first(&self) {
        self.candidates_first.store(true, Ordering::Relaxed);
    }

    pub(crate) fn candidates_first(&self) -> bool {
        self.candidates_first.load(Ordering::Relaxed)
    }

    /// Opens or closes a link for packets, or all links with [`Fault::OneQueueForAll`].
    pub(crate) fn set_media(&self, line: &Line, open: bool) {
        if matches!(self.fault, Some(Fault::OneQueueForAll)) {
            self.state().lines.iter().for_each(|line| line.set_media(open));
        }
        line.set_media(open);
        self.paths_changed();
    }

    /// Makes every session check again whether packets pass.
    pub(crate) fn paths_changed(&self) {
        self.path_changes.send_modify(|count| *count += 1);
    }

    pub(crate) fn path_changes(&self) -> watch::Receiver<u64> {
        self.path_changes.subscribe()
    }

    /// Registers the local end of a media path under its ICE username fragment.
    pub(crate) fn introduce(&self, user: &str, end: Arc<End>) {
        self.state().ends.insert(user.to_owned(), end);
    }

    /// The end of the media path with this ICE username fragment.
    pub(crate) fn met(&self, user: &str) -> Option<Arc<End>> {
        self.state().ends.get(user).cloned()
    }

    /// Opens or closes a link for signaling messages, and reports the change to its engine as a
    /// real backend would.
    pub(crate) fn set_signaling(&self, line: &Line, open: bool) {
        if line.set_signaling(open) {
            return;
        }
        let event = match open {
            true => SignalingEvent::Connected { nodes: 1 },
            false => SignalingEvent::Disconnected { nodes: 0 },
        };
        // The engine may have stopped, and have no receiver.
        line.network_events.send(event).ok();
    }

    pub(crate) fn is_signaling_cut(&self) -> bool {
        self.state().lines.iter().any(|line| !line.has_signaling())
    }

    /// Keeps a session open until the lab ends.
    pub(crate) fn bury(&self, session: Arc<dyn Session>) {
        self.state().buried.push(session);
    }

    /// Delivers a message to every subscriber of a topic, as if an unknown node had published it.
    /// Returns the number of subscriptions that received it.
    pub(crate) fn inject(&self, topic: Topic, message: &Bytes) -> usize {
        let (lines, people, number) = {
            let mut state = self.state();
            state.made_up += 1;
            (state.lines.clone(), state.people.clone(), state.made_up)
        };
        let mut origin = *b"forged  ........";
        origin[8..].copy_from_slice(&number.to_be_bytes());
        let delivery =
            Delivery { id: DeliveryId(MADE_UP + number), origin: Some(Origin(origin)), message: message.clone() };
        let mut readers = 0;
        for line in lines.iter().filter(|line| line.has_signaling()) {
            for queue in line.boxes(&topic) {
                if queue.push(delivery.clone()).is_ok() {
                    readers += 1;
                    if matches!(self.fault, Some(Fault::BelievesEverything)) {
                        let reason = EndReason::RemoteLeft;
                        people[line.number].log.invent(self, |call| Event::CallEnded { call, reason });
                    }
                }
            }
        }
        readers
    }

    /// Approximate memory of the lab's records of messages, addresses and audio, in bytes.
    pub(crate) fn size(&self) -> usize {
        let state = self.state();
        let ears: usize = state.people.iter().map(|person| person.devices.ear.size()).sum();
        let lines: usize = state.lines.iter().map(|line| line.size()).sum();
        ears + lines + self.post.size()
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
    pub(crate) fn meet_call(&self, call: CallId) {
        let mut state = self.state();
        if !state.calls.contains(&call) {
            state.calls.push(call);
        }
    }

    /// Replaces the ids of participants and calls in a text by their short names.
    pub(crate) fn with_names(&self, text: &str) -> String {
        let state = self.state();
        let mut text = text.to_owned();
        for person in &state.people {
            if let Some(endpoint) = person.endpoint() {
                let full = format!("Endpoint {{ did: {}, device: {} }}", endpoint.did, endpoint.device);
                text = text.replace(&full, &person.name);
                text = text.replace(&endpoint.to_string(), &person.name);
            }
        }
        for person in &state.people {
            text = text.replace(&person.identity.did().to_string(), &person.name);
        }
        for (n, call) in state.calls.iter().enumerate() {
            text = text.replace(&call.to_string(), &format!("call {}", n + 1));
        }
        text
    }

    /// Builds an assertion failure: the reason, followed by all event logs.
    pub(crate) fn fails(&self, why: &str) -> Failure {
        let mut text = why.to_owned();
        for person in self.people() {
            text.push_str(&format!("\n  {}:", person.name));
            let lines = person.log.lines();
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
    pub(crate) fn diaries(&self) -> Vec<Diary> {
        let diary = |person: &Arc<Person>| Diary {
            name: person.name.clone(),
            lines: person.log.lines().iter().map(|line| self.with_names(line)).collect(),
        };
        self.people().iter().map(diary).collect()
    }

    /// Shuts down every engine.
    pub(crate) async fn end(&self) {
        let people = self.people();
        for person in &people {
            person.end().await;
        }
        let buried = std::mem::take(&mut self.state().buried);
        for session in buried {
            session.close().await;
        }
        let mut state = self.state();
        state.people.clear();
        state.lines.clear();
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
    pub(crate) fn tell_news(&self) {
        self.news.send_modify(|count| *count += 1);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Formats a time for logs: `12.345 s`.
pub(crate) fn seconds(time: Duration) -> String {
    format!("{:7.3} s", time.as_secs_f64())
}
