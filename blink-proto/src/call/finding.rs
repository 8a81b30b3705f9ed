//! Inboxes by whose topics signaling finds the nodes that should receive a message.

use blink_api::Topic;

use super::machine::Machine;
use crate::secure::{Channel, inbox_topic};

/// Inboxes whose subscribers should be searched when a message is sent.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct InboxesToFind {
    /// Of participants whose path is silent: their nodes may have moved, even where others still
    /// receive the message.
    pub always: Vec<Topic>,
    /// Of the other recipients: only where no node receives the message.
    pub if_unheard: Vec<Topic>,
}

impl Machine {
    /// Inboxes to search when sending on a channel. Call topics are never announced, so that
    /// signaling does not disclose who is in a call; the participants' inboxes lead to the same
    /// nodes.
    pub fn inboxes_to_find(&self, channel: &Channel) -> InboxesToFind {
        let mut inboxes = InboxesToFind::default();
        match channel {
            Channel::Inbox(did) => inboxes.if_unheard.push(inbox_topic(did)),
            Channel::Call(call) => {
                for (endpoint, peer) in self.calls.get(call).into_iter().flat_map(|call| call.present()) {
                    let is_silent = peer.is_announced() && peer.link_up().is_none_or(|link| !link.is_up());
                    let list = if is_silent { &mut inboxes.always } else { &mut inboxes.if_unheard };
                    list.push(inbox_topic(&endpoint.did));
                }
            }
        }
        inboxes
    }
}
