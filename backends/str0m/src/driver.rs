//! A session with its sockets and servers: it moves datagrams and time into the [`Peer`] and sends
//! what comes out. It never waits.

mod gathering;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Instant;

use blink_api::{Candidate, IceConfig, Result, SessionEvent};
use blink_transport_kit::addresses::AddressSelector;
use blink_transport_kit::candidate::{self, Use};
use blink_transport_kit::check_budget::CheckBudget;
use blink_transport_kit::disclosure::Disclosure;
use blink_transport_kit::names::Names;
use blink_transport_kit::remote_candidates::RemoteCandidates;
use blink_transport_kit::sdp::{Description, Places};
use str0m::net::{Protocol, Transmit};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::gather::{self, Gatherer, Servers};
use crate::peer::{Peer, Step};
use crate::rtp::Outgoing;
use crate::sockets::{Datagram, Sockets};

/// Names of a peer that are looked for at a time.
const MOST_NAMES: usize = 16;
/// Datagrams that wait for room in a socket; what comes then is lost, as in the network.
const MOST_BLOCKED: usize = 512;
/// Datagrams that are taken before others have their turn.
const MOST_DATAGRAMS: usize = 32;
/// How often what is due already is done at once. A stack that always has more must let others have
/// their turn too.
const MOST_ROUNDS: usize = 4;

/// A method of the session.
pub(crate) type Call = Box<dyn FnOnce(&mut Driver) + Send>;

/// Owns what a session consists of.
pub(crate) struct Driver {
    pub(crate) peer: Peer,
    pub(crate) sockets: Sockets,
    addresses: AddressSelector,
    servers: Servers,
    gatherer: Gatherer,
    ice: IceConfig,
    disclosure: Disclosure,
    /// Media sections by their place, with those that the stack does not see.
    places: Places,
    remote: RemoteCandidates,
    checks: CheckBudget,
    /// With [`HostCandidates::Mdns`], from the first gathering on.
    names: Option<Names>,
    /// For names of the peer, and of servers; what comes of it goes to
    /// [`handle_found`](Self::handle_found).
    searches: JoinSet<()>,
    found: mpsc::UnboundedSender<Found>,
    /// Counts the times that servers were looked for.
    lookups: u32,
    /// Datagrams that their sockets had no room for, the oldest first.
    blocked: VecDeque<Blocked>,
    has_gathered: bool,
    /// When there is something to do without anything having happened.
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

/// A datagram that waits for room in its socket.
struct Blocked {
    local: SocketAddr,
    destination: SocketAddr,
    datagram: Vec<u8>,
}

/// What a search came to.
pub(crate) enum Found {
    /// Servers by their places in the configuration, with their addresses, and which lookup they
    /// are of.
    Servers(u32, Vec<(usize, SocketAddr)>),
    /// A remote candidate whose name stands for an address.
    Candidate(Candidate),
}

impl Driver {
    /// What searches come to goes to `found`, for each of them once.
    pub(crate) fn new(peer: Peer, network: Network, ice: IceConfig, found: mpsc::UnboundedSender<Found>) -> Self {
        let Network { sockets, servers, addresses, checks } = network;
        Self {
            due: peer.clock.now(),
            peer,
            sockets,
            addresses,
            gatherer: Gatherer::new(servers.clone()),
            servers,
            disclosure: Disclosure::new(&ice),
            places: Places::default(),
            remote: RemoteCandidates::new(&[]),
            checks,
            ice,
            names: None,
            searches: JoinSet::new(),
            found,
            lookups: 0,
            blocked: VecDeque::new(),
            has_gathered: false,
            is_closing: false,
        }
    }

    /// Sends a packet or message.
    pub(crate) fn send(&mut self, outgoing: Outgoing) {
        self.peer.handle_outgoing(outgoing);
        // What was written the stack sends with the next timeout.
        self.peer.handle_timeout();
        self.drain();
    }

