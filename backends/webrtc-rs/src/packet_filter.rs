//! Packet filter between a connection's sockets and the stack, with rules that the stack lacks.
//!
//! * ICE servers are monitored: the stack does not report why one gave no relay, nor that one does
//!   not respond.
//! * With `ice.relay_only`, traffic with addresses other than servers is dropped.
//! * ICE checks are paced and limited ([`CheckPacer`]).
//! * Datagrams other than STUN are accepted from validated addresses only. The stack accepts them
//!   from anywhere once it has a path, and a single ClientHello of a third party breaks its
//!   handshake.

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use blink_api::{Error, IceConfig, MediaPath, Result};
use blink_transport_kit::check_budget::{CheckBudget, has_integrity};
use blink_transport_kit::servers::{ErrorResponse, Method, Server, ServerFailure};
use rtc::stun::attributes::ATTR_USERNAME;
use rtc::stun::message::Message;

use crate::check_pacer::{Check, CheckDecision, CheckPacer, Route};
use crate::turn_channels::{self, CHANNEL_DATA, TurnChannels};

/// Types of STUN messages: Binding request, success responses to Binding (RFC 8489 §6.3.3) and
/// Allocate (RFC 8656 §7.3), Binding error response.
pub(crate) const BINDING: [u8; 2] = [0x00, 0x01];
const BINDING_SUCCESS: [u8; 2] = [0x01, 0x01];
const ALLOCATE_SUCCESS: [u8; 2] = [0x01, 0x03];
const BINDING_ERROR: [u8; 2] = [0x01, 0x11];
/// First bytes of STUN (RFC 7983 §7).
const STUN: std::ops::RangeInclusive<u8> = 0..=3;

/// Packet filter of a connection.
pub(crate) struct PacketFilter {
    pub(crate) servers: Vec<Server>,
    relay_only: bool,
    responses: Mutex<Responses>,
    paths: Mutex<Paths>,
}

/// Relays of the remote side that are remembered.
const MAX_RELAYS: usize = 32;

struct Paths {
    checks: CheckPacer,
    budget: CheckBudget,
    relayed: TurnChannels,
    /// Route of the newest datagram that is not STUN: media, or its handshake.
    newest: Option<Route>,
    /// Relays of the remote side.
    remote_relays: HashSet<SocketAddr>,
}

#[derive(Default)]
struct Responses {
    /// Resolved addresses by host and port.
    addresses: HashMap<String, Vec<SocketAddr>>,
    /// Latest responses by server address.
    newest: HashMap<SocketAddr, Response>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Response {
    has_seen: bool,
    has_allocated: bool,
    refused: Option<u16>,
}

impl PacketFilter {
    /// Creates the filter.
    ///
    /// # Errors
    /// [`Invalid`](blink_api::ErrorKind::Invalid) for an invalid server URL.
    pub(crate) fn new(ice: &IceConfig, budget: CheckBudget) -> Result<Self> {
        let mut servers = ice.servers.iter().map(Server::parse).collect::<Result<Vec<_>>>()?;
        servers.retain(|server| server.credentials.is_some() || !ice.relay_only);
        let paths = Paths {
            checks: CheckPacer::new(Instant::now()),
            budget,
            relayed: TurnChannels::default(),
            newest: None,
            remote_relays: HashSet::new(),
        };
        Ok(Self { servers, relay_only: ice.relay_only, responses: Mutex::default(), paths: Mutex::new(paths) })
    }

    /// Returns whether there are TURN servers.
    pub(crate) fn has_relays(&self) -> bool {
        self.servers.iter().any(|server| server.credentials.is_some())
    }

    /// Starts a gathering, which discards earlier responses.
    pub(crate) fn begin(&self) {
        self.responses().newest.clear();
    }

    /// Records the resolved addresses of a server.
    pub(crate) fn found(&self, host: &str, addresses: &[SocketAddr]) {
        self.responses().addresses.insert(host.to_owned(), addresses.to_vec());
    }

