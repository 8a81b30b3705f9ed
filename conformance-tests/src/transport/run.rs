//! Runs a case as a test, under the watchdog.

use std::sync::Arc;
use std::time::Duration;

use blink_api::Transport;
use futures_core::future::LocalBoxFuture;

use crate::watchdog::{self, Progress};
use crate::watched::WatchedTransport;

/// Time limit of a case; several waits of it may be close to theirs.
const LIMIT: Duration = Duration::from_secs(120);

/// Case of the suite, between an offering and an answering transport.
pub type Case = for<'a> fn(&'a dyn Transport, &'a dyn Transport) -> LocalBoxFuture<'a, ()>;

/// Runs a case as a test, between two transports that are created for it.
///
/// # Panics
/// The case fails, does not end, or a method exceeds the time limits of the contract.
pub fn run_case<A: Transport + 'static, B: Transport + 'static>(
    name: &'static str,
    create: impl FnOnce() -> (A, B) + Send + 'static,
    case: Case,
) {
    let progress = Progress::default();
    let watching = progress.clone();
    watchdog::run_async_test(name, LIMIT, &progress, move || async move {
        let (offerer, answerer) = create();
        let watched = |side: &str, inner| WatchedTransport { inner, side: side.to_owned(), progress: watching.clone() };
        case(&watched("offerer", Arc::new(offerer)), &watched("answerer", Arc::new(answerer))).await;
    });
}
