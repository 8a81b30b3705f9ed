//! Caller of the tests: this program, started in a namespace, with an engine that calls on command.

use std::time::{Duration, Instant};

use blink_api::{Configuration, Did, Registry};
use blink_engine::{Blink, CallConfig, Event, EventItem, Events};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader, stdin};

/// Environment variable that makes this program a caller: a JSON array of settings.
pub(crate) const ROLE: &str = "TEST_CALLER_SETTINGS";
/// Timeout of a call's connection.
const PATIENCE: Duration = Duration::from_secs(60);

/// Runs the caller: reads `call DID`, `leave`, `status` and answers each with a line of JSON.
pub(crate) fn run(settings: &str) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let settings: Vec<String> = serde_json::from_str(settings).unwrap();
    runtime.block_on(async {
        let registry = Registry::discovered().unwrap();
        let builder = Configuration::builder(&registry);
        let builder = settings.iter().fold(builder, |builder, setting| builder.set_argument("test", setting));
        let blink = Blink::start(&builder.build().unwrap()).await.unwrap();
        let mut lines = BufReader::new(stdin()).lines();
        while let Some(line) = lines.next_line().await.unwrap() {
            let answer = match line.split_once(' ') {
                Some(("call", did)) => call(&blink, did.parse().unwrap()).await,
                _ if line == "leave" => leave(&blink).await,
                _ if line == "status" => status(&blink).await,
                _ => panic!("{line}: unknown command"),
            };
            println!("{answer}");
        }
        blink.shutdown().await;
    });
}

async fn call(blink: &Blink, did: Did) -> Value {
    let mut events = blink.events();
    let begin = Instant::now();
    blink.offer_call(&[did], CallConfig::default()).await.unwrap();
    let joined = until(&mut events, |event| matches!(event, Event::ParticipantJoined { .. })).await;
    json!({ "event": "called", "connected": joined, "ms": begin.elapsed().as_millis() as u64 })
}

async fn leave(blink: &Blink) -> Value {
    let mut events = blink.events();
    blink.leave_call().await.unwrap();
    let ended = until(&mut events, |event| matches!(event, Event::CallEnded { .. })).await;
    json!({ "event": "left", "ended": ended })
}

async fn status(blink: &Blink) -> Value {
    let statistics = blink.statistics().await.unwrap();
    let session = statistics.first().map(|participant| participant.session);
    json!({ "event": "status", "session": session, "addresses": blink.addresses().await.unwrap() })
}

/// Waits for an event; returns whether it came before the call's end and the timeout.
async fn until(events: &mut Events, matches: impl Fn(&Event) -> bool) -> bool {
    let came = tokio::time::timeout(PATIENCE, async {
        while let Some(item) = events.next().await {
            match item {
                EventItem::Event(event) if matches(&event) => return true,
                EventItem::Event(Event::CallEnded { .. }) => return false,
                _ => {}
            }
        }
        false
    });
    came.await.unwrap_or(false)
}
