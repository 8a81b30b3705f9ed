//! The relay: an address of its own for each address of a device, and what happens between them.

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
/// When to look again at a network in which nothing is under way.
const IDLE: Duration = Duration::from_secs(60);

/// A network in user space, between the devices of
/// [`ImpairedTransport`](super::ImpairedTransport)s. It ends when it is dropped, together with the
/// transports on it.
///
/// Every address that a device tells has another one here, its *alias*, which is told in its place.
/// What comes to an alias is passed on to the address behind it, and comes there from the alias of
/// whoever sent it.
pub struct ImpairedNetwork {
    shared: Arc<Shared>,
    clock: JoinHandle<()>,
}

/// What a network has done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Carried {
    /// Datagrams that came to it.
    pub came: u64,
    /// Datagrams that it sent on.
    pub sent: u64,
}

/// A device on the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Device(u64);

struct Shared {
    state: Mutex<State>,
    /// Something is to be sent earlier than the clock thinks.
    sooner: Notify,
}

struct State {
    impairments: Impairments,
    seed: u64,
    cuts: HashMap<Device, Cut>,
    devices: u64,
    /// By the addresses that are told.
    aliases: HashMap<SocketAddr, Alias>,
    /// The alias of each address behind one.
    told: HashMap<SocketAddr, SocketAddr>,
    /// Addresses whose devices have moved on: nothing passes until they are told again.
    left: HashSet<SocketAddr>,
    /// By the addresses behind aliases: from and to.
    flows: HashMap<(SocketAddr, SocketAddr), Link<Vec<u8>>>,
    carried: Carried,
}

