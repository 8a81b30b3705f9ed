//! What everything in a lab shares.

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
use super::stage::{Stage, Timing};
use super::stalls::Stalls;
use super::time::LabClock;
use crate::impaired::{ImpairedNetwork, Impairments};
use crate::turn::TurnServer;

pub(crate) struct Core {
    pub(crate) stage: Stage,
    pub(crate) clock: LabClock,
    /// Where time passes as it does for everybody.
    stalls: Option<&'static Stalls>,
    pub(crate) fault: Option<Fault>,
    pub(crate) post: Post,
    /// Counts everything that is logged, so that whoever waits looks again.
    pub(crate) news: watch::Sender<u64>,
    path_changes: watch::Sender<u64>,
    candidates_first: AtomicBool,
    /// With [`Stage::impaired`].
    pub(crate) network: Option<Arc<ImpairedNetwork>>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    people: Vec<Arc<Person>>,
    lines: Vec<Arc<Line>>,
    /// In the order in which they were heard of: how logs name them.
    calls: Vec<CallId>,
    /// Ends of paths, by their ICE user names.
    ends: HashMap<String, Arc<End>>,
    /// What relays for everybody.
    turn: Option<Arc<TurnServer>>,
    /// Sessions of the dead.
    buried: Vec<Arc<dyn Session>>,
    directory: Option<tempfile::TempDir>,
    made_up: u64,
}

impl Core {
    pub(crate) fn new(stage: Stage, network: Impairments, fault: Option<Fault>) -> Self {
        Self {
            network: stage.impaired.map(|impaired| ImpairedNetwork::new(impaired.packets, impaired.seed)),
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

    /// For how long of a stretch of time the machine stood still.
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

    /// Opens or closes a line for packets; with one queue for all, everybody's.
    pub(crate) fn set_media(&self, line: &Line, open: bool) {
        if matches!(self.fault, Some(Fault::OneQueueForAll)) {
            self.state().lines.iter().for_each(|line| line.set_media(open));
        }
        line.set_media(open);
        self.paths_changed();
    }

    /// Sessions look again whether packets pass.
    pub(crate) fn paths_changed(&self) {
        self.path_changes.send_modify(|count| *count += 1);
    }

    pub(crate) fn path_changes(&self) -> watch::Receiver<u64> {
        self.path_changes.subscribe()
    }

    /// Remembers an end of a path by its ICE user name.
    pub(crate) fn introduce(&self, user: &str, end: Arc<End>) {
        self.state().ends.insert(user.to_owned(), end);
    }

    /// The end of a path with that ICE user name.
    pub(crate) fn met(&self, user: &str) -> Option<Arc<End>> {
        self.state().ends.get(user).cloned()
    }

    /// Opens or closes a line for messages; its engine is told, as a real network would.
    pub(crate) fn set_signaling(&self, line: &Line, open: bool) {
        if line.set_signaling(open) {
            return;
        }
        let event = match open {
            true => SignalingEvent::Connected { nodes: 1 },
            false => SignalingEvent::Disconnected { nodes: 0 },
        };
        // Nobody has to listen.
        line.network_events.send(event).ok();
    }

    pub(crate) fn is_signaling_cut(&self) -> bool {
        self.state().lines.iter().any(|line| !line.has_signaling())
    }

    /// Keeps a session as it is until the lab ends.
    pub(crate) fn bury(&self, session: Arc<dyn Session>) {
        self.state().buried.push(session);
    }

    /// Hands a message to everybody who reads a topic, as if somebody unknown had published it.
    /// Says how many got it.
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

    /// Bytes of what it wrote down about messages, addresses and sound.
    pub(crate) fn size(&self) -> usize {
        let state = self.state();
        let ears: usize = state.people.iter().map(|person| person.devices.ear.size()).sum();
        let lines: usize = state.lines.iter().map(|line| line.size()).sum();
        ears + lines + self.post.size()
    }

    /// A directory of the lab's own, gone when the lab ends.
    ///
    /// # Errors
    /// [`Failure`] of the set-up where none can be made.
    pub(crate) fn directory(&self) -> Result<PathBuf> {
        let mut state = self.state();
        if state.directory.is_none() {
            state.directory = Some(tempfile::tempdir().map_err(Failure::set_up)?);
        }
        Ok(state.directory.as_ref().map(|directory| directory.path().to_owned()).unwrap_or_default())
    }

    /// Remembers a call, so that logs can name it.
    pub(crate) fn meet_call(&self, call: CallId) {
        let mut state = self.state();
        if !state.calls.contains(&call) {
            state.calls.push(call);
        }
    }

    /// A text in which people and calls have short names.
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

    /// A scenario does not hold: says why, and what everybody saw until now.
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

    /// What everybody saw until now.
    pub(crate) fn diaries(&self) -> Vec<Diary> {
        let diary = |person: &Arc<Person>| Diary {
            name: person.name.clone(),
            lines: person.log.lines().iter().map(|line| self.with_names(line)).collect(),
        };
        self.people().iter().map(diary).collect()
    }

    /// Ends every engine.
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

    /// The lab's own TURN server, started when it is needed first.
    ///
    /// # Errors
    /// [`Failure`] of the set-up where there is no socket for it.
    pub(crate) async fn turn(&self) -> Result<Arc<TurnServer>> {
        if let Some(turn) = &self.state().turn {
            return Ok(turn.clone());
        }
        let turn = Arc::new(TurnServer::start().await.map_err(Failure::set_up)?);
        self.state().turn = Some(turn.clone());
        Ok(turn)
    }

    /// Something was logged.
    pub(crate) fn tell_news(&self) {
        self.news.send_modify(|count| *count += 1);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// As it is written in logs: `12.345 s`.
pub(crate) fn seconds(time: Duration) -> String {
    format!("{:7.3} s", time.as_secs_f64())
}
