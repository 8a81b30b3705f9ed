//! Persisting calls: which of their state survives a restart, and when it is written.

use blink_api::Endpoint;

use super::memory::{Change, SavedCall, SavedSummary, Stage};
use super::peer::Peer;
use super::shared::Shared;
use super::state::{Call, Phase};
use crate::wire::{JoinedClaim, WireEndpoint};

/// Interval at which a current call is written again although nothing changed, in milliseconds: an
/// hour.
const STILL_JOINED: u64 = 3_600_000;

impl Call {
    /// Persists the call if what must survive a restart has changed.
    pub(super) fn persist(&mut self, shared: &mut Shared) {
        let summary = self.summary(shared);
        if self.saved.as_ref() == Some(&summary) {
            return;
        }
        let id = self.id();
        match summary.stage {
            Some(stage) => shared.persist(Change::Call(id, Some(Box::new(self.to_saved(stage, shared))))),
            None => {
                shared.persist(Change::Call(id, None));
                shared.persist(Change::Tombstone(id, Some(shared.now.unix_ms)));
            }
        }
        self.saved = Some(summary);
    }

    fn summary(&self, shared: &Shared) -> SavedSummary {
        let stage = match self.phase() {
            Phase::Out => Some(Stage::Calling),
            Phase::In => Some(Stage::Ringing),
            Phase::Joining | Phase::Active => Some(Stage::Joined),
            Phase::Open => Some(Stage::Open),
            Phase::Over => None,
        };
        let joined = self.present();
        SavedSummary {
            stage,
            seat: self.seat,
            entries: self.roster.digest(),
            topic: self.keys.topic,
            joined: joined.map(|(endpoint, peer)| (*endpoint, peer.call_key(), peer.is_self_reported())).collect(),
            left: self.departed(),
            familiar: self.familiar,
            hour: self.takes_part().then_some(shared.now.unix_ms / STILL_JOINED),
        }
    }

    /// Endpoints that left by their own report.
    fn departed(&self) -> Vec<JoinedClaim> {
        let claim = |(endpoint, peer): (&Endpoint, &Peer)| {
            let (endpoint, boot, version) = (*endpoint, peer.boot(), peer.version());
            Some(JoinedClaim { endpoint, boot, version, call_key: peer.call_key()? })
        };
        self.peers.iter().filter(|(_, peer)| peer.has_left()).filter_map(claim).collect()
    }

    fn to_saved(&self, stage: Stage, shared: &Shared) -> SavedCall {
        let joined = self.claims(shared).into_iter().filter(|claim| claim.endpoint != shared.own);
        let heard = self.present().filter(|(_, peer)| peer.is_self_reported());
        let since_ms = if self.takes_part() { shared.now.unix_ms } else { shared.unix_ms(self.since()) };
        SavedCall {
            stage,
            root: self.roster.signed_root().clone(),
            entries: self.roster.entries(),
            secret: self.keys.secret().clone(),
            configuration: self.configuration.clone(),
            from: self.from,
            version: self.version(),
            seat: self.seat,
            joined: joined.collect(),
            since_ms,
            ring_until_ms: shared.unix_ms(self.ring_until),
            busy: self.busy,
            heard: Some(heard.map(|(endpoint, _)| WireEndpoint(*endpoint)).collect()),
            left: Some(self.departed()),
            familiar: Some(self.familiar),
            from_device: self.from_device.map(|device| (*device.as_bytes()).into()),
        }
    }
}
