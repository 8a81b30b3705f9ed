//! The relay: an alias for each address of a device, and an impaired link for each pair of them.

use std::collections::{HashMap, HashSet};
use std::fmt;
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
/// Interval of checks while no datagram is on its way.
const IDLE: Duration = Duration::from_secs(60);

/// A network in user space, between the devices of
/// [`ImpairedTransport`](super::ImpairedTransport)s. It ends when it is dropped, together with the
/// transports on it.
///
/// Every address that a device signals is replaced by an *alias* on this network. A datagram to an
/// alias is forwarded to the address behind it, from the alias of its sender.
pub struct ImpairedNetwork {
    shared: Arc<Shared>,
    clock: JoinHandle<()>,
}

impl fmt::Debug for ImpairedNetwork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ImpairedNetwork").finish_non_exhaustive()
    }
}

/// Statistics of a network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct NetworkStatistics {
    /// Datagrams received.
    pub received: u64,
    /// Datagrams forwarded.
    pub forwarded: u64,
}

/// A device on the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Device(u64);

struct Shared {
    state: Mutex<State>,
    /// Wakes the clock: a datagram may be due earlier than its current deadline.
    wake: Notify,
}

struct State {
    impairments: Impairments,
    seed: u64,
    cuts: HashMap<Device, Cut>,
    devices: u64,
    /// Aliases by their own address.
    aliases: HashMap<SocketAddr, Alias>,
    /// Address of the alias by the address behind it.
    alias_of: HashMap<SocketAddr, SocketAddr>,
    /// Addresses whose devices have moved: datagrams are dropped until they are signaled again.
    left: HashSet<SocketAddr>,
    /// Links by the addresses behind aliases: source and destination.
    flows: HashMap<(SocketAddr, SocketAddr), Link<Vec<u8>>>,
    statistics: NetworkStatistics,
    /// Text to look for, and the number of datagrams that contain it.
    text: Vec<u8>,
    readable: u64,
}

struct Alias {
    behind: SocketAddr,
    /// `None` for a remote side that is not on this network.
    device: Option<Device>,
    socket: Arc<UdpSocket>,
    reading: JoinHandle<()>,
}

impl Drop for Alias {
    fn drop(&mut self) {
        self.reading.abort();
    }
}

/// A datagram that is due.
struct Due {
    socket: Arc<UdpSocket>,
    to: SocketAddr,
    datagram: Vec<u8>,
}

impl ImpairedNetwork {
    /// Creates a network that impairs each direction between two addresses. The directions have
    /// losses and delays of their own, from one seed. It needs a tokio runtime.
    pub fn new(impairments: Impairments, seed: u64) -> Arc<Self> {
        let state = State {
            impairments,
            seed,
            cuts: HashMap::new(),
            devices: 0,
            aliases: HashMap::new(),
            alias_of: HashMap::new(),
            left: HashSet::new(),
            flows: HashMap::new(),
            statistics: NetworkStatistics::default(),
            text: Vec::new(),
            readable: 0,
        };
        let shared = Arc::new(Shared { state: Mutex::new(state), wake: Notify::new() });
        let clock = tokio::spawn(forward_due(Arc::clone(&shared)));
        Arc::new(Self { shared, clock })
    }

    /// Replaces the impairments. Datagrams on their way arrive as they would have.
    pub fn set_impairments(&self, impairments: Impairments) {
        let mut state = self.shared.lock();
        state.impairments = impairments;
        state.flows.values_mut().for_each(|flow| flow.set_impairments(impairments));
    }

    /// Statistics since its creation.
    pub fn statistics(&self) -> NetworkStatistics {
        self.shared.lock().statistics
    }

    /// Counts the datagrams that contain a text, from now on.
    pub(super) fn look_for(&self, text: &[u8]) {
        self.shared.lock().text = text.to_vec();
    }

    /// Number of datagrams that contained the text.
    pub(super) fn readable(&self) -> u64 {
        self.shared.lock().readable
    }

    pub(super) fn add_device(&self) -> Device {
        let mut state = self.shared.lock();
        state.devices += 1;
        Device(state.devices)
    }

    pub(super) fn cut(&self, device: Device, cut: Cut) {
        self.shared.lock().cuts.insert(device, cut);
    }

    /// Drops all datagrams to and from the addresses that the device has signaled.
    pub(super) fn move_on(&self, device: Device) {
        let mut state = self.shared.lock();
        let moved: Vec<Alias> =
            state.aliases.extract_if(|_, alias| alias.device == Some(device)).map(|(_, alias)| alias).collect();
        for alias in moved {
            state.alias_of.remove(&alias.behind);
            state.left.insert(alias.behind);
        }
    }

    /// The alias that a device signals for one of its addresses.
    ///
    /// # Errors
    /// Where no socket can be opened.
    pub(super) fn local_alias(&self, device: Device, address: SocketAddr) -> io::Result<SocketAddr> {
        self.shared.lock().left.remove(&address);
        find_or_add_alias(&self.shared, address, Some(device))
    }

    /// The address on this network for a remote address that a device received: the address itself
    /// where it is an alias already, otherwise its alias.
    ///
    /// # Errors
    /// Where no socket can be opened.
    pub(super) fn remote_alias(&self, address: SocketAddr) -> io::Result<SocketAddr> {
        if self.shared.lock().aliases.contains_key(&address) {
            return Ok(address);
        }
        find_or_add_alias(&self.shared, address, None)
    }

