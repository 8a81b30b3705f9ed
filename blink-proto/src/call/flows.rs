//! Streams that flow on the path to one endpoint.

use std::collections::BTreeSet;

use blink_api::StreamId;

use super::io::StreamDirection;

/// Streams that flow now, by direction.
#[derive(Debug, Clone, Default)]
pub(super) struct Flows {
    sending: BTreeSet<StreamId>,
    receiving: BTreeSet<StreamId>,
}

/// One change of a flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FlowChange {
    pub(super) stream: StreamId,
    pub(super) direction: StreamDirection,
    pub(super) active: bool,
}

impl Flows {
    /// Sets the streams that should flow in one direction; returns the changes. Stops come before
    /// starts, so that their media section is free.
    pub(super) fn set(&mut self, direction: StreamDirection, wanted: BTreeSet<StreamId>) -> Vec<FlowChange> {
        let current = match direction {
            StreamDirection::Send => &mut self.sending,
            StreamDirection::Receive => &mut self.receiving,
        };
        let change = |active| move |stream: &StreamId| FlowChange { stream: *stream, direction, active };
        let stops = current.difference(&wanted).map(change(false));
        let starts = wanted.difference(current).map(change(true));
        let changes = stops.chain(starts).collect();
        *current = wanted;
        changes
    }
}
