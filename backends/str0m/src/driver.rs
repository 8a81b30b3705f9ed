//! The task that owns a session: it moves datagrams, time and calls into the [`Peer`] and sends what comes out.

use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::time::Instant;

use blink_api::{Candidate, HostCandidates, IceConfig, Result, SessionEvent};
use blink_transport_kit::addresses;
use blink_transport_kit::candidate::{self, Use};
use blink_transport_kit::disclosure::Disclosure;
use blink_transport_kit::events::EventSender;
use blink_transport_kit::names::Names;
use blink_transport_kit::sdp::Description;
use str0m::net::{Protocol, Receive, Transmit};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::gather::{self, Gatherer, Servers};
use crate::peer::{Peer, Step};
use crate::rtp::Outgoing;
use crate::sockets::{Datagram, Sockets};

/// Larger than any datagram of WebRTC.
const LARGEST_DATAGRAM: usize = 2048;

/// Names of a peer that are looked for at a time.
const MOST_NAMES: usize = 16;

/// A method of the session, run by its task.
pub(crate) type Call = Box<dyn FnOnce(&mut Driver) + Send>;

/// Owns a session.
pub(crate) struct Driver {
    pub(crate) peer: Peer,
    sockets: Sockets,
    servers: Servers,
    gatherer: Gatherer,
    ice: IceConfig,
    disclosure: Disclosure,
    /// With [`HostCandidates::Mdns`], from the first gathering on.
    names: Option<Names>,
    /// Remote candidates whose names are looked for.
    resolving: JoinSet<Option<Candidate>>,
    has_gathered: bool,
    lookup: Option<Lookup>,
    is_closing: bool,
}

/// Servers by their places in the configuration, with their addresses.
type Lookup = Pin<Box<dyn Future<Output = Vec<(usize, SocketAddr)>> + Send>>;

/// Where a driver's work comes from.
pub(crate) struct Inbox {
    pub(crate) calls: mpsc::Receiver<Call>,
    pub(crate) packets: mpsc::Receiver<Outgoing>,
}

/// One thing that happened.
enum Input {
    Call(Option<Call>),
    Outgoing(Outgoing),
    Datagram(Datagram),
    ServersFound(Vec<(usize, SocketAddr)>),
    Resolved(Option<Candidate>),
    Timeout,
}

impl Driver {
    pub(crate) fn new(peer: Peer, sockets: Sockets, servers: Servers, ice: IceConfig) -> Self {
        Self {
            peer,
            sockets,
            gatherer: Gatherer::new(servers.clone()),
            servers,
            disclosure: Disclosure::new(&ice),
            ice,
            names: None,
            resolving: JoinSet::new(),
            has_gathered: false,
            lookup: None,
            is_closing: false,
        }
    }

    /// Runs until the session is closed or dropped. The sockets are closed when it returns.
    pub(crate) async fn run(mut self, mut inbox: Inbox) -> EventSender {
        let mut buffer = vec![0; LARGEST_DATAGRAM];
        let events = self.peer.events.clone();
        let waiting = events.clone();
        let forward = waiting.forward();
        tokio::pin!(forward);
        while !self.is_closing {
            let deadline = self.drain().await;
            let now = self.peer.clock.now();
            let timeout = tokio::time::sleep(deadline.saturating_duration_since(now));
            // A reader that is far behind stops what its peer can cause, but neither calls nor timers.
            let takes_datagrams = !self.peer.events.is_behind();
            let input = tokio::select! {
                call = inbox.calls.recv() => Input::Call(call),
                Some(outgoing) = inbox.packets.recv() => Input::Outgoing(outgoing),
                datagram = self.sockets.receive(&mut buffer), if takes_datagrams => Input::Datagram(datagram),
                servers = lookup(&mut self.lookup), if self.lookup.is_some() => Input::ServersFound(servers),
                Some(resolved) = self.resolving.join_next() => Input::Resolved(resolved.ok().flatten()),
                () = timeout => Input::Timeout,
                () = &mut forward => unreachable!("forwarding ends with the task"),
            };
            self.handle(input, &buffer);
        }
        self.say_goodbye().await;
        events
    }