    /// Removes the aliases and links of addresses that are no longer in use.
    pub(super) fn remove(&self, addresses: &[SocketAddr]) {
        let mut state = self.shared.lock();
        for address in addresses {
            if let Some(alias) = state.alias_of.remove(address) {
                state.aliases.remove(&alias);
            }
            state.left.remove(address);
            state.flows.retain(|(from, to), _| from != address && to != address);
        }
    }
}

impl Drop for ImpairedNetwork {
    fn drop(&mut self) {
        self.clock.abort();
        self.shared.lock().aliases.clear();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Queues a datagram that was received by an alias.
    fn handle_datagram(self: &Arc<Self>, alias: SocketAddr, source: SocketAddr, datagram: &[u8]) {
        // Devices of this network send from addresses that they have signaled. Any other sender
        // gets an alias with its first datagram.
        let has_left = self.lock().left.contains(&source);
        if !has_left && find_or_add_alias(self, source, None).is_err() {
            return;
        }
        let mut state = self.lock();
        state.statistics.received += 1;
        let is_readable = !state.text.is_empty() && datagram.windows(state.text.len()).any(|part| part == state.text);
        state.readable += u64::from(is_readable);
        let Some(to) = state.aliases.get(&alias).map(|alias| alias.behind) else { return };
        if !state.passes(source, to) {
            return;
        }
        let (seed, impairments) = (state.seed.wrapping_add(state.flows.len() as u64), state.impairments);
        let flow = state.flows.entry((source, to)).or_insert_with(|| Link::new(impairments, seed));
        flow.send(Instant::now().into_std(), datagram.len(), datagram.to_vec());
        drop(state);
        self.wake.notify_one();
    }
}

impl State {
    fn device(&self, behind: SocketAddr) -> Option<Device> {
        self.aliases.get(self.alias_of.get(&behind)?)?.device
    }

    fn passes(&self, from: SocketAddr, to: SocketAddr) -> bool {
        let cut = |address| self.device(address).and_then(|device| self.cuts.get(&device)).copied().unwrap_or_default();
        let is_there = |address| !self.left.contains(address);
        is_there(&from) && is_there(&to) && !cut(from).stops_outgoing() && !cut(to).stops_incoming()
    }

    /// Datagrams that are due, and the time of the next one.
    fn take_due(&mut self, now: Instant) -> (Vec<Due>, Option<Instant>) {
        let mut packets = Vec::new();
        let mut next: Option<Instant> = None;
        for ((from, to), flow) in &mut self.flows {
            while let Some((_, datagram)) = flow.receive(now.into_std()) {
                packets.push((*from, *to, datagram));
            }
            next = next.into_iter().chain(flow.next_arrival().map(Instant::from_std)).min();
        }
        // Datagrams on their way over a link that is cut by now are lost.
        let due: Vec<Due> = packets
            .into_iter()
            .filter(|(from, to, _)| self.passes(*from, *to))
            .filter_map(|(from, to, datagram)| {
                let alias = self.aliases.get(self.alias_of.get(&from)?)?;
                Some(Due { socket: Arc::clone(&alias.socket), to, datagram })
            })
            .collect();
        self.statistics.forwarded += due.len() as u64;
        (due, next)
    }
}

/// The alias of an address; added where there is none.
fn find_or_add_alias(shared: &Arc<Shared>, behind: SocketAddr, device: Option<Device>) -> io::Result<SocketAddr> {
    let mut state = shared.lock();
    if let Some(address) = state.alias_of.get(&behind).copied() {
        // A datagram may arrive from an address before its device signals it.
        if let (Some(alias), Some(_)) = (state.aliases.get_mut(&address), device) {
            alias.device = device;
        }
        return Ok(address);
    }
    let socket = bind(behind.ip())?;
    let address = socket.local_addr()?;
    let socket = Arc::new(socket);
    let reading = tokio::spawn(read(Arc::clone(shared), address, Arc::clone(&socket)));
    state.aliases.insert(address, Alias { behind, device, socket, reading });
    state.alias_of.insert(behind, address);
    Ok(address)
}

/// Binds a socket on the interface of an address where it is a local one: stacks that compare
/// interfaces expect the same one.
fn bind(like: IpAddr) -> io::Result<UdpSocket> {
    let any: IpAddr = if like.is_ipv4() { Ipv4Addr::LOCALHOST.into() } else { Ipv6Addr::LOCALHOST.into() };
    let socket = std::net::UdpSocket::bind((like, 0)).or_else(|_| std::net::UdpSocket::bind((any, 0)))?;
    socket.set_nonblocking(true)?;
    UdpSocket::from_std(socket)
}

/// Receives the datagrams of an alias.
async fn read(shared: Arc<Shared>, alias: SocketAddr, socket: Arc<UdpSocket>) {
    let mut buffer = [0; LARGEST_DATAGRAM];
    loop {
        // Some systems report here that an earlier datagram was undeliverable.
        let Ok((length, source)) = socket.recv_from(&mut buffer).await else { continue };
        shared.handle_datagram(alias, source, &buffer[..length]);
    }
}

/// Forwards datagrams when they are due.
async fn forward_due(shared: Arc<Shared>) {
    loop {
        let now = Instant::now();
        let (due, next) = shared.lock().take_due(now);
        for Due { socket, to, datagram } in due {
            if let Err(error) = socket.send_to(&datagram, to).await {
                tracing::trace!(%error, "a datagram is lost");
            }
        }
        tokio::select! {
            () = tokio::time::sleep_until(next.unwrap_or(now + IDLE)) => {}
            () = shared.wake.notified() => {}
        }
    }
}

#[cfg(test)]
mod tests;
