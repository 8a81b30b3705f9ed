//! Start and shutdown of an engine, safe against interrupts.

use std::time::Duration;

use blink_api::Configuration;
use blink_engine::{Blink, Event, EventItem, Events};

use crate::event_text::{Names, json, words};
use crate::failure::Failure;
use crate::interrupt::Interrupt;
use crate::output::Output;

/// Timeout of the shutdown.
const GOODBYE: Duration = Duration::from_secs(10);

/// Starts an engine, unless interrupted.
///
/// # Errors
/// The engine's error.
pub(crate) async fn start(configuration: &Configuration, interrupt: &Interrupt) -> Result<Blink, Failure> {
    tokio::select! {
        blink = Blink::start(configuration) => Ok(blink?),
        () = interrupt.wait() => Err(Failure::interrupted()),
    }
}

/// Leaves the call and shuts down, and passes on the remaining events.
pub(crate) async fn stop(blink: Blink, mut events: Events, output: &Output, mut seen: impl FnMut(&Event)) {
    output.waiting("leaving");
    if tokio::time::timeout(GOODBYE, blink.shutdown()).await.is_err() {
        tracing::warn!("the engine did not shut down within {GOODBYE:?}");
    }
    drop(blink);
    // The remaining events are already queued; the timeout covers an engine that did not shut down.
    while let Ok(Some(item)) = tokio::time::timeout(Duration::from_millis(200), events.next()).await {
        if let EventItem::Event(event) = item {
            seen(&event);
        }
    }
    output.waited();
}

/// Prints an event.
pub(crate) fn show(output: &Output, names: &Names, event: &Event) {
    let at = output.elapsed();
    if let Some(words) = words(event, names) {
        output.event(&format!("{:8.3} s  {words}", at.as_secs_f64()));
    }
    output.json_event(&json(event, at, None));
}
