//! The task that owns a session: it moves datagrams, time and calls into the [`Peer`] and sends what comes out.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::time::Instant;

use blink_api::{Candidate, Result, SessionEvent};
use blink_transport_kit::addresses;
use blink_transport_kit::events::EventSender;
use blink_transport_kit::sdp::Description;
use str0m::net::{Protocol, Receive};
use tokio::sync::mpsc;

use crate::gather::{Gathering, Servers};
use crate::peer::{Peer, Step};
use crate::rtp::Outgoing;
use crate::sockets::{Datagram, Sockets};

/// Larger than any datagram of WebRTC.
const LARGEST_DATAGRAM: usize = 2048;

/// A method of the session, run by its task.
pub(crate) type Call = Box<dyn FnOnce(&mut Driver) + Send>;

/// Owns a session.
pub(crate) struct Driver {
    pub(crate) peer: Peer,
    sockets: Sockets,
    servers: Servers,
    interfaces: Vec<String>,
    has_gathered: bool,
    lookup: Option<Pin<Box<dyn Future<Output = Vec<SocketAddr>> + Send>>>,
    gathering: Option<Gathering>,
    is_closing: bool,
}

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
    ServersFound(Vec<SocketAddr>),
    Timeout,
}

impl Driver {
    pub(crate) fn new(peer: Peer, sockets: Sockets, servers: Servers, interfaces: Vec<String>) -> Self {
        Self {
            peer,
            sockets,
            servers,
            interfaces,
            has_gathered: false,
            lookup: None,
            gathering: None,
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
                let gathering = Gathering::begin(self.peer.clock.now(), self.sockets.locals(), servers);
                self.gathering = Some(gathering);
            }
            Input::Timeout => {
                if let Some(gathering) = &mut self.gathering {
                    gathering.handle_timeout(self.peer.clock.now());
                }
                self.peer.handle_timeout();
            }
        }
        self.handle_gathering();
    }

    fn handle_datagram(&mut self, datagram: &Datagram, data: &[u8]) {
        let Datagram { local, source, .. } = *datagram;
        let now = self.peer.clock.now();
        if self.gathering.as_mut().is_some_and(|gathering| gathering.handle_datagram(now, local, source, data)) {
            return;
        }
        if let Ok(datagram) = Receive::new(Protocol::Udp, source, local, data) {
            self.peer.handle_datagram(datagram);
        }
    }

    /// Sends everything there is to send and returns when to come back at the latest.
    async fn drain(&mut self) -> Instant {
        let mut deadline = loop {
            match self.peer.poll() {
                Step::Send(datagram) => {
                    self.sockets.send(datagram.source, datagram.destination, &datagram.contents).await;
                }
                Step::WaitUntil(deadline) => break deadline,
            }
        };
        if let Some(gathering) = &mut self.gathering {
            while let Some(request) = gathering.poll_request() {
                self.sockets.send(request.local, request.server, &request.datagram).await;
            }
            deadline = deadline.min(gathering.poll_timeout());
        }
        deadline
    }

    /// Ends the DTLS connection, so that the other side need not wait for its timeout.
    async fn say_goodbye(&mut self) {
        if let Err(error) = self.peer.rtc.close() {
            tracing::debug!(%error, "str0m");
        }
        self.drain().await;
    }

    pub(crate) fn close(&mut self) {
        self.is_closing = true;
    }

    pub(crate) fn create_offer(&mut self, ice_restart: bool) -> Result<String> {
        self.peer.check_offer(ice_restart)?;
        self.gather(ice_restart)?;
        self.peer.create_offer(ice_restart)
    }

    pub(crate) fn accept_offer(&mut self, sdp: &str) -> Result<String> {
        let mut description = Description::parse(sdp)?;
        description.check_audio(&self.peer.codecs.audio)?;
        description.refuse_video(&self.peer.codecs.video);
        let is_restart = self.peer.remote_user.as_ref().is_some_and(|user| *user != description.ice_user);
        self.gather(is_restart)?;
        self.peer.accept_offer(sdp, &description)
    }

    pub(crate) fn accept_answer(&mut self, sdp: &str) -> Result<()> {
        let description = Description::parse(sdp)?;
        description.check_audio(&self.peer.codecs.audio)?;
        self.peer.accept_answer(sdp, &description)
    }

    /// Gathers once, and again for each ICE restart. Host candidates are in the description that is made next; others follow as events.
    fn gather(&mut self, is_restart: bool) -> Result<()> {
        if self.has_gathered && !is_restart {
            return Ok(());
        }
        if self.has_gathered {
            for gone in self.sockets.follow(&addresses::usable(&self.interfaces)?) {
                if let Ok(candidate) = str0m::Candidate::host(gone, Protocol::Udp) {
                    self.peer.rtc.direct_api().invalidate_candidate(&candidate);
                }
            }
        }
        self.has_gathered = true;
        for local in self.sockets.locals() {
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

    fn handle_gathering(&mut self) {
        let Some(gathering) = &mut self.gathering else { return };
        while let Some((local, seen)) = gathering.poll_reflexive() {
            let Ok(candidate) = str0m::Candidate::server_reflexive(seen, local, Protocol::Udp) else { continue };
            if let Some(candidate) = self.peer.rtc.add_local_candidate(candidate) {
                let attribute = candidate.to_sdp_string();
                self.peer.events.send(SessionEvent::LocalCandidate(Candidate { attribute, mid: None }));
            }
        }
        if gathering.is_done() {
            self.gathering = None;
            self.peer.events.send(SessionEvent::CandidatesDone);
        }
    }
}

async fn lookup(lookup: &mut Option<Pin<Box<dyn Future<Output = Vec<SocketAddr>> + Send>>>) -> Vec<SocketAddr> {
    match lookup {
        Some(lookup) => lookup.await,
        None => std::future::pending().await,
    }
}
