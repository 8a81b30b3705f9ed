//! The handle to a node: each method is a command to the task or behaviour that owns the node.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use blink_api::{DeliveryId, Error, ErrorKind, Result, SignalingEvent, Subscription, Topic, Verdict, subscription};
use bytes::Bytes;
use tokio::sync::{broadcast, mpsc, oneshot, watch};

use crate::readers::Reader;
use crate::targets::Waiter;

/// Commands that wait for the owner; callers wait for room.
const COMMAND_CAPACITY: usize = 256;
/// Verdicts that wait for the owner; further ones are dropped, and those deliveries count as
/// ignored.
const REPORT_CAPACITY: usize = 4096;
/// Messages a subscription holds for a slow reader; what comes when it is full is dropped and
/// counted.
const SUBSCRIPTION_CAPACITY: usize = 256;
/// Events a slow reader can be behind.
const EVENT_CAPACITY: usize = 256;

/// The handle, for a network whose addresses are `A`. Dropping it closes the commands: the owner
/// shuts down.
pub struct Handle<A> {
    backend: &'static str,
    max_message: usize,
    commands: mpsc::Sender<Command<A>>,
    reports: mpsc::Sender<(DeliveryId, Verdict)>,
    events: broadcast::Sender<SignalingEvent>,
    dropped: mpsc::Sender<()>,
    ended: watch::Receiver<()>,
}

/// What the owner is asked for. Whoever asked may have stopped waiting for the answer.
pub enum Command<A> {
    /// Subscribe, and hand messages to a reader.
    Subscribe {
        /// What to subscribe to.
        topic: Topic,
        /// Who reads it.
        reader: Reader,
        /// Answered once subscribed.
        reply: oneshot::Sender<Result<()>>,
    },
    /// Publish a message that is not too large.
    Publish {
        /// Where to.
        topic: Topic,
        /// The message.
        message: Bytes,
        /// Answered once it is handed to the network.
        reply: oneshot::Sender<Result<()>>,
    },
    /// Count the other nodes subscribed to a topic.
    Subscribers {
        /// The topic.
        topic: Topic,
        /// Answered with their number.
        reply: oneshot::Sender<usize>,
    },
    /// Connect, and again whenever the connection is lost.
    Connect {
        /// Where to.
        address: A,
        /// Answered after the first success or failure.
        waiter: Waiter,
    },
    /// Tell the node's own addresses.
    Addresses {
        /// Answered with those that reach further first.
        reply: oneshot::Sender<Vec<String>>,
    },
    /// Leave the network.
    Shutdown,
}

/// The owner's ends of what the handle holds.
pub struct Inputs<A> {
    /// Ends when the handle is dropped.
    pub commands: mpsc::Receiver<Command<A>>,
    /// What became of deliveries.
    pub reports: mpsc::Receiver<(DeliveryId, Verdict)>,
    /// What happens on the network.
    pub events: broadcast::Sender<SignalingEvent>,
    /// A reader dropped its subscription: sweep. One stands for all until it is taken.
    pub dropped: mpsc::Receiver<()>,
    /// To be dropped when everything is closed.
    pub ended: watch::Sender<()>,
}

impl<A: Send> Handle<A> {
    /// A handle for a backend of this name that carries messages up to a size in bytes, and the
    /// owner's ends of it.
    pub fn new(backend: &'static str, max_message: usize) -> (Self, Inputs<A>) {
        let (commands, command_receiver) = mpsc::channel(COMMAND_CAPACITY);
        let (reports, report_receiver) = mpsc::channel(REPORT_CAPACITY);
        let (dropped, dropped_receiver) = mpsc::channel(1);
        let (ended_sender, ended) = watch::channel(());
        let events = broadcast::Sender::new(EVENT_CAPACITY);
        let inputs = Inputs {
            commands: command_receiver,
            reports: report_receiver,
            events: events.clone(),
            dropped: dropped_receiver,
            ended: ended_sender,
        };
        (Self { backend, max_message, commands, reports, events, dropped, ended }, inputs)
    }

