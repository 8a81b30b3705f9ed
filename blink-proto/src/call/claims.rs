//! Claims: what others say about who is in the call. An endpoint's own report outweighs them.

use blink_api::Endpoint;

use super::person::PersonState;
use super::shared::Shared;
use super::state::Call;
use crate::secure::Refusal;
use crate::wire::{JoinedClaim, MAX_CLAIMS};

impl Call {
    /// Applies the claims of a message, or of the saved state where `from` is `None`.
    pub(super) fn apply_claims(&mut self, claims: &[JoinedClaim], from: Option<&Endpoint>, shared: &mut Shared) {
        for claim in claims.iter().take(MAX_CLAIMS) {
            if claim.endpoint == shared.own {
                shared.raise_boot_above(claim.boot);
            }
            let valid = claim.endpoint.did != shared.own.did && self.roster.is_valid(&claim.endpoint.did);
            if valid && let Err(refusal) = self.apply_claim(claim, from, shared) {
                // After one false key, the other claims of the message are ignored too.
                return shared.refuse(refusal);
            }
        }
    }

    fn apply_claim(
        &mut self,
        claim: &JoinedClaim,
        from: Option<&Endpoint>,
        shared: &mut Shared,
    ) -> Result<(), Refusal> {
        // An announced endpoint has more than a claim for it: a verified path with its current key.
        let is_news = self.peers.get(&claim.endpoint).is_none_or(|peer| {
            peer.is_newer(claim.boot, claim.version)
                && !peer.is_announced()
                && (!peer.is_self_reported() || !peer.is_present())
        });
        if !is_news {
            return Ok(());
        }
        self.verify_peer_key(&claim.endpoint, &claim.call_key, from, shared)?;
        let Some(peer) = self.peer_entry(claim.endpoint, false, shared) else { return Ok(()) };
        if !peer.has_key(&claim.call_key) {
            // The link's id is derived from both keys.
            Self::close_link(peer, shared);
        }
        peer.claim(claim);
        self.set_person(&claim.endpoint.did, PersonState::Joined);
        Ok(())
    }

    /// Restores an endpoint that had left before this device restarted: its earlier messages,
    /// replayed now, are outdated.
    pub(super) fn restore_departed(&mut self, claim: &JoinedClaim, shared: &mut Shared) {
        let is_valid = self.roster.is_valid(&claim.endpoint.did);
        if !is_valid || self.verify_peer_key(&claim.endpoint, &claim.call_key, None, shared).is_err() {
            return;
        }
        let Some(peer) = self.peer_entry(claim.endpoint, true, shared) else { return };
        if peer.is_hint() && !peer.is_self_reported() {
            peer.restore_left(claim);
        }
    }
}
