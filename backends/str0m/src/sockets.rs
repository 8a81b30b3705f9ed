//! One UDP socket per local address.
//!
//! A socket bound to the wildcard address would not tell which local address a datagram was sent
//! to, and ICE checks pairs of addresses. So each address has a socket of its own, and the kernel's
//! answer to `local_addr` is the candidate.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::task::Poll;

use blink_api::Result;
use socket2::SockRef;
use tokio::net::UdpSocket;

/// A session's sockets. Clones are the same ones, until one of them [follows](Self::follow) the
/// interfaces.
#[derive(Clone)]
pub(crate) struct Sockets(Arc<Vec<Arc<Socket>>>);

struct Socket {
    local: SocketAddr,
    udp: UdpSocket,
}

/// Where a datagram in the buffer came from.
pub(crate) struct Datagram {
    pub(crate) local: SocketAddr,
    pub(crate) source: SocketAddr,
    pub(crate) length: usize,
}

impl Sockets {
    /// Binds a free port of each address. An address that went away meanwhile is left out.
    ///
    /// # Errors
    /// [`Io`](blink_api::ErrorKind::Io) where no socket can be had.
    pub(crate) fn bind(addresses: &[IpAddr]) -> Result<Self> {
        let mut sockets = Self(Arc::default());
        let mut failure = None;
        for address in addresses {
            failure = sockets.add(*address).err().or(failure);
        }
        match failure {
            Some(error) if sockets.0.is_empty() => Err(error.into()),
            _ => Ok(sockets),
        }
    }

    /// Follows the interfaces: binds new addresses, closes the sockets of those that are gone.
    /// Returns the local addresses closed.
    pub(crate) fn follow(&mut self, addresses: &[IpAddr]) -> Vec<SocketAddr> {
        for address in addresses {
            if !self.0.iter().any(|socket| socket.local.ip() == *address)
                && let Err(error) = self.add(*address)
            {
                tracing::debug!(%address, %error, "an address cannot be used");
            }
        }
        let gone = Arc::make_mut(&mut self.0).extract_if(.., |socket| !addresses.contains(&socket.local.ip()));
        gone.map(|socket| socket.local).collect()
    }

    fn add(&mut self, address: IpAddr) -> io::Result<()> {
        let socket = std::net::UdpSocket::bind((address, 0))?;
        socket.set_nonblocking(true)?;
        let udp = UdpSocket::from_std(socket)?;
        Arc::make_mut(&mut self.0).push(Arc::new(Socket { local: udp.local_addr()?, udp }));
        Ok(())
    }

    /// The local addresses, with ports.
    pub(crate) fn locals(&self) -> impl Iterator<Item = SocketAddr> + '_ {
        self.0.iter().map(|socket| socket.local)
    }

    /// Waits until a datagram may be there.
    pub(crate) async fn readable(&self) {
        std::future::poll_fn(|context| {
            // All are asked, so that each wakes whoever waits.
            let ready = self.0.iter().filter(|socket| socket.udp.poll_recv_ready(context).is_ready()).count();
            if ready > 0 { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }

    /// Receives a datagram that is there on any socket.
    pub(crate) fn try_receive(&self, buffer: &mut [u8]) -> Option<Datagram> {
        self.0.iter().find_map(|socket| match socket.udp.try_recv_from(buffer) {
            Ok((length, source)) => Some(Datagram { local: socket.local, source, length }),
            Err(error) => {
                // Some systems report here that an earlier datagram reached no one; the next call
                // looks further.
                if error.kind() != io::ErrorKind::WouldBlock {
                    tracing::trace!(%error, "receive");
                }
                None
            }
        })
    }

    /// Sends a datagram. One that cannot be sent is lost, as in the network. Returns `false` where
    /// the socket has no room for it.
    pub(crate) fn send(&self, local: SocketAddr, destination: SocketAddr, datagram: &[u8]) -> bool {
        let Some(socket) = self.socket(local) else { return true };
        let is_full = |error: &io::Error| error.kind() == io::ErrorKind::WouldBlock;
        let sent = match socket.udp.try_send_to(datagram, destination) {
            // The runtime may only not have heard yet that there is room, as at first.
            Err(error) if is_full(&error) => SockRef::from(&socket.udp).send_to(datagram, &destination.into()),
            sent => sent,
        };
        match sent {
            Err(error) if is_full(&error) => return false,
            Err(error) => tracing::trace!(%error, "send"),
            Ok(_) => {}
        }
        true
    }

    /// Waits until the socket may have room for more.
    pub(crate) async fn writable(&self, local: Option<SocketAddr>) {
        match local.and_then(|local| self.socket(local)) {
            Some(socket) => drop(socket.udp.writable().await),
            None => std::future::pending().await,
        }
    }

    fn socket(&self, local: SocketAddr) -> Option<&Socket> {
        self.0.iter().map(Arc::as_ref).find(|socket| socket.local == local)
    }
}
