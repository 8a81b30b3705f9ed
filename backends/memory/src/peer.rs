//! State of a session: negotiation, candidates and path.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use blink_api::{
    Candidate, ChannelId, Clock, DtlsState, IceState, Result, RtpSink, SessionConfig, SessionEvent, TransportState,
};
use blink_transport_kit::candidate;
use blink_transport_kit::negotiation::{Local, Negotiation, Remote};
use blink_transport_kit::traffic::TrafficCounters;
use bytes::Bytes;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use crate::hub::{SessionNumber, TransportId};
use crate::outbox::Outbox;

/// Limit of ICE username fragments with candidates; the oldest are dropped.
const MAX_CANDIDATES: usize = 64;
/// Host name in this transport's candidates.
const ADDRESS: &str = "memory.invalid";

/// State of one session, held by the hub.
pub(crate) struct Peer {
    pub(crate) number: SessionNumber,
    pub(crate) transport: TransportId,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) outbox: Outbox,
    pub(crate) rtp: Arc<dyn RtpSink>,
    pub(crate) traffic: TrafficCounters,
    pub(crate) negotiation: Negotiation,

    /// ICE username fragments of received candidates.
    candidates: VecDeque<String>,
    /// Path to the peer, with the credentials of both that it was established with.
    pub(crate) path: Option<Path>,

    /// How far the session has come, as reported.
    state: Option<TransportState>,

    /// Open channels, with the peer's id of each.
    pub(crate) channels: BTreeMap<ChannelId, ChannelId>,
    next_channel: u32,
    /// Messages queued for a cut path, with the peer's channel ids.
    pub(crate) unsent: VecDeque<(ChannelId, Bytes)>,
}

/// Path to another session.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Path {
    pub(crate) to: SessionNumber,
    pub(crate) local_ufrag: String,
    pub(crate) remote_ufrag: String,
}

impl Peer {
    pub(crate) fn new(number: SessionNumber, transport: TransportId, config: SessionConfig, outbox: Outbox) -> Self {
        let local = Local {
            session: number.0,
            ufrag: format!("s{}", number.0),
            password: password(number),
            fingerprint: fingerprint(number),
            hosts: vec![(ADDRESS.to_owned(), 9)],
        };
        Self {
            number,
            transport,
            clock: config.clock,
            outbox,
            rtp: config.rtp,
            traffic: TrafficCounters::default(),
            negotiation: Negotiation::new(local, &config.audio, &config.video),
            candidates: VecDeque::new(),
            path: None,
            state: None,
            channels: BTreeMap::new(),
            next_channel: 0,
            unsent: VecDeque::new(),
        }
    }

    /// Sends the events of the negotiation.
    pub(crate) fn report(&mut self) {
        while let Some(event) = self.negotiation.poll_event() {
            self.outbox.send(event);
        }
    }

    /// Allocates the id of a new channel.
    pub(crate) fn next_channel(&mut self) -> ChannelId {
        self.next_channel += 1;
        ChannelId(self.next_channel)
    }

    /// Records the username fragment of a candidate. Candidates of other transports are ignored.
    pub(crate) fn add_candidate(&mut self, candidate: &Candidate) -> Result<()> {
        // Other transports classify the host name in this transport's candidates as well formed but
        // unusable.
        candidate::classify(&candidate.attribute)?;
        let fields: Vec<&str> = candidate.attribute.split_whitespace().collect();
        let ufrag = fields.windows(2).find(|two| two[0] == "ufrag").map(|two| two[1]);
        let (Some(&ADDRESS), Some(ufrag)) = (fields.get(4), ufrag) else { return Ok(()) };
        if !self.candidates.iter().any(|known| known == ufrag) {
            if self.candidates.len() == MAX_CANDIDATES {
                self.candidates.pop_front();
            }
            self.candidates.push_back(ufrag.to_owned());
        }
        Ok(())
    }

    /// Returns whether the path was established with the latest descriptions.
    pub(crate) fn has_newest_path(&self) -> bool {
        let Some(path) = &self.path else { return false };
        Some(&path.local_ufrag) == self.negotiation.local_ufrag().as_ref()
            && self.negotiation.remote().is_some_and(|remote| remote.ufrag == path.remote_ufrag)
    }

    /// Returns whether this side can reach the other: it has its current description and a
    /// candidate.
    pub(crate) fn knows(&self, other: &Self) -> bool {
        let fingerprint = |remote: &Remote| other.negotiation.local().fingerprint == remote.fingerprint;
        self.knows_but_key(other) && self.negotiation.remote().is_some_and(fingerprint)
    }

    /// Returns whether this side reaches the other, whose key may not be the announced one.
    pub(crate) fn knows_but_key(&self, other: &Self) -> bool {
        let Some(remote) = self.negotiation.remote() else { return false };
        other.negotiation.local_ufrag().as_ref() == Some(&remote.ufrag) && self.candidates.contains(&remote.ufrag)
    }

    /// Reports how far the session has come; false if that is as before.
    pub(crate) fn report_state(&mut self, ice: IceState, dtls: DtlsState) -> bool {
        let state = TransportState::new(ice, dtls);
        let changed = self.state.replace(state) != Some(state);
        if changed {
            self.outbox.send(SessionEvent::State(state));
        }
        changed
    }
}

fn password(number: SessionNumber) -> String {
    let mut random = ChaCha8Rng::seed_from_u64(number.0);
    random.set_stream(1);
    (0..3).map(|_| format!("{:08x}", random.next_u32())).collect()
}

/// Fingerprint in the form of a certificate's, derived from the session's number.
fn fingerprint(number: SessionNumber) -> String {
    let mut bytes = [0; 32];
    ChaCha8Rng::seed_from_u64(number.0).fill_bytes(&mut bytes);
    bytes.map(|byte| format!("{byte:02X}")).join(":")
}