    /// Servers that gave no candidate, with the reason.
    pub(crate) fn failures(&self) -> Vec<(String, Error)> {
        let responses = self.responses();
        let failure = |server: &Server| {
            let addresses = responses.addresses.get(&place(&server.host, server.port));
            let Some(addresses) = addresses.filter(|addresses| !addresses.is_empty()) else {
                return Some(ServerFailure::Unresolved);
            };
            let newest: Vec<Response> =
                addresses.iter().filter_map(|address| responses.newest.get(address)).copied().collect();
            let has_given =
                |answer: &Response| if server.credentials.is_some() { answer.has_allocated } else { answer.has_seen };
            if newest.iter().any(has_given) {
                return None;
            }
            let refused = newest.iter().find_map(|answer| answer.refused);
            Some(refused.map_or(ServerFailure::NoResponse, ServerFailure::Rejected))
        };
        let failed = self.servers.iter().filter_map(|server| Some((server, failure(server)?)));
        failed.map(|(server, failure)| (server.url.clone(), server.failed(failure))).collect()
    }

    /// Returns whether the filter has rules for a datagram of the stack.
    pub(crate) fn applies_to(&self, datagram: &[u8]) -> bool {
        self.relay_only || may_be_a_check(datagram)
    }

    /// Returns whether a datagram may be sent. Call [`handle_sent`](Self::handle_sent) afterwards.
    pub(crate) fn allows_outgoing(&self, now: Instant, local: SocketAddr, to: SocketAddr, datagram: &[u8]) -> bool {
        let is_server = self.is_server(to);
        if self.relay_only && !is_server {
            return false;
        }
        if !may_be_a_check(datagram) {
            return true;
        }
        let mut paths = self.paths();
        match paths.sent(local, to, is_server, datagram) {
            Sent::Check(route, check) => paths.admits(now, route, &check),
            Sent::Response(_) | Sent::Other => true,
        }
    }

    /// Records a datagram that was sent.
    pub(crate) fn handle_sent(&self, now: Instant, local: SocketAddr, to: SocketAddr, datagram: &[u8]) {
        if !may_be_a_check(datagram) {
            return;
        }
        let is_server = self.is_server(to);
        let mut paths = self.paths();
        match paths.sent(local, to, is_server, datagram) {
            Sent::Check(route, check) => paths.checks.handle_check(now, route, &check),
            Sent::Response(route) => paths.checks.handle_request(now, route),
            Sent::Other if is_server => paths.relayed.handle_sent(local, to, datagram),
            Sent::Other => {}
        }
    }

    /// Returns whether a received datagram is for the stack.
    pub(crate) fn allows_incoming(&self, now: Instant, local: SocketAddr, from: SocketAddr, datagram: &[u8]) -> bool {
        let is_server = self.is_server(from);
        if self.relay_only && !is_server {
            return false;
        }
        if is_server {
            self.watch(from, datagram);
        }
        let mut paths = self.paths();
        if is_server && let Some((peer, data)) = paths.relayed.unwrap(local, from, datagram) {
            let route = Route { local, relay: Some(from), remote: peer };
            return paths.allows_incoming(now, route, &data);
        }
        let is_turns = datagram.first().is_some_and(|first| STUN.contains(first) || CHANNEL_DATA.contains(first));
        (is_server && is_turns) || paths.allows_incoming(now, Route { local, relay: None, remote: from }, datagram)
    }

    /// Remembers relays of the remote side. The stack does not report a relay whose checks came
    /// before its candidate.
    pub(crate) fn note_relays(&self, relays: impl IntoIterator<Item = SocketAddr>) {
        let mut paths = self.paths();
        let room = MAX_RELAYS.saturating_sub(paths.remote_relays.len());
        paths.remote_relays.extend(relays.into_iter().take(room));
    }

    /// Path by which media was received last.
    pub(crate) fn newest_path(&self) -> Option<MediaPath> {
        let paths = self.paths();
        let route = paths.newest?;
        let is_relayed = route.relay.is_some() || paths.remote_relays.contains(&route.remote);
        Some(if is_relayed { MediaPath::Relayed } else { MediaPath::Direct })
    }

