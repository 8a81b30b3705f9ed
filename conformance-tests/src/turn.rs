//! STUN and TURN server (RFC 8489, RFC 8656) inside the test process, on loopback:
//! [`turn_server_proto`] with sockets.
//!
//! ```no_run
//! # async fn test() -> std::io::Result<()> {
//! use blink_conformance::turn::TurnServer;
//!
//! let server = TurnServer::start().await?;
//! let ice = blink_api::IceConfig { servers: vec![server.ice_server()], relay_only: true, ..Default::default() };
//! # Ok(())
//! # }
//! ```

use std::collections::HashMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use blink_api::IceServer;
use tokio::net::UdpSocket;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use turn_server_proto::api::{SocketAllocateError, TurnServerApi, TurnServerPollRet};
use turn_server_proto::stun::agent::Transmit;
use turn_server_proto::types::prelude::DelayedTransmitBuild as _;
use turn_server_proto::types::{Instant as ServerInstant, TransportType};

/// Maximum size of a datagram in WebRTC.
const LARGEST_DATAGRAM: usize = 2048;
/// Capacity of the queue of received datagrams.
const QUEUE: usize = 1024;

/// A running server. Dropping it stops it.
#[derive(Debug)]
pub struct TurnServer {
    address: SocketAddr,
    counters: Arc<Mutex<TurnCounters>>,
    task: JoinHandle<()>,
}

/// Counters of a server.
#[derive(Debug, Clone, Default)]
pub struct TurnCounters {
    /// Every relayed address that it has allocated.
    pub relayed: Vec<SocketAddr>,
    /// Relayed addresses that are currently allocated.
    pub open: usize,
    /// Datagrams relayed to peers.
    pub to_peers: u64,
    /// Datagrams relayed from peers.
    pub from_peers: u64,
}

/// Behaviour of a server.
#[derive(Debug, Clone, Copy)]
pub struct TurnBehaviour {
    /// Maximum number of allocations; further clients get error 508 (RFC 8656 §7.2).
    pub capacity: usize,
}

impl Default for TurnBehaviour {
    fn default() -> Self {
        Self { capacity: usize::MAX }
    }
}

impl TurnServer {
    /// Username of the only account.
    pub const USERNAME: &str = "user";
    /// Password of the only account.
    pub const CREDENTIAL: &str = "a password of the test server";

    /// Starts a server on a free port of `127.0.0.1`.
    ///
    /// # Errors
    /// No socket can be bound.
    pub async fn start() -> io::Result<Self> {
        Self::start_with(TurnBehaviour::default()).await
    }

    /// As [`start`](Self::start), with another behaviour.
    ///
    /// # Errors
    /// No socket can be bound.
    pub async fn start_with(behaviour: TurnBehaviour) -> io::Result<Self> {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = socket.local_addr()?;
        let mut protocol =
            turn_server_proto::server::TurnServer::new(TransportType::Udp, address, "conformance.test".to_owned());
        protocol.add_user(Self::USERNAME.to_owned(), Self::CREDENTIAL.to_owned());
        let counters = Arc::new(Mutex::new(TurnCounters::default()));
        let running = Running {
            protocol,
            socket: Arc::new(socket),
            relays: HashMap::new(),
            began: Instant::now(),
            behaviour,
            counters: Arc::clone(&counters),
        };
        Ok(Self { address, counters, task: tokio::spawn(running.run()) })
    }

    /// Listening address.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// URL of the server for `ice.servers`.
    pub fn url(&self) -> String {
        format!("turn:{}", self.address)
    }

    /// Entry of the server in `ice.servers`.
    pub fn ice_server(&self) -> IceServer {
        IceServer { url: self.url(), username: Self::USERNAME.to_owned(), credential: Self::CREDENTIAL.to_owned() }
    }

    /// Current counters.
    pub fn counters(&self) -> TurnCounters {
        lock(&self.counters).clone()
    }
}

impl Drop for TurnServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// State of the server's task.
struct Running {
    protocol: turn_server_proto::server::TurnServer,
    socket: Arc<UdpSocket>,
    relays: HashMap<SocketAddr, Relay>,
    began: Instant,
    behaviour: TurnBehaviour,
    counters: Arc<Mutex<TurnCounters>>,
}

/// Socket of a relayed address, and the task that reads it.
struct Relay {
    socket: Arc<UdpSocket>,
    reading: JoinHandle<()>,
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.reading.abort();
    }
}

