//! The engine asks signaling to announce its inbox, and to find those of others.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use blink_api::macros::async_trait;
use blink_api::{
    Configuration, DeliveryId, ErrorKind, Registry, Result, Signaling, SignalingCapabilities, SignalingEvent,
    Subscription, Topic, Verdict,
};
use blink_engine::{Blink, CallConfig, Event, EventItem};
use blink_media_cpal_opus as _;
use blink_media_synthetic as _;
use blink_proto::secure::inbox_topic;
use blink_signaling_memory::{Hub, MemorySignaling};
use blink_transport_memory as _;
use bytes::Bytes;
use tokio::sync::broadcast;

const SOON: Duration = Duration::from_secs(30);

/// Signaling in memory that records announcements and searches.
struct RecordingSignaling {
    inner: MemorySignaling,
    announced: Mutex<Vec<Topic>>,
    searched: Mutex<Vec<Topic>>,
}

impl RecordingSignaling {
    fn new(hub: &Hub) -> Arc<Self> {
        Arc::new(Self { inner: MemorySignaling::new(hub), announced: Mutex::default(), searched: Mutex::default() })
    }

    fn searched(&self) -> Vec<Topic> {
        self.searched.lock().unwrap().clone()
    }
}

#[async_trait]
impl Signaling for RecordingSignaling {
    fn capabilities(&self) -> SignalingCapabilities {
        self.inner.capabilities()
    }

    async fn subscribe(&self, topic: &Topic) -> Result<Subscription> {
        self.inner.subscribe(topic).await
    }

    async fn publish(&self, topic: &Topic, message: Bytes) -> Result<()> {
        self.inner.publish(topic, message).await
    }

    async fn subscribers(&self, topic: &Topic) -> Result<usize> {
        self.inner.subscribers(topic).await
    }

    fn report(&self, delivery: DeliveryId, verdict: Verdict) {
        self.inner.report(delivery, verdict);
    }

    async fn connect(&self, address: &str) -> Result<()> {
        self.inner.connect(address).await
    }

    async fn announce(&self, topic: &Topic) -> Result<()> {
        self.announced.lock().unwrap().push(*topic);
        Ok(())
    }

    async fn find(&self, topic: &Topic) -> Result<()> {
        self.searched.lock().unwrap().push(*topic);
        Err(blink_api::Error::new(ErrorKind::Io, "the engine goes on all the same"))
    }

    async fn addresses(&self) -> Result<Vec<String>> {
        self.inner.addresses().await
    }

    fn events(&self) -> broadcast::Receiver<SignalingEvent> {
        self.inner.events()
    }

    async fn shutdown(&self) {
        self.inner.shutdown().await;
    }
}

async fn start(signaling: Arc<RecordingSignaling>) -> Blink {
    let registry = Registry::discovered().unwrap();
    let settings = ["media_host=synthetic", "codec=opus", "microphone=none", "speaker=null", "transport=memory"];
    let builder = Configuration::builder(&registry);
    let builder = settings.iter().fold(builder, |builder, setting| builder.set_argument("test", setting));
    Blink::builder(&builder.build().unwrap()).signaling(signaling).start().await.unwrap()
}

async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(SOON, future).await.unwrap_or_else(|_| panic!("{what}: not within {SOON:?}"))
}

async fn until(what: &str, is: impl Fn() -> bool) {
    within(what, async {
        while !is() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_inbox_is_announced_and_absent_people_are_searched_with_every_offer() {
    let hub = Hub::default();
    let (at_alice, at_bob) = (RecordingSignaling::new(&hub), RecordingSignaling::new(&hub));
    let (alice, bob) = (start(at_alice.clone()).await, start(at_bob.clone()).await);
    assert_eq!(*at_alice.announced.lock().unwrap(), [inbox_topic(&alice.did())]);
    let bobs_inbox = inbox_topic(&bob.did());

    // Bob's node is not connected, as before it was found.
    hub.cut(at_bob.inner.origin());
    let call = alice.offer_call(&[bob.did()], CallConfig::default()).await.unwrap();
    until("three searches", || at_alice.searched().iter().filter(|topic| **topic == bobs_inbox).count() >= 3).await;

    let mut events = bob.events();
    hub.heal(at_bob.inner.origin());
    within("the call", async {
        while !matches!(events.next().await, Some(EventItem::Event(Event::IncomingCall { .. }))) {}
    })
    .await;
    bob.answer_call(call.id()).await.unwrap();
    let mut joined = alice.events();
    within("Bob", async {
        while alice.current_call().await.unwrap().is_none_or(|call| call.participants.is_empty()) {
            joined.next().await;
        }
    })
    .await;

    // In the call the messages have no receiver any more: the other's inbox is searched, and never
    // the call's topic.
    let before = at_alice.searched().len();
    hub.cut(at_bob.inner.origin());
    until("a search in the call", || at_alice.searched().len() > before).await;
    assert!(at_alice.searched().iter().all(|topic| *topic == bobs_inbox));
    alice.shutdown().await;
    bob.shutdown().await;
}
