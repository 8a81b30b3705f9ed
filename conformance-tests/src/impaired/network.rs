//! The relay: maps addresses as a NAT does, and impairs the datagrams between them.

use std::collections::{HashMap, HashSet};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use blink_sim::impairment::{Impairments, Link};
use tokio::net::UdpSocket;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::Cut;

/// Larger than any datagram of WebRTC.
const LARGEST_DATAGRAM: usize = 2048;
/// Interval of checks while no datagram is in flight.
const IDLE_INTERVAL: Duration = Duration::from_secs(60);

/// User-space relay between the devices of [`ImpairedTransport`](super::ImpairedTransport)s,
/// similar to a NAT. It ends when it and the transports on it are dropped.
///
/// It maps each address of a device to an *external address*, a socket of its own, which is
/// signaled in its place. A datagram that arrives there is forwarded to the device's address, with
/// the external address of its sender as source.
pub struct ImpairedNetwork {
    shared: Arc<Shared>,
    forwarder: JoinHandle<()>,
}

/// Datagrams that a network has relayed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TrafficCounters {
    /// Received datagrams.
    pub received: u64,
    /// Forwarded datagrams; duplicates count.
    pub forwarded: u64,
}

/// A device on the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Device(u64);

struct Shared {
    state: Mutex<State>,
    /// Wakes the forwarder when a datagram was added, which may be due first.
    rescheduled: Notify,
}

struct State {
    impairments: Impairments,
    seed: u64,
    cuts: HashMap<Device, Cut>,
    devices: u64,
    /// Mappings by external address.
    mappings: HashMap<SocketAddr, Mapping>,
    /// External addresses by internal address.
    external: HashMap<SocketAddr, SocketAddr>,
    /// Internal addresses that their devices abandoned: datagrams are dropped until they are mapped
    /// again.
    retired: HashSet<SocketAddr>,
    /// Links by internal addresses: source and destination.
    flows: HashMap<(SocketAddr, SocketAddr), Link<Vec<u8>>>,
    traffic: TrafficCounters,
}

/// Mapping of an internal address to a socket of the relay.
struct Mapping {
    internal: SocketAddr,
    /// `None` for a remote endpoint that is not a device of this network.
    device: Option<Device>,
    socket: Arc<UdpSocket>,
    receiver: JoinHandle<()>,
}

impl Drop for Mapping {
    fn drop(&mut self) {
        self.receiver.abort();
    }
}

/// Datagram to forward now.
struct DueDatagram {
    socket: Arc<UdpSocket>,
    to: SocketAddr,
    datagram: Vec<u8>,
}

impl ImpairedNetwork {
    /// Creates a network that impairs each direction between two addresses independently, from one
    /// seed. It needs a tokio runtime.
    pub fn new(impairments: Impairments, seed: u64) -> Arc<Self> {
        let state = State {
            impairments,
            seed,
            cuts: HashMap::new(),
            devices: 0,
            mappings: HashMap::new(),
            external: HashMap::new(),
            retired: HashSet::new(),
            flows: HashMap::new(),
            traffic: TrafficCounters::default(),
        };
        let shared = Arc::new(Shared { state: Mutex::new(state), rescheduled: Notify::new() });
        let forwarder = tokio::spawn(forward_due(Arc::clone(&shared)));
        Arc::new(Self { shared, forwarder })
    }

    /// Replaces the impairments. Datagrams in flight keep their arrival times.
    pub fn set_impairments(&self, impairments: Impairments) {
        let mut state = self.shared.lock();
        state.impairments = impairments;
        state.flows.values_mut().for_each(|flow| flow.set_impairments(impairments));
    }

    /// Datagrams relayed so far.
    pub fn traffic(&self) -> TrafficCounters {
        self.shared.lock().traffic
    }

    pub(super) fn add_device(&self) -> Device {
        let mut state = self.shared.lock();
        state.devices += 1;
        Device(state.devices)
    }

    pub(super) fn cut(&self, device: Device, cut: Cut) {
        self.shared.lock().cuts.insert(device, cut);
    }

    /// Retires all external addresses of a device: datagrams to and from them are dropped.
    pub(super) fn retire_addresses(&self, device: Device) {
        let mut state = self.shared.lock();
        let retired: Vec<Mapping> = state
            .mappings
            .extract_if(|_, mapping| mapping.device == Some(device))
            .map(|(_, mapping)| mapping)
            .collect();
        for mapping in retired {
            state.external.remove(&mapping.internal);
            state.retired.insert(mapping.internal);
        }
    }

    /// Returns the external address of a device's address, which is mapped if it is new.
    ///
    /// # Errors
    /// If a socket cannot be created.
    pub(super) fn external_address(&self, device: Device, address: SocketAddr) -> io::Result<SocketAddr> {
        self.shared.lock().retired.remove(&address);
        map(&self.shared, address, Some(device))
    }

    /// Returns the address at which a device reaches a signaled remote address: itself if it is an
    /// external address of this network, otherwise the external address it is mapped to.
    ///
    /// # Errors
    /// If a socket cannot be created.
    pub(super) fn mapped(&self, address: SocketAddr) -> io::Result<SocketAddr> {
        if self.shared.lock().mappings.contains_key(&address) {
            return Ok(address);
        }
        map(&self.shared, address, None)
    }

