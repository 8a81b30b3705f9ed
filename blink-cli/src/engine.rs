//! Starting and stopping an engine so that an interrupt finds it whole.

use std::time::Duration;

use blink_api::Configuration;
use blink_engine::{Blink, Event, EventItem, Events};

use crate::failure::Failure;
use crate::interrupt::Interrupt;
use crate::output::Output;
use crate::show::{Names, json, words};

/// How long leaving may take before the program ends without it.
const GOODBYE: Duration = Duration::from_secs(10);

/// Starts an engine, unless interrupted.
///
/// # Errors
/// What the engine says against it.
pub(crate) async fn start(configuration: &Configuration, interrupt: &Interrupt) -> Result<Blink, Failure> {
    tokio::select! {
        blink = Blink::start(configuration) => Ok(blink?),
        () = interrupt.wait() => Err(Failure::interrupted()),
    }
}

/// Leaves the call and closes everything, and hands over the events of that.
pub(crate) async fn stop(blink: Blink, mut events: Events, output: &Output, mut seen: impl FnMut(&Event)) {
    output.waiting("leaving");
    if tokio::time::timeout(GOODBYE, blink.shutdown()).await.is_err() {
        tracing::warn!("the engine did not shut down within {GOODBYE:?}");
    }
    drop(blink);
    // What remains is there already; the limit is for an engine that did not shut down.
    while let Ok(Some(item)) = tokio::time::timeout(Duration::from_millis(200), events.next()).await {
        if let EventItem::Event(event) = item {
            seen(&event);
        }
    }
    output.waited();
}

/// Prints an event of the only engine there is.
pub(crate) fn show(output: &Output, names: &Names, event: &Event) {
    let at = output.elapsed();
    if let Some(words) = words(event, names) {
        output.event(&format!("{:8.3} s  {words}", at.as_secs_f64()));
    }
    output.json_event(&json(event, at, None));
}