/// Received datagram: local address, remote address, payload.
type Datagram = (SocketAddr, SocketAddr, Vec<u8>);

impl Running {
    async fn run(mut self) {
        let (queue, mut datagrams) = mpsc::channel(QUEUE);
        let reading = tokio::spawn(read(Arc::clone(&self.socket), queue.clone()));
        let _reader = Relay { socket: Arc::clone(&self.socket), reading };
        loop {
            let wait = self.advance(&queue).await;
            tokio::select! {
                datagram = datagrams.recv() => match datagram {
                    Some(datagram) => self.handle(datagram).await,
                    None => return,
                },
                () = tokio::time::sleep(wait) => {}
            }
        }
    }

    fn now(&self) -> ServerInstant {
        ServerInstant::from_std(self.began)
    }

    async fn handle(&mut self, (to, from, data): Datagram) {
        if self.relays.contains_key(&to) {
            lock(&self.counters).from_peers += 1;
        }
        let now = self.now();
        let answer = self.protocol.recv(Transmit::new(data, TransportType::Udp, from, to), now);
        if let Some(answer) = answer {
            let (from, to) = (answer.from, answer.to);
            self.send(from, to, &answer.data.build()).await;
        }
    }

    /// Executes the protocol's requests, and returns the time until the next one.
    async fn advance(&mut self, queue: &mpsc::Sender<Datagram>) -> Duration {
        loop {
            let now = self.now();
            while let Some(transmit) = self.protocol.poll_transmit(now) {
                self.send(transmit.from, transmit.to, &transmit.data).await;
            }
            match self.protocol.poll(now) {
                TurnServerPollRet::WaitUntil(until) => {
                    if let Some(transmit) = self.protocol.poll_transmit(now) {
                        self.send(transmit.from, transmit.to, &transmit.data).await;
                        continue;
                    }
                    return until.saturating_duration_since(now);
                }
                TurnServerPollRet::AllocateSocket {
                    transport,
                    listen_addr,
                    client_addr,
                    allocation_transport,
                    family,
                } => {
                    let socket = self.allocate(queue).await;
                    let now = self.now();
                    let place = (transport, listen_addr, client_addr, allocation_transport, family);
                    self.protocol.allocated_socket(place.0, place.1, place.2, place.3, place.4, socket, now);
                }
                TurnServerPollRet::SocketClose { listen_addr, .. } => {
                    self.relays.remove(&listen_addr);
                    lock(&self.counters).open = self.relays.len();
                }
                // Relays over TCP (RFC 6062) are not used by WebRTC.
                _ => return Duration::from_millis(10),
            }
        }
    }

    async fn allocate(&mut self, queue: &mpsc::Sender<Datagram>) -> Result<SocketAddr, SocketAllocateError> {
        if self.relays.len() >= self.behaviour.capacity {
            return Err(SocketAllocateError::InsufficientCapacity);
        }
        let bound =
            UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.and_then(|socket| Ok((socket.local_addr()?, socket)));
        let Ok((address, socket)) = bound else { return Err(SocketAllocateError::InsufficientCapacity) };
        let socket = Arc::new(socket);
        let reading = tokio::spawn(read(Arc::clone(&socket), queue.clone()));
        self.relays.insert(address, Relay { socket, reading });
        let mut counters = lock(&self.counters);
        counters.relayed.push(address);
        counters.open = self.relays.len();
        Ok(address)
    }

    async fn send(&self, from: SocketAddr, to: SocketAddr, data: &[u8]) {
        let relay = self.relays.get(&from);
        if relay.is_some() {
            lock(&self.counters).to_peers += 1;
        }
        let socket = relay.map_or(&self.socket, |relay| &relay.socket);
        if let Err(error) = socket.send_to(data, to).await {
            tracing::trace!(%error, "a datagram is lost");
        }
    }
}

/// Forwards received datagrams to the server's task.
async fn read(socket: Arc<UdpSocket>, queue: mpsc::Sender<Datagram>) {
    let Ok(address) = socket.local_addr() else { return };
    let mut buffer = [0; LARGEST_DATAGRAM];
    loop {
        // Some systems report an earlier ICMP error here.
        let Ok((length, from)) = socket.recv_from(&mut buffer).await else { continue };
        if queue.send((address, from, buffer[..length].to_vec())).await.is_err() {
            return;
        }
    }
}

fn lock(counters: &Mutex<TurnCounters>) -> MutexGuard<'_, TurnCounters> {
    counters.lock().unwrap_or_else(PoisonError::into_inner)
}
