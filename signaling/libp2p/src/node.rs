//! The handle: each method is a command to the task that owns the swarm.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use blink_api::macros::async_trait;
use blink_api::{
    DeliveryId, ErrorKind, Result, Signaling, SignalingCapabilities, SignalingEvent, Subscription, Topic, Verdict,
    subscription,
};
use bytes::Bytes;
use tokio::sync::{Notify, broadcast, mpsc, oneshot, watch};

use crate::config::Libp2pConfig;
use crate::subscriptions::Reader;
use crate::targets::Waiter;
use crate::task::Task;
use crate::{CAPABILITIES, MAX_MESSAGE, NAME, addresses, error, key, listen};

/// Commands that wait for the task; callers wait for room.
const COMMAND_CAPACITY: usize = 256;
/// Verdicts that wait for the task; further ones are dropped, and those deliveries count as ignored.
const REPORT_CAPACITY: usize = 4096;
/// Messages a subscription holds for a slow reader; what comes when it is full is dropped and counted.
const SUBSCRIPTION_CAPACITY: usize = 256;
/// Events a slow reader can be behind.
const EVENT_CAPACITY: usize = 256;

/// A libp2p node. Dropping it shuts it down in the background.
pub struct Libp2pSignaling {
    commands: mpsc::Sender<Command>,
    reports: mpsc::Sender<(DeliveryId, Verdict)>,
    events: broadcast::Sender<SignalingEvent>,
    /// Woken when a reader drops its subscription.
    dropped: Arc<Notify>,
    /// Its sender lives as long as the task.
    ended: watch::Receiver<()>,
}

/// What the task is asked for.
pub(crate) enum Command {
    Subscribe { topic: Topic, reader: Reader, reply: oneshot::Sender<Result<()>> },
    Publish { topic: Topic, message: Bytes, reply: oneshot::Sender<Result<()>> },
    Subscribers { topic: Topic, reply: oneshot::Sender<usize> },
    Connect { address: libp2p::Multiaddr, waiter: Waiter },
    Addresses { reply: oneshot::Sender<Vec<String>> },
    Shutdown,
}

/// The task's ends of what the handle holds.
pub(crate) struct Inputs {
    pub(crate) commands: mpsc::Receiver<Command>,
    pub(crate) reports: mpsc::Receiver<(DeliveryId, Verdict)>,
    pub(crate) events: broadcast::Sender<SignalingEvent>,
    pub(crate) dropped: Arc<Notify>,
    pub(crate) ended: watch::Sender<()>,
}

impl Libp2pSignaling {
    /// Opens the listeners and begins to connect to the bootstrap nodes. Needs a tokio runtime with time and network.
    ///
    /// # Errors
    /// [`Invalid`](ErrorKind::Invalid) for an unusable value, [`Busy`](ErrorKind::Busy) for an occupied port, [`Io`](ErrorKind::Io).
    pub async fn start(config: Libp2pConfig) -> Result<Self> {
        let bootstrap = config.bootstrap_addresses()?;
        let key = key::load(config.node_key.as_deref())?;
        let (swarm, early_events) = listen::open(&key, &config.listen_addresses()?, config.mdns).await?;

        let (commands, command_receiver) = mpsc::channel(COMMAND_CAPACITY);
        let (reports, report_receiver) = mpsc::channel(REPORT_CAPACITY);
        let (ended_sender, ended) = watch::channel(());
        let events = broadcast::Sender::new(EVENT_CAPACITY);
        let dropped = Arc::new(Notify::new());
        let inputs = Inputs {
            commands: command_receiver,
            reports: report_receiver,
            events: events.clone(),
            dropped: dropped.clone(),
            ended: ended_sender,
        };
        tokio::spawn(Task::new(swarm, inputs).run(bootstrap, early_events));
        Ok(Self { commands, reports, events, dropped, ended })
    }

    /// Sends a command and waits for the task's answer.
    async fn ask<T>(
        &self,
        operation: &'static str,
        command: impl FnOnce(oneshot::Sender<T>) -> Command + Send,
    ) -> Result<T> {
        let closed = || error(ErrorKind::Closed, operation, "signaling was shut down");
        let (reply, answer) = oneshot::channel();
        self.commands.send(command(reply)).await.map_err(|_| closed())?;
        answer.await.map_err(|_| closed())
    }
}

#[async_trait]
impl Signaling for Libp2pSignaling {
    fn capabilities(&self) -> SignalingCapabilities {
        CAPABILITIES
    }

    async fn subscribe(&self, topic: &Topic) -> Result<Subscription> {
        let topic = *topic;
        let is_dropped = Arc::new(AtomicBool::new(false));
        let (queue, subscription) = {
            let (is_dropped, dropped) = (is_dropped.clone(), self.dropped.clone());
            subscription(SUBSCRIPTION_CAPACITY, move || {
                is_dropped.store(true, Ordering::Release);
                dropped.notify_one();
            })
        };
        let reader = Reader { queue, dropped: is_dropped };
        self.ask("subscribe", |reply| Command::Subscribe { topic, reader, reply }).await??;
        Ok(subscription)
    }

    async fn publish(&self, topic: &Topic, message: Bytes) -> Result<()> {
        let topic = *topic;
        if message.len() > MAX_MESSAGE {
            return Err(error(ErrorKind::TooLarge, "publish", "the message is larger than this backend carries")
                .with("bytes", message.len())
                .with("most", MAX_MESSAGE));
        }
        self.ask("publish", |reply| Command::Publish { topic, message, reply }).await?
    }

    async fn subscribers(&self, topic: &Topic) -> Result<usize> {
        let topic = *topic;
        self.ask("subscribers", |reply| Command::Subscribers { topic, reply }).await
    }

    fn report(&self, delivery: DeliveryId, verdict: Verdict) {
        if self.reports.try_send((delivery, verdict)).is_err() && !self.reports.is_closed() {
            tracing::debug!(backend = NAME, "a verdict was dropped: too many at once");
        }
    }

    /// Goes on dialling after a failure, except where the address can never work. The waits grow from half a second to eight.
    async fn connect(&self, address: &str) -> Result<()> {
        let parsed = addresses::parse_dial(address).map_err(|error| error.operation("connect"))?;
        self.ask("connect", |waiter| Command::Connect { address: parsed, waiter }).await?
    }

    async fn addresses(&self) -> Result<Vec<String>> {
        self.ask("addresses", |reply| Command::Addresses { reply }).await
    }

    fn events(&self) -> broadcast::Receiver<SignalingEvent> {
        self.events.subscribe()
    }

    async fn shutdown(&self) {
        // Where the task is gone, so is everything that this would end.
        let _ = self.commands.send(Command::Shutdown).await;
        let mut ended = self.ended.clone();
        while ended.changed().await.is_ok() {}
    }
}
