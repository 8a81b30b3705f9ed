//! Data channels: the stack's and the contract's names for them, and the messages on their way.

use std::collections::{HashMap, VecDeque};

use blink_api::{ChannelId, SessionEvent};
use bytes::Bytes;
use str0m::channel::ChannelData;

use crate::peer::Peer;

/// Data channels a peer may open.
const MOST_CHANNELS: usize = 64;
/// Messages kept for a channel that is not open yet, and their bytes. What comes then is dropped.
const MAX_EARLY_MESSAGES: usize = 64;
const MAX_EARLY_BYTES: usize = 64 * 1024;

type StackId = str0m::channel::ChannelId;

/// A session's data channels.
#[derive(Default)]
pub(crate) struct Channels {
    open: Vec<(StackId, ChannelId)>,
    opened: u32,
    early: HashMap<StackId, EarlyMessages>,
    /// Messages that the stack had no room for.
    backlog: VecDeque<(ChannelId, Bytes)>,
}

/// Messages on a channel that is not open yet.
///
/// A channel of the own side is open for the stack once the peer has acknowledged it (RFC 8832 §6),
/// but the peer may send before its acknowledgement, and Firefox does.
#[derive(Default)]
struct EarlyMessages {
    messages: Vec<Bytes>,
    bytes: usize,
}

impl EarlyMessages {
    fn push(&mut self, message: Bytes) {
        if self.messages.len() == MAX_EARLY_MESSAGES || self.bytes + message.len() > MAX_EARLY_BYTES {
            return tracing::debug!("a message on a channel that does not open is dropped");
        }
        self.bytes += message.len();
        self.messages.push(message);
    }
}

impl Channels {
    fn by_stack_id(&self, id: StackId) -> Option<ChannelId> {
        self.open.iter().find(|(known, _)| *known == id).map(|(_, channel)| *channel)
    }

    fn stack_id(&self, channel: ChannelId) -> Option<StackId> {
        self.open.iter().find(|(_, known)| *known == channel).map(|(id, _)| *id)
    }
}

impl Peer {
    pub(crate) fn handle_channel_open(&mut self, id: StackId, label: String) {
        if self.channels.by_stack_id(id).is_some() {
            return;
        }
        if self.channels.open.len() == MOST_CHANNELS {
            tracing::debug!("a data channel beyond the limit is closed");
            self.channels.early.remove(&id);
            return self.rtc.direct_api().close_data_channel(id);
        }
        self.channels.opened += 1;
        let channel = ChannelId(self.channels.opened);
        self.channels.open.push((id, channel));
        self.shared.lock().channels.insert(channel);
        self.events.send(SessionEvent::ChannelOpen { channel, label });
        let early = self.channels.early.remove(&id).unwrap_or_default();
        early.messages.into_iter().for_each(|message| self.events.send(SessionEvent::Data { channel, message }));
    }

    pub(crate) fn handle_channel_close(&mut self, id: StackId) {
        self.channels.early.remove(&id);
        let closed = self.channels.open.extract_if(.., |(known, _)| *known == id);
        let closed: Vec<ChannelId> = closed.map(|(_, channel)| channel).collect();
        self.shared.lock().channels.retain(|channel| !closed.contains(channel));
    }

    pub(crate) fn handle_message(&mut self, data: ChannelData) {
        let message = Bytes::from(data.data);
        match self.channels.by_stack_id(data.id) {
            Some(channel) => self.events.send(SessionEvent::Data { channel, message }),
            // The stack knows the channel, so there are no more of these than it has streams.
            None if self.channels.early.len() < MOST_CHANNELS || self.channels.early.contains_key(&data.id) => {
                self.channels.early.entry(data.id).or_default().push(message);
            }
            None => {}
        }
    }

    pub(crate) fn send_message(&mut self, channel: ChannelId, message: Bytes) {
        self.channels.backlog.push_back((channel, message));
        self.flush_backlog();
    }

    /// Hands waiting messages to the stack as far as it has room.
    pub(crate) fn flush_backlog(&mut self) {
        while let Some((channel, message)) = self.channels.backlog.front() {
            let id = self.channels.stack_id(*channel);
            // A message to a channel that was closed meanwhile has nowhere to go.
            if let Some(mut stream) = id.and_then(|id| self.rtc.channel(id))
                && stream.write(true, message).is_ok_and(|taken| !taken)
            {
                let buffered = stream.buffered_amount();
                stream.set_buffered_amount_low_threshold(buffered / 2);
                return;
            }
            self.shared.lock().queued_bytes -= message.len();
            self.channels.backlog.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use blink_api::SessionEvents;
    use str0m::channel::ChannelConfig;

    use super::*;
    use crate::peer::tests::peer;

    fn message(id: StackId, content: &[u8]) -> ChannelData {
        ChannelData { id, binary: true, data: content.to_vec() }
    }

    /// A channel that the own side has asked for and the other one has not acknowledged.
    fn asked_for(peer: &mut Peer) -> StackId {
        peer.rtc.direct_api().create_data_channel(ChannelConfig::default())
    }

    /// Events of channels, in order.
    fn told(events: &mut SessionEvents) -> Vec<String> {
        let events = std::iter::from_fn(|| events.try_recv().ok());
        let told = events.map(|event| match event {
            SessionEvent::ChannelOpen { channel, label } => format!("{} is {label}", channel.0),
            SessionEvent::Data { channel, message } => format!("{}: {}", channel.0, String::from_utf8_lossy(&message)),
            other => panic!("{other:?}"),
        });
        told.collect()
    }

    #[test]
    fn messages_before_the_acknowledgement_wait_for_their_channel_in_order() {
        let (mut peer, mut events) = peer();
        let (one, other) = (asked_for(&mut peer), asked_for(&mut peer));
        for (id, content) in [(one, "hello"), (other, "elsewhere"), (one, "again")] {
            peer.handle_message(message(id, content.as_bytes()));
        }
        assert!(told(&mut events).is_empty());
        peer.handle_channel_open(one, "blink/1".to_owned());
        peer.handle_message(message(one, b"later"));
        assert_eq!(told(&mut events), ["1 is blink/1", "1: hello", "1: again", "1: later"]);
        peer.handle_channel_close(other);
        peer.handle_channel_open(other, "new".to_owned());
        assert_eq!(told(&mut events), ["2 is new"], "what was for a closed channel is gone");
    }

    #[test]
    fn what_waits_for_a_channel_is_bounded_by_number_and_size() {
        for (content, kept) in [(vec![7; 4], MAX_EARLY_MESSAGES), (vec![7; 16 * 1024], 4)] {
            let (mut peer, mut events) = peer();
            let id = asked_for(&mut peer);
            (0..1000).for_each(|_| peer.handle_message(message(id, &content)));
            peer.handle_channel_open(id, "blink/1".to_owned());
            assert_eq!(told(&mut events).len(), 1 + kept);
        }
    }

    #[test]
    fn channels_beyond_the_limit_are_closed_and_keep_nothing() {
        let (mut peer, mut events) = peer();
        for _ in 0..MOST_CHANNELS + 10 {
            let id = asked_for(&mut peer);
            peer.handle_message(message(id, b"early"));
            peer.handle_channel_open(id, "many".to_owned());
        }
        assert_eq!(told(&mut events).len(), 2 * MOST_CHANNELS);
        assert!(peer.channels.early.is_empty());
    }
}
