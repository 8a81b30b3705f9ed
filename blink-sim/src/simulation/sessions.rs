//! Transport sessions between nodes, and the paths they run over, on the virtual clock.
//!
//! Data channels are reliable and in order (RFC 8831): a message that is sent while no packet
//! passes arrives once packets do.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::{Duration, Instant};

use blink_api::FailureReason;
use blink_proto::call::{Negotiation, SessionId, SessionInput};
use blink_proto::wire::ChannelMessage;

/// Duration of ICE and DTLS.
const HANDSHAKE: Duration = Duration::from_millis(15);
/// Pause after a failed attempt to connect.
const RETRY: Duration = Duration::from_millis(50);
/// Messages that a data channel buffers while no packet passes. More are dropped.
const MAX_HELD: usize = 1_000;

type Key = (usize, SessionId);

/// Node and session that an event belongs to, and the event.
pub(super) type Report = (usize, SessionId, SessionInput);

/// Transport sessions of all nodes, and the paths between them.
pub struct SessionPaths {
    /// Interval at which received packets are reported.
    pub traffic: Duration,
    sessions: BTreeMap<Key, Session>,
    /// Pairs of nodes, the lesser one first, between which no packet passes.
    pub cut: BTreeSet<(usize, usize)>,
    /// Nodes whose sessions fail to answer an offer.
    pub broken: BTreeSet<usize>,
    /// Nodes whose transport opens no session.
    pub closed: BTreeSet<usize>,
}

impl fmt::Debug for SessionPaths {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionPaths").finish_non_exhaustive()
    }
}

impl Default for SessionPaths {
    fn default() -> Self {
        let traffic = Duration::from_millis(100);
        Self {
            traffic,
            sessions: BTreeMap::new(),
            cut: BTreeSet::new(),
            broken: BTreeSet::new(),
            closed: BTreeSet::new(),
        }
    }
}

struct Session {
    /// `None` for an endpoint that is no node.
    remote: Option<usize>,
    peer: Option<SessionId>,
    described: bool,
    remote_candidates: usize,
    connect_at: Option<Instant>,
    connected: bool,
    traffic_at: Instant,
    /// Messages sent while no packet passed.
    held: Vec<ChannelMessage>,
}

impl SessionPaths {
    /// Opens a session. Returns the failure of a node that opens none.
    pub(super) fn open(
        &mut self,
        now: Instant,
        node: usize,
        session: SessionId,
        remote: Option<usize>,
    ) -> Option<SessionInput> {
        if self.closed.contains(&node) {
            return Some(SessionInput::Failed(FailureReason::NoSession));
        }
        let fresh = Session {
            remote,
            peer: None,
            described: false,
            remote_candidates: 0,
            connect_at: None,
            connected: false,
            traffic_at: now,
            held: Vec::new(),
        };
        assert!(self.sessions.insert((node, session), fresh).is_none(), "a session is opened once");
        None
    }

    pub(super) fn close(&mut self, node: usize, session: SessionId) {
        self.sessions.remove(&(node, session));
    }

    /// Drops the sessions of a node.
    pub(super) fn forget(&mut self, node: usize) {
        self.sessions.retain(|(owner, _), _| *owner != node);
    }

    /// Ends the session of a node with another one, and returns it.
    pub(super) fn break_session(&mut self, node: usize, other: usize) -> SessionId {
        let session = self.session_with(node, other);
        self.sessions.remove(&(node, session));
        session
    }

    /// Returns the session of a node with another one.
    ///
    /// # Panics
    /// Where there is none.
    pub fn session_with(&self, node: usize, other: usize) -> SessionId {
        let is = |key: &&Key| key.0 == node && self.sessions[*key].remote == Some(other);
        self.sessions.keys().find(is).expect("the two are connected").1
    }

    /// Whether a node has a session with another one.
    pub fn are_connected(&self, node: usize, other: usize) -> bool {
        self.sessions.iter().any(|((owner, _), session)| *owner == node && session.remote == Some(other))
    }

    /// Returns the number of open sessions of a node.
    pub fn open_at(&self, node: usize) -> usize {
        self.sessions.keys().filter(|(owner, _)| *owner == node).count()
    }

