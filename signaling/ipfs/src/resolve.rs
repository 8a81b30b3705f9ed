//! DNS resolution of addresses, since rust-ipfs's transports dial IP addresses only.

use std::io;
use std::net::IpAddr;

use libp2p::Multiaddr;
use libp2p::multiaddr::Protocol;

/// Returns whether an address begins with a DNS name.
pub(crate) fn has_dns_name(address: &Multiaddr) -> bool {
    matches!(address.iter().next(), Some(Protocol::Dns(_) | Protocol::Dns4(_) | Protocol::Dns6(_)))
}

/// Resolves the name in an address to all its IP addresses.
///
/// # Errors
/// The resolver's error, or `NotFound` if the name has no address of the requested family.
pub(crate) async fn resolve(address: &Multiaddr) -> io::Result<Vec<Multiaddr>> {
    let mut protocols = address.iter();
    let (name, wanted): (_, fn(&IpAddr) -> bool) = match protocols.next() {
        Some(Protocol::Dns(name)) => (name, |_| true),
        Some(Protocol::Dns4(name)) => (name, IpAddr::is_ipv4),
        Some(Protocol::Dns6(name)) => (name, IpAddr::is_ipv6),
        _ => return Ok(vec![address.clone()]),
    };
    let rest: Multiaddr = protocols.collect();
    let sockets = tokio::net::lookup_host((name.as_ref(), 0)).await?;
    let found: Vec<_> = sockets.map(|socket| socket.ip()).filter(wanted).collect();
    if found.is_empty() {
        return Err(io::Error::new(io::ErrorKind::NotFound, "the name has no address of this family"));
    }
    Ok(found.into_iter().map(|ip| Multiaddr::from(ip).into_iter().chain(&rest).collect()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_name_is_replaced_by_its_addresses() {
        let address: Multiaddr = "/dns4/localhost/tcp/4001/ws".parse().unwrap();
        assert!(has_dns_name(&address));
        let resolved = resolve(&address).await.unwrap();
        assert_eq!(resolved, ["/ip4/127.0.0.1/tcp/4001/ws".parse().unwrap()]);
        assert!(!has_dns_name(&resolved[0]));
    }

    #[tokio::test]
    async fn an_unknown_name_is_an_error() {
        resolve(&"/dns/unknown.invalid/tcp/1".parse().unwrap()).await.unwrap_err();
    }
}
