//! Gathering of server-reflexive and relayed candidates (RFC 8445 §5.1.1.2) throughout a session.

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use blink_api::{Error, IceConfig, Result};
use blink_transport_kit::servers::{Server, ServerFailure};
use bytes::BytesMut;
use tokio::task::JoinSet;

use crate::turn_client::{Output, TurnClient};

/// Time to wait for servers to respond.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(3);
/// Silence after which a relay is allocated anew when gathering again.
const RELAY_SILENCE: Duration = Duration::from_secs(2);

/// Configured STUN and TURN servers.
#[derive(Clone)]
pub(crate) struct Servers {
    servers: Vec<Server>,
    relay_only: bool,
}

/// Gatherer of candidates from servers, which also carries traffic through their relays.
pub(crate) struct Gatherer {
    servers: Servers,
    clients: Vec<TurnClient>,
    /// Pending requests of closed clients.
    closing_requests: VecDeque<Step>,
    /// Deadline of the current gathering; `None` if none is in progress.
    until: Option<Instant>,
}

/// Next output of the gatherer.
pub(crate) enum Step {
    /// Send a datagram to a server.
    Send { local: SocketAddr, server: SocketAddr, datagram: BytesMut },
    /// New server-reflexive candidate.
    Reflexive { local: SocketAddr, seen: SocketAddr },
    /// New relayed candidate.
    Relayed { local: SocketAddr, relay: SocketAddr },
    /// Packet from a peer through a relay.
    Data { relay: SocketAddr, peer: SocketAddr, data: BytesMut },
    /// Gathering is complete; these servers failed.
    Done(Vec<(String, Error)>),
}

impl Servers {
    /// Servers of the configuration that may be used.
    ///
    /// # Errors
    /// [`Invalid`](blink_api::ErrorKind::Invalid) for an invalid URL.
    pub(crate) fn new(ice: &IceConfig) -> Result<Self> {
        let mut servers = ice.servers.iter().map(Server::parse).collect::<Result<Vec<_>>>()?;
        servers.retain(|server| server.credentials.is_some() || !ice.relay_only);
        Ok(Self { servers, relay_only: ice.relay_only })
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.servers.is_empty()
    }

    /// Addresses of the servers that are configured by IP address.
    pub(crate) fn literal_addresses(&self) -> impl Iterator<Item = IpAddr> + '_ {
        self.servers.iter().filter_map(|server| server.host.parse().ok())
    }

    /// Resolves the names concurrently; each address comes with its server's index. A slow lookup
    /// does not delay the other servers.
    pub(crate) async fn resolve(self) -> Vec<(usize, SocketAddr)> {
        let mut server_lookups = JoinSet::new();
        for (index, server) in self.servers.into_iter().enumerate() {
            server_lookups.spawn(async move {
                let lookup = tokio::net::lookup_host((server.host.as_str(), server.port));
                match tokio::time::timeout(RESPONSE_TIMEOUT, lookup).await {
                    Ok(Ok(found)) => return found.map(|address| (index, address)).collect(),
                    Ok(Err(error)) => {
                        tracing::warn!(%error, url = server.url, "the name of an ICE server cannot be resolved");
                    }
                    Err(_) => tracing::warn!(url = server.url, "the name of an ICE server was not resolved in time"),
                }
                Vec::new()
            });
        }
        let mut addresses = server_lookups.join_all().await.concat();
        addresses.sort_by_key(|(index, _)| *index);
        addresses
    }
}

impl Gatherer {
    pub(crate) fn new(servers: Servers) -> Self {
        Self { servers, clients: Vec::new(), closing_requests: VecDeque::new(), until: None }
    }

