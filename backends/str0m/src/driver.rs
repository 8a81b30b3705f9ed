//! Driver of a session: moves datagrams and time between the sockets, the servers and the [`Peer`],
//! without blocking.

mod gathering;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Instant;

use blink_api::{Candidate, IceConfig, Result, SessionEvent};
use blink_transport_kit::addresses::AddressSelector;
use blink_transport_kit::candidate::{self, CandidateUse};
use blink_transport_kit::check_budget::CheckBudget;
use blink_transport_kit::local_candidate_filter::LocalCandidateFilter;
use blink_transport_kit::mdns::MdnsResponder;
use blink_transport_kit::remote_candidate_filter::RemoteCandidateFilter;
use blink_transport_kit::sdp::{Description, SectionMap};
use str0m::net::{Protocol, Transmit};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::gather::{self, Gatherer, Servers};
use crate::peer::{Peer, Step};
use crate::rtp::Outgoing;
use crate::sockets::{Datagram, Sockets};

/// Limit of concurrent lookups of mDNS names.
const MAX_LOOKUPS: usize = 16;
/// Limit of datagrams queued for a full socket; further ones are dropped, as by the network.
const MAX_BLOCKED: usize = 512;
/// Datagrams received before other inputs are handled.
const MAX_DATAGRAMS: usize = 32;
/// Rounds of due work before other inputs are handled, in case the stack is always due.
const MAX_ROUNDS: usize = 4;

/// Session method that runs on the driver.
pub(crate) type Call = Box<dyn FnOnce(&mut Driver) + Send>;

/// State of a session.
pub(crate) struct Driver {
    pub(crate) peer: Peer,
    pub(crate) sockets: Sockets,
    addresses: AddressSelector,
    servers: Servers,
    gatherer: Gatherer,
    ice: IceConfig,
    local_candidate_filter: LocalCandidateFilter,
    /// Media sections by index, including those hidden from the stack.
    section_map: SectionMap,
    remote: RemoteCandidateFilter,
    checks: CheckBudget,
    /// mDNS responder with [`HostCandidates::Mdns`], created at the first gathering.
    names: Option<MdnsResponder>,
    /// Lookups of mDNS names and of servers, whose results go to
    /// [`handle_resolved`](Self::handle_found).
    lookup_tasks: JoinSet<()>,
    found: mpsc::UnboundedSender<Resolved>,
    /// Number of server lookups started.
    server_lookups: u32,
    /// Datagrams that their sockets had no buffer space for, the oldest first.
    blocked: VecDeque<Blocked>,
    has_gathered: bool,
    /// Time of the next scheduled work.
    due: Instant,
    pub(crate) is_closing: bool,
}

/// Network resources of a session.
pub(crate) struct Network {
    pub(crate) sockets: Sockets,
    pub(crate) servers: Servers,
    pub(crate) addresses: AddressSelector,
    pub(crate) checks: CheckBudget,
}

/// Datagram queued for a full socket.
struct Blocked {
    local: SocketAddr,
    destination: SocketAddr,
    datagram: Vec<u8>,
}

/// Result of a lookup.
pub(crate) enum Resolved {
    /// Server addresses by configuration index, with the number of the lookup.
    Servers(u32, Vec<(usize, SocketAddr)>),
    /// Remote candidate whose mDNS name was resolved.
    Candidate(Candidate),
}

impl Driver {
    /// Creates the driver. Results of lookups go to `found`.
    pub(crate) fn new(peer: Peer, network: Network, ice: IceConfig, found: mpsc::UnboundedSender<Resolved>) -> Self {
        let Network { sockets, servers, addresses, checks } = network;
        Self {
            due: peer.clock.now(),
            peer,
            sockets,
            addresses,
            gatherer: Gatherer::new(servers.clone()),
            servers,
            local_candidate_filter: LocalCandidateFilter::new(&ice),
            section_map: SectionMap::default(),
            remote: RemoteCandidateFilter::new(&[]),
            checks,
            ice,
            names: None,
            lookup_tasks: JoinSet::new(),
            found,
            server_lookups: 0,
            blocked: VecDeque::new(),
            has_gathered: false,
            is_closing: false,
        }
    }

    /// Sends a packet or message.
    pub(crate) fn send(&mut self, outgoing: Outgoing) {
        self.peer.handle_outgoing(outgoing);
        // str0m transmits written packets at the next timeout.
        self.peer.handle_timeout();
        self.drain();
    }

    /// Does due work; returns the time of the next.
    pub(crate) fn advance(&mut self) -> Instant {
        self.unblock();
        for _ in 0..MAX_ROUNDS {
            let now = self.peer.clock.now();
            if self.due > now {
                break;
            }
            self.gatherer.handle_timeout(now);
            self.peer.handle_timeout();
            self.drain();
        }
        self.due
    }

