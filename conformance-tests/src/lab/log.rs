//! What one participant was told, and what was done to it.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use blink_api::CallId;
use blink_engine::Event;

use super::core::{Core, seconds};
use super::fault::{Fault, Telling};
use super::sight::Sight;

/// A participant's log, over all lives of its engine.
#[derive(Default)]
pub(crate) struct Log(Mutex<Vec<Entry>>);

struct Entry {
    at: Duration,
    what: What,
}

enum What {
    /// The engine told something. A scenario that awaited it has claimed it.
    Told { event: Event, claimed: bool },
    /// The scenario did something.
    Done(String),
}

/// What one participant saw in a scenario, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diary {
    /// Its name.
    pub name: String,
    /// What it was told and what was done to it, with the time. `?` marks what no step of the
    /// scenario awaited, `>` what was done.
    pub lines: Vec<String>,
}

/// An event that a scenario awaited.
#[derive(Debug, Clone)]
pub struct Sighting {
    /// When it was told, counted from the lab's beginning.
    pub at: Duration,
    /// Its place among all that the participant was told.
    pub place: usize,
    /// The event.
    pub event: Event,
}

impl Log {
    /// Takes in an event as an engine with that fault would tell it.
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

    /// Tells something about the first call there was, which did not happen.
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

    /// Something was done to the participant, for readers of the log.
    pub(crate) fn note(&self, at: Duration, what: impl Into<String>) {
        self.entries().push(Entry { at, what: What::Done(what.into()) });
    }

    /// Whether this was done to the participant.
    pub(crate) fn has_note(&self, note: &str) -> bool {
        self.entries().iter().any(|entry| matches!(&entry.what, What::Done(what) if what == note))
    }

    /// The first event that fits and was not claimed before; it is claimed from now on.
    pub(crate) fn claim(&self, sight: &Sight) -> Option<Sighting> {
        self.entries().iter_mut().enumerate().find_map(|(place, entry)| match &mut entry.what {
            What::Told { event, claimed } if !*claimed && sight.is(event) => {
                *claimed = true;
                Some(Sighting { at: entry.at, place, event: event.clone() })
            }
            _ => None,
        })
    }

    /// How many events fit, claimed or not.
    pub(crate) fn count(&self, sight: &Sight) -> usize {
        let fits = |entry: &&Entry| matches!(&entry.what, What::Told { event, .. } if sight.is(event));
        self.entries().iter().filter(fits).count()
    }

    /// The events that nobody awaited. Three do not count: what signaling tells of its nodes and
    /// addresses depends on the backend; that somebody rings is told to everybody in the call who
    /// happened to ask, though only once; and whoever talks is told to speak, and to be silent
    /// again in turn.
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

    /// How long it took, each time, from answering a call to the first other one in it.
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

    /// The log for people.
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
