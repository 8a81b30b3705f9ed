//! Real engines on the memory backends, on tokio's paused clock: a call of seconds takes
//! milliseconds.

#![allow(dead_code, reason = "each test binary uses its part of it")]

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use blink_api::{Clock, Configuration, MediaHost, Registry};
use blink_engine::{Blink, BlinkBuilder, Event, EventItem, Events, Identity, Pacing};
use blink_media_cpal_opus as _;
use blink_media_synthetic as _;
use blink_signaling_memory as _;
use blink_transport_memory as _;

/// Tokio's clock, which a test may pause.
struct TokioClock {
    start: tokio::time::Instant,
    unix_ms: u64,
}

impl Clock for TokioClock {
    fn now(&self) -> Instant {
        tokio::time::Instant::now().into_std()
    }

    fn unix_ms(&self) -> u64 {
        self.unix_ms.saturating_add(self.start.elapsed().as_millis() as u64)
    }
}

/// Engines that reach each other: all come from one registry.
pub(crate) struct TestNetwork {
    registry: Registry,
    directory: tempfile::TempDir,
    began: tokio::time::Instant,
    /// The time of the wall clocks then.
    unix_ms: u64,
}

/// One person's engine and what it told.
pub(crate) struct Person {
    pub(crate) blink: Blink,
    pub(crate) heard: PathBuf,
    events: Events,
    pub(crate) told: Vec<Event>,
}

impl TestNetwork {
    pub(crate) fn new() -> Self {
        Self::at(1_000_000)
    }

    /// A network whose wall clocks begin at this time.
    pub(crate) fn at(unix_ms: u64) -> Self {
        let (registry, directory) = (Registry::discovered().unwrap(), tempfile::tempdir().unwrap());
        Self { registry, directory, began: tokio::time::Instant::now(), unix_ms }
    }

    #[allow(dead_code, reason = "each test binary uses its part")]
    pub(crate) fn registry(&self) -> &Registry {
        &self.registry
    }

    pub(crate) fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// A person with a microphone, whose speaker is a file.
    pub(crate) async fn person(&self, seed: u8, microphone: &str) -> Person {
        self.person_with(seed, microphone, &[]).await
    }

    pub(crate) async fn person_with(&self, seed: u8, microphone: &str, settings: &[&str]) -> Person {
        self.person_on(seed, microphone, settings, &[]).await
    }

    /// As above, with these media hosts in place of the configured one.
    pub(crate) async fn person_on(
        &self,
        seed: u8,
        microphone: &str,
        settings: &[&str],
        hosts: &[(&str, Arc<dyn MediaHost>)],
    ) -> Person {
        self.person_built(seed, microphone, settings, |engine| {
            hosts.iter().fold(engine, |engine, (name, host)| engine.media_host(name, host.clone()))
        })
        .await
    }

    /// As above, with an engine that the test completes.
    pub(crate) async fn person_built(
        &self,
        seed: u8,
        microphone: &str,
        settings: &[&str],
        complete: impl FnOnce(BlinkBuilder) -> BlinkBuilder,
    ) -> Person {
        let heard = self.directory().join(format!("heard-{seed}.wav"));
        let mut builder = Configuration::builder(&self.registry)
            .set("test", "media_host", "synthetic")
            .set("test", "microphone", microphone)
            .set("test", "speaker", format!("wav:{}", heard.display()));
        for setting in settings {
            builder = builder.set_argument("test", setting);
        }
        let clock = Arc::new(TokioClock { start: self.began, unix_ms: self.unix_ms });
        // Each start has other keys.
        let mut random = [seed; 32];
        random[..8].copy_from_slice(&clock.unix_ms().to_be_bytes());
        let engine = Blink::builder(&builder.build().unwrap())
            .identity(Identity::from_seed(&[seed; 32]))
            .seed(random)
            .clock(clock, Pacing::Tasks);
        let blink = complete(engine).start().await.unwrap();
        let events = blink.events();
        Person { blink, heard, events, told: Vec::new() }
    }
}

impl Person {
    /// Waits for an event, at most 60 s of the test's time.
    pub(crate) async fn until(&mut self, what: &str, is: impl Fn(&Event) -> bool) -> Event {
        let wait = async {
            loop {
                match self.events.next().await {
                    Some(EventItem::Event(event)) => {
                        self.told.push(event.clone());
                        if is(&event) {
                            return event;
                        }
                    }
                    Some(item) => panic!("no event: {item:?}"),
                    None => panic!("the engine ended before `{what}`"),
                }
            }
        };
        match tokio::time::timeout(Duration::from_secs(60), wait).await {
            Ok(event) => event,
            Err(_) => panic!("not told `{what}`, only {:?}", self.told),
        }
    }

    /// The next event; `None` once the engine ended.
    pub(crate) async fn next(&mut self) -> Option<Event> {
        match self.events.next().await? {
            EventItem::Event(event) => Some(event),
            EventItem::Lagged { .. } => panic!("lagged"),
        }
    }

    /// Waits for a call and answers it.
    pub(crate) async fn answers(&mut self) -> blink_api::CallId {
        let event = self.until("incoming", |event| matches!(event, Event::IncomingCall { .. })).await;
        let Event::IncomingCall { call, .. } = event else { unreachable!("just matched") };
        self.blink.answer_call(call).await.unwrap().id()
    }
}
