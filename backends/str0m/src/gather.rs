//! Candidates that servers give (RFC 8445 §5.1.1.2): which are asked, and what they gave, for the
//! life of a session.

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use blink_api::{Error, IceConfig, Result};
use blink_transport_kit::servers::{Failure, Server};
use bytes::BytesMut;
use tokio::task::JoinSet;

use crate::inquiry::{Inquiry, Output};

/// Servers that have not answered by then are not waited for.
const PATIENCE: Duration = Duration::from_secs(3);

/// The servers to ask.
#[derive(Clone)]
pub(crate) struct Servers {
    servers: Vec<Server>,
    relay_only: bool,
}

/// Asks servers, and carries what goes through their relays.
pub(crate) struct Gatherer {
    servers: Servers,
    inquiries: Vec<Inquiry>,
    /// What is still to be sent for inquiries that have ended.
    farewells: VecDeque<Step>,
    /// Until when answers are waited for; `None` while none are.
    until: Option<Instant>,
}

/// What to do next.
pub(crate) enum Step {
    /// Send a datagram to a server.
    Send { local: SocketAddr, server: SocketAddr, datagram: BytesMut },
    /// A new candidate: what a server sees a local address as.
    Reflexive { local: SocketAddr, seen: SocketAddr },
    /// A new candidate: what a server relays for a local address.
    Relayed { local: SocketAddr, relay: SocketAddr },
    /// A peer's packet came through a relay.
    Data { relay: SocketAddr, peer: SocketAddr, data: BytesMut },
    /// Nothing more will come of what was asked; these servers gave nothing.
    Done(Vec<(String, Error)>),
}

impl Servers {
    /// Those of the configuration that it lets be asked.
    ///
    /// # Errors
    /// [`Invalid`](blink_api::ErrorKind::Invalid) for text that names no server.
    pub(crate) fn new(ice: &IceConfig) -> Result<Self> {
        let mut servers = ice.servers.iter().map(Server::parse).collect::<Result<Vec<_>>>()?;
        servers.retain(|server| server.account.is_some() || !ice.relay_only);
        Ok(Self { servers, relay_only: ice.relay_only })
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.servers.is_empty()
    }

    /// Addresses of the servers that are configured by address.
    pub(crate) fn literal_addresses(&self) -> impl Iterator<Item = IpAddr> + '_ {
        self.servers.iter().filter_map(|server| server.host.parse().ok())
    }

    /// Looks the names up, side by side; each address goes with its server's place in the list. A
    /// resolver that does not answer in time delays no other server.
    pub(crate) async fn resolve(self) -> Vec<(usize, SocketAddr)> {
        let mut lookups = JoinSet::new();
        for (index, server) in self.servers.into_iter().enumerate() {
            lookups.spawn(async move {
                let lookup = tokio::net::lookup_host((server.host.as_str(), server.port));
                match tokio::time::timeout(PATIENCE, lookup).await {
                    Ok(Ok(found)) => return found.map(|address| (index, address)).collect(),
                    Ok(Err(error)) => tracing::warn!(%error, url = server.url, "a server's name cannot be looked up"),
                    Err(_) => tracing::warn!(url = server.url, "a server's name is not looked up in time"),
                }
                Vec::new()
            });
        }
        let mut addresses = lookups.join_all().await.concat();
        addresses.sort_by_key(|(index, _)| *index);
        addresses
    }
}

impl Gatherer {
    pub(crate) fn new(servers: Servers) -> Self {
        Self { servers, inquiries: Vec::new(), farewells: VecDeque::new(), until: None }
    }

