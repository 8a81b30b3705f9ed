//! Event log of one participant.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use blink_api::CallId;
use blink_engine::Event;

use super::core::{Core, seconds};
use super::expected_event::ExpectedEvent;
use super::fault::{EventMutation, Fault};

/// Log of one participant, over all runs of its engine.
#[derive(Default)]
pub(crate) struct Log(Mutex<Vec<Entry>>);

struct Entry {
    at: Duration,
    kind: EntryKind,
}

enum EntryKind {
    /// An event of the engine; claimed once a step of the scenario has waited for it.
    Event { event: Event, claimed: bool },
    /// An action of the scenario.
    Action(String),
}

/// Readable event log of one participant in a scenario.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventLog {
    /// Name of the participant.
    pub name: String,
    /// Events and actions, with their times. `?` marks an event that no step waited for, `>` an
    /// action.
    pub lines: Vec<String>,
}

/// An event that a scenario waited for.
#[derive(Debug, Clone)]
pub struct ObservedEvent {
    /// Time since the lab was created.
    pub at: Duration,
    /// Position among all entries of the participant's log.
    pub place: usize,
    /// The event.
    pub event: Event,
}

impl Log {
    /// Records an event, changed as the lab's fault demands.
    pub(crate) fn hear(&self, core: &Core, event: Event) {
        let telling = match core.fault {
            Some(Fault::MutatesEvents(telling)) => telling(&event),
            _ => EventMutation::Unchanged,
        };
        match telling {
            EventMutation::Unchanged => self.tell(core, event),
            EventMutation::Drop => {}
            EventMutation::Duplicate => {
                self.tell(core, event.clone());
                self.tell(core, event);
            }
            EventMutation::Append(other) => {
                self.tell(core, event);
                self.tell(core, other);
            }
        }
    }

    /// Records an event about the first known call that the engine did not report.
    pub(crate) fn record_false_event(&self, core: &Core, event: impl FnOnce(CallId) -> Event) {
        let call = self.entries().iter().find_map(|entry| match &entry.kind {
            EntryKind::Event { event, .. } => event.call(),
            EntryKind::Action(_) => None,
        });
        if let Some(call) = call {
            self.tell(core, event(call));
        }
    }

    fn tell(&self, core: &Core, event: Event) {
        event.call().into_iter().for_each(|call| core.register_call(call));
        let at = core.clock.elapsed();
        self.entries().push(Entry { at, kind: EntryKind::Event { event, claimed: false } });
        core.notify_logged();
    }

    /// Records an action of the scenario.
    pub(crate) fn log_action(&self, at: Duration, what: impl Into<String>) {
        self.entries().push(Entry { at, kind: EntryKind::Action(what.into()) });
    }

    /// Whether this action was recorded.
    pub(crate) fn has_action(&self, action: &str) -> bool {
        self.entries().iter().any(|entry| matches!(&entry.kind, EntryKind::Action(what) if what == action))
    }

    /// Claims the first unclaimed event that matches.
    pub(crate) fn claim(&self, expected_event: &ExpectedEvent) -> Option<ObservedEvent> {
        self.entries().iter_mut().enumerate().find_map(|(place, entry)| match &mut entry.kind {
            EntryKind::Event { event, claimed } if !*claimed && expected_event.is(event) => {
                *claimed = true;
                Some(ObservedEvent { at: entry.at, place, event: event.clone() })
            }
            _ => None,
        })
    }

    /// Number of events that match, claimed or not.
    pub(crate) fn count(&self, expected_event: &ExpectedEvent) -> usize {
        let fits = |entry: &&Entry| matches!(&entry.kind, EntryKind::Event { event, .. } if expected_event.is(event));
        self.entries().iter().filter(fits).count()
    }

    /// Unclaimed events. Four kinds are exempt: changes of signaling nodes and addresses depend on
    /// the backend; ringing is reported to every participant that happened to ask, though only
    /// once; speaking starts and stops in alternation whenever a participant talks; and quality
    /// that was degraded, once for each reason, recovers: it depends on the machine too.
    pub(crate) fn unclaimed(&self) -> Vec<Event> {
        let entries = self.entries();
        let events = entries.iter().filter_map(|entry| match &entry.kind {
            EntryKind::Event { event, claimed } => Some((event, *claimed)),
            EntryKind::Action(_) => None,
        });
        let mut rang = Vec::new();
        let mut speaking = Vec::new();
        let mut degraded = Vec::new();
        let mut unclaimed = Vec::new();
        for (event, claimed) in events {
            let excused = match event {
                Event::SignalingChanged { .. } | Event::AddressesChanged => true,
                Event::ParticipantRinging { .. } => !rang.contains(&event),
                Event::SpeakingStarted { call, participant } => !speaking.contains(&(*call, *participant)),
                Event::SpeakingStopped { call, participant } => speaking.contains(&(*call, *participant)),
                Event::QualityDegraded { participant, reason, .. } => {
                    !degraded.contains(&(*participant, reason.name()))
                }
                Event::QualityRecovered { participant, .. } => degraded.iter().any(|(who, _)| who == participant),
                _ => false,
            };
            match event {
                Event::QualityDegraded { participant, reason, .. } => degraded.push((*participant, reason.name())),
                Event::QualityRecovered { participant, .. } | Event::ParticipantLeft { participant, .. } => {
                    degraded.retain(|(who, _)| who != participant);
                }
                Event::SpeakingStarted { call, participant } => speaking.push((*call, *participant)),
                Event::SpeakingStopped { call, participant } => speaking.retain(|who| *who != (*call, *participant)),
                Event::CallEnded { .. } => {
                    speaking.clear();
                    degraded.clear();
                }
                _ => {}
            }
            if matches!(event, Event::ParticipantRinging { .. }) {
                rang.push(event);
            }
            if !claimed && !excused {
                unclaimed.push(event.clone());
            }
        }
        unclaimed
    }

    /// Times from answering a call to the first `ParticipantJoined`.
    pub(crate) fn setup_times(&self) -> Vec<Duration> {
        let mut answered = None;
        let mut setup_times = Vec::new();
        for entry in self.entries().iter() {
            match &entry.kind {
                EntryKind::Action(what) if what.starts_with("answers ") => answered = Some(entry.at),
                EntryKind::Event { event: Event::ParticipantJoined { .. }, .. } => {
                    setup_times.extend(answered.take().map(|answered| entry.at.saturating_sub(answered)));
                }
                EntryKind::Event { .. } | EntryKind::Action(_) => {}
            }
        }
        setup_times
    }

    /// Readable lines of the log.
    pub(crate) fn lines(&self) -> Vec<String> {
        let line = |entry: &Entry| match &entry.kind {
            EntryKind::Event { event, claimed } => {
                let mark = if *claimed { ' ' } else { '?' };
                format!("{} {mark} {event:?}", seconds(entry.at))
            }
            EntryKind::Action(what) => format!("{} > {what}", seconds(entry.at)),
        };
        self.entries().iter().map(line).collect()
    }

    fn entries(&self) -> MutexGuard<'_, Vec<Entry>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
