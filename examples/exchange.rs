//! Steps that several examples share: a call between engines of one program.

use std::time::Duration;

use blink_api::{CallId, Error, ErrorKind, Result};
use blink_engine::{Blink, CallConfig, Event, EventItem, Events};

/// Longest time that a step takes on a slow machine.
const STEP: Duration = Duration::from_secs(30);

/// Waits for an event.
pub async fn until(events: &mut Events, is: impl Fn(&Event) -> bool) -> Result<Event> {
    let found = async {
        while let Some(item) = events.next().await {
            match item {
                EventItem::Event(event) if is(&event) => return Ok(event),
                _ => {}
            }
        }
        Err(Error::new(ErrorKind::Closed, "the engine stopped"))
    };
    let late = |_| Error::new(ErrorKind::Timeout, "an event did not come");
    tokio::time::timeout(STEP, found).await.map_err(late)?
}

/// Answers the next call that rings.
async fn answer(person: &Blink, events: &mut Events) -> Result<CallId> {
    let ringing = until(events, |event| matches!(event, Event::IncomingCall { .. })).await?;
    let call = ringing.call().ok_or_else(|| Error::new(ErrorKind::Unexpected, "a ringing call has an id"))?;
    person.answer_call(call).await?;
    Ok(call)
}

/// Calls everyone else from the first person, and returns when each hears all others.
pub async fn call(people: &[Blink]) -> Result<()> {
    let mut events: Vec<_> = people.iter().map(Blink::events).collect();
    let others: Vec<_> = people[1..].iter().map(Blink::did).collect();
    people[0].offer_call(&others, CallConfig::default()).await?;
    for (person, events) in people.iter().zip(&mut events).skip(1) {
        answer(person, events).await?;
    }
    for events in &mut events {
        for _ in 1..people.len() {
            until(events, |event| matches!(event, Event::MediaStarted { .. })).await?;
        }
    }
    Ok(())
}