    /// Asks each server from each local address of its family, but keeps the relays that are up.
    pub(crate) fn begin(&mut self, now: Instant, locals: &[SocketAddr], addresses: &[(usize, SocketAddr)]) {
        let is_over = |inquiry: &mut Inquiry| inquiry.relayed().is_none() || !locals.contains(&inquiry.local);
        for mut over in self.inquiries.extract_if(.., is_over) {
            // A server has one relay for each pair of addresses: what is left of an old one goes
            // before a new one is asked for.
            over.close(now);
            let (local, server) = (over.local, over.server);
            let requests = std::iter::from_fn(|| over.poll_request());
            self.farewells.extend(requests.map(|datagram| Step::Send { local, server, datagram }));
        }
        self.until = Some(now + PATIENCE);
        for local in locals {
            for (index, server) in addresses.iter().filter(|(_, server)| server.is_ipv4() == local.is_ipv4()) {
                if self.inquiries.iter().any(|inquiry| (inquiry.local, inquiry.server) == (*local, *server)) {
                    continue;
                }
                let account = self.servers.servers[*index].account.as_ref();
                match Inquiry::begin(now, (*local, *server, *index), !self.servers.relay_only, account) {
                    Ok(inquiry) => self.inquiries.push(inquiry),
                    Err(error) => tracing::warn!(%error, "a server cannot be asked"),
                }
            }
        }
    }

    /// Whether a datagram was a server's.
    pub(crate) fn handle_datagram(&mut self, now: Instant, local: SocketAddr, source: SocketAddr, data: &[u8]) -> bool {
        let is_asked = |inquiry: &&mut Inquiry| inquiry.server == source && inquiry.local == local;
        let Some(inquiry) = self.inquiries.iter_mut().find(is_asked) else { return false };
        inquiry.handle_datagram(now, data);
        true
    }

    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        self.inquiries.iter_mut().for_each(|inquiry| inquiry.handle_timeout(now));
        if self.until.is_some_and(|until| now >= until) {
            self.inquiries.iter_mut().for_each(Inquiry::give_up);
        }
    }

    pub(crate) fn poll_timeout(&mut self) -> Option<Instant> {
        self.inquiries.iter_mut().filter_map(Inquiry::poll_timeout).chain(self.until).min()
    }

    /// Says what to do next; ask until it is `None`.
    pub(crate) fn poll(&mut self) -> Option<Step> {
        if let Some(farewell) = self.farewells.pop_front() {
            return Some(farewell);
        }
        for inquiry in &mut self.inquiries {
            let (local, server) = (inquiry.local, inquiry.server);
            if let Some(datagram) = inquiry.poll_request() {
                return Some(Step::Send { local, server, datagram });
            }
            if let Some(output) = inquiry.poll_output() {
                return Some(match output {
                    Output::Reflexive(seen) => Step::Reflexive { local, seen },
                    Output::Relayed(relay) => Step::Relayed { local, relay },
                    Output::Data { relay, peer, data } => Step::Data { relay, peer, data },
                });
            }
        }
        if self.until.is_some() && !self.inquiries.iter().any(Inquiry::is_open) {
            self.until = None;
            return Some(Step::Done(self.failures()));
        }
        None
    }

    /// Sends through the relay of that address; `false` where there is none.
    pub(crate) fn send(&mut self, now: Instant, relay: SocketAddr, peer: SocketAddr, packet: &[u8]) -> bool {
        let Some(inquiry) = self.inquiries.iter_mut().find(|inquiry| inquiry.relayed() == Some(relay)) else {
            return false;
        };
        inquiry.send(now, peer, packet);
        true
    }

    /// Gives all relays back.
    pub(crate) fn close(&mut self, now: Instant) {
        self.until = None;
        self.inquiries.iter_mut().for_each(|inquiry| inquiry.close(now));
    }

    /// The servers that gave nothing from any local address.
    fn failures(&self) -> Vec<(String, Error)> {
        let failed = self.servers.servers.iter().enumerate().filter_map(|(index, server)| {
            let mut asked = self.inquiries.iter().filter(|inquiry| inquiry.index == index).map(Inquiry::failure);
            let first = asked.next().unwrap_or(Some(Failure::Unknown))?;
            let rest = asked.collect::<Option<Vec<_>>>()?;
            // What a server says is more telling than its silence on another way.
            let failure = [first].into_iter().chain(rest).find(|failure| *failure != Failure::Silent);
            Some((server.url.clone(), server.failed(failure.unwrap_or(Failure::Silent))))
        });
        failed.collect()
    }
}
