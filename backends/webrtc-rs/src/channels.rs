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
    let mut open = None;
    // Through a relay the stack may hand over the first messages before it says that the channel is open.
    let mut early = Vec::new();
    loop {
        tokio::select! {
            event = stream.poll() => match event {
                Some(DataChannelEvent::OnOpen) => {
                    if let Some(queue) = queue.take() {
                        open = announce(&shared, &stream, queue).await;
                    }
                    let Some(channel) = open else { continue };
                    let early = std::mem::take(&mut early).into_iter();
                    early.for_each(|message| shared.events.send(SessionEvent::Data { channel, message }));
                }
                Some(DataChannelEvent::OnMessage(message)) => {
                    let message = message.data.freeze();
                    match open {
                        Some(channel) => shared.events.send(SessionEvent::Data { channel, message }),
                        None if early.len() < QUEUED_MESSAGES => early.push(message),
                        None => tracing::debug!("a message on a channel that does not open is dropped"),
                    }
                }
                Some(DataChannelEvent::OnClose) | None => break,
                Some(_) => {}
            },
            Some(message) = messages.recv(), if open.is_some() => {
                if let Err(error) = stream.send(BytesMut::from(message)).await {
                    tracing::debug!(%error, "a message cannot be sent");
                }
            }
        }
    }
    if let Some(channel) = open {
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
