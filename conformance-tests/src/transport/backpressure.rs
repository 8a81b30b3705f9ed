//! Peers that do not read a data channel's messages as fast as they are sent.

use std::time::Duration;

use blink_api::{ErrorKind, Transport};
use bytes::Bytes;

use super::pair::Pair;

/// Maximum message size of a call.
const MESSAGE: usize = 16 * 1024;
/// Messages sent in an attempt: 16 MiB.
const ATTEMPTED: usize = 1024;
/// Maximum bytes of messages that a session may buffer, including its stack's buffers.
const MOST: usize = 4 * 1024 * 1024;
/// Longest wait of a sender for buffer space.
const PATIENCE: Duration = Duration::from_millis(500);
/// Pause between two attempts to send.
const PAUSE: Duration = Duration::from_millis(2);

/// A session buffers few messages for a reader that does not read, and continues once it does.
pub async fn messages_for_a_slow_reader_are_bounded(offerer: &dyn Transport, answerer: &dyn Transport) {
    let Some(mut pair) = open(offerer, answerer).await else { return };
    send_all(&mut pair).await;
    pair.answerer.drain().await;
    let numbers: Vec<u32> = pair.answerer.messages().iter().map(number).collect();
    assert!(!numbers.is_empty(), "messages arrive");
    assert!(numbers.is_sorted_by(|one, other| one < other), "messages keep their order");
    assert!(numbers.len() * MESSAGE <= MOST, "{} MiB are buffered for a reader", (numbers.len() * MESSAGE) >> 20);
    pair.speak(10).await;
    pair.close().await;
}

/// A session buffers few messages for a peer that is gone: further ones are refused.
pub async fn messages_for_a_peer_that_is_gone_are_bounded(offerer: &dyn Transport, answerer: &dyn Transport) {
    if !offerer.capabilities().network {
        // In one process, buffers are released with the peer.
        return;
    }
    let Some(mut pair) = open(offerer, answerer).await else { return };
    pair.answerer.session.close().await;
    let accepted = send_all(&mut pair).await;
    assert!(accepted * MESSAGE <= MOST, "{} MiB are buffered for a peer", (accepted * MESSAGE) >> 20);
    pair.close().await;
}

/// Two connected sides with a channel; `None` without data channels.
async fn open(offerer: &dyn Transport, answerer: &dyn Transport) -> Option<Pair> {
    if !(offerer.capabilities().data_channels && answerer.capabilities().data_channels) {
        return None;
    }
    let mut pair = Pair::open(offerer, answerer).await;
    pair.offerer.session.open_channel("blink").await.expect("a channel can be wanted");
    pair.connect().await;
    let is_open = |side: &super::pair::Side| side.channel("blink").is_some();
    pair.until("the channel is open on both sides", |a, b| is_open(a) && is_open(b)).await;
    Some(pair)
}

/// Sends messages from the offerer until none is accepted, and returns how many were. The answerer
/// reads nothing.
async fn send_all(pair: &mut Pair) -> usize {
    let channel = pair.offerer.channel("blink").expect("it is open");
    let (mut accepted, mut waited) = (0, Duration::ZERO);
    while accepted < ATTEMPTED && waited < PATIENCE {
        let message = [&(accepted as u32).to_be_bytes()[..], &[0; MESSAGE - 4]].concat();
        match pair.offerer.session.send_data(channel, Bytes::from(message)) {
            Ok(()) => (accepted, waited) = (accepted + 1, Duration::ZERO),
            Err(error) if error.kind() == ErrorKind::Full => {
                pair.offerer.pass_for(PAUSE).await;
                waited += PAUSE;
            }
            // The channel was closed with the peer.
            Err(error) => {
                assert!(matches!(error.kind(), ErrorKind::NotFound | ErrorKind::Closed), "{error}");
                break;
            }
        }
    }
    accepted
}

fn number(message: &Bytes) -> u32 {
    u32::from_be_bytes(*message.first_chunk().expect("a message has a number"))
}
