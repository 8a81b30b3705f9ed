//! Events in the log.

use blink_proto::call::Event;

/// Logs an event: at info where it says why something failed, as the users are told.
pub(super) fn log(event: &Event) {
    let name = event.name();
    match event {
        Event::CallEnded { call, reason, failure: Some(failure) } => {
            tracing::info!(event = name, %call, %reason, %failure, ice = %failure.ice, dtls = %failure.dtls);
        }
        Event::CallEnded { call, reason, .. } => tracing::info!(event = name, %call, %reason),
        Event::ParticipantUnreachable { call, participant, failure } => {
            let (ice, dtls) = (failure.ice, failure.dtls);
            tracing::info!(event = name, %call, participant = %participant.did, %failure, %ice, %dtls);
        }
        Event::ParticipantRejected { call, participant, reason, .. } => {
            tracing::info!(event = name, %call, %participant, %reason);
        }
        _ => tracing::debug!(event = name),
    }
}
