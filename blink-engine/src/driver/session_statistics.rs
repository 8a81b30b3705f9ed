//! Statistics of a session for the user.

use std::sync::Arc;

use blink_api::{Session, SessionStats};
use tokio::sync::oneshot;

/// Tells a session's statistics, in a task of its own: nothing else waits for them. A session
/// without any reports its failure elsewhere.
pub(super) async fn tell(session: Arc<dyn Session>, mut reply: oneshot::Sender<SessionStats>) {
    tokio::select! {
        stats = session.stats() => {
            if let Ok(stats) = stats {
                // The caller may have stopped waiting.
                reply.send(stats).ok();
            }
        }
        () = reply.closed() => {}
    }
}
