//! The bounded table of other endpoints in a call, and the keys that may enter it.

use blink_api::{Did, Endpoint};

use super::peer::Peer;
use super::shared::Shared;
use super::state::Call;
use crate::secure::{Refusal, check_call_key};
use crate::wire::SignedKey;

/// Devices of one person kept in one call.
const MAX_DEVICES: usize = 4;
/// Other endpoints kept in one call.
const MAX_PEERS: usize = 64;

impl Call {
    /// Checks that a call key is sound and signed by its owner: the only way by which a key becomes
    /// a recipient, whichever message names it.
    ///
    /// Keys of other endpoints than the sender are checked out of the sender's budget of signature
    /// checks; the sender's own key costs one check per message at most.
    pub(super) fn verify_peer_key(
        &self,
        endpoint: &Endpoint,
        key: &SignedKey,
        from: Option<&Endpoint>,
        shared: &mut Shared,
    ) -> Result<(), Refusal> {
        if self.peers.get(endpoint).is_some_and(|peer| peer.call_key().as_ref() == Some(key)) {
            return Ok(());
        }
        let (now, share) = (shared.mono(), self.share());
        check_call_key(endpoint, &self.id(), key, |statement| match from {
            Some(from) if from != endpoint => shared.signatures.verify_for(now, (from.did, share), statement),
            _ => shared.signatures.verify(statement),
        })
    }

    /// Entry of an endpoint, new if there is room.
    pub(super) fn peer_entry(
        &mut self,
        endpoint: Endpoint,
        self_reported: bool,
        shared: &mut Shared,
    ) -> Option<&mut Peer> {
        if !self.peers.contains_key(&endpoint) {
            self.make_room(&endpoint.did, self_reported, shared)?;
        }
        Some(self.peers.entry(endpoint).or_insert_with(|| Peer::new(shared.mono())))
    }

    /// Makes room for another device of a person. It replaces one that is not in the call. An
    /// endpoint that reports itself also replaces one that others only claim, or invented devices
    /// could keep the real ones out.
    fn make_room(&mut self, did: &Did, self_reported: bool, shared: &mut Shared) -> Option<()> {
        let devices = || self.peers.iter().filter(|(endpoint, _)| endpoint.did == *did);
        let full = devices().count() >= MAX_DEVICES;
        if !full && self.peers.len() < MAX_PEERS {
            return Some(());
        }
        let absent = devices().find(|(_, peer)| !peer.is_present());
        let claimed = || {
            let mut others = self.peers.iter().filter(|(endpoint, _)| !full || endpoint.did == *did);
            others.find(|(_, peer)| self_reported && !peer.is_self_reported() && !peer.is_announced())
        };
        let evicted = absent.or_else(claimed).map(|(endpoint, _)| *endpoint)?;
        let mut peer = self.peers.remove(&evicted)?;
        Self::close_link(&mut peer, shared);
        Some(())
    }
}
