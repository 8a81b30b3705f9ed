//! A node: its connections, its subscriptions, and what it knows of others'.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use blink_api::macros::async_trait;
use blink_api::{
    Delivery, DeliveryId, DeliveryQueue, ErrorKind, Origin, Result, Signaling, SignalingCapabilities, SignalingEvent,
    Subscription, Topic, Verdict, subscription,
};
use bytes::Bytes;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{broadcast, mpsc, oneshot, watch};
use tokio::time::{sleep, timeout};

use super::connection::{Frame, MAX_MESSAGE};
use super::{CAPABILITIES, TcpConfig, failed};

/// Frames that wait for a connection; further messages are refused as `Full`.
const OUTGOING: usize = 256;
/// Messages that wait for a subscription's reader.
const INCOMING: usize = 256;
/// Subscriptions that a node may announce.
const MAX_TOPICS: usize = 4_096;
/// Time limit of a dial with its handshake.
const DIAL_LIMIT: Duration = Duration::from_secs(5);
/// Pauses between dials: the first, and the longest.
const REDIAL: [Duration; 2] = [Duration::from_millis(100), Duration::from_secs(5)];
/// Time in which a shutdown sends what was published, as documented.
const DRAIN: Duration = Duration::from_secs(1);

/// A running node. Dropping it closes its connections.
pub struct TcpSignaling {
    shared: Arc<Shared>,
    address: SocketAddr,
}

impl fmt::Debug for TcpSignaling {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TcpSignaling").field("address", &self.address).finish_non_exhaustive()
    }
}

struct Shared {
    id: [u8; 32],
    state: Mutex<State>,
    events: broadcast::Sender<SignalingEvent>,
    /// Becomes true at the shutdown; every task ends then.
    closing: watch::Sender<bool>,
    /// Every task that writes holds a clone, so that a shutdown sees when all have drained.
    writers: Mutex<Option<mpsc::Sender<()>>>,
    drained: tokio::sync::Mutex<mpsc::Receiver<()>>,
    next: AtomicU64,
}

#[derive(Default)]
struct State {
    is_closed: bool,
    connections: BTreeMap<u64, Connection>,
    subscriptions: BTreeMap<Topic, BTreeMap<u64, DeliveryQueue>>,
}

struct Connection {
    node: [u8; 32],
    outgoing: mpsc::Sender<Frame>,
    topics: BTreeSet<Topic>,
}

impl State {
    fn nodes(&self) -> usize {
        self.connections.values().map(|connection| connection.node).collect::<BTreeSet<_>>().len()
    }

    /// One connection to each node that is subscribed to a topic.
    fn subscribed(&self, topic: &Topic) -> BTreeMap<[u8; 32], &Connection> {
        let all = self.connections.values().filter(|connection| connection.topics.contains(topic));
        all.map(|connection| (connection.node, connection)).collect()
    }
}

impl TcpSignaling {
    /// Starts a node.
    ///
    /// # Errors
    /// [`Io`](ErrorKind::Io) where it cannot listen.
    pub async fn start(config: TcpConfig) -> Result<Self> {
        let io = |source| failed("start", ErrorKind::Io, "cannot listen").with("address", config.listen).source(source);
        let listener = TcpListener::bind(config.listen).await.map_err(io)?;
        let address = listener.local_addr().map_err(io)?;
        let mut id = [0; 32];
        getrandom::fill(&mut id).map_err(|error| failed("start", ErrorKind::Unexpected, error.to_string()))?;
        let (writer, drained) = mpsc::channel(1);
        let shared = Arc::new(Shared {
            id,
            state: Mutex::default(),
            events: broadcast::Sender::new(256),
            closing: watch::Sender::new(false),
            writers: Mutex::new(Some(writer)),
            drained: tokio::sync::Mutex::new(drained),
            next: AtomicU64::new(0),
        });
        shared.spawn(|shared| async move {
            loop {
                match listener.accept().await {
                    Ok((stream, _)) => shared.spawn(|shared| async move { shared.run(stream).await }),
                    // Such as too many open files: others must be closed first.
                    Err(_) => sleep(REDIAL[0]).await,
                }
            }
        });
        Ok(Self { shared, address })
    }

    /// Address at which it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    fn state(&self, operation: &'static str) -> Result<MutexGuard<'_, State>> {
        let state = self.shared.state();
        if state.is_closed { Err(failed(operation, ErrorKind::Closed, "signaling was shut down")) } else { Ok(state) }
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn number(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    fn tell(&self, event: SignalingEvent) {
        // Events without a listener are dropped.
        self.events.send(event).ok();
    }

    /// Runs a task until the shutdown.
    fn spawn<F: Future<Output = ()> + Send + 'static>(self: &Arc<Self>, task: impl FnOnce(Arc<Self>) -> F) {
        let mut closing = self.closing.subscribe();
        let task = task(self.clone());
        tokio::spawn(async move {
            tokio::select! {
                biased;
                _ = closing.wait_for(|closing| *closing) => {}
                () = task => {}
            }
        });
    }