    fn handle(&mut self, input: Input, buffer: &[u8]) {
        match input {
            Input::Call(Some(call)) => call(self),
            // The session was dropped without being closed.
            Input::Call(None) => self.close(),
            Input::Outgoing(outgoing) => self.peer.handle_outgoing(outgoing),
            Input::Datagram(datagram) => self.handle_datagram(&datagram, &buffer[..datagram.length]),
            Input::ServersFound(servers) => {
                self.lookup = None;
                let locals: Vec<SocketAddr> = self.sockets.locals().collect();
                self.gatherer.begin(self.peer.clock.now(), &locals, &servers);
            }
            Input::Resolved(Some(candidate)) => {
                if let Err(error) = self.add_remote_candidate(&candidate) {
                    tracing::debug!(%error, "a name stands for nothing that can be checked");
                }
            }
            Input::Resolved(None) => {}
            Input::Timeout => {
                self.gatherer.handle_timeout(self.peer.clock.now());
                self.peer.handle_timeout();
            }
        }
    }

    fn handle_datagram(&mut self, datagram: &Datagram, data: &[u8]) {
        let Datagram { local, source, .. } = *datagram;
        let is_servers = self.gatherer.handle_datagram(self.peer.clock.now(), local, source, data);
        // With relays only, nobody who finds out an own address gets an answer from there.
        if is_servers || self.ice.relay_only {
            return;
        }
        if let Ok(datagram) = Receive::new(Protocol::Udp, source, local, data) {
            self.peer.handle_datagram(datagram);
        }
    }

    /// Sends everything there is to send and returns when to come back at the latest.
    async fn drain(&mut self) -> Instant {
        loop {
            let deadline = loop {
                match self.peer.poll() {
                    Step::Send(datagram) => self.send(&datagram).await,
                    Step::WaitUntil(deadline) => break deadline,
                }
            };
            // What comes through a relay may be answered.
            let Some(step) = self.gatherer.poll() else {
                return self.gatherer.poll_timeout().map_or(deadline, |timeout| deadline.min(timeout));
            };
            self.handle_gathering(step).await;
        }
    }

    async fn send(&mut self, datagram: &Transmit) {
        let (from, to) = (datagram.source, datagram.destination);
        let is_relayed = self.gatherer.send(self.peer.clock.now(), from, to, &datagram.contents);
        if !(is_relayed || self.ice.relay_only) {
            self.sockets.send(from, to, &datagram.contents).await;
        }
    }

    /// Ends the DTLS connection, so that the other side need not wait for its timeout.
    async fn say_goodbye(&mut self) {
        if let Err(error) = self.peer.rtc.close() {
            tracing::debug!(%error, "str0m");
        }
        self.drain().await;
        self.gatherer.close(self.peer.clock.now());
        self.drain().await;
    }

    pub(crate) fn close(&mut self) {
        self.is_closing = true;
    }

    pub(crate) fn create_offer(&mut self, ice_restart: bool) -> Result<String> {
        self.peer.check_offer(ice_restart)?;
        self.gather(ice_restart)?;
        Ok(self.disclosure.description(&self.peer.create_offer(ice_restart)?))
    }

    pub(crate) fn accept_offer(&mut self, sdp: &str) -> Result<String> {
        let (sdp, named) = candidate::without_names(sdp);
        let mut description = Description::parse(&sdp)?;
        description.check_audio(&self.peer.codecs.audio)?;
        description.refuse_video(&self.peer.codecs.video);
        let is_restart = self.peer.remote_user.as_ref().is_some_and(|user| *user != description.ice_user);
        self.gather(is_restart)?;
        let answer = self.peer.accept_offer(&sdp, &description)?;
        self.add_named(named);
        Ok(self.disclosure.description(&answer))
    }

