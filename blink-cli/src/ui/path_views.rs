//! Measures of paths, from the engine's statistics.

use std::collections::BTreeMap;

use blink_api::Endpoint;
use blink_engine::{AudioStatistics, ParticipantStatistics};

use super::state::PathView;

/// Measures of each path since the last time.
#[derive(Debug, Default)]
pub(super) struct PathViews {
    earlier: BTreeMap<Endpoint, AudioStatistics>,
}

impl PathViews {
    /// Measures from new statistics.
    pub(super) fn update(&mut self, statistics: &[ParticipantStatistics]) -> BTreeMap<Endpoint, PathView> {
        let views = statistics.iter().map(|participant| {
            let earlier = self.earlier.get(&participant.participant);
            let loss = earlier.map_or(0.0, |earlier| participant.audio.path_quality_since(earlier).loss);
            let session = &participant.session;
            let view = PathView { kind: session.path, round_trip: session.round_trip, loss };
            (participant.participant, view)
        });
        let views = views.collect();
        self.earlier = statistics.iter().map(|participant| (participant.participant, participant.audio)).collect();
        views
    }
}
