//! Flood of messages to an inbox during calls of a known caller.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use blink_api::macros::async_trait;
use blink_api::{
    DeliveryId, Did, ErrorKind, Result, Signaling, SignalingCapabilities, SignalingEvent, Subscription,
    SubscriptionEvent, Topic, Verdict, subscription,
};
use blink_engine::{CallConfig, Event};
use blink_proto::secure::inbox_topic;
use blink_signaling_ipfs::{IpfsConfig, IpfsSignaling};
use blink_signaling_libp2p::{Libp2pConfig, Libp2pSignaling};
use bytes::Bytes;
use tokio::sync::broadcast;
use tokio::time::{MissedTickBehavior, interval};

use crate::test_engine::TestEngine;

/// Calls during the flood; `BLINK_FLOOD_CALLS` overrides it.
const CALLS: u32 = 12;
/// Messages per second of both attackers together.
const RATE: u64 = 1_000;
/// Number of messages after which a subscription that is not read has lost some.
const ENOUGH: u64 = 1_000;

/// Half of the flood is garbage, half is a repeated valid message of a stranger, from two nodes
/// each. 99 % of the calls must be set up.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_known_caller_gets_through_a_flood_and_losses_are_reported() {
    let calls = std::env::var("BLINK_FLOOD_CALLS").map_or(CALLS, |calls| calls.parse().expect("a number of calls"));
    let node = Arc::new(IpfsSignaling::start(ipfs()).await.unwrap());
    let mut bob = TestEngine::with_node("bob", &["transport=str0m", "signaling=ipfs"], node.clone()).await;
    let mut alice = TestEngine::start("alice", &["transport=str0m", "signaling=libp2p"]).await;
    bob.blink.set_known_people([alice.blink.did()]).await.unwrap();
    alice.blink.connect(&bob.address().await).await.unwrap();

    let inbox = inbox_topic(&bob.blink.did());
    let fast = count(node.subscribe(&inbox).await.unwrap());
    let slow = node.subscribe(&inbox).await.unwrap();
    let message = message_of_a_stranger(bob.blink.did()).await;
    let flood = Flood::begin(&bob.address().await, inbox, message).await;
    let mut set_up = 0;
    for _ in 0..calls {
        set_up += u32::from(one_call(&mut alice, &mut bob).await);
    }
    flood.until(ENOUGH).await;
    let sent = flood.end().await;
    assert!(set_up * 100 >= calls * 99, "{set_up} of {calls} calls, {sent} messages");

    node.shutdown().await;
    let came = fast.await.unwrap();
    let told = count(slow).await.unwrap();
    assert!(told.lagged > 0, "{told:?} of {sent} sent: no flood");
    assert_eq!(told.delivered + told.lagged, came.delivered + came.lagged, "{told:?} is not {came:?} of {sent} sent");
    #[expect(clippy::print_stdout, reason = "the result of the run")]
    {
        println!(
            "{set_up} of {calls} calls; sent {sent}, at the inbox {came:?}, at a reader that does not read {told:?}"
        );
    }
}

/// Makes a call, and returns whether it was set up. It has ended afterwards.
async fn one_call(alice: &mut TestEngine, bob: &mut TestEngine) -> bool {
    let offered = alice.blink.offer_call(&[bob.blink.did()], CallConfig::default()).await.unwrap();
    let limit = Duration::from_secs(20);
    let rings = bob.sees_within(limit, |event| match event {
        Event::IncomingCall { call, .. } if offered.is(*call) => Some(*call),
        _ => None,
    });
    let mut connected = false;
    if let Some(call) = rings.await {
        bob.blink.answer_call(call).await.unwrap();
        let joined = |event: &Event| matches!(event, Event::ParticipantJoined { .. }).then_some(());
        connected = alice.sees_within(limit, joined).await.is_some() && bob.sees_within(limit, joined).await.is_some();
    }
    alice.blink.leave_call().await.unwrap();
    let over = |event: &Event| matches!(event, Event::CallEnded { .. } | Event::CallCancelled { .. }).then_some(());
    connected && bob.sees_within(limit, over).await.is_some()
}

#[derive(Debug, Default)]
struct Tally {
    delivered: u64,
    lagged: u64,
}

/// Counts deliveries until the node is shut down, without a verdict, which is left to the engine.
fn count(mut subscription: Subscription) -> tokio::task::JoinHandle<Tally> {
    tokio::spawn(async move {
        let mut tally = Tally::default();
        while let Some(event) = subscription.next().await {
            match event {
                SubscriptionEvent::Delivery(_) => tally.delivered += 1,
                SubscriptionEvent::Lagged(lost) => tally.lagged += lost,
            }
        }
        tally
    })
}

/// Nodes that publish until they are stopped.
struct Flood {
    attackers: Vec<tokio::task::JoinHandle<()>>,
    ends: Arc<AtomicBool>,
    sent: Arc<AtomicU64>,
}

