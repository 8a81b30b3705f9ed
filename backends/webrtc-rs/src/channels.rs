//! Data channels: one task each, which reads and writes.

use std::sync::Arc;

use blink_api::{ChannelId, SessionEvent};
use bytes::{Bytes, BytesMut};
use tokio::sync::mpsc;
use webrtc::data_channel::{DataChannel, DataChannelEvent};

use crate::shared::Shared;

/// Messages of at most 16 KiB that wait to be sent: 1 MiB.
const QUEUED_MESSAGES: usize = 64;
/// Data channels a peer may open.
const MOST_CHANNELS: usize = 64;

/// Serves a channel of either side from before it is open until it is closed.
pub(crate) fn run(shared: &Arc<Shared>, channel: Arc<dyn DataChannel>) {
    let own = Arc::clone(shared);
    shared.spawn(async move { serve(own, channel).await });
}

async fn serve(shared: Arc<Shared>, stream: Arc<dyn DataChannel>) {
    let (queue, mut messages) = mpsc::channel::<Bytes>(QUEUED_MESSAGES);
    let mut queue = Some(queue);
    let mut incoming = Incoming::default();
    loop {
        tokio::select! {
            event = stream.poll() => match event {
                Some(DataChannelEvent::OnOpen) => {
                    if let Some(queue) = queue.take()
                        && let Some(channel) = announce(&shared, &stream, queue).await
                    {
                        incoming.open(channel).into_iter().for_each(|event| shared.events.send(event));
                    }
                }
                Some(DataChannelEvent::OnMessage(message)) => {
                    incoming.take(message.data.freeze()).into_iter().for_each(|event| shared.events.send(event));
                }
                Some(DataChannelEvent::OnClose) | None => break,
                Some(_) => {}
            },
            Some(message) = messages.recv(), if incoming.channel.is_some() => {
                if let Err(error) = stream.send(BytesMut::from(message)).await {
                    tracing::debug!(%error, "a message cannot be sent");
                }
            }
        }
    }
    if let Some(channel) = incoming.channel {
        shared.lock().channels.remove(&channel);
    }
}

async fn announce(shared: &Shared, stream: &Arc<dyn DataChannel>, queue: mpsc::Sender<Bytes>) -> Option<ChannelId> {
    let label = stream.label().await.unwrap_or_default();
    let mut state = shared.lock();
    if state.channels.len() == MOST_CHANNELS {
        return None;
    }
    state.next_channel += 1;
    let channel = ChannelId(state.next_channel);
    state.channels.insert(channel, queue);
    shared.events.send(SessionEvent::ChannelOpen { channel, label });
    Some(channel)
}

/// What comes in on a channel. Through a relay the stack may hand over the first messages before it says that the channel is open; they
/// wait until it does.
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
        match self.channel {
            Some(channel) => return Some(SessionEvent::Data { channel, message }),
            None if self.early.len() < QUEUED_MESSAGES => self.early.push(message),
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
        for number in 0..QUEUED_MESSAGES + 1 {
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
        let expected: Vec<u8> = (0..QUEUED_MESSAGES as u8).chain([200]).collect();
        assert_eq!(told, expected, "the one too many is dropped, and no other");
    }
}
