//! Measures of paths, from the engine's statistics.

use std::collections::BTreeMap;

use blink_api::{Endpoint, SessionStats};
use blink_engine::{AudioStatistics, ParticipantStatistics};
use serde_json::Value;

use super::state::{PathKind, PathView};

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
            let view = PathView { kind: kind(session), round_trip: session.round_trip, loss };
            (participant.participant, view)
        });
        let views = views.collect();
        self.earlier = statistics.iter().map(|participant| (participant.participant, participant.audio)).collect();
        views
    }
}

/// Kind of a path, by its name in the statistics; `None` where the transport cannot tell.
fn kind(session: &SessionStats) -> Option<PathKind> {
    kind_in(&serde_json::to_value(session).ok()?)
}

fn kind_in(session: &Value) -> Option<PathKind> {
    match session["path"].as_str()? {
        "direct" => Some(PathKind::Direct),
        "relayed" => Some(PathKind::Relayed),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn paths_are_direct_relayed_or_unknown() {
        let kinds = [json!("direct"), json!("relayed"), json!("odd"), json!(null)];
        let kinds = kinds.map(|path| kind_in(&json!({ "path": path })));
        assert_eq!(kinds, [Some(PathKind::Direct), Some(PathKind::Relayed), None, None]);
        assert_eq!(kind_in(&json!({})), None);
    }
}
