//! Handle to a node: each method is a command to the task or behaviour that owns the node.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use blink_api::{DeliveryId, Error, ErrorKind, Result, SignalingEvent, Subscription, Topic, Verdict, subscription};
use bytes::Bytes;
use tokio::sync::{broadcast, mpsc, oneshot, watch};

use crate::dial_queue::ConnectReply;
use crate::subscriptions::Subscriber;

/// Commands queued for the node; callers wait for a free slot.
const COMMAND_CAPACITY: usize = 256;
/// Verdicts queued for the node. Further ones are dropped; their deliveries expire as ignored.
const REPORT_CAPACITY: usize = 4096;
/// Messages queued per subscription. Further ones are dropped and counted as lagged.
const SUBSCRIPTION_CAPACITY: usize = 256;
/// Events queued per receiver before it lags.
const EVENT_CAPACITY: usize = 256;

/// Handle to a node with addresses of type `A`. When dropped, the node shuts down.
#[derive(Debug)]
pub struct Handle<A> {
    backend: &'static str,
    max_message: usize,
    commands: mpsc::Sender<Command<A>>,
    reports: mpsc::Sender<(DeliveryId, Verdict)>,
    events: broadcast::Sender<SignalingEvent>,
    dropped: mpsc::Sender<()>,
    ended: watch::Receiver<()>,
}

/// Request to the node. The caller may have stopped waiting for the reply.
#[derive(Debug)]
pub enum Command<A> {
    /// Subscribe to a topic.
    Subscribe {
        /// Topic to subscribe to.
        topic: Topic,
        /// Receiver of the messages.
        subscriber: Subscriber,
        /// Sent once subscribed.
        reply: oneshot::Sender<Result<()>>,
    },
    /// Publish a message within the size limit.
    Publish {
        /// Topic to publish on.
        topic: Topic,
        /// Message payload.
        message: Bytes,
        /// Sent once the message was handed to the network.
        reply: oneshot::Sender<Result<()>>,
    },
    /// Count the remote nodes subscribed to a topic.
    Subscribers {
        /// Topic in question.
        topic: Topic,
        /// Receives their number.
        reply: oneshot::Sender<usize>,
    },
    /// Connect to an address and stay connected, redialling when the connection is lost.
    Connect {
        /// Address to dial.
        address: A,
        /// Receives the result of the first attempt.
        reply: ConnectReply,
    },
    /// Announce the node as a subscriber of a topic.
    Announce {
        /// Topic to announce.
        topic: Topic,
        /// Sent once the announcement is scheduled.
        reply: oneshot::Sender<Result<()>>,
    },
    /// Search and dial nodes that announced a topic.
    Find {
        /// Topic to search.
        topic: Topic,
        /// Sent once the search is scheduled.
        reply: oneshot::Sender<Result<()>>,
    },
    /// List the node's own addresses.
    Addresses {
        /// Receives the addresses, globally reachable ones first.
        reply: oneshot::Sender<Vec<String>>,
    },
    /// Leave the network.
    Shutdown,
}

/// Channel ends held by the task or behaviour that owns the node.
#[derive(Debug)]
pub struct Inputs<A> {
    /// Commands; closed when the handle is dropped.
    pub commands: mpsc::Receiver<Command<A>>,
    /// Verdicts on deliveries.
    pub reports: mpsc::Receiver<(DeliveryId, Verdict)>,
    /// Sender of network events.
    pub events: broadcast::Sender<SignalingEvent>,
    /// Signals dropped subscriptions, which are then swept. Holds at most one signal, which covers
    /// all subscriptions dropped until it is received.
    pub dropped: mpsc::Receiver<()>,
    /// Dropped by the owner once everything is closed, which completes `shutdown`.
    pub ended: watch::Sender<()>,
}

impl<A: Send> Handle<A> {
    /// Creates the handle of the backend with this name, with its message size limit in bytes, and
    /// the channel ends for the owner.
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
                // A full channel already holds a signal that covers this one. A closed channel
                // means that the owner is gone, and its subscriptions with it.
                dropped.try_send(()).ok();
            })
        };
        let subscriber = Subscriber { queue, dropped: is_dropped };
        self.ask("subscribe", |reply| Command::Subscribe { topic, subscriber, reply }).await??;
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
                .error(ErrorKind::TooLarge, "publish", "the message exceeds the backend's size limit")
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
            tracing::debug!(backend = self.backend, "verdict dropped: the queue is full");
        }
    }

    /// See [`Signaling::connect`](blink_api::Signaling::connect).
    ///
    /// # Errors
    /// As there.
    pub async fn connect(&self, address: A) -> Result<()> {
        self.ask("connect", |reply| Command::Connect { address, reply }).await?
    }

    /// See [`Signaling::announce`](blink_api::Signaling::announce).
    ///
    /// # Errors
    /// As there.
    pub async fn announce(&self, topic: &Topic) -> Result<()> {
        let topic = *topic;
        self.ask("announce", |reply| Command::Announce { topic, reply }).await?
    }

    /// See [`Signaling::find`](blink_api::Signaling::find).
    ///
    /// # Errors
    /// As there.
    pub async fn find(&self, topic: &Topic) -> Result<()> {
        let topic = *topic;
        self.ask("find", |reply| Command::Find { topic, reply }).await?
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
        // If the owner is gone there is nothing to shut down.
        let _ = self.commands.send(Command::Shutdown).await;
        let mut ended = self.ended.clone();
        while ended.changed().await.is_ok() {}
    }

    /// Sends a command and waits for the reply.
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
