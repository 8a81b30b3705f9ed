//! Ports to listen on.

use std::io;
use std::net::SocketAddr;

use socket2::{Domain, Protocol, Socket, Type};

/// Connections that may wait while a port is probed.
const BACKLOG: i32 = 1;

/// Carrier whose port is probed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Carrier {
    /// TCP, and WebSocket over it.
    Tcp,
    /// UDP, and QUIC over it.
    Udp,
}

/// Finds out whether this machine lets one listen at an address, without listening. An IPv6 address
/// stands for IPv6 alone (`IPV6_V6ONLY`), as libp2p listens: the same port of IPv4 is another one.
///
/// # Errors
/// The system's objection.
pub fn probe(carrier: Carrier, address: SocketAddr) -> io::Result<()> {
    let (kind, protocol) = match carrier {
        Carrier::Tcp => (Type::STREAM, Protocol::TCP),
        Carrier::Udp => (Type::DGRAM, Protocol::UDP),
    };
    let socket = Socket::new(Domain::for_address(address), kind, Some(protocol))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    // As the standard library does: connections that ended a moment ago keep no port, except on
    // Windows, where the option would take a port that another program uses.
    #[cfg(unix)]
    if carrier == Carrier::Tcp {
        socket.set_reuse_address(true)?;
    }
    socket.bind(&address.into())?;
    match carrier {
        Carrier::Tcp => socket.listen(BACKLOG),
        Carrier::Udp => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv6Addr, TcpListener, UdpSocket};

    use super::*;

    #[test]
    fn a_port_of_ipv4_is_free_for_ipv6() {
        let tcp = TcpListener::bind("0.0.0.0:0").unwrap();
        let udp = UdpSocket::bind("0.0.0.0:0").unwrap();
        let on_ipv6 = |port| SocketAddr::from((Ipv6Addr::UNSPECIFIED, port));
        let (tcp, udp) = (tcp.local_addr().unwrap(), udp.local_addr().unwrap());
        // Containers may have no IPv6.
        if TcpListener::bind("[::1]:0").is_ok() {
            probe(Carrier::Tcp, on_ipv6(tcp.port())).unwrap();
            probe(Carrier::Udp, on_ipv6(udp.port())).unwrap();
        }
        assert_eq!(probe(Carrier::Tcp, tcp).unwrap_err().kind(), io::ErrorKind::AddrInUse);
        assert_eq!(probe(Carrier::Udp, udp).unwrap_err().kind(), io::ErrorKind::AddrInUse);
    }
}
