//! Sockets of the TURN server: reads datagrams and streams, and executes the protocol's outputs.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant, SystemTime};

use blink_api::Result;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, UdpSocket};
use tokio::sync::mpsc;
use tokio::task::{JoinHandle, JoinSet};

use super::credentials::{TurnSecret, unix_seconds};
use super::peer_policy::PeerPolicy;
use super::protocol::{AllocationId, Client, ClientTransport, Now, Output, TurnServer};
use super::relay_ports::{RelayPorts, bind};
use super::stream::{self, Streams};
use super::{RelayAddress, TurnConfig};
use crate::AddressPolicy;
use crate::listen_failure;
use crate::metrics::Metrics;

/// Interval at which lifetimes are checked.
const TICK: Duration = Duration::from_secs(1);
/// Size of buffers; a longer datagram is dropped. WebRTC's have at most 1,500 bytes.
pub(super) const BUFFER: usize = 4096;
/// Connections that wait to be accepted.
const BACKLOG: i32 = 128;
/// Ticks after which the machine's own addresses are listed anew.
const LISTING: u32 = 30;
/// Pause after a failed accept, such as for lack of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Running server. Dropping it stops it.
#[derive(Debug)]
pub(crate) struct TurnHandle {
    listeners: Vec<SocketAddr>,
    tasks: Vec<JoinHandle<()>>,
    /// Keeps the sockets open; the tasks hold weak references.
    _driver: Arc<Driver>,
}

/// Sockets and protocol behind one lock, which is never held while waiting.
#[derive(Debug)]
pub(super) struct Driver {
    state: Mutex<State>,
    listeners: Vec<Arc<UdpSocket>>,
    relay: Vec<RelayAddress>,
}

#[derive(Debug)]
struct State {
    server: TurnServer,
    relays: RelayPorts,
    streams: Streams,
}

impl TurnHandle {
    /// Opens all sockets.
    ///
    /// # Errors
    /// As [`Node::start`](crate::Node::start).
    pub(crate) fn start(
        config: &TurnConfig,
        secret: TurnSecret,
        addresses: AddressPolicy,
        relay: Vec<RelayAddress>,
        metrics: Arc<Metrics>,
    ) -> Result<Self> {
        let mut sockets = Vec::new();
        for address in &config.listen {
            sockets.push(open(*address).map_err(|source| listen_failure("turn", *address, source))?);
        }
        let local = sockets.iter().map(|(address, ..)| *address).collect::<Vec<_>>();
        let own = own_addresses(&relay).unwrap_or_default();
        let policy = PeerPolicy { addresses, own, listeners: local.clone() };
        let server = TurnServer::new(secret, config.limits, policy, Arc::clone(&metrics), Instant::now());
        let driver = Arc::new_cyclic(|driver: &Weak<Driver>| Driver {
            state: Mutex::new(State {
                server,
                relays: RelayPorts::new(relay.clone(), config.ports.clone(), driver.clone()),
                streams: Streams::new(metrics),
            }),
            listeners: sockets.iter().map(|(_, udp, _)| Arc::clone(udp)).collect(),
            relay,
        });
        let mut tasks = vec![tokio::spawn(Driver::tick(Arc::downgrade(&driver)))];
        for (listener, (_, udp, tcp)) in sockets.into_iter().enumerate() {
            tasks.push(tokio::spawn(Driver::read_listener(Arc::downgrade(&driver), listener, udp)));
            tasks.push(tokio::spawn(Driver::accept(Arc::downgrade(&driver), listener, tcp)));
        }
        Ok(Self { listeners: local, tasks, _driver: driver })
    }

    /// Addresses of the listeners, each over UDP and TCP.
    pub(crate) fn listeners(&self) -> &[SocketAddr] {
        &self.listeners
    }
}

impl Drop for TurnHandle {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

impl Driver {
    /// Passes a message of a client to the protocol.
    pub(super) fn handle_client(&self, client: Client, data: &[u8]) {
        let mut state = self.lock();
        let State { server, relays, .. } = &mut *state;
        server.handle_client(client, data, now(), relays);
        self.flush(&mut state);
    }

    /// Registers the stream of a client, unless there are too many; returns the queue of messages
    /// for it.
    pub(super) fn open_stream(&self, client: Client) -> Option<mpsc::Receiver<Vec<u8>>> {
        self.lock().streams.open(client)
    }

    /// Removes a stream that has ended, with the allocation of its client.
    pub(super) fn close_stream(&self, client: Client) {
        let mut state = self.lock();
        state.streams.close(client);
        state.server.close_client(client);
        self.flush(&mut state);
    }

