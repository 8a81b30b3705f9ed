//! Data channels: mapping between str0m's ids and those of the API, and queued messages.

use std::collections::{HashMap, VecDeque};

use blink_api::{ChannelId, SessionEvent};
use bytes::Bytes;
use str0m::channel::ChannelData;

use crate::peer::Peer;

/// Limit of data channels that a peer may open.
const MAX_CHANNELS: usize = 64;
/// Limit of messages kept for a channel that is not open yet, and of their bytes. Further ones are
/// dropped.
const MAX_EARLY_MESSAGES: usize = 64;
const MAX_EARLY_BYTES: usize = 64 * 1024;

type StackId = str0m::channel::ChannelId;

/// Data channels of a session.
#[derive(Default)]
pub(crate) struct Channels {
    open: Vec<(StackId, ChannelId)>,
    opened: u32,
    early: HashMap<StackId, EarlyMessages>,
    /// Messages that the stack had no buffer space for.
    backlog: VecDeque<(ChannelId, Bytes)>,
}

/// Messages received on a channel that is not open yet.
///
/// For the stack, a local channel is open once the peer has acknowledged it (RFC 8832 §6). But the
/// peer may send before its acknowledgement, and Firefox does.
#[derive(Default)]
struct EarlyMessages {
    messages: Vec<Bytes>,
    bytes: usize,
}

impl EarlyMessages {
    fn push(&mut self, message: Bytes) {
        if self.messages.len() == MAX_EARLY_MESSAGES || self.bytes + message.len() > MAX_EARLY_BYTES {
            return tracing::debug!("message dropped: too many on a channel that is not open");
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
        if self.channels.open.len() == MAX_CHANNELS {
            tracing::debug!("data channel closed: the limit is reached");
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
            // The stack knows the channel, so their number is bounded by its streams.
            None if self.channels.early.len() < MAX_CHANNELS || self.channels.early.contains_key(&data.id) => {
                self.channels.early.entry(data.id).or_default().push(message);
            }
            None => {}
        }
    }

    pub(crate) fn send_message(&mut self, channel: ChannelId, message: Bytes) {
        self.channels.backlog.push_back((channel, message));
        self.flush_backlog();
    }

    /// Writes queued messages to the stack until its buffer is full.
    pub(crate) fn flush_backlog(&mut self) {
        while let Some((channel, message)) = self.channels.backlog.front() {
            let id = self.channels.stack_id(*channel);
            // A message to a channel that was closed meanwhile is dropped.
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

    /// Creates a local channel that the peer has not acknowledged.
    fn asked_for(peer: &mut Peer) -> StackId {
        peer.rtc.direct_api().create_data_channel(ChannelConfig::default())
    }

    /// Received channel events, in order.
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
    fn messages_before_the_acknowledgement_are_delivered_in_order_after_it() {
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
        assert_eq!(told(&mut events), ["2 is new"], "messages of a closed channel are dropped");
    }

    #[test]
    fn early_messages_are_bounded_by_number_and_size() {
        for (content, kept) in [(vec![7; 4], MAX_EARLY_MESSAGES), (vec![7; 16 * 1024], 4)] {
            let (mut peer, mut events) = peer();
            let id = asked_for(&mut peer);
            (0..1000).for_each(|_| peer.handle_message(message(id, &content)));
            peer.handle_channel_open(id, "blink/1".to_owned());
            assert_eq!(told(&mut events).len(), 1 + kept);
        }
    }

    #[test]
    fn channels_beyond_the_limit_are_closed_and_keep_no_messages() {
        let (mut peer, mut events) = peer();
        for _ in 0..MAX_CHANNELS + 10 {
            let id = asked_for(&mut peer);
            peer.handle_message(message(id, b"early"));
            peer.handle_channel_open(id, "many".to_owned());
        }
        assert_eq!(told(&mut events).len(), 2 * MAX_CHANNELS);
        assert!(peer.channels.early.is_empty());
    }
}