    /// Runs a method of the session.
    pub(crate) fn handle_call(&mut self, call: Call) {
        call(self);
        self.drain();
    }

    /// Receives available datagrams.
    pub(crate) fn receive(&mut self, buffer: &mut [u8]) {
        for _ in 0..MAX_DATAGRAMS {
            // Backpressure: a slow reader stops what its peer can cause.
            if self.peer.events.is_behind() {
                return;
            }
            let Some(datagram) = self.sockets.try_receive(buffer) else { return };
            self.handle_datagram(&datagram, &buffer[..datagram.length]);
            self.drain();
        }
    }

    pub(crate) fn handle_resolved(&mut self, found: Resolved) {
        match found {
            // A newer lookup supersedes the result.
            Resolved::Servers(lookup, _) if lookup != self.server_lookups => {}
            Resolved::Servers(_, servers) => {
                let locals: Vec<SocketAddr> = self.sockets.locals().collect();
                self.gatherer.begin(self.peer.clock.now(), &locals, &servers);
            }
            Resolved::Candidate(candidate) => {
                // The resolved address is filtered like any other candidate.
                let used = self.remote.admit(&candidate.attribute);
                if let Err(error) = used.and_then(|usable| self.use_candidate(&candidate, usable)) {
                    tracing::debug!(%error, "resolved candidate ignored");
                }
            }
        }
        self.drain();
    }

    fn handle_datagram(&mut self, datagram: &Datagram, data: &[u8]) {
        let Datagram { local, source, .. } = *datagram;
        let is_servers = self.gatherer.handle_datagram(self.peer.clock.now(), local, source, data);
        // With relay_only, a peer that learned a local address gets no response from it.
        if is_servers || self.ice.relay_only {
            return;
        }
        self.checks.received(source, data);
        self.peer.handle_datagram(source, local, data);
    }

    /// Sends all output of the stack and the servers.
    fn drain(&mut self) {
        loop {
            let deadline = loop {
                match self.peer.poll() {
                    Step::Send(datagram) => self.transmit(&datagram),
                    Step::WaitUntil(deadline) => break deadline,
                }
            };
            // Data from a relay may cause further output of the stack.
            let Some(step) = self.gatherer.poll() else {
                self.due = self.gatherer.poll_timeout().map_or(deadline, |timeout| deadline.min(timeout));
                return;
            };
            self.handle_gathering(step);
        }
    }

    fn transmit(&mut self, datagram: &Transmit) {
        let (from, to) = (datagram.source, datagram.destination);
        let now = self.peer.clock.now();
        if !self.checks.allows(now, to, &datagram.contents) {
            return;
        }
        let is_relayed = self.gatherer.send(now, from, to, &datagram.contents);
        if !(is_relayed || self.ice.relay_only) {
            self.put(from, to, &datagram.contents);
        }
    }

    /// Sends a datagram, or queues it if the socket is full or others are queued already.
    fn put(&mut self, local: SocketAddr, destination: SocketAddr, datagram: &[u8]) {
        if (!self.blocked.is_empty() || !self.sockets.send(local, destination, datagram))
            && self.blocked.len() < MAX_BLOCKED
        {
            self.blocked.push_back(Blocked { local, destination, datagram: datagram.to_vec() });
        }
    }

    /// Sends queued datagrams.
    fn unblock(&mut self) {
        while let Some(Blocked { local, destination, datagram }) = self.blocked.front() {
            if !self.sockets.send(*local, *destination, datagram) {
                return;
            }
            self.blocked.pop_front();
        }
    }

    /// Local address of the full socket, if datagrams are queued.
    pub(crate) fn blocked(&self) -> Option<SocketAddr> {
        self.blocked.front().map(|blocked| blocked.local)
    }

    /// Closes the DTLS connection, so that the peer need not wait for its timeout, and the relays.
    pub(crate) fn shut_down(&mut self) {
        if let Err(error) = self.peer.rtc.close() {
            tracing::debug!(%error, "str0m");
        }
        self.drain();
        self.gatherer.close(self.peer.clock.now());
        self.drain();
    }

    pub(crate) fn close(&mut self) {
        self.is_closing = true;
    }

    pub(crate) fn create_offer(&mut self, ice_restart: bool) -> Result<String> {
        self.peer.check_offer(ice_restart)?;
        self.gather(ice_restart);
        let (offer, section_map) = self.section_map.to_peer(&self.peer.create_offer(ice_restart)?);
        self.section_map = section_map;
        Ok(self.local_candidate_filter.description(&offer))
    }

