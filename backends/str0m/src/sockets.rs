//! One UDP socket per local address.
//!
//! A socket bound to the wildcard address would not tell which local address a datagram was sent to, and ICE checks pairs of
//! addresses. So each address has a socket of its own, and the kernel's answer to `local_addr` is the candidate.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::task::Poll;

use blink_api::Result;
use tokio::io::ReadBuf;
use tokio::net::UdpSocket;

/// A session's sockets.
pub(crate) struct Sockets(Vec<Socket>);

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
        let mut sockets = Self(Vec::new());
        let mut failure = None;
        for address in addresses {
            failure = sockets.add(*address).err().or(failure);
        }
        match failure {
            Some(error) if sockets.0.is_empty() => Err(error.into()),
            _ => Ok(sockets),
        }
    }

    /// Follows the interfaces: binds new addresses, closes the sockets of those that are gone. Returns the local addresses closed.
    pub(crate) fn follow(&mut self, addresses: &[IpAddr]) -> Vec<SocketAddr> {
        for address in addresses {
            if !self.0.iter().any(|socket| socket.local.ip() == *address)
                && let Err(error) = self.add(*address)
            {
                tracing::debug!(%address, %error, "an address cannot be used");
            }
        }
        let gone = self.0.extract_if(.., |socket| !addresses.contains(&socket.local.ip()));
        gone.map(|socket| socket.local).collect()
    }

    fn add(&mut self, address: IpAddr) -> io::Result<()> {
        let socket = std::net::UdpSocket::bind((address, 0))?;
        socket.set_nonblocking(true)?;
        let udp = UdpSocket::from_std(socket)?;
        self.0.push(Socket { local: udp.local_addr()?, udp });
        Ok(())
    }

    /// The local addresses, with ports.
    pub(crate) fn locals(&self) -> impl Iterator<Item = SocketAddr> + '_ {
        self.0.iter().map(|socket| socket.local)
    }

    /// Receives a datagram on any socket. Dropping it loses nothing.
    pub(crate) async fn receive(&self, buffer: &mut [u8]) -> Datagram {
        std::future::poll_fn(|context| {
            for socket in &self.0 {
                let mut buffer = ReadBuf::new(buffer);
                match socket.udp.poll_recv_from(context, &mut buffer) {
                    Poll::Ready(Ok(source)) => {
                        let length = buffer.filled().len();
                        return Poll::Ready(Datagram { local: socket.local, source, length });
                    }
                    // Some systems report here that an earlier datagram reached no one; the next call looks further.
                    Poll::Ready(Err(error)) => {
                        tracing::trace!(%error, "receive");
                        context.waker().wake_by_ref();
                    }
                    Poll::Pending => {}
                }
            }
            Poll::Pending
        })
        .await
    }

    /// Sends a datagram. One that cannot be sent is lost, as in the network.
    pub(crate) async fn send(&self, local: SocketAddr, destination: SocketAddr, datagram: &[u8]) {
        let Some(socket) = self.0.iter().find(|socket| socket.local == local) else { return };
        if let Err(error) = socket.udp.send_to(datagram, destination).await {
            tracing::trace!(%error, "send");
        }
    }
}
