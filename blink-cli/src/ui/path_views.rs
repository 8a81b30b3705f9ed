//! Measures of paths, from the engine's statistics.

use std::collections::BTreeMap;

use blink_api::{Endpoint, IceConfig};
use blink_engine::{AudioStatistics, ParticipantStatistics};

use super::state::{PathKind, PathView};

/// Measures of each path since the last time.
#[derive(Debug)]
pub(super) struct PathViews {
    /// Kind of all paths, as far as the configuration decides it.
    kind: Option<PathKind>,
    earlier: BTreeMap<Endpoint, AudioStatistics>,
}

impl PathViews {
    /// Paths of a configuration.
    pub(super) fn new(ice: &IceConfig) -> Self {
        Self { kind: ice.relay_only.then_some(PathKind::Relayed), earlier: BTreeMap::new() }
    }

    /// Measures from new statistics.
    pub(super) fn update(&mut self, statistics: &[ParticipantStatistics]) -> BTreeMap<Endpoint, PathView> {
        let views = statistics.iter().map(|participant| {
            let earlier = self.earlier.get(&participant.participant);
            let loss = earlier.map_or(0.0, |earlier| participant.audio.path_quality_since(earlier).loss);
            let view = PathView { kind: self.kind, round_trip: participant.session.round_trip, loss };
            (participant.participant, view)
        });
        let views = views.collect();
        self.earlier = statistics.iter().map(|participant| (participant.participant, participant.audio)).collect();
        views
    }
}
