//! A call's secret and topic change when a person is removed: it knows the old ones.
//!
//! The remover gives the new secret to all members that stay, once on the old topic and on data
//! channels, and goes to the new topic at once. From then on nothing is said on the old one, which
//! is listened to for a while. A member whose digest still differs is given entries and secret
//! again, on its data channel and in its inbox.

use web_time::{Duration, Instant};

use blink_api::{Endpoint, Topic};
use zeroize::Zeroizing;

use super::Output;
use super::lifecycle::Call;
use super::shared::Shared;
use crate::secure::CallKeys;
use crate::wire::Secret;

/// How long a topic is listened to after the call has gone to another one.
const LISTEN: Duration = Duration::from_secs(30);
/// Topics listened to beside the newest; the oldest goes.
const MAX_RETIRED: usize = 4;

/// A topic on which this endpoint says nothing any more.
#[derive(Clone)]
pub(super) struct RetiredTopic {
    topic: Topic,
    until: Instant,
}

impl Call {
    /// Tells of a removal by this person, and spreads the secret that it gave the call.
    pub(super) fn handle_own_removal(&mut self, secret: Zeroizing<[u8; 32]>, shared: &mut Shared) {
        let uninvited = |endpoint: &&Endpoint| !self.roster.is_valid(&endpoint.did);
        let removed: Vec<Endpoint> = self.peers.keys().filter(uninvited).copied().collect();
        self.tell_removed(&removed, shared);
        self.handle_roster_changed(shared);
        self.replace_keys(secret, shared);
        // The topic that is joined is still the old one: the last message there is sealed for the
        // members that stay.
        self.send_record_with_entries(shared);
        self.listen(shared);
        self.change_record(shared, false);
    }

    /// Goes to the topic of a new secret, where the roster says that this is the newest.
    pub(super) fn follow_rotation(&mut self, secret: Option<&Zeroizing<[u8; 32]>>, shared: &mut Shared) {
        let newest = secret.filter(|secret| self.roster.fits(secret) && *self.keys.secret() != **secret);
        let Some(secret) = newest else { return };
        self.replace_keys(secret.clone(), shared);
        if self.is_listening() {
            self.listen(shared);
            self.announce(shared, true);
        }
    }

    fn replace_keys(&mut self, secret: Zeroizing<[u8; 32]>, shared: &mut Shared) {
        let keys = CallKeys::new(self.id(), secret);
        let old = std::mem::replace(&mut self.keys, keys);
        if self.is_listening() {
            if self.retired.len() == MAX_RETIRED {
                shared.out.push_back(Output::RetireTopic(self.retired.remove(0).topic));
            }
            self.retired.push(RetiredTopic { topic: old.topic, until: shared.mono() + LISTEN });
            // A secret may come again: its topic is the newest then.
            self.retired.retain(|retired| retired.topic != self.keys.topic);
        }
    }

    fn is_listening(&self) -> bool {
        self.phase.is_current() || self.lingering.is_some()
    }

    /// The secret that goes along with roster entries; `None` while it is that of the root.
    pub(super) fn rotated_secret(&self) -> Option<Secret> {
        self.roster.rotation().map(|_| Secret(self.keys.secret().clone()))
    }

    /// Ends the subscriptions to topics whose time is over.
    pub(super) fn retire_topics(&mut self, shared: &mut Shared) {
        let now = shared.mono();
        self.retired.retain(|retired| {
            let over = now >= retired.until;
            if over {
                shared.out.push_back(Output::RetireTopic(retired.topic));
            }
            !over
        });
    }

    /// Ends all subscriptions of this call.
    pub(super) fn stop_listening(&mut self, shared: &mut Shared) {
        shared.out.extend(self.retired.drain(..).map(|retired| Output::RetireTopic(retired.topic)));
        shared.out.push_back(Output::Unsubscribe(self.id()));
    }

    pub(super) fn retired_deadline(&self) -> Option<Instant> {
        self.retired.iter().map(|retired| retired.until).min()
    }
}