    /// Runs a connection until it ends.
    async fn run(self: Arc<Self>, stream: TcpStream) {
        if let Ok(Ok((node, stream))) = timeout(DIAL_LIMIT, self.greet(stream)).await {
            self.serve(node, stream).await;
        }
    }

    /// Exchanges the ids of the nodes.
    async fn greet(&self, mut stream: TcpStream) -> std::io::Result<([u8; 32], TcpStream)> {
        stream.set_nodelay(true)?;
        Frame::Hello(self.id).write(&mut stream).await?;
        match Frame::read(&mut stream).await? {
            Frame::Hello(node) if node != self.id => Ok((node, stream)),
            _ => Err(std::io::Error::new(std::io::ErrorKind::InvalidData, "this is not another node")),
        }
    }

    async fn serve(self: Arc<Self>, node: [u8; 32], stream: TcpStream) {
        let (mut reader, mut writer) = stream.into_split();
        let (outgoing, mut frames) = mpsc::channel::<Frame>(OUTGOING);
        let number = self.number();
        let Some(drained) = self.writers.lock().unwrap_or_else(PoisonError::into_inner).clone() else { return };
        {
            let mut state = self.state();
            // What does not fit the queue of a new connection is beyond the limit of topics.
            state.subscriptions.keys().for_each(|topic| drop(outgoing.try_send(Frame::Subscribe(*topic))));
            let before = state.nodes();
            state.connections.insert(number, Connection { node, outgoing, topics: BTreeSet::new() });
            let nodes = state.nodes();
            if nodes > before {
                self.tell(SignalingEvent::Connected { nodes });
            }
        }
        // The queue closes with the connection's entry; what is in it is still written. The set
        // aborts its task when it is dropped.
        let mut writing = tokio::task::JoinSet::new();
        writing.spawn(async move {
            let _drained = drained;
            while let Some(frame) = frames.recv().await {
                if frame.write(&mut writer).await.is_err() {
                    return;
                }
            }
        });
        let _guard = Disconnect { shared: self.clone(), number };
        loop {
            tokio::select! {
                frame = Frame::read(&mut reader) => match frame {
                    Ok(frame) => self.receive(number, frame),
                    Err(_) => break,
                },
                // It failed, or has written everything before a shutdown.
                _ = writing.join_next() => break,
            }
        }
    }

    fn receive(&self, number: u64, frame: Frame) {
        let mut state = self.state();
        let Some(connection) = state.connections.get_mut(&number) else { return };
        let node = connection.node;
        match frame {
            Frame::Hello(_) => {}
            Frame::Subscribe(topic) if connection.topics.len() < MAX_TOPICS => {
                if connection.topics.insert(topic) {
                    self.tell(SignalingEvent::SubscriberJoined(topic));
                }
            }
            Frame::Subscribe(_) => {}
            Frame::Unsubscribe(topic) => drop(connection.topics.remove(&topic)),
            Frame::Message(topic, message) => {
                let mut origin = [0; 16];
                origin.copy_from_slice(&node[..16]);
                for queue in state.subscriptions.get(&topic).into_iter().flat_map(BTreeMap::values) {
                    let id = DeliveryId(self.number());
                    // The queue tells a slow reader what it missed.
                    queue.push(Delivery { id, origin: Some(Origin(origin)), message: message.clone() }).ok();
                }
            }
        }
    }

    fn unsubscribe(&self, topic: Topic, number: u64) {
        let mut state = self.state();
        let Some(queues) = state.subscriptions.get_mut(&topic) else { return };
        queues.remove(&number);
        if queues.is_empty() {
            state.subscriptions.remove(&topic);
            announce(&state, &Frame::Unsubscribe(topic));
        }
    }

    /// Dials an address until the shutdown. The result of the first attempt goes to `first`.
    async fn keep_connected(self: Arc<Self>, address: SocketAddr, first: oneshot::Sender<Result<()>>) {
        let (mut first, mut pause) = (Some(first), REDIAL[0]);
        loop {
            let dialled = timeout(DIAL_LIMIT, async { self.greet(TcpStream::connect(address).await?).await }).await;
            let result = match dialled {
                Ok(Ok((node, stream))) => {
                    pause = REDIAL[0];
                    let serving = self.clone().serve(node, stream);
                    answer(&mut first, Ok(()));
                    serving.await;
                    continue;
                }
                Ok(Err(source)) => Err(failed("connect", ErrorKind::Io, "the node does not answer").source(source)),
                Err(_) => Err(failed("connect", ErrorKind::Timeout, "the node does not answer")),
            };
            answer(&mut first, result);
            sleep(pause).await;
            pause = (pause * 2).min(REDIAL[1]);
        }
    }

