//! Packets without payload.

use blink_api::{RtpOut, Transport};
use bytes::Bytes;

use super::pair::{Pair, packet};

/// A packet without payload is delivered, so that its sequence number counts as received.
pub async fn packets_without_payload_arrive(offerer: &dyn Transport, answerer: &dyn Transport) {
    const COUNT: u16 = 30;
    let mut pair = Pair::open(offerer, answerer).await;
    pair.connect().await;
    for n in 0..COUNT {
        let whole = packet(65_520u16.wrapping_add(n));
        // The first packet has a payload, from which the receiver learns the sender's SSRC.
        let packet = if n % 3 == 1 { RtpOut { payload: Bytes::new(), ..whole } } else { whole };
        pair.offerer.send(packet.clone());
        pair.answerer.send(packet);
    }
    pair.until("all packets arrive", |a, b| [a, b].iter().all(|side| side.packets().count() == usize::from(COUNT)))
        .await;
    for side in [&pair.offerer, &pair.answerer] {
        for (n, packet) in (0..COUNT).zip(side.packets()) {
            assert_eq!(packet.sequence, 65_520u16.wrapping_add(n), "packets keep their order on one machine");
            assert_eq!(packet.payload.is_empty(), n % 3 == 1, "the payload of {}", packet.sequence);
        }
    }
    pair.close().await;
}