impl Flood {
    async fn begin(victim: &str, inbox: Topic, message: Bytes) -> Self {
        let (ends, sent) = (Arc::<AtomicBool>::default(), Arc::<AtomicU64>::default());
        let mut attackers = Vec::new();
        let contents = [Bytes::from(vec![0x5a; 600]), message];
        for number in 0..4 {
            let node: Arc<dyn Signaling> = match number % 2 {
                0 => Arc::new(Libp2pSignaling::start(libp2p()).await.unwrap()),
                _ => Arc::new(IpfsSignaling::start(ipfs()).await.unwrap()),
            };
            node.connect(victim).await.unwrap();
            let mut subscribers = node.events();
            while node.subscribers(&inbox).await.unwrap() == 0 {
                subscribers.recv().await.unwrap();
            }
            let (content, ends, sent) = (contents[number / 2].clone(), ends.clone(), sent.clone());
            attackers.push(tokio::spawn(async move {
                let mut beat = interval(Duration::from_millis(10));
                beat.set_missed_tick_behavior(MissedTickBehavior::Burst);
                while !ends.load(Ordering::Relaxed) {
                    beat.tick().await;
                    for _ in 0..RATE / 100 / 4 + (number as u64 % 2) {
                        match node.publish(&inbox, content.clone()).await {
                            Ok(()) => sent.fetch_add(1, Ordering::Relaxed),
                            // The victim is overloaded, or has stopped accepting this node's
                            // messages.
                            Err(error) if matches!(error.kind(), ErrorKind::Full | ErrorKind::NoSubscribers) => 0,
                            Err(error) => panic!("{error}"),
                        };
                    }
                }
                node.shutdown().await;
            }));
        }
        Self { attackers, ends, sent }
    }

    /// Waits until this many messages were handed to the network: calls may be faster, and nodes
    /// that send garbage are disconnected.
    async fn until(&self, enough: u64) {
        let sending = async {
            let mut beat = interval(Duration::from_millis(10));
            while self.sent.load(Ordering::Relaxed) < enough {
                beat.tick().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), sending).await.expect("the flood goes on");
    }

    /// Stops, and returns the number of messages handed to the network.
    async fn end(self) -> u64 {
        self.ends.store(true, Ordering::Relaxed);
        for attacker in self.attackers {
            attacker.await.unwrap();
        }
        self.sent.load(Ordering::Relaxed)
    }
}

/// Captures the sealed offer of a stranger to the callee.
async fn message_of_a_stranger(callee: Did) -> Bytes {
    let capturing = Arc::new(CapturingSignaling::default());
    let mallory = TestEngine::with_node("mallory", &["transport=str0m", "signaling=libp2p"], capturing.clone()).await;
    mallory.blink.offer_call(&[callee], CallConfig::default()).await.unwrap();
    let inbox = inbox_topic(&callee);
    loop {
        let messages = capturing.0.lock().unwrap().clone();
        if let Some((_, message)) = messages.into_iter().find(|(topic, _)| *topic == inbox) {
            mallory.blink.shutdown().await;
            return message;
        }
        tokio::task::yield_now().await;
    }
}

/// Signaling backend that stores published messages, and delivers nothing.
#[derive(Default)]
struct CapturingSignaling(Mutex<Vec<(Topic, Bytes)>>);

#[async_trait]
impl Signaling for CapturingSignaling {
    fn capabilities(&self) -> SignalingCapabilities {
        SignalingCapabilities { max_message: 16_384, ..SignalingCapabilities::default() }
    }

    async fn subscribe(&self, _: &Topic) -> Result<Subscription> {
        Ok(subscription(1, || {}).1)
    }

    async fn publish(&self, topic: &Topic, message: Bytes) -> Result<()> {
        self.0.lock().unwrap().push((*topic, message));
        Ok(())
    }

    async fn subscribers(&self, _: &Topic) -> Result<usize> {
        Ok(1)
    }

    fn report(&self, _: DeliveryId, _: Verdict) {}

    async fn connect(&self, _: &str) -> Result<()> {
        Ok(())
    }

    async fn addresses(&self) -> Result<Vec<String>> {
        Ok(Vec::new())
    }

    fn events(&self) -> broadcast::Receiver<SignalingEvent> {
        broadcast::channel(1).1
    }

    async fn shutdown(&self) {}
}

fn ipfs() -> IpfsConfig {
    IpfsConfig { listen: vec!["/ip4/127.0.0.1/tcp/0".to_owned()], mdns: false, ..IpfsConfig::default() }
}

fn libp2p() -> Libp2pConfig {
    Libp2pConfig { listen: vec!["/ip4/127.0.0.1/tcp/0".to_owned()], mdns: false, ..Libp2pConfig::default() }
}
