//! One UDP socket per local address.
//!
//! A wildcard socket does not report the local address of a datagram, but ICE checks address pairs.
//! So each address has its own socket, whose `local_addr` is the candidate.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::task::Poll;

use blink_api::Result;
use socket2::SockRef;
use tokio::net::UdpSocket;

/// Sockets of a session. Clones share them, until one of them [follows](Self::follow) the
/// interfaces.
#[derive(Clone)]
pub(crate) struct Sockets(Arc<Vec<Arc<Socket>>>);

struct Socket {
    local: SocketAddr,
    udp: UdpSocket,
}

/// Addresses and length of a received datagram.
pub(crate) struct Datagram {
    pub(crate) local: SocketAddr,
    pub(crate) source: SocketAddr,
    pub(crate) length: usize,
}

impl Sockets {
    /// Binds a free port of each address. Addresses that have disappeared are skipped.
    ///
    /// # Errors
    /// [`Io`](blink_api::ErrorKind::Io) if no socket can be bound.
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

    /// Binds new addresses and closes the sockets of those that have disappeared. Returns the local
    /// addresses closed.
    pub(crate) fn follow(&mut self, addresses: &[IpAddr]) -> Vec<SocketAddr> {
        for address in addresses {
            if !self.0.iter().any(|socket| socket.local.ip() == *address)
                && let Err(error) = self.add(*address)
            {
                tracing::debug!(%address, %error, "the address cannot be bound");
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

    /// Local addresses with ports.
    pub(crate) fn locals(&self) -> impl Iterator<Item = SocketAddr> + '_ {
        self.0.iter().map(|socket| socket.local)
    }

    /// Waits until a socket may be readable.
    pub(crate) async fn readable(&self) {
        std::future::poll_fn(|context| {
            // All sockets are polled, so that each one registers the waker.
            let ready = self.0.iter().filter(|socket| socket.udp.poll_recv_ready(context).is_ready()).count();
            if ready > 0 { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }

    /// Receives a datagram from any socket, if available.
    pub(crate) fn try_receive(&self, buffer: &mut [u8]) -> Option<Datagram> {
        self.0.iter().find_map(|socket| match socket.udp.try_recv_from(buffer) {
            Ok((length, source)) => Some(Datagram { local: socket.local, source, length }),
            Err(error) => {
                // Some systems report an ICMP error of an earlier datagram here; the next call
                // continues.
                if error.kind() != io::ErrorKind::WouldBlock {
                    tracing::trace!(%error, "receive");
                }
                None
            }
        })
    }

    /// Sends a datagram. Errors count as loss on the network. Returns `false` if the socket's
    /// buffer is full.
    pub(crate) fn send(&self, local: SocketAddr, destination: SocketAddr, datagram: &[u8]) -> bool {
        let Some(socket) = self.socket(local) else { return true };
        let is_full = |error: &io::Error| error.kind() == io::ErrorKind::WouldBlock;
        let sent = match socket.udp.try_send_to(datagram, destination) {
            // tokio may not have polled for writability yet, as at first, so ask the socket itself.
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

    /// Waits until the socket may be writable.
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