    fn is_server(&self, address: SocketAddr) -> bool {
        !self.servers.is_empty() && self.responses().addresses.values().any(|known| known.contains(&address))
    }

    fn watch(&self, from: SocketAddr, datagram: &[u8]) {
        let Some(kind) = datagram.first_chunk().copied() else { return };
        let refusal = ErrorResponse::parse(datagram).filter(|refusal| refusal.method == Method::Allocate);
        if kind != BINDING_SUCCESS && kind != ALLOCATE_SUCCESS && refusal.is_none() {
            return;
        }
        let mut responses = self.responses();
        let answer = responses.newest.entry(from).or_default();
        answer.has_seen |= kind == BINDING_SUCCESS;
        answer.has_allocated |= kind == ALLOCATE_SUCCESS;
        // The first request is always rejected to demand credentials (401), so the latest response
        // counts.
        answer.refused = refusal.map(|refusal| refusal.code).or(answer.refused);
    }

    fn responses(&self) -> MutexGuard<'_, Responses> {
        self.responses.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn paths(&self) -> MutexGuard<'_, Paths> {
        self.paths.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Kind of a datagram sent by the stack.
enum Sent {
    Check(Route, Check),
    /// Response to an authenticated check of the peer.
    Response(Route),
    Other,
}

impl Paths {
    fn sent(&self, local: SocketAddr, to: SocketAddr, is_server: bool, datagram: &[u8]) -> Sent {
        let relayed = if is_server { self.relayed.unwrap(local, to, datagram) } else { None };
        let (route, data) = match &relayed {
            Some((peer, data)) => (Route { local, relay: Some(to), remote: *peer }, &**data),
            None => (Route { local, relay: None, remote: to }, datagram),
        };
        match data.first_chunk() {
            Some(&BINDING_SUCCESS) => Sent::Response(route),
            // Requests to servers have no username.
            Some(&BINDING) => match turn_channels::decode(data).and_then(check) {
                Some(check) => Sent::Check(route, check),
                None => Sent::Other,
            },
            _ => Sent::Other,
        }
    }

    fn admits(&mut self, now: Instant, route: Route, check: &Check) -> bool {
        match self.checks.decide(now, route, check) {
            CheckDecision::Unanswered => self.budget.allows(now, route.remote, &check.datagram),
            CheckDecision::Free => true,
            CheckDecision::Dropped => false,
        }
    }

    fn allows_incoming(&mut self, now: Instant, route: Route, datagram: &[u8]) -> bool {
        self.budget.received(route.remote, datagram);
        match datagram.first_chunk() {
            Some(&(BINDING | BINDING_ERROR)) => true,
            Some(&BINDING_SUCCESS) => {
                // A response without integrity is from a server: the stack ignores it.
                if has_integrity(datagram)
                    && let Some(answer) = turn_channels::decode(datagram)
                {
                    self.checks.handle_response(now, route, answer.transaction_id);
                }
                true
            }
            // Other STUN methods and channel data are accepted from servers only.
            Some([first, _]) if STUN.contains(first) || CHANNEL_DATA.contains(first) => false,
            _ => {
                let is_validated = self.checks.is_validated(route.remote);
                if is_validated {
                    self.newest = Some(route);
                }
                is_validated
            }
        }
    }
}

fn check(message: Message) -> Option<Check> {
    let (transaction, user) = (message.transaction_id, message.get(ATTR_USERNAME).ok()?);
    Some(Check { transaction, user, datagram: message.raw })
}

/// Returns whether a datagram is STUN or may contain STUN.
fn may_be_a_check(datagram: &[u8]) -> bool {
    datagram.first().is_some_and(|first| STUN.contains(first) || CHANNEL_DATA.contains(first))
}

/// Host and port as the stack resolves them.
pub(crate) fn place(host: &str, port: u16) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

impl std::fmt::Debug for PacketFilter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PacketFilter").field("relay_only", &self.relay_only).finish_non_exhaustive()
    }
}