    pub(super) fn negotiate(&mut self, now: Instant, node: usize, id: SessionId, step: Negotiation) -> Vec<Report> {
        let Some(session) = self.sessions.get_mut(&(node, id)) else { return Vec::new() };
        let mut reports = Vec::new();
        match step {
            Negotiation::Offer { generation, .. } => {
                reports.push(SessionInput::Described { generation, sdp: description(node, id) });
                reports.push(SessionInput::Candidate { attribute: format!("candidate:{node}") });
            }
            Negotiation::AcceptOffer { .. } if self.broken.contains(&node) => {
                reports.push(SessionInput::Failed(FailureReason::SessionEnded));
            }
            Negotiation::AcceptOffer { generation, sdp } => {
                session.peer = session_of(&sdp);
                session.described = true;
                reports.push(SessionInput::Described { generation, sdp: description(node, id) });
                reports.push(SessionInput::Candidate { attribute: format!("candidate:{node}") });
            }
            Negotiation::Answer { sdp } => {
                session.peer = session_of(&sdp);
                session.described = true;
            }
            Negotiation::Candidate { .. } => session.remote_candidates += 1,
        }
        if session.described && session.remote_candidates > 0 && session.connect_at.is_none() {
            session.connect_at = Some(now + HANDSHAKE);
        }
        reports.into_iter().map(|event| (node, id, event)).collect()
    }

    /// The node and session at which a packet of this session arrives, if it does.
    pub(super) fn carry(&self, node: usize, id: SessionId) -> Option<(usize, SessionId)> {
        let session = self.sessions.get(&(node, id)).filter(|session| session.connected)?;
        self.other_end(node, session).filter(|(to, _)| !self.is_cut(node, *to))
    }

    /// Sends a message on a session's data channel. Returns its arrival, if packets pass.
    pub(super) fn send(&mut self, node: usize, id: SessionId, message: ChannelMessage) -> Option<Report> {
        let passes = self.carry(node, id);
        let session = self.sessions.get_mut(&(node, id)).filter(|session| session.connected)?;
        match passes {
            Some((to, remote)) if session.held.is_empty() => Some((to, remote, SessionInput::Channel(message))),
            _ => {
                if session.held.len() < MAX_HELD {
                    session.held.push(message);
                }
                None
            }
        }
    }

    fn other_end(&self, node: usize, session: &Session) -> Option<Key> {
        let key = (session.remote?, session.peer?);
        let other = self.sessions.get(&key)?;
        (other.remote == Some(node)).then_some(key)
    }

    fn is_cut(&self, one: usize, other: usize) -> bool {
        self.cut.contains(&(one.min(other), one.max(other)))
    }

    /// When a session reports next.
    pub(super) fn next(&self) -> Option<Instant> {
        self.sessions
            .values()
            .filter_map(|session| if session.connected { Some(session.traffic_at) } else { session.connect_at })
            .min()
    }

    /// Events of all sessions up to now: connections and received packets.
    pub(super) fn poll(&mut self, now: Instant) -> Vec<Report> {
        let mut reports = Vec::new();
        let is_due = |session: &Session| {
            let at = if session.connected { Some(session.traffic_at) } else { session.connect_at };
            at.is_some_and(|at| at <= now)
        };
        let due: Vec<Key> = self.sessions.iter().filter(|(_, session)| is_due(session)).map(|(key, _)| *key).collect();
        for key in due {
            let session = &self.sessions[&key];
            let other = self.other_end(key.0, session);
            let passes = other.is_some_and(|(to, _)| !self.is_cut(key.0, to));
            let ready = other.is_some_and(|other| self.sessions[&other].connect_at.is_some());
            let traffic = self.traffic;
            let session = self.sessions.get_mut(&key).expect("just listed");
            if session.connected {
                session.traffic_at = now + traffic;
                if passes {
                    reports.push((key.0, key.1, SessionInput::Traffic));
                    let held = std::mem::take(&mut session.held);
                    let (to, remote) = other.expect("packets pass to it");
                    reports.extend(held.into_iter().map(|message| (to, remote, SessionInput::Channel(message))));
                }
            } else if passes && ready {
                session.connected = true;
                session.traffic_at = now + traffic;
                reports.push((key.0, key.1, SessionInput::Connected));
                reports.push((key.0, key.1, SessionInput::ChannelOpen));
            } else {
                session.connect_at = Some(now + RETRY);
            }
        }
        reports
    }
}

fn description(node: usize, session: SessionId) -> String {
    format!("v=0\r\na=fingerprint:sha-256 {node}:{}\r\na=session:{}\r\n", session.0, session.0)
}

/// The session that made a description. `None` for one that no session made.
fn session_of(sdp: &str) -> Option<SessionId> {
    let value = sdp.lines().find_map(|line| line.strip_prefix("a=session:"))?;
    value.parse().ok().map(SessionId)
}