    /// Does what is due. Returns when there will be more.
    pub(crate) fn go_on(&mut self) -> Instant {
        self.unblock();
        for _ in 0..MOST_ROUNDS {
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

    /// Takes the datagrams that wait.
    pub(crate) fn receive(&mut self, buffer: &mut [u8]) {
        for _ in 0..MOST_DATAGRAMS {
            // A reader that is far behind stops what its peer can cause.
            if self.peer.events.is_behind() {
                return;
            }
            let Some(datagram) = self.sockets.try_receive(buffer) else { return };
            self.handle_datagram(&datagram, &buffer[..datagram.length]);
            self.drain();
        }
    }

    pub(crate) fn handle_found(&mut self, found: Found) {
        match found {
            // Who looked again wants only what comes of that.
            Found::Servers(lookup, _) if lookup != self.lookups => {}
            Found::Servers(_, servers) => {
                let locals: Vec<SocketAddr> = self.sockets.locals().collect();
                self.gatherer.begin(self.peer.clock.now(), &locals, &servers);
            }
            Found::Candidate(candidate) => {
                // Its address is judged as that of any other candidate.
                let used = self.remote.admit(&candidate.attribute);
                if let Err(error) = used.and_then(|usable| self.use_candidate(&candidate, usable)) {
                    tracing::debug!(%error, "a name stands for nothing that can be checked");
                }
            }
        }
        self.drain();
    }

    fn handle_datagram(&mut self, datagram: &Datagram, data: &[u8]) {
        let Datagram { local, source, .. } = *datagram;
        let is_servers = self.gatherer.handle_datagram(self.peer.clock.now(), local, source, data);
        // With relays only, nobody who finds out an own address gets an answer from there.
        if is_servers || self.ice.relay_only {
            return;
        }
        self.checks.received(source, data);
        self.peer.handle_datagram(source, local, data);
    }

    /// Sends everything there is to send after something happened.
    fn drain(&mut self) {
        loop {
            let deadline = loop {
                match self.peer.poll() {
                    Step::Send(datagram) => self.transmit(&datagram),
                    Step::WaitUntil(deadline) => break deadline,
                }
            };
            // What comes through a relay may be answered.
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

    /// Puts a datagram into a socket. It waits where there is no room, behind those that wait
    /// already.
    fn put(&mut self, local: SocketAddr, destination: SocketAddr, datagram: &[u8]) {
        if (!self.blocked.is_empty() || !self.sockets.send(local, destination, datagram))
            && self.blocked.len() < MOST_BLOCKED
        {
            self.blocked.push_back(Blocked { local, destination, datagram: datagram.to_vec() });
        }
    }

    /// Goes on with what waited for room.
    fn unblock(&mut self) {
        while let Some(Blocked { local, destination, datagram }) = self.blocked.front() {
            if !self.sockets.send(*local, *destination, datagram) {
                return;
            }
            self.blocked.pop_front();
        }
    }

    /// The local address whose socket must have room before more can be sent.
    pub(crate) fn blocked(&self) -> Option<SocketAddr> {
        self.blocked.front().map(|blocked| blocked.local)
    }

    /// Ends the DTLS connection, so that the other side need not wait for its timeout.
    pub(crate) fn say_goodbye(&mut self) {
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
        let (offer, places) = self.places.restore(&self.peer.create_offer(ice_restart)?);
        self.places = places;
        Ok(self.disclosure.description(&offer))
    }

    pub(crate) fn accept_offer(&mut self, sdp: &str) -> Result<String> {
        // Work on copies: only an accepted description may begin a generation.
        let (shown, places) = self.places.show(sdp)?;
        let mut description = Description::parse(&shown)?;
        description.check_audio(&self.peer.codecs.audio)?;
        description.refuse_video(&self.peer.codecs.video);
        let is_restart = self.peer.remote_user.as_ref().is_some_and(|user| *user != description.ice_user);
        self.gather(is_restart);
        let mut remote = self.remote.clone();
        let admitted = remote.description(&shown);
        let (answer, places) = places.restore(&self.peer.accept_offer(&admitted.sdp, &description)?);
        self.places = places;
        self.remote = remote;
        self.add_admitted(admitted.candidates);
        Ok(self.disclosure.description(&answer))
    }

    pub(crate) fn accept_answer(&mut self, sdp: &str) -> Result<()> {
        let (shown, places) = self.places.show(sdp)?;
        let description = Description::parse(&shown)?;
        description.check_audio(&self.peer.codecs.audio)?;
        let mut remote = self.remote.clone();
        let admitted = remote.description(&shown);
        self.peer.accept_answer(&admitted.sdp, &description)?;
        self.places = places;
        self.remote = remote;
        self.add_admitted(admitted.candidates);
        Ok(())
    }

    /// Takes a trickled remote candidate.
    pub(crate) fn add_remote_candidate(&mut self, candidate: &Candidate) -> Result<()> {
        let usable = self.remote.trickle(candidate)?;
        self.use_candidate(candidate, usable)
    }

    fn add_admitted(&mut self, candidates: Vec<(Candidate, Use)>) {
        for (candidate, usable) in candidates {
            // They were found to be candidates before.
            if let Err(error) = self.use_candidate(&candidate, usable) {
                tracing::debug!(%error, "a remote candidate is of no use");
            }
        }
    }

    /// Has a candidate checked; one with a name once that is resolved, which only those do who hide
    /// behind names themselves.
    fn use_candidate(&mut self, candidate: &Candidate, usable: Use) -> Result<()> {
        match usable {
            Use::Check => self.peer.add_candidate(candidate),
            Use::Resolve(name) => {
                while self.searches.try_join_next().is_some() {}
                if let Some(names) = self.names.as_ref().filter(|_| self.searches.len() < MOST_NAMES) {
                    let (resolved, candidate) = (names.resolve(&name), candidate.clone());
                    self.search(async move {
                        let attribute = candidate::with_address(&candidate.attribute, resolved.await?);
                        Some(Found::Candidate(Candidate { attribute, ..candidate }))
                    });
                }
                Ok(())
            }
            Use::Ignore => Ok(()),
        }
    }

    fn search(&mut self, search: impl Future<Output = Option<Found>> + Send + 'static) {
        let found = self.found.clone();
        self.searches.spawn(async move {
            if let Some(outcome) = search.await {
                // A session that is over needs nothing more.
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
            Err(error) => return tracing::debug!(%error, "a server's address cannot be a candidate"),
        };
        let added = self.peer.rtc.add_local_candidate(candidate).map(str0m::Candidate::to_sdp_string);
        if let Some(attribute) = added.and_then(|attribute| self.disclosure.candidate(&attribute)) {
            self.peer.events.send(SessionEvent::LocalCandidate(Candidate { attribute, mid: None }));
        }
    }
}
