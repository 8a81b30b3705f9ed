//! Check that a listen port is free.

use std::io;
use std::net::SocketAddr;

use socket2::{Domain, Protocol, Socket, Type};

/// Listen backlog while a port is probed.
const BACKLOG: i32 = 1;

/// Transport protocol of a probed port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PortProtocol {
    /// TCP, and WebSocket over it.
    Tcp,
    /// UDP, and QUIC over it.
    Udp,
}

/// Checks that this process may bind an address, without keeping it. An IPv6 address is probed with
/// `IPV6_V6ONLY`, as libp2p listens: the same port on IPv4 is independent.
///
/// # Errors
/// The operating system's error.
pub fn probe(carrier: PortProtocol, address: SocketAddr) -> io::Result<()> {
    let (kind, protocol) = match carrier {
        PortProtocol::Tcp => (Type::STREAM, Protocol::TCP),
        PortProtocol::Udp => (Type::DGRAM, Protocol::UDP),
    };
    let socket = Socket::new(Domain::for_address(address), kind, Some(protocol))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    // `SO_REUSEADDR` as in the standard library, so that sockets in TIME_WAIT do not block the
    // port. Not on Windows, where the option would take over a port in use by another program.
    #[cfg(unix)]
    if carrier == PortProtocol::Tcp {
        socket.set_reuse_address(true)?;
    }
    socket.bind(&address.into())?;
    match carrier {
        PortProtocol::Tcp => socket.listen(BACKLOG),
        PortProtocol::Udp => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv6Addr, TcpListener, UdpSocket};

    use super::*;

    #[test]
    fn the_same_port_is_free_on_ipv6_when_taken_on_ipv4() {
        let tcp = TcpListener::bind("0.0.0.0:0").unwrap();
        let udp = UdpSocket::bind("0.0.0.0:0").unwrap();
        let on_ipv6 = |port| SocketAddr::from((Ipv6Addr::UNSPECIFIED, port));
        let (tcp, udp) = (tcp.local_addr().unwrap(), udp.local_addr().unwrap());
        // Containers may lack IPv6.
        if TcpListener::bind("[::1]:0").is_ok() {
            probe(PortProtocol::Tcp, on_ipv6(tcp.port())).unwrap();
            probe(PortProtocol::Udp, on_ipv6(udp.port())).unwrap();
        }
        assert_eq!(probe(PortProtocol::Tcp, tcp).unwrap_err().kind(), io::ErrorKind::AddrInUse);
        assert_eq!(probe(PortProtocol::Udp, udp).unwrap_err().kind(), io::ErrorKind::AddrInUse);
    }
}
