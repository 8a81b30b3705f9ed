//! Application messages to and from one participant: reliable, in order, and resumed on a new
//! session. Time and numbers are arguments.

use std::collections::VecDeque;
use std::sync::Arc;

use blink_api::{Error, ErrorKind, Result};
use web_time::{Duration, Instant};

use super::io::SessionId;
use super::message_id::MessageId;
use crate::secure::Refusal;
use crate::wire::{AppMessage, ChannelMessage, MAX_APP_MESSAGE, MAX_FRAGMENT};

/// Messages that this device sends: per second, and burst.
pub(super) const MESSAGE_RATE: (f64, f64) = (10.0, 32.0);
/// Messages that are sent without an acknowledgement.
const WINDOW: usize = 4;
/// Messages, and bytes of them, that wait for one participant.
const MAX_QUEUED: usize = 64;
const MAX_QUEUED_BYTES: usize = 256 * 1024;
/// Time without an acknowledgement after which messages are sent again: the first, doubling to the
/// longest.
const RESEND_FIRST: Duration = Duration::from_secs(2);
const RESEND_LONGEST: Duration = Duration::from_secs(8);

/// Messages to and from one participant.
#[derive(Clone, Default)]
pub(super) struct Mailbox {
    outgoing: Outgoing,
    incoming: Incoming,
}

/// Messages to a participant that it has not acknowledged.
#[derive(Clone, Default)]
struct Outgoing {
    /// Identifies the numbering: a new one wherever messages were lost. 0 before the first.
    series: u64,
    /// Number of the first message in the queue.
    first: u64,
    queue: VecDeque<(MessageId, Arc<[u8]>)>,
    bytes: usize,
    /// Messages of the queue that were sent on this session since its beginning, or since the last
    /// repetition.
    sent: usize,
    session: Option<SessionId>,
    /// When they are sent again; `None` where none is unacknowledged.
    resend: Option<Instant>,
    pause: Duration,
}

/// Messages of a participant.
#[derive(Clone, Default)]
struct Incoming {
    series: u64,
    /// Number of the last complete message.
    last: u64,
    /// The next message as far as it arrived, and its length.
    partial: Vec<u8>,
    length: usize,
}

/// Result of a received fragment.
#[derive(Debug, PartialEq)]
pub(super) enum Received {
    /// More of the message is to come, or it is not the next one.
    Incomplete,
    /// The message arrived before: its acknowledgement was lost.
    Again(ChannelMessage),
    /// A message is complete.
    Complete(Vec<u8>, ChannelMessage),
}

impl Mailbox {
    /// Checks that a message has room.
    ///
    /// # Errors
    /// [`Full`](ErrorKind::Full).
    pub(super) fn check_room(&self, bytes: usize) -> Result<()> {
        let Outgoing { queue, bytes: waiting, .. } = &self.outgoing;
        if queue.len() < MAX_QUEUED && waiting + bytes <= MAX_QUEUED_BYTES {
            return Ok(());
        }
        Err(Error::new(ErrorKind::Full, "too many messages wait for a participant"))
    }

    /// Queues a message for which there is room. `series` is a random number for a new numbering.
    pub(super) fn push(&mut self, id: MessageId, message: Arc<[u8]>, series: u64) {
        let outgoing = &mut self.outgoing;
        if outgoing.series == 0 {
            (outgoing.series, outgoing.first) = (series.max(1), 1);
        }
        outgoing.bytes += message.len();
        outgoing.queue.push_back((id, message));
    }

    /// Messages to send now on a session that carries packets.
    pub(super) fn poll(&mut self, session: SessionId, now: Instant) -> Vec<ChannelMessage> {
        let outgoing = &mut self.outgoing;
        if outgoing.session != Some(session) {
            // What was sent on the session before may be lost.
            (outgoing.session, outgoing.sent, outgoing.resend) = (Some(session), 0, None);
            outgoing.pause = RESEND_FIRST;
        } else if outgoing.resend.is_some_and(|at| now >= at) {
            (outgoing.sent, outgoing.resend) = (0, None);
            outgoing.pause = (outgoing.pause * 2).min(RESEND_LONGEST);
        }
        let mut messages = Vec::new();
        while outgoing.sent < outgoing.queue.len().min(WINDOW) {
            let number = outgoing.first + outgoing.sent as u64;
            let (_, message) = &outgoing.queue[outgoing.sent];
            messages.extend(fragments(outgoing.series, number, message));
            outgoing.sent += 1;
            outgoing.resend.get_or_insert(now + outgoing.pause);
        }
        messages
    }

