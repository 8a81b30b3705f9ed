//! Peers that do not keep up with the messages of a data channel.

use std::time::Duration;

use blink_api::{ErrorKind, Transport};
use bytes::Bytes;

use super::pair::Pair;

/// The longest message of a call.
const MESSAGE: usize = 16 * 1024;
/// Messages of an attempt: 16 MiB.
const ATTEMPTED: usize = 1024;
/// Bytes of messages that a session may keep, its stack's buffers included.
const MOST: usize = 4 * 1024 * 1024;
/// Longest pause in which a sender finds no room.
const PATIENCE: Duration = Duration::from_millis(500);
/// Pause between two attempts to find room.
const PAUSE: Duration = Duration::from_millis(2);

/// A session keeps few messages for a reader that takes none, and goes on once it does.
pub async fn messages_for_a_slow_reader_are_bounded(offerer: &dyn Transport, answerer: &dyn Transport) {
    let Some(mut pair) = open(offerer, answerer).await else { return };
    send_all(&mut pair).await;
    pair.answerer.drain().await;
    let numbers: Vec<u32> = pair.answerer.messages().iter().map(number).collect();
    assert!(!numbers.is_empty(), "messages arrive");
    assert!(numbers.is_sorted_by(|one, other| one < other), "messages keep their order");
    assert!(numbers.len() * MESSAGE <= MOST, "{} MiB are kept for a reader", (numbers.len() * MESSAGE) >> 20);
    pair.speak(10).await;
    pair.close().await;
}

/// A session keeps few messages for a peer that is gone: further ones are refused.
pub async fn messages_for_a_peer_that_is_gone_are_bounded(offerer: &dyn Transport, answerer: &dyn Transport) {
    if !offerer.capabilities().network {
        // What is sent within one process is gone with the peer.
        return;
    }
    let Some(mut pair) = open(offerer, answerer).await else { return };
    pair.answerer.session.close().await;
    let accepted = send_all(&mut pair).await;
    assert!(accepted * MESSAGE <= MOST, "{} MiB are kept for a peer", (accepted * MESSAGE) >> 20);
    pair.close().await;
}

/// Two connected sides with a channel; `None` where there are none.
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

/// The offerer sends as many messages as find room, and says how many were accepted. The answerer
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
            // The channel went with the peer.
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