    pub(crate) fn accept_offer(&mut self, sdp: &str) -> Result<String> {
        // Filter copies: only an accepted description may start a new generation.
        let (shown, section_map) = self.section_map.to_stack(sdp)?;
        let mut description = Description::parse(&shown)?;
        description.check_audio(&self.peer.codecs.audio)?;
        description.reject_video(&self.peer.codecs.video);
        let is_restart = self.peer.remote_ufrag.as_ref().is_some_and(|user| *user != description.ice_ufrag);
        self.gather(is_restart);
        let mut remote = self.remote.clone();
        let admitted = remote.description(&shown);
        let (answer, section_map) = section_map.to_peer(&self.peer.accept_offer(&admitted.sdp, &description)?);
        self.section_map = section_map;
        self.remote = remote;
        self.peer.note_relays(candidate::relays_in(&admitted.sdp));
        self.add_admitted(admitted.candidates);
        Ok(self.local_candidate_filter.description(&answer))
    }

    pub(crate) fn accept_answer(&mut self, sdp: &str) -> Result<()> {
        let (shown, section_map) = self.section_map.to_stack(sdp)?;
        let description = Description::parse(&shown)?;
        description.check_audio(&self.peer.codecs.audio)?;
        let mut remote = self.remote.clone();
        let admitted = remote.description(&shown);
        self.peer.accept_answer(&admitted.sdp, &description)?;
        self.section_map = section_map;
        self.remote = remote;
        self.peer.note_relays(candidate::relays_in(&admitted.sdp));
        self.add_admitted(admitted.candidates);
        Ok(())
    }

    /// Adds a trickled remote candidate.
    pub(crate) fn add_remote_candidate(&mut self, candidate: &Candidate) -> Result<()> {
        let usable = self.remote.trickle(candidate)?;
        self.use_candidate(candidate, usable)
    }

    fn add_admitted(&mut self, candidates: Vec<(Candidate, CandidateUse)>) {
        for (candidate, usable) in candidates {
            // They were validated before.
            if let Err(error) = self.use_candidate(&candidate, usable) {
                tracing::debug!(%error, "remote candidate ignored");
            }
        }
    }

    /// Passes a candidate to ICE; one with an mDNS name once it is resolved. Names are resolved
    /// only if the local side uses mDNS too.
    fn use_candidate(&mut self, candidate: &Candidate, usable: CandidateUse) -> Result<()> {
        match usable {
            CandidateUse::Check => self.peer.add_candidate(candidate),
            CandidateUse::Resolve(name) => {
                while self.lookup_tasks.try_join_next().is_some() {}
                if let Some(names) = self.names.as_ref().filter(|_| self.lookup_tasks.len() < MAX_LOOKUPS) {
                    let (resolved, candidate) = (names.resolve(&name), candidate.clone());
                    self.spawn_lookup(async move {
                        let attribute = candidate::with_address(&candidate.attribute, resolved.await?);
                        Some(Resolved::Candidate(Candidate { attribute, ..candidate }))
                    });
                }
                Ok(())
            }
            CandidateUse::Ignore => Ok(()),
        }
    }

    fn spawn_lookup(&mut self, lookup: impl Future<Output = Option<Resolved>> + Send + 'static) {
        let found = self.found.clone();
        self.lookup_tasks.spawn(async move {
            if let Some(outcome) = lookup.await {
                // The receiver is gone when the session has ended.
                found.send(outcome).ok();
            }
        });
    }

    fn handle_gathering(&mut self, step: gather::Step) {
        match step {
            gather::Step::Send { local, server, datagram } => self.put(local, server, &datagram),
            gather::Step::Reflexive { local, seen } => {
                self.add_candidate(str0m::Candidate::server_reflexive(seen, local, Protocol::Udp));
            }
            gather::Step::Relayed { local, relay } => {
                self.peer.relays.insert(relay);
                self.add_candidate(str0m::Candidate::relayed(relay, local, Protocol::Udp));
            }
            gather::Step::Data { relay, peer, data } => {
                self.checks.received(peer, &data);
                self.peer.handle_datagram(peer, relay, &data);
            }
            gather::Step::Done(failed) => {
                for (url, error) in failed {
                    self.peer.events.send(SessionEvent::ServerFailed { url, error: error.backend(crate::NAME) });
                }
                self.peer.events.send(SessionEvent::CandidatesDone);
            }
        }
    }

    fn add_candidate(&mut self, candidate: Result<str0m::Candidate, str0m::error::IceError>) {
        let candidate = match candidate {
            Ok(candidate) => candidate,
            Err(error) => return tracing::debug!(%error, "invalid candidate from a server"),
        };
        let added = self.peer.rtc.add_local_candidate(candidate).map(str0m::Candidate::to_sdp_string);
        if let Some(attribute) = added.and_then(|attribute| self.local_candidate_filter.candidate(&attribute)) {
            self.peer.events.send(SessionEvent::LocalCandidate(Candidate { attribute, mid: None }));
        }
    }
}