    /// Returns whether a client has an allocation.
    pub(super) fn has_allocation(&self, client: Client) -> bool {
        self.lock().server.has_allocation(client)
    }

    /// Reads the socket of a relayed address.
    pub(super) async fn read_relay(driver: Weak<Self>, allocation: AllocationId, socket: Arc<UdpSocket>) {
        read(&socket, |peer, data| {
            let Some(driver) = driver.upgrade() else { return };
            let mut state = driver.lock();
            state.server.handle_peer(allocation, peer, data, Instant::now());
            driver.flush(&mut state);
        })
        .await;
    }

    async fn read_listener(driver: Weak<Self>, listener: usize, socket: Arc<UdpSocket>) {
        read(&socket, |address, data| {
            if let Some(driver) = driver.upgrade() {
                driver.handle_client(Client { listener, transport: ClientTransport::Udp, address }, data);
            }
        })
        .await;
    }

    async fn accept(driver: Weak<Self>, listener: usize, socket: TcpListener) {
        // Dropped with this task, and the streams with it.
        let mut streams = JoinSet::new();
        loop {
            let accepted = tokio::select! {
                accepted = socket.accept() => accepted,
                Some(_) = streams.join_next() => continue,
            };
            match accepted {
                Ok((stream, address)) => {
                    let client = Client { listener, transport: ClientTransport::Tcp, address };
                    streams.spawn(stream::serve(driver.clone(), client, stream));
                }
                Err(error) => {
                    tracing::debug!(%error, "a connection of a TURN client is lost");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    async fn tick(driver: Weak<Self>) {
        let mut tick = tokio::time::interval(TICK);
        for count in 1_u32.. {
            tick.tick().await;
            let Some(driver) = driver.upgrade() else { return };
            let own = count.is_multiple_of(LISTING).then(|| own_addresses(&driver.relay)).flatten();
            let mut state = driver.lock();
            if let Some(own) = own {
                state.server.policy.own = own;
            }
            state.server.expire(Instant::now());
            driver.flush(&mut state);
        }
    }

    /// Executes the protocol's outputs. Datagrams are lost while a socket's buffer is full.
    fn flush(&self, state: &mut State) {
        let State { server, relays, streams } = state;
        while let Some(output) = server.poll() {
            match output {
                Output::ToClient(client, data) if client.transport == ClientTransport::Tcp => {
                    streams.send(client, data);
                }
                Output::ToClient(client, data) => {
                    let sent = self.listeners[client.listener].try_send_to(&data, client.address);
                    if let Err(error) = sent {
                        tracing::trace!(%error, "a datagram to a client is lost");
                    }
                }
                Output::ToPeer(allocation, peer, data) => relays.send(allocation, peer, &data),
                Output::Close(allocation) => relays.close(allocation),
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn now() -> Now {
    Now { instant: Instant::now(), unix: unix_seconds(SystemTime::now()) }
}

/// Opens an address over UDP and TCP, on the same port.
fn open(address: SocketAddr) -> io::Result<(SocketAddr, Arc<UdpSocket>, TcpListener)> {
    let udp = bind(address)?;
    let address = udp.local_addr()?;
    let tcp = listen(address)?;
    Ok((address, Arc::new(udp), tcp))
}

/// Opens a TCP listener of one family.
fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    // Not on Windows, where the option would take over a port in use by another program.
    #[cfg(unix)]
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

/// Addresses of the machine: of its interfaces, and the external ones. `None` if they cannot be
/// listed.
fn own_addresses(relay: &[RelayAddress]) -> Option<Vec<IpAddr>> {
    let interfaces = if_addrs::get_if_addrs()
        .inspect_err(|error| tracing::warn!(%error, "the addresses of the interfaces cannot be listed"))
        .ok()?;
    let interfaces = interfaces.into_iter().map(|interface| interface.ip());
    Some(interfaces.chain(relay.iter().map(|address| address.external)).collect())
}

/// Reads datagrams until the task is aborted.
async fn read(socket: &UdpSocket, mut handle: impl FnMut(SocketAddr, &[u8])) {
    let mut buffer = [0; BUFFER];
    loop {
        match socket.recv_from(&mut buffer).await {
            // A full buffer holds a datagram that was cut off.
            Ok((length, from)) if length < BUFFER => handle(from, &buffer[..length]),
            Ok(_) => {}
            // Some systems report an earlier ICMP error here.
            Err(error) => {
                tracing::trace!(%error, "a datagram is lost");
                tokio::task::yield_now().await;
            }
        }
    }
}
