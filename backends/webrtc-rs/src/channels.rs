//! Data channels: one task each, which reads and writes.

use std::sync::Arc;

use blink_api::{ChannelId, SessionEvent};
use bytes::{Bytes, BytesMut};
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use webrtc::data_channel::{DataChannel, DataChannelEvent};

use crate::shared::Shared;

/// Data channels of a session, of both sides. Further ones are closed as soon as they open.
const MAX_CHANNELS: usize = 64;
/// Messages of a channel that wait to be handed to the stack.
const QUEUED_MESSAGES: usize = 64;
/// Bytes that wait so in all channels of a session.
pub(crate) const QUEUED_BYTES: usize = 1024 * 1024;
/// Bytes of a channel that the stack holds until they are acknowledged.
pub(crate) const SEND_BUFFER: usize = 256 * 1024;
/// Messages and bytes kept for a channel that is not open yet.
const EARLY_MESSAGES: usize = 64;
const EARLY_BYTES: usize = 64 * 1024;

/// A message on its way to the stack, with its share of [`QUEUED_BYTES`].
pub(crate) type Queued = (Bytes, OwnedSemaphorePermit);

/// Serves a channel of either side from before it is open until it is closed.
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

/// Closes a channel, and drops what comes until it is closed: the stack keeps messages that are not
/// taken.
async fn refuse(stream: &dyn DataChannel) {
    tracing::debug!("the peer opened too many data channels, one is closed");
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
    // Writing waits for the peer. Reading must go on meanwhile, or two full sides wait for each
    // other.
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

/// Hands messages to the stack, each as soon as it has room. Never returns.
async fn write(stream: &dyn DataChannel, mut messages: mpsc::Receiver<Queued>) {
    while let Some((message, _share)) = messages.recv().await {
        if let Err(error) = stream.send(BytesMut::from(message)).await {
            tracing::debug!(%error, "a message cannot be sent");
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

/// Messages of a channel on their way in. Through a relay the stack may hand over the first ones
/// before it says that the channel is open; they wait until it does.
#[derive(Default)]
struct Incoming {
    channel: Option<ChannelId>,
    early: Vec<Bytes>,
}

impl Incoming {
    /// The channel is open: what came before is due.
    fn open(&mut self, channel: ChannelId) -> Vec<SessionEvent> {
        self.channel = Some(channel);
        std::mem::take(&mut self.early).into_iter().map(|message| SessionEvent::Data { channel, message }).collect()
    }

    /// A message came.
    fn take(&mut self, message: Bytes) -> Option<SessionEvent> {
        let kept: usize = self.early.iter().map(Bytes::len).sum();
        match self.channel {
            Some(channel) => return Some(SessionEvent::Data { channel, message }),
            None if self.early.len() < EARLY_MESSAGES && kept + message.len() <= EARLY_BYTES => {
                self.early.push(message);
            }
            None => tracing::debug!("a message on a channel that does not open is dropped"),
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_wait_for_their_channel_and_keep_their_order() {
        let mut incoming = Incoming::default();
        let message = |number: usize| Bytes::from(vec![number as u8]);
        for number in 0..EARLY_MESSAGES + 1 {
            assert!(incoming.take(message(number)).is_none(), "nothing is told of a channel that is not open");
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
        assert_eq!(told, expected, "the one too many is dropped, and no other");
    }

    #[test]
    fn a_channel_that_does_not_open_keeps_few_bytes() {
        let mut incoming = Incoming::default();
        for _ in 0..EARLY_MESSAGES {
            assert!(incoming.take(Bytes::from(vec![0; 16 * 1024])).is_none());
        }
        assert_eq!(incoming.open(ChannelId(1)).len(), EARLY_BYTES / (16 * 1024));
    }
}
