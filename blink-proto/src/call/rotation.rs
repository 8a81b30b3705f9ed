//! Rotation of a call's secret and topic when a person is removed, who knows the old ones.
//!
//! The remover gives the new secret to the remaining members, once on the old topic and on data
//! channels, and moves to the new topic at once. Nothing is published on the old topic any more,
//! but it is read for a while. A member whose digest still differs receives entries and secret
//! again, on its data channel and in its inbox.

use blink_api::Endpoint;
use zeroize::Zeroizing;

use super::io::Output;
use super::shared::Shared;
use super::state::Call;
use crate::secure::CallKeys;

impl Call {
    /// Announces a removal by this person, and distributes the new secret.
    pub(super) fn handle_own_removal(&mut self, secret: Zeroizing<[u8; 32]>, shared: &mut Shared) {
        let uninvited = |endpoint: &&Endpoint| !self.roster.is_valid(&endpoint.did);
        let removed: Vec<Endpoint> = self.peers.keys().filter(uninvited).copied().collect();
        self.notify_removed(&removed, shared);
        self.handle_roster_changed(shared);
        self.replace_keys(secret, shared);
        // The driver still publishes on the old topic until `subscribe`: the last message there is
        // sealed for the remaining members only.
        self.send_record_with_entries(shared);
        self.subscribe(shared);
        self.change_record(shared, false);
    }

    /// Moves to the topic of a new secret, if the roster names it as the newest.
    pub(super) fn follow_rotation(&mut self, secret: Option<&Zeroizing<[u8; 32]>>, shared: &mut Shared) {
        let newest = secret.filter(|secret| self.roster.fits(secret) && *self.keys.secret() != **secret);
        let Some(secret) = newest else { return };
        self.replace_keys(secret.clone(), shared);
        if self.is_subscribed() {
            self.subscribe(shared);
            self.announce(shared, true);
        }
    }

    fn replace_keys(&mut self, secret: Zeroizing<[u8; 32]>, shared: &mut Shared) {
        let keys = CallKeys::new(self.id(), secret);
        let old = std::mem::replace(&mut self.keys, keys);
        if self.is_subscribed()
            && let Some(dropped) = self.retired.add(old.topic, &self.keys.topic, shared.mono())
        {
            shared.output(Output::RetireTopic(dropped));
        }
    }
}
