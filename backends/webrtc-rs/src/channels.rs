//! Data channels, each served by a task that reads and writes.

use std::sync::Arc;

use blink_api::{ChannelId, SessionEvent};
use bytes::{Bytes, BytesMut};
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use webrtc::data_channel::{DataChannel, DataChannelEvent};

use crate::shared::Shared;

/// Limit of data channels in a session. Further ones are closed when they open.
const MAX_CHANNELS: usize = 64;
/// Limit of messages queued per channel for the stack.
const QUEUED_MESSAGES: usize = 64;
/// Limit of bytes queued in all channels of a session.
pub(crate) const QUEUED_BYTES: usize = 1024 * 1024;
/// Limit of a channel's unacknowledged bytes in the stack.
pub(crate) const SEND_BUFFER: usize = 256 * 1024;
/// Limits of messages and bytes kept for a channel that is not open yet.
const EARLY_MESSAGES: usize = 64;
const EARLY_BYTES: usize = 64 * 1024;

/// Queued message with its share of [`QUEUED_BYTES`].
pub(crate) type Queued = (Bytes, OwnedSemaphorePermit);

/// Serves a local or remote channel from before it opens until it closes.
pub(crate) fn run(shared: &Arc<Shared>, channel: Arc<dyn DataChannel>) {
    let is_admitted = {
        let mut state = shared.lock();
        let is_admitted = state.served_channels < MAX_CHANNELS;
        state.served_channels += usize::from(is_admitted);
        is_admitted
    };
    let own = Arc::clone(shared);
    shared.spawn(async move {
        if is_admitted {
            serve(&own, &*channel).await;
            own.lock().served_channels -= 1;
        } else {
            refuse(&*channel).await;
        }
    });
}

/// Closes a channel and drains its messages until it is closed, because the stack keeps unread
/// ones.
async fn refuse(stream: &dyn DataChannel) {
    tracing::debug!("data channel closed: the limit is reached");
    if let Err(error) = stream.close().await {
        tracing::debug!(%error, "a data channel cannot be closed");
    }
    while let Some(event) = stream.poll().await {
        if matches!(event, DataChannelEvent::OnClose) {
            return;
        }
    }
}

async fn serve(shared: &Shared, stream: &dyn DataChannel) {
    let (queue, messages) = mpsc::channel(QUEUED_MESSAGES);
    // Writing waits for the peer. Reading must continue meanwhile, otherwise two sides with full
    // buffers deadlock.
    tokio::select! {
        () = read(shared, stream, queue) => {}
        () = write(stream, messages) => {}
    }
}

async fn read(shared: &Shared, stream: &dyn DataChannel, queue: mpsc::Sender<Queued>) {
    let mut queue = Some(queue);
    let mut incoming = Incoming::default();
    while let Some(event) = stream.poll().await {
        match event {
            DataChannelEvent::OnOpen => {
                if let Some(queue) = queue.take() {
                    let channel = announce(shared, stream, queue).await;
                    incoming.open(channel).into_iter().for_each(|event| shared.events.send(event));
                }
            }
            DataChannelEvent::OnMessage(message) => {
                incoming.take(message.data.freeze()).into_iter().for_each(|event| shared.events.send(event));
            }
            DataChannelEvent::OnClose => break,
            _ => {}
        }
    }
    if let Some(channel) = incoming.channel {
        shared.lock().channels.remove(&channel);
    }
}

/// Writes messages to the stack as it has buffer space. Never returns.
async fn write(stream: &dyn DataChannel, mut messages: mpsc::Receiver<Queued>) {
    while let Some((message, _share)) = messages.recv().await {
        if let Err(error) = stream.send(BytesMut::from(message)).await {
            tracing::debug!(%error, "the message cannot be sent");
        }
    }
    std::future::pending::<()>().await;
}

async fn announce(shared: &Shared, stream: &dyn DataChannel, queue: mpsc::Sender<Queued>) -> ChannelId {
    let label = stream.label().await.unwrap_or_default();
    let mut state = shared.lock();
    state.next_channel += 1;
    let channel = ChannelId(state.next_channel);
    state.channels.insert(channel, queue);
    shared.events.send(SessionEvent::ChannelOpen { channel, label });
    channel
}

/// Received messages of a channel. Through a relay, the stack may deliver the first ones before it
/// reports the channel as open; they are kept until then.
#[derive(Default)]
struct Incoming {
    channel: Option<ChannelId>,
    early: Vec<Bytes>,
}

impl Incoming {
    /// Records that the channel is open; returns the messages kept for it.
    fn open(&mut self, channel: ChannelId) -> Vec<SessionEvent> {
        self.channel = Some(channel);
        std::mem::take(&mut self.early).into_iter().map(|message| SessionEvent::Data { channel, message }).collect()
    }

    /// Handles a received message.
    fn take(&mut self, message: Bytes) -> Option<SessionEvent> {
        let kept: usize = self.early.iter().map(Bytes::len).sum();
        match self.channel {
            Some(channel) => return Some(SessionEvent::Data { channel, message }),
            None if self.early.len() < EARLY_MESSAGES && kept + message.len() <= EARLY_BYTES => {
                self.early.push(message);
            }
            None => tracing::debug!("message dropped: too many on a channel that is not open"),
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_kept_in_order_until_the_channel_opens() {
        let mut incoming = Incoming::default();
        let message = |number: usize| Bytes::from(vec![number as u8]);
        for number in 0..EARLY_MESSAGES + 1 {
            assert!(incoming.take(message(number)).is_none(), "no event before the channel is open");
        }
        let mut told = incoming.open(ChannelId(7));
        told.extend(incoming.take(message(200)));
        let told: Vec<u8> = told
            .into_iter()
            .map(|event| match event {
                SessionEvent::Data { channel: ChannelId(7), message } => message[0],
                other => panic!("{other:?}"),
            })
            .collect();
        let expected: Vec<u8> = (0..EARLY_MESSAGES as u8).chain([200]).collect();
        assert_eq!(told, expected, "only the one beyond the limit is dropped");
    }

    #[test]
    fn early_bytes_are_limited() {
        let mut incoming = Incoming::default();
        for _ in 0..EARLY_MESSAGES {
            assert!(incoming.take(Bytes::from(vec![0; 16 * 1024])).is_none());
        }
        assert_eq!(incoming.open(ChannelId(1)).len(), EARLY_BYTES / (16 * 1024));
    }
}