    /// Starts gathering from each local address at each server of its family. Relays that work are
    /// kept. One that was silent may have lost its allocation, since its server restarted: a packet
    /// that it does not relay gets no answer.
    pub(crate) fn begin(&mut self, now: Instant, locals: &[SocketAddr], addresses: &[(usize, SocketAddr)]) {
        let is_over = |turn_client: &mut TurnClient| {
            let is_silent = now.duration_since(turn_client.heard) > RELAY_SILENCE;
            is_silent || turn_client.relayed().is_none() || !locals.contains(&turn_client.local)
        };
        for mut over in self.clients.extract_if(.., is_over) {
            // A server has one allocation per address pair, so an old one must be released before a
            // new one is requested.
            over.close(now);
            let (local, server) = (over.local, over.server);
            let requests = std::iter::from_fn(|| over.poll_request());
            self.closing_requests.extend(requests.map(|datagram| Step::Send { local, server, datagram }));
        }
        self.until = Some(now + RESPONSE_TIMEOUT);
        for local in locals {
            for (index, server) in addresses.iter().filter(|(_, server)| server.is_ipv4() == local.is_ipv4()) {
                if self.clients.iter().any(|turn_client| (turn_client.local, turn_client.server) == (*local, *server)) {
                    continue;
                }
                let credentials = self.servers.servers[*index].credentials.as_ref();
                match TurnClient::begin(now, (*local, *server, *index), !self.servers.relay_only, credentials) {
                    Ok(turn_client) => self.clients.push(turn_client),
                    Err(error) => tracing::warn!(%error, "no client for an ICE server"),
                }
            }
        }
    }

    /// Handles a datagram from a server; returns `false` if it is not from one.
    pub(crate) fn handle_datagram(&mut self, now: Instant, local: SocketAddr, source: SocketAddr, data: &[u8]) -> bool {
        let is_asked = |turn_client: &&mut TurnClient| turn_client.server == source && turn_client.local == local;
        let Some(turn_client) = self.clients.iter_mut().find(is_asked) else { return false };
        turn_client.heard = now;
        turn_client.handle_datagram(now, data);
        true
    }

    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        self.clients.iter_mut().for_each(|turn_client| turn_client.handle_timeout(now));
        if self.until.is_some_and(|until| now >= until) {
            self.clients.iter_mut().for_each(TurnClient::give_up);
        }
    }

    pub(crate) fn poll_timeout(&mut self) -> Option<Instant> {
        self.clients.iter_mut().filter_map(TurnClient::poll_timeout).chain(self.until).min()
    }

    /// Returns the next output; call until it is `None`.
    pub(crate) fn poll(&mut self) -> Option<Step> {
        if let Some(farewell) = self.closing_requests.pop_front() {
            return Some(farewell);
        }
        for turn_client in &mut self.clients {
            let (local, server) = (turn_client.local, turn_client.server);
            if let Some(datagram) = turn_client.poll_request() {
                return Some(Step::Send { local, server, datagram });
            }
            if let Some(output) = turn_client.poll_output() {
                return Some(match output {
                    Output::Reflexive(seen) => Step::Reflexive { local, seen },
                    Output::Relayed(relay) => Step::Relayed { local, relay },
                    Output::Data { relay, peer, data } => Step::Data { relay, peer, data },
                });
            }
        }
        if self.until.is_some() && !self.clients.iter().any(TurnClient::is_pending) {
            self.until = None;
            return Some(Step::Done(self.failures()));
        }
        None
    }

    /// Sends through the relay with this address; returns `false` if there is none.
    pub(crate) fn send(&mut self, now: Instant, relay: SocketAddr, peer: SocketAddr, packet: &[u8]) -> bool {
        let Some(turn_client) = self.clients.iter_mut().find(|turn_client| turn_client.relayed() == Some(relay)) else {
            return false;
        };
        turn_client.send(now, peer, packet);
        true
    }

    /// Releases all relays.
    pub(crate) fn close(&mut self, now: Instant) {
        self.until = None;
        self.clients.iter_mut().for_each(|turn_client| turn_client.close(now));
    }

    /// Servers that failed from every local address.
    fn failures(&self) -> Vec<(String, Error)> {
        let failed = self.servers.servers.iter().enumerate().filter_map(|(index, server)| {
            let mut asked =
                self.clients.iter().filter(|turn_client| turn_client.index == index).map(TurnClient::failure);
            let first = asked.next().unwrap_or(Some(ServerFailure::Unresolved))?;
            let rest = asked.collect::<Option<Vec<_>>>()?;
            // An error response is more specific than a timeout on another path.
            let failure = [first].into_iter().chain(rest).find(|failure| *failure != ServerFailure::NoResponse);
            Some((server.url.clone(), server.failed(failure.unwrap_or(ServerFailure::NoResponse))))
        });
        failed.collect()
    }
}
