//! Rules for what passes between a connection's sockets and the network, which the stack does not
//! have.
//!
//! * Servers are watched: the stack neither tells why one gave no relay nor that one does not
//!   answer.
//! * With `ice.relay_only` nothing goes elsewhere than to servers, or comes from elsewhere.
//! * ICE checks are paced and bounded ([`Checks`]).
//! * What is not STUN comes from addresses that ICE has checked. The stack takes it from everywhere
//!   once it has a path, and a single ClientHello of a stranger disturbs its handshake.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use blink_api::{Error, IceConfig, Result};
use blink_transport_kit::check_budget::{CheckBudget, has_integrity};
use blink_transport_kit::servers::{Failure, Method, Refusal, Server};
use rtc::stun::attributes::ATTR_USERNAME;
use rtc::stun::message::Message;

use crate::checks::{Check, Checks, Route, Verdict};
use crate::relayed::{self, CHANNEL_DATA, Relayed};

/// Binding requests, and success responses to them (RFC 8489 §6.3.3) and to Allocate requests (RFC
/// 8656 §7.3).
pub(crate) const BINDING: [u8; 2] = [0x00, 0x01];
const SEEN: [u8; 2] = [0x01, 0x01];
const ALLOCATED: [u8; 2] = [0x01, 0x03];
const BINDING_REFUSED: [u8; 2] = [0x01, 0x11];
/// The first bytes of STUN (RFC 7983 §7).
const STUN: std::ops::RangeInclusive<u8> = 0..=3;

/// A connection's servers and what is known of them, and its checks.
pub(crate) struct Guard {
    pub(crate) servers: Vec<Server>,
    relay_only: bool,
    answers: Mutex<Answers>,
    paths: Mutex<Paths>,
}

struct Paths {
    checks: Checks,
    budget: CheckBudget,
    relayed: Relayed,
}

#[derive(Default)]
struct Answers {
    /// Addresses of names, as they were looked up.
    addresses: HashMap<String, Vec<SocketAddr>>,
    /// What the newest answers of addresses were.
    newest: HashMap<SocketAddr, Answer>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Answer {
    has_seen: bool,
    has_allocated: bool,
    refused: Option<u16>,
}

impl Guard {
    /// # Errors
    /// [`Invalid`](blink_api::ErrorKind::Invalid) for text that names no server.
    pub(crate) fn new(ice: &IceConfig, budget: CheckBudget) -> Result<Self> {
        let mut servers = ice.servers.iter().map(Server::parse).collect::<Result<Vec<_>>>()?;
        servers.retain(|server| server.account.is_some() || !ice.relay_only);
        let paths = Paths { checks: Checks::new(Instant::now()), budget, relayed: Relayed::default() };
        Ok(Self { servers, relay_only: ice.relay_only, answers: Mutex::default(), paths: Mutex::new(paths) })
    }

    /// Gathering begins: answers from before count no more.
    pub(crate) fn begin(&self) {
        self.answers().newest.clear();
    }

    /// A server's name was looked up.
    pub(crate) fn found(&self, host: &str, addresses: &[SocketAddr]) {
        self.answers().addresses.insert(host.to_owned(), addresses.to_vec());
    }

    /// The servers that gave nothing of what they are there for, and why.
    pub(crate) fn failures(&self) -> Vec<(String, Error)> {
        let answers = self.answers();
        let failure = |server: &Server| {
            let addresses = answers.addresses.get(&place(&server.host, server.port));
            let Some(addresses) = addresses.filter(|addresses| !addresses.is_empty()) else {
                return Some(Failure::Unknown);
            };
            let newest: Vec<Answer> =
                addresses.iter().filter_map(|address| answers.newest.get(address)).copied().collect();
            let has_given =
                |answer: &Answer| if server.account.is_some() { answer.has_allocated } else { answer.has_seen };
            if newest.iter().any(has_given) {
                return None;
            }
            let refused = newest.iter().find_map(|answer| answer.refused);
            Some(refused.map_or(Failure::Silent, Failure::Refused))
        };
        let failed = self.servers.iter().filter_map(|server| Some((server, failure(server)?)));
        failed.map(|(server, failure)| (server.url.clone(), server.failed(failure))).collect()
    }

    /// Whether there are rules for a datagram of the stack.
    pub(crate) fn concerns(&self, datagram: &[u8]) -> bool {
        self.relay_only || may_be_a_check(datagram)
    }

