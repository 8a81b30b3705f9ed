//! Events of the signaling network, for the driver's loop.

use blink_api::SignalingEvent;
use tokio::sync::broadcast;

/// The next event of the signaling network; none ever where it will tell nothing more.
pub(super) async fn network_event(
    network: &mut Option<broadcast::Receiver<SignalingEvent>>,
) -> Result<SignalingEvent, broadcast::error::RecvError> {
    if let Some(receiver) = network {
        match receiver.recv().await {
            Err(broadcast::error::RecvError::Closed) => *network = None,
            event => return event,
        }
    }
    std::future::pending().await
}
