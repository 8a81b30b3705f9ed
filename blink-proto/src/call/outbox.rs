//! Outputs of the calls, in order, until the machine delivers them.

use std::collections::VecDeque;

use super::history_log::HistoryNote;
use super::io::Output;

/// An item of the [`Outbox`].
#[derive(Debug, Clone)]
pub(super) enum Queued {
    /// An output for the driver. Events pass the history on their way.
    Output(Output),
    /// A fact for the history only.
    History(HistoryNote),
}

/// Queue from calls to the machine. Emptied at the end of every input.
#[derive(Debug, Clone, Default)]
pub(super) struct Outbox {
    queue: VecDeque<Queued>,
}

impl Outbox {
    pub(super) fn push(&mut self, output: Output) {
        self.queue.push_back(Queued::Output(output));
    }

    pub(super) fn note(&mut self, note: HistoryNote) {
        self.queue.push_back(Queued::History(note));
    }

    pub(super) fn pop(&mut self) -> Option<Queued> {
        self.queue.pop_front()
    }
}
