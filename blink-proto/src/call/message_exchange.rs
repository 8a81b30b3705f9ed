//! Application messages between the participants of a call: sent, acknowledged, delivered, and
//! reported where they may be lost.

use std::sync::Arc;

use blink_api::{Endpoint, Error, ErrorKind, Result};
use rand::Rng;
use web_time::Instant;

use super::event::Event;
use super::io::{Now, Output};
use super::link::Link;
use super::machine::Machine;
use super::mailbox::Received;
use super::message_id::MessageId;
use super::peer::Peer;
use super::shared::Shared;
use super::state::Call;
use crate::wire::{AppMessage, MAX_APP_MESSAGE};

impl Machine {
    /// Sends a message to a participant of the current call; to all that have joined for `None`.
    /// Those that do not read messages are reported with [`Event::MessageLost`].
    ///
    /// # Errors
    /// [`TooLarge`](ErrorKind::TooLarge) over 16,384 bytes; [`State`](ErrorKind::State) without a
    /// call, and for all where no one has joined; [`NotFound`](ErrorKind::NotFound) for a
    /// participant that has not joined; [`Unsupported`](ErrorKind::Unsupported) for one that does
    /// not read messages; [`Full`](ErrorKind::Full) above 10 messages a second, and while 64
    /// messages or 256 KiB wait for one of the recipients. Nothing was sent then.
    pub fn send_message(&mut self, now: Now, to: Option<Endpoint>, message: &[u8]) -> Result<MessageId> {
        self.begin_input(now);
        if message.len() > MAX_APP_MESSAGE {
            let error = Error::new(ErrorKind::TooLarge, "a message has at most 16,384 bytes");
            return Err(error.with("bytes", message.len()));
        }
        let none = || Error::new(ErrorKind::State, "not in a call");
        let id = self.current().ok_or_else(none)?;
        let call = self.calls.get(&id).ok_or_else(none)?;
        let (recipients, others) = call.recipients(to)?;
        for peer in recipients.iter().filter_map(|endpoint| call.peers.get(endpoint)) {
            peer.mailbox.check_room(message.len())?;
        }
        let take = self.shared.message_rate.take(now.mono);
        take.map_err(|_| Error::new(ErrorKind::Full, "more than 10 messages a second"))?;
        self.shared.messages += 1;
        let sent = MessageId(self.shared.messages);
        let message: Arc<[u8]> = message.into();
        self.with_call(id, |call, shared| {
            for endpoint in recipients {
                let series = shared.random.next_u64();
                if let Some(peer) = call.peers.get_mut(&endpoint) {
                    peer.mailbox.push(sent, message.clone(), series);
                }
            }
            for participant in others {
                shared.emit(Event::MessageLost { call: call.id(), participant, message: sent });
            }
        });
        Ok(sent)
    }
}

impl Call {
    /// Recipients of a message, and participants that read none.
    fn recipients(&self, to: Option<Endpoint>) -> Result<(Vec<Endpoint>, Vec<Endpoint>)> {
        let joined = self.peers.iter().filter(|(_, peer)| peer.announced);
        let joined = joined.filter(|(endpoint, _)| to.is_none_or(|to| to == **endpoint));
        // Before its first record no one knows.
        let reads = |peer: &Peer| peer.reads_messages || !peer.is_self_reported();
        let (readers, others): (Vec<_>, Vec<_>) = joined.partition(|(_, peer)| reads(peer));
        let endpoints = |peers: Vec<(&Endpoint, &Peer)>| peers.into_iter().map(|(endpoint, _)| *endpoint).collect();
        let (readers, others): (Vec<_>, Vec<_>) = (endpoints(readers), endpoints(others));
        match to {
            None if readers.is_empty() && others.is_empty() => {
                Err(Error::new(ErrorKind::State, "no participant has joined"))
            }
            Some(to) if readers.is_empty() && others.is_empty() => {
                Err(Error::new(ErrorKind::NotFound, "the participant has not joined the call").with("participant", to))
            }
            Some(to) if readers.is_empty() => {
                let error = Error::new(ErrorKind::Unsupported, "the participant's version reads no messages");
                Err(error.with("participant", to))
            }
            _ => Ok((readers, others)),
        }
    }

    /// Sends the messages that are due, on paths that carry packets, and whose other end is the
    /// participant: its hello came.
    pub(super) fn send_messages(&mut self, shared: &mut Shared) {
        let now = shared.mono();
        for peer in self.peers.values_mut() {
            let verified = peer.link_up().filter(|link| link.is_verified());
            let Some(session) = verified.map(Link::session) else { continue };
            for message in peer.mailbox.poll(session, now) {
                shared.output(Output::SendChannelMessage { session, message });
            }
        }
    }

    /// Time at which a message to a participant is due.
    pub(super) fn message_due(peer: &Peer, now: Instant) -> Option<Instant> {
        peer.link_up().filter(|link| link.is_verified()).and_then(|_| peer.mailbox.due(now))
    }

    /// Handles a part of a message that came on a verified path.
    pub(super) fn handle_app_message(&mut self, from: Endpoint, fragment: AppMessage, shared: &mut Shared) {
        let Some(peer) = self.peers.get_mut(&from).filter(|peer| peer.announced) else { return };
        let reply = match peer.mailbox.receive(fragment) {
            Err(refusal) => return shared.refuse(refusal),
            Ok(Received::Incomplete) => return,
            Ok(Received::Again(reply)) => reply,
            Ok(Received::Complete(message, reply)) => {
                shared.emit(Event::MessageReceived { call: self.id(), participant: from, message });
                reply
            }
        };
        self.reply_on_channel(from, reply, shared);
    }

    /// Handles the acknowledgement of messages.
    pub(super) fn handle_message_ack(&mut self, from: Endpoint, series: u64, number: u64, shared: &Shared) {
        if let Some(peer) = self.peers.get_mut(&from) {
            peer.mailbox.acknowledge(series, number, shared.mono());
        }
    }

    /// Reports the messages to a participant that may not have arrived: it, or this device, is not
    /// in the call any more.
    pub(super) fn lose_messages(&mut self, participant: Endpoint, shared: &mut Shared) {
        let call = self.id();
        let Some(peer) = self.peers.get_mut(&participant) else { return };
        for message in peer.mailbox.clear() {
            shared.emit(Event::MessageLost { call, participant, message });
        }
    }
}