    /// See [`Signaling::subscribe`](blink_api::Signaling::subscribe).
    ///
    /// # Errors
    /// As there.
    pub async fn subscribe(&self, topic: &Topic) -> Result<Subscription> {
        let topic = *topic;
        let is_dropped = Arc::new(AtomicBool::new(false));
        let (queue, subscription) = {
            let (is_dropped, dropped) = (is_dropped.clone(), self.dropped.clone());
            subscription(SUBSCRIPTION_CAPACITY, move || {
                is_dropped.store(true, Ordering::Release);
                // Where one waits already, it stands for this one too; where the owner is gone, so
                // are its readers.
                dropped.try_send(()).ok();
            })
        };
        let reader = Reader { queue, dropped: is_dropped };
        self.ask("subscribe", |reply| Command::Subscribe { topic, reader, reply }).await??;
        Ok(subscription)
    }

    /// See [`Signaling::publish`](blink_api::Signaling::publish).
    ///
    /// # Errors
    /// As there.
    pub async fn publish(&self, topic: &Topic, message: Bytes) -> Result<()> {
        let topic = *topic;
        if message.len() > self.max_message {
            return Err(self
                .error(ErrorKind::TooLarge, "publish", "the message is larger than this backend carries")
                .with("bytes", message.len())
                .with("most", self.max_message));
        }
        self.ask("publish", |reply| Command::Publish { topic, message, reply }).await?
    }

    /// See [`Signaling::subscribers`](blink_api::Signaling::subscribers).
    ///
    /// # Errors
    /// As there.
    pub async fn subscribers(&self, topic: &Topic) -> Result<usize> {
        let topic = *topic;
        self.ask("subscribers", |reply| Command::Subscribers { topic, reply }).await
    }

    /// See [`Signaling::report`](blink_api::Signaling::report).
    pub fn report(&self, delivery: DeliveryId, verdict: Verdict) {
        if self.reports.try_send((delivery, verdict)).is_err() && !self.reports.is_closed() {
            tracing::debug!(backend = self.backend, "a verdict was dropped: too many at once");
        }
    }

    /// See [`Signaling::connect`](blink_api::Signaling::connect).
    ///
    /// # Errors
    /// As there.
    pub async fn connect(&self, address: A) -> Result<()> {
        self.ask("connect", |waiter| Command::Connect { address, waiter }).await?
    }

    /// See [`Signaling::addresses`](blink_api::Signaling::addresses).
    ///
    /// # Errors
    /// As there.
    pub async fn addresses(&self) -> Result<Vec<String>> {
        self.ask("addresses", |reply| Command::Addresses { reply }).await
    }

    /// See [`Signaling::events`](blink_api::Signaling::events).
    pub fn events(&self) -> broadcast::Receiver<SignalingEvent> {
        self.events.subscribe()
    }

    /// See [`Signaling::shutdown`](blink_api::Signaling::shutdown).
    pub async fn shutdown(&self) {
        // Where the owner is gone, so is everything that this would end.
        let _ = self.commands.send(Command::Shutdown).await;
        let mut ended = self.ended.clone();
        while ended.changed().await.is_ok() {}
    }

    /// Sends a command and waits for the answer.
    async fn ask<T>(
        &self,
        operation: &'static str,
        command: impl FnOnce(oneshot::Sender<T>) -> Command<A> + Send,
    ) -> Result<T> {
        let closed = || self.error(ErrorKind::Closed, operation, "signaling was shut down");
        let (reply, answer) = oneshot::channel();
        self.commands.send(command(reply)).await.map_err(|_| closed())?;
        answer.await.map_err(|_| closed())
    }

    fn error(&self, kind: ErrorKind, operation: &'static str, message: &'static str) -> Error {
        Error::new(kind, message).backend(self.backend).operation(operation)
    }
}
