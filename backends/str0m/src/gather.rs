//! Server-reflexive candidates: what a STUN server sees as our address (RFC 8445 §5.1.1.2).

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use blink_api::{Error, ErrorKind, IceServer, Result};
use bytes::BytesMut;
use rtc_shared::{TaggedBytesMut, TransportContext, TransportProtocol};
use rtc_turn::client::{Client, ClientConfig, Event};
use sansio::Protocol as _;

/// Servers that have not answered by then are not waited for.
const PATIENCE: Duration = Duration::from_secs(3);
const DEFAULT_PORT: u16 = 3478;

/// The servers to ask, by name.
#[derive(Clone, Default)]
pub(crate) struct Servers(Vec<(String, u16)>);

/// Questions to STUN servers that are open.
pub(crate) struct Gathering {
    clients: Vec<(SocketAddr, Client)>,
    servers: Vec<SocketAddr>,
    open: usize,
    until: Instant,
}

/// A datagram to send to a server.
pub(crate) struct Request {
    pub(crate) local: SocketAddr,
    pub(crate) server: SocketAddr,
    pub(crate) datagram: BytesMut,
}

impl Servers {
    /// Reads `stun:HOST[:PORT]`. A TURN server answers STUN too, so it is asked as one.
    ///
    /// # Errors
    /// [`Invalid`](ErrorKind::Invalid) for other text.
    pub(crate) fn new(servers: &[IceServer]) -> Result<Self> {
        let parse = |server: &IceServer| {
            host_and_port(&server.url).ok_or_else(|| {
                Error::new(ErrorKind::Invalid, "a server is written stun:HOST[:PORT]").with("url", &server.url)
            })
        };
        if servers.iter().any(|server| server.url.starts_with("turn:")) {
            tracing::warn!("this transport does not relay: TURN servers are only asked for the own address");
        }
        servers.iter().map(parse).collect::<Result<_>>().map(Self)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Looks the names up. Names without an address are left out.
    pub(crate) async fn resolve(self) -> Vec<SocketAddr> {
        let mut addresses = Vec::new();
        for (host, port) in self.0 {
            match tokio::net::lookup_host((host.as_str(), port)).await {
                Ok(found) => addresses.extend(found),
                Err(error) => tracing::warn!(%error, "a STUN server's name cannot be looked up"),
            }
        }
        addresses
    }
}

fn host_and_port(url: &str) -> Option<(String, u16)> {
    let rest = url.strip_prefix("stun:").or_else(|| url.strip_prefix("turn:"))?;
    let rest = rest.split('?').next()?;
    let (host, port) = match rest.strip_prefix('[') {
        Some(rest) => {
            let (host, rest) = rest.split_once(']')?;
            (host, rest.strip_prefix(':'))
        }
        None => match rest.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (rest, None),
        },
    };
    let port = port.map_or(Ok(DEFAULT_PORT), str::parse).ok()?;
    (!host.is_empty()).then(|| (host.to_owned(), port))
}

impl Gathering {
    /// Asks each server from each local address of its family.
    pub(crate) fn begin(now: Instant, locals: impl Iterator<Item = SocketAddr>, servers: Vec<SocketAddr>) -> Self {
        let mut gathering = Self { clients: Vec::new(), servers, open: 0, until: now + PATIENCE };
        for local in locals {
            let reachable = gathering.servers.iter().filter(|server| server.is_ipv4() == local.is_ipv4());
            match ask(now, local, reachable) {
                Ok((client, open)) => {
                    gathering.clients.push((local, client));
                    gathering.open += open;
                }
                Err(error) => tracing::debug!(%error, "cannot ask STUN servers"),
            }
        }
        gathering
    }

    /// Every server has answered or failed.
    pub(crate) fn is_done(&self) -> bool {
        self.open == 0
    }

    /// Takes a datagram if it came from a server.
    pub(crate) fn handle_datagram(&mut self, now: Instant, local: SocketAddr, source: SocketAddr, data: &[u8]) -> bool {
        if !self.servers.contains(&source) {
            return false;
        }
        let Some((_, client)) = self.clients.iter_mut().find(|(address, _)| *address == local) else { return true };
        let transport = TransportContext {
            local_addr: local,
            peer_addr: source,
            transport_protocol: TransportProtocol::UDP,
            ecn: None,
        };
        if let Err(error) = client.handle_read(TaggedBytesMut { now, transport, message: BytesMut::from(data) }) {
            tracing::debug!(%error, "a STUN server's answer cannot be read");
        }
        true
    }

    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        for (_, client) in &mut self.clients {
            if let Err(error) = client.handle_timeout(now) {
                tracing::debug!(%error, "STUN timer");
            }
        }
        if now >= self.until {
            self.open = 0;
        }
    }

    pub(crate) fn poll_timeout(&mut self) -> Instant {
        let timers = self.clients.iter_mut().filter_map(|(_, client)| client.poll_timeout());
        timers.min().map_or(self.until, |timer| timer.min(self.until))
    }

    pub(crate) fn poll_request(&mut self) -> Option<Request> {
        self.clients.iter_mut().find_map(|(local, client)| {
            let message = client.poll_write()?;
            Some(Request { local: *local, server: message.transport.peer_addr, datagram: message.message })
        })
    }

    /// A local address and what a server saw it as.
    pub(crate) fn poll_reflexive(&mut self) -> Option<(SocketAddr, SocketAddr)> {
        for (local, client) in &mut self.clients {
            while let Some(event) = client.poll_event() {
                self.open = self.open.saturating_sub(1);
                if let Event::BindingResponse(_, seen) = event {
                    return Some((*local, seen));
                }
            }
        }
        None
    }
}

fn ask<'a>(
    now: Instant,
    local: SocketAddr,
    servers: impl Iterator<Item = &'a SocketAddr>,
) -> Result<(Client, usize), rtc_shared::error::Error> {
    let config = ClientConfig { local_addr: local, transport_protocol: TransportProtocol::UDP, ..Default::default() };
    let crypto =
        rtc_turn::crypto::default_provider().map_err(|error| rtc_shared::error::Error::Other(error.to_string()))?;
    let mut client = Client::new(config, crypto)?;
    let mut open = 0;
    for server in servers {
        client.send_binding_request_to(now, *server)?;
        open += 1;
    }
    Ok((client, open))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_are_written_with_and_without_port() {
        for (url, expected) in [
            ("stun:stun.example", Some(("stun.example", 3478))),
            ("stun:192.0.2.1:19302", Some(("192.0.2.1", 19302))),
            ("turn:[2001:db8::1]:5349?transport=udp", Some(("2001:db8::1", 5349))),
            ("stun:[2001:db8::1]", Some(("2001:db8::1", 3478))),
            ("stun:", None),
            ("stun:host:port", None),
            ("http://host", None),
        ] {
            assert_eq!(host_and_port(url), expected.map(|(host, port)| (host.to_owned(), port)), "{url}");
        }
    }
}