    /// Handles that all messages up to one have arrived. Of another numbering, or of messages that
    /// were not sent, it means nothing.
    pub(super) fn acknowledge(&mut self, series: u64, number: u64, now: Instant) {
        let outgoing = &mut self.outgoing;
        let sent = outgoing.first..outgoing.first + outgoing.sent as u64;
        if series != outgoing.series || !sent.contains(&number) {
            return;
        }
        for _ in outgoing.first..=number {
            if let Some((_, message)) = outgoing.queue.pop_front() {
                outgoing.bytes -= message.len();
            }
            outgoing.sent -= 1;
        }
        outgoing.first = number + 1;
        outgoing.pause = RESEND_FIRST;
        outgoing.resend = (outgoing.sent > 0).then(|| now + outgoing.pause);
    }

    /// Whether messages wait that may be sent without an acknowledgement.
    fn is_sendable(&self) -> bool {
        self.outgoing.sent < self.outgoing.queue.len().min(WINDOW)
    }

    /// Time at which [`poll`](Self::poll) has something to send on a session that carries packets.
    pub(super) fn due(&self, now: Instant) -> Option<Instant> {
        if self.is_sendable() { Some(now) } else { self.outgoing.resend }
    }

    /// Forgets everything, since one of both sides begins another stay in the call. Returns the
    /// messages that were not acknowledged.
    pub(super) fn clear(&mut self) -> Vec<MessageId> {
        let Self { outgoing, .. } = std::mem::take(self);
        outgoing.queue.into_iter().map(|(id, _)| id).collect()
    }

    /// Takes a fragment.
    ///
    /// # Errors
    /// [`Refusal::Malformed`] for one that no message has.
    pub(super) fn receive(&mut self, fragment: AppMessage) -> Result<Received, Refusal> {
        let AppMessage { series, number, length, offset, bytes } = fragment;
        let (length, offset) = (length as usize, offset as usize);
        if length > MAX_APP_MESSAGE {
            return Err(Refusal::Malformed);
        }
        // Each part has as many bytes as it can have.
        let expected = length.checked_sub(offset).map(|rest| rest.min(MAX_FRAGMENT));
        let is_possible = expected == Some(bytes.len()) && (offset == 0 || offset < length);
        if !is_possible || !offset.is_multiple_of(MAX_FRAGMENT) || series == 0 || number == 0 {
            return Err(Refusal::Malformed);
        }
        let is_last = offset + bytes.len() == length;
        let incoming = &mut self.incoming;
        if series != incoming.series {
            *incoming = Incoming { series, ..Incoming::default() };
        }
        let acknowledgement = |last| ChannelMessage::MessageAck { series, number: last };
        if number <= incoming.last {
            // Once for each repetition.
            return Ok(if is_last { Received::Again(acknowledgement(incoming.last)) } else { Received::Incomplete });
        }
        if number != incoming.last + 1 {
            return Ok(Received::Incomplete);
        }
        if offset == 0 {
            incoming.partial.clear();
            incoming.length = length;
        }
        if offset != incoming.partial.len() || length != incoming.length {
            return Ok(Received::Incomplete);
        }
        incoming.partial.extend_from_slice(&bytes);
        if !is_last {
            return Ok(Received::Incomplete);
        }
        incoming.last = number;
        Ok(Received::Complete(std::mem::take(&mut incoming.partial), acknowledgement(number)))
    }
}

/// Fragments of a message, at least one.
fn fragments(series: u64, number: u64, message: &[u8]) -> impl Iterator<Item = ChannelMessage> + '_ {
    let length = message.len() as u32;
    (0..message.len().div_ceil(MAX_FRAGMENT).max(1)).map(move |n| {
        let offset = n * MAX_FRAGMENT;
        let bytes = message[offset..].chunks(MAX_FRAGMENT).next().unwrap_or_default().to_vec().into();
        ChannelMessage::Message(AppMessage { series, number, length, offset: offset as u32, bytes })
    })
}

#[cfg(test)]
mod tests;