    /// Removes the mappings of addresses that are no longer used.
    pub(super) fn release(&self, addresses: &[SocketAddr]) {
        let mut state = self.shared.lock();
        for address in addresses {
            if let Some(external) = state.external.remove(address) {
                state.mappings.remove(&external);
            }
            state.retired.remove(address);
            state.flows.retain(|(from, to), _| from != address && to != address);
        }
    }
}

impl Drop for ImpairedNetwork {
    fn drop(&mut self) {
        self.forwarder.abort();
        self.shared.lock().mappings.clear();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Handles a datagram received at an external address.
    fn handle_datagram(self: &Arc<Self>, external: SocketAddr, source: SocketAddr, datagram: &[u8]) {
        // A device sends from an address that is already mapped. Other sources are mapped with
        // their first datagram.
        let is_retired = self.lock().retired.contains(&source);
        if !is_retired && map(self, source, None).is_err() {
            return;
        }
        let mut state = self.lock();
        state.traffic.received += 1;
        let Some(to) = state.mappings.get(&external).map(|mapping| mapping.internal) else { return };
        if !state.passes(source, to) {
            return;
        }
        let (seed, impairments) = (state.seed.wrapping_add(state.flows.len() as u64), state.impairments);
        let flow = state.flows.entry((source, to)).or_insert_with(|| Link::new(impairments, seed));
        flow.send(Instant::now().into_std(), datagram.len(), datagram.to_vec());
        drop(state);
        self.rescheduled.notify_one();
    }
}

impl State {
    fn device(&self, internal: SocketAddr) -> Option<Device> {
        self.mappings.get(self.external.get(&internal)?)?.device
    }

    fn passes(&self, from: SocketAddr, to: SocketAddr) -> bool {
        let cut = |address| self.device(address).and_then(|device| self.cuts.get(&device)).copied().unwrap_or_default();
        let is_reachable = |address| !self.retired.contains(address);
        is_reachable(&from) && is_reachable(&to) && !cut(from).stops_outgoing() && !cut(to).stops_incoming()
    }

    /// Takes the datagrams due now; returns them and the time of the next.
    fn take_due(&mut self, now: Instant) -> (Vec<DueDatagram>, Option<Instant>) {
        let mut packets = Vec::new();
        let mut next: Option<Instant> = None;
        for ((from, to), flow) in &mut self.flows {
            while let Some((_, datagram)) = flow.receive(now.into_std()) {
                packets.push((*from, *to, datagram));
            }
            next = next.into_iter().chain(flow.next_arrival().map(Instant::from_std)).min();
        }
        // A cut also drops the datagrams in flight.
        let due: Vec<DueDatagram> = packets
            .into_iter()
            .filter(|(from, to, _)| self.passes(*from, *to))
            .filter_map(|(from, to, datagram)| {
                let mapping = self.mappings.get(self.external.get(&from)?)?;
                Some(DueDatagram { socket: Arc::clone(&mapping.socket), to, datagram })
            })
            .collect();
        self.traffic.forwarded += due.len() as u64;
        (due, next)
    }
}

/// Returns the external address of an internal one, which is mapped if it is new.
fn map(shared: &Arc<Shared>, internal: SocketAddr, device: Option<Device>) -> io::Result<SocketAddr> {
    let mut state = shared.lock();
    if let Some(external) = state.external.get(&internal).copied() {
        // The address may have been mapped as a remote one before its device signaled it.
        if let (Some(mapping), Some(_)) = (state.mappings.get_mut(&external), device) {
            mapping.device = device;
        }
        return Ok(external);
    }
    let socket = bind(internal.ip())?;
    let external = socket.local_addr()?;
    let socket = Arc::new(socket);
    let receiver = tokio::spawn(receive(Arc::clone(shared), external, Arc::clone(&socket)));
    state.mappings.insert(external, Mapping { internal, device, socket, receiver });
    state.external.insert(internal, external);
    Ok(external)
}

/// Binds a socket on the interface of a local address, since some stacks compare interfaces, and on
/// loopback for other addresses.
fn bind(like: IpAddr) -> io::Result<UdpSocket> {
    let any: IpAddr = if like.is_ipv4() { Ipv4Addr::LOCALHOST.into() } else { Ipv6Addr::LOCALHOST.into() };
    let socket = std::net::UdpSocket::bind((like, 0)).or_else(|_| std::net::UdpSocket::bind((any, 0)))?;
    socket.set_nonblocking(true)?;
    UdpSocket::from_std(socket)
}

/// Receives datagrams at an external address.
async fn receive(shared: Arc<Shared>, external: SocketAddr, socket: Arc<UdpSocket>) {
    let mut buffer = [0; LARGEST_DATAGRAM];
    loop {
        // Some systems report here that an earlier datagram was undeliverable (ICMP).
        let Ok((length, source)) = socket.recv_from(&mut buffer).await else { continue };
        shared.handle_datagram(external, source, &buffer[..length]);
    }
}

/// Forwards datagrams when they are due.
async fn forward_due(shared: Arc<Shared>) {
    loop {
        let now = Instant::now();
        let (due, next) = shared.lock().take_due(now);
        for DueDatagram { socket, to, datagram } in due {
            if let Err(error) = socket.send_to(&datagram, to).await {
                tracing::trace!(%error, "a datagram is lost");
            }
        }
        tokio::select! {
            () = tokio::time::sleep_until(next.unwrap_or(now + IDLE_INTERVAL)) => {}
            () = shared.rescheduled.notified() => {}
        }
    }
}

#[cfg(test)]
mod tests;