    /// Whether a datagram may go out. Call [`handle_sent`](Self::handle_sent) once it has.
    pub(crate) fn lets_out(&self, now: Instant, local: SocketAddr, to: SocketAddr, datagram: &[u8]) -> bool {
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
            Sent::Answer(_) | Sent::Other => true,
        }
    }

    /// A datagram that was let out has been sent.
    pub(crate) fn handle_sent(&self, now: Instant, local: SocketAddr, to: SocketAddr, datagram: &[u8]) {
        if !may_be_a_check(datagram) {
            return;
        }
        let is_server = self.is_server(to);
        let mut paths = self.paths();
        match paths.sent(local, to, is_server, datagram) {
            Sent::Check(route, check) => paths.checks.handle_check(now, route, &check),
            Sent::Answer(route) => paths.checks.handle_request(now, route),
            Sent::Other if is_server => paths.relayed.handle_sent(local, to, datagram),
            Sent::Other => {}
        }
    }

    /// Whether a datagram that came is for the stack.
    pub(crate) fn lets_in(&self, now: Instant, local: SocketAddr, from: SocketAddr, datagram: &[u8]) -> bool {
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
            return paths.lets_in(now, route, &data);
        }
        let is_turns = datagram.first().is_some_and(|first| STUN.contains(first) || CHANNEL_DATA.contains(first));
        (is_server && is_turns) || paths.lets_in(now, Route { local, relay: None, remote: from }, datagram)
    }

    fn is_server(&self, address: SocketAddr) -> bool {
        !self.servers.is_empty() && self.answers().addresses.values().any(|known| known.contains(&address))
    }

    fn watch(&self, from: SocketAddr, datagram: &[u8]) {
        let Some(kind) = datagram.first_chunk().copied() else { return };
        let refusal = Refusal::parse(datagram).filter(|refusal| refusal.method == Method::Allocate);
        if kind != SEEN && kind != ALLOCATED && refusal.is_none() {
            return;
        }
        let mut answers = self.answers();
        let answer = answers.newest.entry(from).or_default();
        answer.has_seen |= kind == SEEN;
        answer.has_allocated |= kind == ALLOCATED;
        // The first request is refused to tell what the second must have (401); what counts is the
        // newest.
        answer.refused = refusal.map(|refusal| refusal.code).or(answer.refused);
    }

    fn answers(&self) -> MutexGuard<'_, Answers> {
        self.answers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn paths(&self) -> MutexGuard<'_, Paths> {
        self.paths.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A datagram of the stack, as far as checks are concerned.
enum Sent {
    Check(Route, Check),
    /// It answers a check of the peer, which it found to be in order.
    Answer(Route),
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
            Some(&SEEN) => Sent::Answer(route),
            // What servers are asked for the own address has no user name.
            Some(&BINDING) => match relayed::decode(data).and_then(check) {
                Some(check) => Sent::Check(route, check),
                None => Sent::Other,
            },
            _ => Sent::Other,
        }
    }

    fn admits(&mut self, now: Instant, route: Route, check: &Check) -> bool {
        match self.checks.judge(now, route, check) {
            Verdict::Unanswered => self.budget.allows(now, route.remote, &check.datagram),
            Verdict::Free => true,
            Verdict::Dropped => false,
        }
    }

    fn lets_in(&mut self, now: Instant, route: Route, datagram: &[u8]) -> bool {
        self.budget.received(route.remote, datagram);
        match datagram.first_chunk() {
            Some(&(BINDING | BINDING_REFUSED)) => true,
            Some(&SEEN) => {
                // One without integrity is a server's, which answers anybody: the stack ignores it.
                if has_integrity(datagram)
                    && let Some(answer) = relayed::decode(datagram)
                {
                    self.checks.handle_response(now, route, answer.transaction_id);
                }
                true
            }
            // Other methods of STUN, and channels, are the servers'.
            Some([first, _]) if STUN.contains(first) || CHANNEL_DATA.contains(first) => false,
            _ => self.checks.is_checked(route.remote),
        }
    }
}

fn check(message: Message) -> Option<Check> {
    let (transaction, user) = (message.transaction_id, message.get(ATTR_USERNAME).ok()?);
    Some(Check { transaction, user, datagram: message.raw })
}

/// Whether it is STUN, or may have STUN in it.
fn may_be_a_check(datagram: &[u8]) -> bool {
    datagram.first().is_some_and(|first| STUN.contains(first) || CHANNEL_DATA.contains(first))
}

/// A server as its name is looked up.
pub(crate) fn place(host: &str, port: u16) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

impl std::fmt::Debug for Guard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Guard").field("relay_only", &self.relay_only).finish_non_exhaustive()
    }
}
