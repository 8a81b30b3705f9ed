//! Start and shutdown of an engine, safe against interrupts.

use std::time::Duration;

use blink_api::{Configuration, Error, ErrorKind, Signaling, Transport};
use blink_engine::{Blink, Event, EventItem, Events};
use blink_transport_kit::addresses::AddressSelector;
use serde_json::json;

use crate::commands::{Invalid, Reply, Request};
use crate::event_text::{self, Names, milliseconds, words};
use crate::failure::Failure;
use crate::interrupt::Interrupt;
use crate::metrics_server;
use crate::output::Output;

/// Timeout of the shutdown.
const GOODBYE: Duration = Duration::from_secs(10);

/// Starts an engine, unless interrupted, and the endpoint of its metrics where one is configured.
///
/// # Errors
/// The engine's error, that of the endpoint, and that of backends that reach no other process.
pub(crate) async fn start(configuration: &Configuration, interrupt: &Interrupt) -> Result<Blink, Failure> {
    check_reach(configuration)?;
    check_interfaces(configuration)?;
    metrics_server::start(configuration).await?;
    tokio::select! {
        blink = Blink::start(configuration) => Ok(blink?),
        () = interrupt.wait() => Err(Failure::interrupted()),
    }
}

/// Refuses `ice.interfaces` of which none exists: each call would fail.
fn check_interfaces(configuration: &Configuration) -> Result<(), Failure> {
    let wanted = &configuration.settings().ice.interfaces;
    if !wanted.is_empty() {
        AddressSelector::default().usable(wanted).map_err(|error| configuration.locate(error))?;
    }
    Ok(())
}

/// Refuses backends that connect engines of one process only, such as those of tests: no call could
/// come or go.
fn check_reach(configuration: &Configuration) -> Result<(), Failure> {
    let (transport, signaling) = (configuration.chosen::<dyn Transport>()?, configuration.chosen::<dyn Signaling>()?);
    let registry = configuration.registry();
    let (kind, name, others) = if !transport.capabilities.network {
        let others = registry.entries::<dyn Transport>().filter(|entry| entry.capabilities.network);
        ("transport", transport.name, others.map(|entry| entry.name).collect::<Vec<_>>())
    } else if !signaling.capabilities.network {
        let others = registry.entries::<dyn Signaling>().filter(|entry| entry.capabilities.network);
        ("signaling", signaling.name, others.map(|entry| entry.name).collect())
    } else {
        return Ok(());
    };
    let why = format!(
        "`{name}` reaches no other process, so that no call could come or go; choose one of: {}",
        others.join(", ")
    );
    Err(configuration.locate(Error::new(ErrorKind::Invalid, why).with("key", kind)).into())
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

/// Prints the reply to a command, or the reason why a line is none.
pub(crate) fn reply(output: &Output, names: &Names, reply: &Reply, request: Option<&Request>) {
    let words = reply.words(request, names);
    for line in &words {
        output.event(&format!("            {line}"));
    }
    let mut json = reply.json(request);
    json["at_ms"] = milliseconds(output.elapsed()).into();
    json["text"] = (!words.is_empty()).then(|| words.join("\n")).into();
    output.json_event(&json);
}

/// Prints why a line is no command.
pub(crate) fn refuse(output: &Output, invalid: Invalid) {
    output.event(&format!("            {invalid}"));
    let reason = invalid.reason;
    let mut json = json!({ "event": "refused", "error": reason, "text": reason });
    if let Some(id) = invalid.id {
        json["id"] = id;
    }
    json["at_ms"] = milliseconds(output.elapsed()).into();
    output.json_event(&json);
}

/// Prints an event.
pub(crate) fn show(output: &Output, names: &Names, event: &Event) {
    let at = output.elapsed();
    let words = words(event, names);
    if let Some(words) = &words {
        output.event(&format!("{:8.3} s  {words}", at.as_secs_f64()));
    }
    let mut json = event_text::json(event, at, None);
    json["text"] = words.into();
    output.json_event(&json);
}
