//! Event log of one participant.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use blink_api::CallId;
use blink_engine::Event;

use super::core::{Core, seconds};
use super::fault::{Fault, Telling};
use super::sight::Sight;

/// Log of one participant, over all runs of its engine.
#[derive(Default)]
pub(crate) struct Log(Mutex<Vec<Entry>>);

struct Entry {
    at: Duration,
    what: What,
}

enum What {
    /// An event of the engine; claimed once a step of the scenario has waited for it.
    Told { event: Event, claimed: bool },
    /// An action of the scenario.
    Done(String),
}

/// Readable event log of one participant in a scenario.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diary {
    /// Name of the participant.
    pub name: String,
    /// Events and actions, with their times. `?` marks an event that no step waited for, `>` an
    /// action.
    pub lines: Vec<String>,
}

/// An event that a scenario waited for.
#[derive(Debug, Clone)]
pub struct Sighting {
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
            Some(Fault::Tells(telling)) => telling(&event),
            _ => Telling::Truth,
        };
        match telling {
            Telling::Truth => self.tell(core, event),
            Telling::Nothing => {}
            Telling::Twice => {
                self.tell(core, event.clone());
                self.tell(core, event);
            }
            Telling::Also(other) => {
                self.tell(core, event);
                self.tell(core, other);
            }
        }
    }

    /// Records an event about the first known call that the engine did not report.
    pub(crate) fn invent(&self, core: &Core, event: impl FnOnce(CallId) -> Event) {
        let call = self.entries().iter().find_map(|entry| match &entry.what {
            What::Told { event, .. } => event.call(),
            What::Done(_) => None,
        });
        if let Some(call) = call {
            self.tell(core, event(call));
        }
    }

    fn tell(&self, core: &Core, event: Event) {
        event.call().into_iter().for_each(|call| core.meet_call(call));
        let at = core.clock.elapsed();
        self.entries().push(Entry { at, what: What::Told { event, claimed: false } });
        core.tell_news();
    }

    /// Records an action of the scenario.
    pub(crate) fn note(&self, at: Duration, what: impl Into<String>) {
        self.entries().push(Entry { at, what: What::Done(what.into()) });
    }

    /// Whether this action was recorded.
    pub(crate) fn has_note(&self, note: &str) -> bool {
        self.entries().iter().any(|entry| matches!(&entry.what, What::Done(what) if what == note))
    }

    /// Claims the first unclaimed event that matches.
    pub(crate) fn claim(&self, sight: &Sight) -> Option<Sighting> {
        self.entries().iter_mut().enumerate().find_map(|(place, entry)| match &mut entry.what {
            What::Told { event, claimed } if !*claimed && sight.is(event) => {
                *claimed = true;
                Some(Sighting { at: entry.at, place, event: event.clone() })
            }
            _ => None,
        })
    }

    /// Number of events that match, claimed or not.
    pub(crate) fn count(&self, sight: &Sight) -> usize {
        let fits = |entry: &&Entry| matches!(&entry.what, What::Told { event, .. } if sight.is(event));
        self.entries().iter().filter(fits).count()
    }

    /// Unclaimed events. Three kinds are exempt: changes of signaling nodes and addresses depend on
    /// the backend; ringing is reported to every participant that happened to ask, though only
    /// once; and speaking starts and stops in alternation whenever a participant talks.
    pub(crate) fn unclaimed(&self) -> Vec<Event> {
        let entries = self.entries();
        let told = entries.iter().filter_map(|entry| match &entry.what {
            What::Told { event, claimed } => Some((event, *claimed)),
            What::Done(_) => None,
        });
        let mut rang = Vec::new();
        let mut speaking = Vec::new();
        let mut unclaimed = Vec::new();
        for (event, claimed) in told {
            let excused = match event {
                Event::SignalingChanged { .. } | Event::AddressesChanged => true,
                Event::ParticipantRinging { .. } => !rang.contains(&event),
                Event::SpeakingStarted { call, participant } => !speaking.contains(&(*call, *participant)),
                Event::SpeakingStopped { call, participant } => speaking.contains(&(*call, *participant)),
                _ => false,
            };
            match event {
                Event::SpeakingStarted { call, participant } => speaking.push((*call, *participant)),
                Event::SpeakingStopped { call, participant } => speaking.retain(|who| *who != (*call, *participant)),
                Event::CallEnded { .. } => speaking.clear(),
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
    pub(crate) fn set_ups(&self) -> Vec<Duration> {
        let mut answered = None;
        let mut set_ups = Vec::new();
        for entry in self.entries().iter() {
            match &entry.what {
                What::Done(what) if what.starts_with("answers ") => answered = Some(entry.at),
                What::Told { event: Event::ParticipantJoined { .. }, .. } => {
                    set_ups.extend(answered.take().map(|answered| entry.at.saturating_sub(answered)));
                }
                What::Told { .. } | What::Done(_) => {}
            }
        }
        set_ups
    }

    /// Readable lines of the log.
    pub(crate) fn lines(&self) -> Vec<String> {
        let line = |entry: &Entry| match &entry.what {
            What::Told { event, claimed } => {
                let mark = if *claimed { ' ' } else { '?' };
                format!("{} {mark} {event:?}", seconds(entry.at))
            }
            What::Done(what) => format!("{} > {what}", seconds(entry.at)),
        };
        self.entries().iter().map(line).collect()
    }

    fn entries(&self) -> MutexGuard<'_, Vec<Entry>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