    fn close(&self) {
        let mut state = self.state();
        state.is_closed = true;
        // Their queues close: writers write what is left, and end.
        state.connections.clear();
        state.subscriptions.clear();
        drop(state);
        self.writers.lock().unwrap_or_else(PoisonError::into_inner).take();
    }
}

/// Removes a connection when its task ends, in whatever way.
struct Disconnect {
    shared: Arc<Shared>,
    number: u64,
}

impl Drop for Disconnect {
    fn drop(&mut self) {
        let mut state = self.shared.state();
        let before = state.nodes();
        state.connections.remove(&self.number);
        let nodes = state.nodes();
        if nodes < before {
            self.shared.tell(SignalingEvent::Disconnected { nodes });
        }
    }
}

#[async_trait]
impl Signaling for TcpSignaling {
    fn capabilities(&self) -> SignalingCapabilities {
        CAPABILITIES
    }

    async fn subscribe(&self, topic: &Topic) -> Result<Subscription> {
        let mut state = self.state("subscribe")?;
        let (topic, number, shared) = (*topic, self.shared.number(), Arc::downgrade(&self.shared));
        let (queue, outer) = subscription(INCOMING, move || {
            if let Some(shared) = shared.upgrade() {
                shared.unsubscribe(topic, number);
            }
        });
        let queues = state.subscriptions.entry(topic).or_default();
        queues.insert(number, queue);
        if queues.len() == 1 {
            announce(&state, &Frame::Subscribe(topic));
        }
        Ok(outer)
    }

    async fn publish(&self, topic: &Topic, message: Bytes) -> Result<()> {
        let state = self.state("publish")?;
        if message.len() > MAX_MESSAGE {
            return Err(failed("publish", ErrorKind::TooLarge, "the message is too long").with("bytes", message.len()));
        }
        let nodes = state.subscribed(topic);
        if nodes.is_empty() {
            return Err(failed("publish", ErrorKind::NoSubscribers, "no other node is subscribed to the topic"));
        }
        let frame = Frame::Message(*topic, message);
        let sent = nodes.values().filter(|connection| connection.outgoing.try_send(frame.clone()).is_ok()).count();
        if sent == 0 { Err(failed("publish", ErrorKind::Full, "all connections are busy")) } else { Ok(()) }
    }

    async fn subscribers(&self, topic: &Topic) -> Result<usize> {
        Ok(self.state("subscribers")?.subscribed(topic).len())
    }

    /// Has no effect: nothing is forwarded, and there are no scores.
    fn report(&self, _: DeliveryId, _: Verdict) {}

    async fn connect(&self, address: &str) -> Result<()> {
        drop(self.state("connect")?);
        let parsed: SocketAddr = address.parse().map_err(|_| {
            failed("connect", ErrorKind::Invalid, "an address is an IP address with a port").with("address", address)
        })?;
        let (first, result) = oneshot::channel();
        self.shared.spawn(|shared| shared.keep_connected(parsed, first));
        result.await.unwrap_or_else(|_| Err(failed("connect", ErrorKind::Closed, "signaling was shut down")))
    }

    async fn addresses(&self) -> Result<Vec<String>> {
        drop(self.state("addresses")?);
        Ok(vec![self.address.to_string()])
    }

    fn events(&self) -> broadcast::Receiver<SignalingEvent> {
        self.shared.events.subscribe()
    }

    async fn shutdown(&self) {
        self.shared.close();
        // Each writer holds a sender; the channel ends with the last of them. A second shutdown
        // waits here for the first one.
        let drained = async { self.shared.drained.lock().await.recv().await };
        // A node that does not read what was sent to it is cut off.
        timeout(DRAIN, drained).await.ok();
        self.shared.closing.send_replace(true);
        // The task of the listener ends soon; its address is free when the shutdown returns.
        for _ in 0..100 {
            if TcpListener::bind(self.address).await.is_ok() {
                return;
            }
            sleep(Duration::from_millis(10)).await;
        }
    }
}

impl Drop for TcpSignaling {
    fn drop(&mut self) {
        self.shared.close();
        self.shared.closing.send_replace(true);
    }
}

/// Tells all nodes of a subscription, or of its end.
fn announce(state: &State, frame: &Frame) {
    for connection in state.connections.values() {
        // A connection whose queue is full is not read; it is told again when it reconnects.
        connection.outgoing.try_send(frame.clone()).ok();
    }
}

fn answer(first: &mut Option<oneshot::Sender<Result<()>>>, result: Result<()>) {
    // The caller may have dropped its future.
    first.take().map(|first| first.send(result).ok());
}
