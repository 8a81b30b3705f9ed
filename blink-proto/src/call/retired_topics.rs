//! Earlier topics of a call that are still read after its secret was rotated.

use blink_api::Topic;
use web_time::{Duration, Instant};

/// How long an earlier topic is read.
const LISTEN: Duration = Duration::from_secs(30);
/// Earlier topics read at a time; the oldest is dropped.
const MAX_RETIRED: usize = 4;

/// Topics that are read but not written, with the end of their time.
#[derive(Debug, Clone, Default)]
pub(super) struct RetiredTopics {
    topics: Vec<(Topic, Instant)>,
}

impl RetiredTopics {
    /// Retires a topic in favour of the newest one; returns the one that is dropped for it.
    pub(super) fn add(&mut self, topic: Topic, newest: &Topic, now: Instant) -> Option<Topic> {
        let dropped = (self.topics.len() == MAX_RETIRED).then(|| self.topics.remove(0).0);
        self.topics.push((topic, now + LISTEN));
        // A secret may return: its topic is then the newest, not a retired one.
        self.topics.retain(|(retired, _)| retired != newest);
        dropped
    }

    /// Removes the topics whose time is over.
    pub(super) fn take_expired(&mut self, now: Instant) -> Vec<Topic> {
        self.topics.extract_if(.., |(_, until)| now >= *until).map(|(topic, _)| topic).collect()
    }

    /// Removes all topics.
    pub(super) fn take_all(&mut self) -> Vec<Topic> {
        self.topics.drain(..).map(|(topic, _)| topic).collect()
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        self.topics.iter().map(|(_, until)| *until).min()
    }
}
