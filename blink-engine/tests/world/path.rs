//! Virtual media paths between devices: what a transport's sessions would do, on the virtual clock.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use blink_engine::call::{Negotiation, SessionId, SessionInput};

/// How long ICE and DTLS take.
const HANDSHAKE: Duration = Duration::from_millis(15);
/// How often packets are reported.
const TRAFFIC: Duration = Duration::from_millis(100);

type Key = (usize, SessionId);

#[derive(Default)]
pub(crate) struct Paths {
    sessions: BTreeMap<Key, Session>,
    /// Unordered pairs of devices between which no packet passes.
    pub(crate) cut: BTreeSet<(usize, usize)>,
    /// Devices whose sessions cannot answer.
    pub(crate) broken: BTreeSet<usize>,
}

struct Session {
    remote: usize,
    peer: Option<SessionId>,
    described: bool,
    remote_candidates: usize,
    connect_at: Option<Instant>,
    connected: bool,
    traffic_at: Instant,
}

impl Paths {
    pub(crate) fn open(&mut self, node: usize, session: SessionId, remote: usize, _dials: bool) {
        let fresh = Session {
            remote,
            peer: None,
            described: false,
            remote_candidates: 0,
            connect_at: None,
            connected: false,
            traffic_at: Instant::now(),
        };
        assert!(self.sessions.insert((node, session), fresh).is_none(), "a session is opened once");
    }

    pub(crate) fn close(&mut self, node: usize, session: SessionId) {
        self.sessions.remove(&(node, session));
    }

    pub(crate) fn forget(&mut self, node: usize) {
        self.sessions.retain(|(owner, _), _| *owner != node);
    }

    /// The session of a device with another ends by itself.
    pub(crate) fn break_session(&mut self, node: usize, other: usize) -> SessionId {
        let session = self.session_with(node, other);
        self.sessions.remove(&(node, session));
        session
    }

    /// The session of a device with another.
    pub(crate) fn session_with(&self, node: usize, other: usize) -> SessionId {
        let is = |key: &&Key| key.0 == node && self.sessions[*key].remote == other;
        self.sessions.keys().find(is).expect("the two are connected").1
    }

    /// How many sessions a device has open.
    pub(crate) fn open_at(&self, node: usize) -> usize {
        self.sessions.keys().filter(|(owner, _)| *owner == node).count()
    }

    pub(crate) fn negotiate(
        &mut self,
        now: Instant,
        node: usize,
        id: SessionId,
        step: Negotiation,
    ) -> Vec<(usize, SessionId, SessionInput)> {
        let Some(session) = self.sessions.get_mut(&(node, id)) else { return Vec::new() };
        let mut reports = Vec::new();
        match step {
            Negotiation::Offer { generation, .. } => {
                reports.push(SessionInput::Described { generation, sdp: description(node, id) });
                reports.push(SessionInput::Candidate { attribute: format!("candidate:{node}") });
            }
            Negotiation::AcceptOffer { .. } if self.broken.contains(&node) => reports.push(SessionInput::Failed),
            Negotiation::AcceptOffer { generation, sdp } => {
                session.peer = Some(session_of(&sdp));
                session.described = true;
                reports.push(SessionInput::Described { generation, sdp: description(node, id) });
                reports.push(SessionInput::Candidate { attribute: format!("candidate:{node}") });
            }
            Negotiation::Answer { sdp } => {
                session.peer = Some(session_of(&sdp));
                session.described = true;
            }
            Negotiation::Candidate { .. } => session.remote_candidates += 1,
        }
        if session.described && session.remote_candidates > 0 && session.connect_at.is_none() {
            session.connect_at = Some(now + HANDSHAKE);
        }
        reports.into_iter().map(|event| (node, id, event)).collect()
    }

    /// Where a packet of this session arrives, if it does.
    pub(crate) fn carry(&self, node: usize, id: SessionId) -> Option<(usize, SessionId)> {
        let session = self.sessions.get(&(node, id)).filter(|session| session.connected)?;
        self.other_end(node, session).filter(|(to, _)| !self.is_cut(node, *to))
    }

    fn other_end(&self, node: usize, session: &Session) -> Option<Key> {
        let key = (session.remote, session.peer?);
        let other = self.sessions.get(&key)?;
        (other.remote == node).then_some(key)
    }

    fn is_cut(&self, one: usize, other: usize) -> bool {
        self.cut.contains(&(one.min(other), one.max(other)))
    }

    pub(crate) fn next(&self) -> Option<Instant> {
        self.sessions
            .values()
            .filter_map(|session| if session.connected { Some(session.traffic_at) } else { session.connect_at })
            .min()
    }

    /// What sessions report up to now: connections that came about, packets that came.
    pub(crate) fn poll(&mut self, now: Instant) -> Vec<(usize, SessionId, SessionInput)> {
        let mut reports = Vec::new();
        let keys: Vec<Key> = self.sessions.keys().copied().collect();
        for key in keys {
            let session = &self.sessions[&key];
            let other = self.other_end(key.0, session);
            let passes = other.is_some_and(|(to, _)| !self.is_cut(key.0, to));
            let ready = other.is_some_and(|other| self.sessions[&other].connect_at.is_some());
            let (connects, ticks) = (
                !session.connected && session.connect_at.is_some_and(|at| at <= now),
                session.connected && session.traffic_at <= now,
            );
            let session = self.sessions.get_mut(&key).expect("just listed");
            if connects && passes && ready {
                session.connected = true;
                session.traffic_at = now + TRAFFIC;
                reports.push((key.0, key.1, SessionInput::Connected));
                reports.push((key.0, key.1, SessionInput::ChannelOpen));
            } else if connects {
                session.connect_at = Some(now + HANDSHAKE);
            } else if ticks {
                session.traffic_at = now + TRAFFIC;
                if passes {
                    reports.push((key.0, key.1, SessionInput::Traffic));
                }
            }
        }
        reports
    }
}

fn description(node: usize, session: SessionId) -> String {
    format!("v=0\r\na=fingerprint:sha-256 {node}:{}\r\na=session:{}\r\n", session.0, session.0)
}

fn session_of(sdp: &str) -> SessionId {
    let value = sdp.lines().find_map(|line| line.strip_prefix("a=session:")).expect("made by `description`");
    SessionId(value.parse().expect("made by `description`"))
}
