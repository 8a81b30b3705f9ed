//! Sockets of relayed addresses.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::sync::{Arc, Weak};

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::UdpSocket;
use tokio::task::JoinHandle;

use super::RelayAddress;
use super::driver::Driver;
use super::protocol::{AllocationId, OpenError, OpenRelay};

/// Attempts to find a free port at random.
const ATTEMPTS: usize = 32;

/// Sockets of all relayed addresses.
#[derive(Debug)]
pub(super) struct RelayPorts {
    addresses: Vec<RelayAddress>,
    ports: RangeInclusive<u16>,
    driver: Weak<Driver>,
    open: HashMap<AllocationId, RelaySocket>,
}

/// Socket of a relayed address, and the task that reads it.
#[derive(Debug)]
struct RelaySocket {
    socket: Arc<UdpSocket>,
    reader: JoinHandle<()>,
}

impl Drop for RelaySocket {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

impl RelayPorts {
    pub(super) fn new(addresses: Vec<RelayAddress>, ports: RangeInclusive<u16>, driver: Weak<Driver>) -> Self {
        Self { addresses, ports, driver, open: HashMap::new() }
    }

    /// Sends a datagram; it is lost while the socket's buffer is full.
    pub(super) fn send(&self, allocation: AllocationId, peer: SocketAddr, data: &[u8]) {
        let Some(relay) = self.open.get(&allocation) else { return };
        if let Err(error) = relay.socket.try_send_to(data, peer) {
            tracing::trace!(%error, "a relayed datagram is lost");
        }
    }

    pub(super) fn close(&mut self, allocation: AllocationId) {
        self.open.remove(&allocation);
    }
}

impl OpenRelay for RelayPorts {
    fn open(&mut self, allocation: AllocationId, is_ipv6: bool) -> Result<SocketAddr, OpenError> {
        let address = self.addresses.iter().find(|address| address.external.is_ipv6() == is_ipv6);
        let address = *address.ok_or(OpenError::Family)?;
        let socket = bind_free(address.bind, &self.ports)?;
        let port = socket.local_addr().map_err(|_| OpenError::Ports)?.port();
        let socket = Arc::new(socket);
        let reader = tokio::spawn(Driver::read_relay(self.driver.clone(), allocation, Arc::clone(&socket)));
        self.open.insert(allocation, RelaySocket { socket, reader });
        Ok(SocketAddr::new(address.external, port))
    }
}

/// Binds a random free port. Predictable ports would help to forge datagrams of peers.
fn bind_free(ip: IpAddr, ports: &RangeInclusive<u16>) -> Result<UdpSocket, OpenError> {
    let size = u32::from(*ports.end()) - u32::from(*ports.start()) + 1;
    for _ in 0..ATTEMPTS {
        let mut random = [0; 4];
        aws_lc_rs::rand::fill(&mut random).expect("the operating system provides randomness");
        let offset = u32::from_be_bytes(random) % size;
        let port = u16::try_from(u32::from(*ports.start()) + offset).expect("the port is within the range");
        match bind(SocketAddr::new(ip, port)) {
            Ok(socket) => return Ok(socket),
            Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => {}
            Err(error) => {
                tracing::warn!(%error, "no relayed address can be opened");
                return Err(OpenError::Ports);
            }
        }
    }
    tracing::warn!("no free port for a relayed address was found");
    Err(OpenError::Ports)
}

/// Binds a UDP socket of one family.
pub(super) fn bind(address: SocketAddr) -> std::io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    if address.is_ipv6() {
        // Otherwise IPv4-mapped addresses would be reached over it.
        socket.set_only_v6(true)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    UdpSocket::from_std(socket.into())
}
