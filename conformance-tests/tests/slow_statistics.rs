//! Metrics: a session that never answers for its statistics delays nothing else, and without a
//! recorder no session is asked.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use blink_api::macros::async_trait;
use blink_api::{
    Configuration, Context, Registry, Result, Session, SessionConfig, SessionEvents, SessionStats, SystemClock,
    Transport, TransportCapabilities,
};
use blink_conformance::forwarding::ForwardingSession;
use blink_engine::{Blink, CallConfig, Event, EventItem, Events, Identity};
use metrics_exporter_prometheus::PrometheusBuilder;
use {
    blink_media_cpal_opus as _, blink_media_synthetic as _, blink_signaling_memory as _, blink_transport_memory as _,
};

/// Timeout of every wait.
const EVENT_TIMEOUT: Duration = Duration::from_secs(30);

struct Person {
    blink: Blink,
    events: Events,
    /// How often its sessions were asked for statistics.
    asked: Arc<AtomicUsize>,
}

impl Person {
    async fn start(registry: &Registry, seed: u8) -> Self {
        let configuration = Configuration::builder(registry)
            .set("test", "transport", "memory")
            .set("test", "signaling", "memory")
            .set("test", "media_host", "synthetic")
            .set("test", "microphone", "speech")
            .set("test", "speaker", "null")
            .build()
            .expect("a configuration");
        let context = Context { clock: Arc::new(SystemClock), shared: registry.shared() };
        let inner = configuration.create::<dyn Transport>(&context).await.expect("the transport starts");
        let asked = Arc::new(AtomicUsize::new(0));
        let transport = Arc::new(Silent { inner, asked: Arc::clone(&asked) });
        let blink = Blink::builder(&configuration).identity(Identity::from_seed(&[seed; 32])).transport(transport);
        let blink = blink.start().await.expect("the engine starts");
        Self { events: blink.events(), blink, asked }
    }

    async fn sees(&mut self, what: &str, is: impl Fn(&Event) -> bool) -> Event {
        let waiting = async {
            loop {
                match self.events.next().await {
                    Some(EventItem::Event(event)) if is(&event) => return event,
                    Some(EventItem::Event(_)) => {}
                    item => panic!("{what}: {item:?}"),
                }
            }
        };
        let seen = tokio::time::timeout(EVENT_TIMEOUT, waiting).await;
        seen.unwrap_or_else(|_| panic!("{what}: not within {EVENT_TIMEOUT:?}"))
    }

    async fn is_asked(&self) {
        let asked = async {
            while self.asked.load(Ordering::Relaxed) == 0 {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(EVENT_TIMEOUT, asked).await.expect("the session is asked for its statistics");
    }
}

/// Two who are in a call.
async fn call_of_two(registry: &Registry) -> [Person; 2] {
    let mut alice = Person::start(registry, 1).await;
    let mut bob = Person::start(registry, 2).await;
    let call = alice.blink.offer_call(&[bob.blink.did()], CallConfig::default()).await.expect("Bob can be called");
    bob.sees("the call rings", |event| matches!(event, Event::IncomingCall { .. })).await;
    bob.blink.answer_call(call.id()).await.expect("it can be answered");
    for person in [&mut alice, &mut bob] {
        person.sees("audio", |event| matches!(event, Event::MediaStarted { .. })).await;
    }
    [alice, bob]
}

/// On one thread, which has the recorder.
#[tokio::test]
async fn a_session_that_never_tells_its_statistics_delays_neither_messages_nor_the_end() {
    let recorder = PrometheusBuilder::new().build_recorder();
    let _recording = metrics::set_default_local_recorder(&recorder);
    let registry = Registry::discovered().expect("backends have different names");
    let [mut alice, mut bob] = call_of_two(&registry).await;
    for person in [&alice, &bob] {
        person.is_asked().await;
    }
    let statistics = tokio::time::timeout(EVENT_TIMEOUT, alice.blink.statistics()).await;
    assert!(statistics.expect("they come").expect("the engine runs").is_empty());
    alice.blink.send_message(bob.blink.endpoint(), b"still there?".to_vec()).await.expect("it can be sent");
    bob.sees("the message", |event| matches!(event, Event::MessageReceived { .. })).await;
    alice.blink.leave_call().await.expect("it can be left");
    for person in [&mut alice, &mut bob] {
        person.sees("the end", |event| matches!(event, Event::CallEnded { .. })).await;
    }
    for person in [alice, bob] {
        tokio::time::timeout(EVENT_TIMEOUT, person.blink.shutdown()).await.expect("the engine shuts down");
    }
}

#[tokio::test]
async fn without_a_recorder_no_session_is_asked() {
    let registry = Registry::discovered().expect("backends have different names");
    let people = call_of_two(&registry).await;
    // Two samples would have been taken, and a last one.
    tokio::time::sleep(Duration::from_millis(2_500)).await;
    for person in people {
        person.blink.shutdown().await;
        assert_eq!(person.asked.load(Ordering::Relaxed), 0);
    }
}

/// A transport whose sessions never tell their statistics.
struct Silent {
    inner: Arc<dyn Transport>,
    asked: Arc<AtomicUsize>,
}

#[async_trait]
impl Transport for Silent {
    fn capabilities(&self) -> TransportCapabilities {
        self.inner.capabilities()
    }

    async fn open(&self, config: SessionConfig) -> Result<(Box<dyn Session>, SessionEvents)> {
        let (inner, events) = self.inner.open(config).await?;
        Ok((Box::new(SilentSession { inner, asked: Arc::clone(&self.asked) }), events))
    }
}

struct SilentSession {
    inner: Box<dyn Session>,
    asked: Arc<AtomicUsize>,
}

#[async_trait]
impl ForwardingSession for SilentSession {
    fn behind(&self) -> &dyn Session {
        &*self.inner
    }

    async fn stats(&self) -> Result<SessionStats> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        std::future::pending().await
    }
}

blink_conformance::forwards!(Session for SilentSession);