struct Alias {
    behind: SocketAddr,
    /// `None` for somebody who is not on this network, and is only talked to.
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
            told: HashMap::new(),
            left: HashSet::new(),
            flows: HashMap::new(),
            carried: Carried::default(),
        };
        let shared = Arc::new(Shared { state: Mutex::new(state), sooner: Notify::new() });
        let clock = tokio::spawn(keep_time(Arc::clone(&shared)));
        Arc::new(Self { shared, clock })
    }

    /// Replaces the impairments. Datagrams on their way arrive as they would have.
    pub fn set_impairments(&self, impairments: Impairments) {
        let mut state = self.shared.lock();
        state.impairments = impairments;
        state.flows.values_mut().for_each(|flow| flow.set_impairments(impairments));
    }

    /// What it has done up to now.
    pub fn carried(&self) -> Carried {
        self.shared.lock().carried
    }

    pub(super) fn add_device(&self) -> Device {
        let mut state = self.shared.lock();
        state.devices += 1;
        Device(state.devices)
    }

    pub(super) fn cut(&self, device: Device, cut: Cut) {
        self.shared.lock().cuts.insert(device, cut);
    }

    /// Nothing passes to or from the addresses that the device told up to now.
    pub(super) fn move_on(&self, device: Device) {
        let mut state = self.shared.lock();
        let moved: Vec<Alias> =
            state.aliases.extract_if(|_, alias| alias.device == Some(device)).map(|(_, alias)| alias).collect();
        for alias in moved {
            state.told.remove(&alias.behind);
            state.left.insert(alias.behind);
        }
    }

    /// What is told of a device's address.
    ///
    /// # Errors
    /// Where no socket can be had.
    pub(super) fn tell(&self, device: Device, address: SocketAddr) -> io::Result<SocketAddr> {
        self.shared.lock().left.remove(&address);
        alias_of(&self.shared, address, Some(device))
    }

    /// What a device is given for an address that somebody told it: what it is on this network, or
    /// stands for it there.
    ///
    /// # Errors
    /// Where no socket can be had.
    pub(super) fn stand_in(&self, address: SocketAddr) -> io::Result<SocketAddr> {
        if self.shared.lock().aliases.contains_key(&address) {
            return Ok(address);
        }
        alias_of(&self.shared, address, None)
    }

    /// Addresses that are of no use any more.
    pub(super) fn forget(&self, addresses: &[SocketAddr]) {
        let mut state = self.shared.lock();
        for address in addresses {
            if let Some(told) = state.told.remove(address) {
                state.aliases.remove(&told);
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

    /// A datagram came to an alias.
    fn handle_datagram(self: &Arc<Self>, alias: SocketAddr, source: SocketAddr, datagram: &[u8]) {
        // Whoever is on the network sends from an address that was told; others get an alias when
        // they are heard of first.
        let has_left = self.lock().left.contains(&source);
        if !has_left && alias_of(self, source, None).is_err() {
            return;
        }
        let mut state = self.lock();
        state.carried.came += 1;
        let Some(to) = state.aliases.get(&alias).map(|alias| alias.behind) else { return };
        if !state.passes(source, to) {
            return;
        }
        let (seed, impairments) = (state.seed.wrapping_add(state.flows.len() as u64), state.impairments);
        let flow = state.flows.entry((source, to)).or_insert_with(|| Link::new(impairments, seed));
        flow.send(Instant::now().into_std(), datagram.len(), datagram.to_vec());
        drop(state);
        self.sooner.notify_one();
    }
}

impl State {
    fn device(&self, behind: SocketAddr) -> Option<Device> {
        self.aliases.get(self.told.get(&behind)?)?.device
    }

    fn passes(&self, from: SocketAddr, to: SocketAddr) -> bool {
        let cut = |address| self.device(address).and_then(|device| self.cuts.get(&device)).copied().unwrap_or_default();
        let is_there = |address| !self.left.contains(address);
        is_there(&from) && is_there(&to) && !cut(from).stops_outgoing() && !cut(to).stops_incoming()
    }

    /// What is due now, and when the next is.
    fn take_due(&mut self, now: Instant) -> (Vec<Due>, Option<Instant>) {
        let mut packets = Vec::new();
        let mut next: Option<Instant> = None;
        for ((from, to), flow) in &mut self.flows {
            while let Some((_, datagram)) = flow.receive(now.into_std()) {
                packets.push((*from, *to, datagram));
            }
            next = next.into_iter().chain(flow.next_arrival().map(Instant::from_std)).min();
        }
        // What is cut meanwhile is lost on its way.
        let due: Vec<Due> = packets
            .into_iter()
            .filter(|(from, to, _)| self.passes(*from, *to))
            .filter_map(|(from, to, datagram)| {
                let alias = self.aliases.get(self.told.get(&from)?)?;
                Some(Due { socket: Arc::clone(&alias.socket), to, datagram })
            })
            .collect();
        self.carried.sent += due.len() as u64;
        (due, next)
    }
}

/// The address that stands for another one, made where there is none.
fn alias_of(shared: &Arc<Shared>, behind: SocketAddr, device: Option<Device>) -> io::Result<SocketAddr> {
    let mut state = shared.lock();
    if let Some(told) = state.told.get(&behind).copied() {
        // Somebody may be heard of before it is known who it is.
        if let (Some(alias), Some(_)) = (state.aliases.get_mut(&told), device) {
            alias.device = device;
        }
        return Ok(told);
    }
    let socket = bind(behind.ip())?;
    let told = socket.local_addr()?;
    let socket = Arc::new(socket);
    let reading = tokio::spawn(read(Arc::clone(shared), told, Arc::clone(&socket)));
    state.aliases.insert(told, Alias { behind, device, socket, reading });
    state.told.insert(behind, told);
    Ok(told)
}

/// On the interface of the address where it is this machine's, so that stacks that compare
/// interfaces find what they expect.
fn bind(like: IpAddr) -> io::Result<UdpSocket> {
    let any: IpAddr = if like.is_ipv4() { Ipv4Addr::LOCALHOST.into() } else { Ipv6Addr::LOCALHOST.into() };
    let socket = std::net::UdpSocket::bind((like, 0)).or_else(|_| std::net::UdpSocket::bind((any, 0)))?;
    socket.set_nonblocking(true)?;
    UdpSocket::from_std(socket)
}

/// Takes in what comes to an alias.
async fn read(shared: Arc<Shared>, alias: SocketAddr, socket: Arc<UdpSocket>) {
    let mut buffer = [0; LARGEST_DATAGRAM];
    loop {
        // Some systems report here that an earlier datagram reached no one.
        let Ok((length, source)) = socket.recv_from(&mut buffer).await else { continue };
        shared.handle_datagram(alias, source, &buffer[..length]);
    }
}

/// Sends what is due when it is.
async fn keep_time(shared: Arc<Shared>) {
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
            () = shared.sooner.notified() => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two devices with a socket each, and the addresses that stand for them.
    struct Pair {
        network: Arc<ImpairedNetwork>,
        devices: [Device; 2],
        sockets: [UdpSocket; 2],
        told: [SocketAddr; 2],
    }

    impl Pair {
        async fn new(impairments: Impairments) -> Self {
            let network = ImpairedNetwork::new(impairments, 0);
            let devices = [network.add_device(), network.add_device()];
            let socket = async || UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a socket");
            let sockets = [socket().await, socket().await];
            let told = [0, 1].map(|n| {
                let own = sockets[n].local_addr().expect("a bound socket");
                network.tell(devices[n], own).expect("an address that stands for it")
            });
            Self { network, devices, sockets, told }
        }

        async fn send(&self, from: usize, text: &str) {
            self.sockets[from].send_to(text.as_bytes(), self.told[1 - from]).await.expect("it is sent");
        }

        /// Sends, and waits until the network has it.
        async fn send_and_be_read(&self, from: usize, text: &str) {
            let before = self.network.carried().came;
            self.send(from, text).await;
            let deadline = Instant::now() + Duration::from_secs(5);
            while self.network.carried().came == before {
                assert!(Instant::now() < deadline, "the network takes it");
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        }

        /// What comes next, from whom.
        async fn next(&self, at: usize) -> (String, SocketAddr) {
            let mut buffer = [0; 64];
            let came = tokio::time::timeout(Duration::from_secs(5), self.sockets[at].recv_from(&mut buffer)).await;
            let (length, from) = came.expect("something comes in time").expect("a datagram");
            (String::from_utf8_lossy(&buffer[..length]).into_owned(), from)
        }
    }

    #[tokio::test]
    async fn packets_come_from_the_address_that_was_told() {
        let pair = Pair::new(Impairments::delayed(Duration::from_millis(1))).await;
        for (from, to) in [(0, 1), (1, 0)] {
            pair.send(from, "hello").await;
            assert_eq!(pair.next(to).await, ("hello".to_owned(), pair.told[from]));
        }
    }

    #[tokio::test]
    async fn strangers_are_answered_through_the_network_too() {
        let pair = Pair::new(Impairments::NONE).await;
        let stranger = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a socket");
        stranger.send_to(b"who", pair.told[0]).await.expect("it is sent");
        let (text, from) = pair.next(0).await;
        assert_eq!(text, "who");
        assert_ne!(from, stranger.local_addr().expect("a bound socket"), "it has an address on the network");
        pair.sockets[0].send_to(b"me", from).await.expect("it is sent");
        let mut buffer = [0; 8];
        let (length, from) = stranger.recv_from(&mut buffer).await.expect("an answer");
        assert_eq!((&buffer[..length], from), (&b"me"[..], pair.told[0]));
    }

    #[tokio::test]
    async fn cuts_stop_one_direction_or_both_until_they_are_healed() {
        let pair = Pair::new(Impairments::NONE).await;
        for (cut, passes) in [
            (Cut::Outgoing, [false, true]),
            (Cut::Incoming, [true, false]),
            (Cut::Both, [false, false]),
            (Cut::None, [true, true]),
        ] {
            for (from, to) in [(0, 1), (1, 0)] {
                pair.network.cut(pair.devices[0], cut);
                pair.send_and_be_read(from, "while it is cut").await;
                if passes[from] {
                    assert_eq!(pair.next(to).await.0, "while it is cut", "{cut:?}, from {from}");
                }
                pair.network.cut(pair.devices[0], Cut::None);
                pair.send(from, "afterwards").await;
                assert_eq!(pair.next(to).await.0, "afterwards", "{cut:?}, from {from}");
            }
        }
    }

    #[tokio::test]
    async fn what_is_under_way_when_it_is_cut_is_lost() {
        let pair = Pair::new(Impairments::delayed(Duration::from_millis(50))).await;
        pair.send_and_be_read(0, "under way").await;
        pair.network.cut(pair.devices[1], Cut::Incoming);
        tokio::time::sleep(Duration::from_millis(100)).await;
        pair.network.cut(pair.devices[1], Cut::None);
        pair.send(0, "afterwards").await;
        assert_eq!(pair.next(1).await.0, "afterwards");
        assert_eq!(pair.network.carried(), Carried { came: 2, sent: 1 });
    }

    #[tokio::test]
    async fn an_address_that_was_left_is_dead_until_it_is_told_again() {
        let mut pair = Pair::new(Impairments::NONE).await;
        pair.network.move_on(pair.devices[0]);
        pair.send_and_be_read(0, "from the old address").await;
        // The alias is gone with its socket.
        pair.send(1, "to the old address").await;
        let own = pair.sockets[0].local_addr().expect("a bound socket");
        let told = pair.network.tell(pair.devices[0], own).expect("an address");
        assert_ne!(told, pair.told[0], "it has another address");
        pair.told[0] = told;
        for (from, to) in [(0, 1), (1, 0)] {
            pair.send(from, "anew").await;
            assert_eq!(pair.next(to).await, ("anew".to_owned(), pair.told[from]));
        }
    }

    #[tokio::test]
    async fn an_impairment_holds_for_both_directions_and_can_change() {
        let pair = Pair::new(Impairments { loss: 1.0, ..Impairments::NONE }).await;
        for (from, to) in [(0, 1), (1, 0)] {
            pair.send_and_be_read(from, "lost").await;
            pair.network.set_impairments(Impairments { duplicate: 1.0, ..Impairments::NONE });
            pair.send(from, "twice").await;
            assert_eq!((pair.next(to).await.0, pair.next(to).await.0), ("twice".to_owned(), "twice".to_owned()));
            pair.network.set_impairments(Impairments { loss: 1.0, ..Impairments::NONE });
        }
    }
}