    pub(crate) fn accept_answer(&mut self, sdp: &str) -> Result<()> {
        let (sdp, named) = candidate::without_names(sdp);
        let description = Description::parse(&sdp)?;
        description.check_audio(&self.peer.codecs.audio)?;
        self.peer.accept_answer(&sdp, &description)?;
        self.add_named(named);
        Ok(())
    }

    /// Takes a remote candidate; one with a name once that is resolved, which only those do who hide behind names themselves.
    pub(crate) fn add_remote_candidate(&mut self, candidate: &Candidate) -> Result<()> {
        match candidate::judge(&candidate.attribute)? {
            Use::Check => self.peer.add_candidate(candidate),
            Use::Resolve(name) if self.resolving.len() < MOST_NAMES => {
                if let Some(names) = &self.names {
                    let (resolved, candidate) = (names.resolve(&name), candidate.clone());
                    self.resolving.spawn(async move {
                        let attribute = candidate::with_address(&candidate.attribute, resolved.await?);
                        Some(Candidate { attribute, ..candidate })
                    });
                }
                Ok(())
            }
            Use::Resolve(_) | Use::Ignore => Ok(()),
        }
    }

    fn add_named(&mut self, candidates: Vec<String>) {
        for attribute in candidates {
            // They were found to be candidates before.
            if let Err(error) = self.add_remote_candidate(&Candidate { attribute, mid: None }) {
                tracing::debug!(%error, "a remote candidate is of no use");
            }
        }
    }

    /// Gathers once, and again for each ICE restart. Host candidates are in the description that is made next; others follow as events.
    fn gather(&mut self, is_restart: bool) -> Result<()> {
        if self.has_gathered && !is_restart {
            return Ok(());
        }
        if self.has_gathered {
            for gone in self.sockets.follow(&addresses::usable(&self.ice.interfaces)?) {
                if let Ok(candidate) = str0m::Candidate::host(gone, Protocol::Udp) {
                    self.peer.rtc.direct_api().invalidate_candidate(&candidate);
                }
            }
        }
        self.has_gathered = true;
        self.name_hosts();
        for local in self.sockets.locals().filter(|_| !self.ice.relay_only) {
            match str0m::Candidate::host(local, Protocol::Udp) {
                Ok(candidate) => drop(self.peer.rtc.add_local_candidate(candidate)),
                Err(error) => tracing::debug!(%error, "an address cannot be a candidate"),
            }
        }
        if self.servers.is_empty() {
            self.peer.events.send(SessionEvent::CandidatesDone);
        } else {
            self.lookup = Some(Box::pin(self.servers.clone().resolve()));
        }
        Ok(())
    }

    /// Hosts without names are not told.
    fn name_hosts(&mut self) {
        if self.ice.host_candidates != HostCandidates::Mdns || self.ice.relay_only {
            return;
        }
        let addresses: Vec<IpAddr> = self.sockets.locals().map(|local| local.ip()).collect();
        match Names::announce(&addresses) {
            Ok(names) => {
                self.disclosure.set_names(names.names().to_vec());
                self.names = Some(names);
            }
            Err(error) => tracing::warn!(%error, "host candidates cannot be named by multicast DNS, and are not told"),
        }
    }

    async fn handle_gathering(&mut self, step: gather::Step) {
        match step {
            gather::Step::Send { local, server, datagram } => self.sockets.send(local, server, &datagram).await,
            gather::Step::Reflexive { local, seen } => {
                self.add_candidate(str0m::Candidate::server_reflexive(seen, local, Protocol::Udp));
            }
            gather::Step::Relayed { local, relay } => {
                self.add_candidate(str0m::Candidate::relayed(relay, local, Protocol::Udp));
            }
            gather::Step::Data { relay, peer, data } => {
                if let Ok(datagram) = Receive::new(Protocol::Udp, peer, relay, &data) {
                    self.peer.handle_datagram(datagram);
                }
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

async fn lookup(lookup: &mut Option<Lookup>) -> Vec<(usize, SocketAddr)> {
    match lookup {
        Some(lookup) => lookup.await,
        None => std::future::pending().await,
    }
}
