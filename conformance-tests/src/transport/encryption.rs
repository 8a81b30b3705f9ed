//! Encryption: the fingerprint of a description, and what can be read on the wire.

use std::time::Duration;

use blink_api::Transport;
use bytes::Bytes;
use tokio::time::{Instant, timeout};

use super::pair::{Pair, Side, packet};
use crate::impaired::{Impairments, Wire};

/// Payload and message to look for on the wire.
const SECRET: &[u8] = b"nobody between the two may be able to read this sentence";
/// Time in which a path would be there.
const TIME: Duration = Duration::from_secs(2);

/// Events that are looked at after each packet.
const EVENTS: usize = 10;

/// A session does not connect with the owner of another key than that of the description's
/// fingerprint, in either role, and delivers nothing of it.
pub async fn other_fingerprints_are_refused(offerer: &dyn Transport, answerer: &dyn Transport) {
    if !must_encrypt(offerer, answerer) {
        return;
    }
    for offerer_is_deceived in [true, false] {
        let mut pair = Pair::open(offerer, answerer).await;
        let offer = pair.offerer.session.create_offer(false).await.expect("an offer");
        let told = if offerer_is_deceived { offer } else { with_other_fingerprint(&offer) };
        let answer = pair.answerer.session.accept_offer(&told).await.expect("a well-formed offer");
        let told = if offerer_is_deceived { with_other_fingerprint(&answer) } else { answer };
        pair.offerer.session.accept_answer(&told).await.expect("a well-formed answer");
        let end = Instant::now() + TIME;
        while Instant::now() < end {
            let next = pair.next_packet();
            pair.offerer.send(next.clone());
            pair.answerer.send(next);
            tokio::time::sleep(Duration::from_millis(40)).await;
            for _ in 0..EVENTS {
                pair.pass_for(Duration::from_millis(1)).await;
            }
        }
        let (side, name) = if offerer_is_deceived { (&pair.offerer, "offerer") } else { (&pair.answerer, "answerer") };
        let packets = side.packets().count();
        assert!(
            !side.is_connected() && packets == 0,
            "{name}: negotiates with a description that has the fingerprint of another key\n  \
             expected: no Connected and no packet\n  got:      Connected: {}, {packets} packets\n  \
             contract: trait Transport, section Encryption: connects only with the owner of the key",
            side.is_connected()
        );
        pair.close().await;
    }
}

/// Nothing of a packet's payload or of a message is readable on the wire. Returns the number of
/// datagrams that were looked at.
pub async fn nothing_is_readable_on_the_wire(offerer: &dyn Transport, answerer: &dyn Transport) -> u64 {
    if !must_encrypt(offerer, answerer) {
        return 0;
    }
    let wire = Wire::new(Impairments::NONE, SECRET);
    let mut pair = Pair::open(offerer, answerer).await;
    let has_channel = offerer.capabilities().data_channels;
    if has_channel {
        pair.offerer.session.open_channel("blink").await.expect("a channel can be requested");
    }
    let (offer, mut ours) = (pair.offerer.session.create_offer(false).await.expect("an offer"), Vec::new());
    let answer = pair.answerer.session.accept_offer(&wire.description(&offer)).await.expect("an answer");
    pair.offerer.session.accept_answer(&wire.description(&answer)).await.expect("the answer fits");
    let mut theirs = Vec::new();
    pair.hold_candidates(&mut ours, &mut theirs).await;
    pair.answerer.add_candidates(&wire.candidates(&ours)).await;
    pair.offerer.add_candidates(&wire.candidates(&theirs)).await;

    let deadline = Instant::now() + Duration::from_secs(15);
    let is_done = |side: &Side| {
        side.packets().any(|packet| packet.payload == SECRET)
            && (!has_channel || side.messages().iter().any(|message| *message == SECRET))
    };
    let mut number = 0;
    while !(is_done(&pair.offerer) && is_done(&pair.answerer)) {
        assert!(Instant::now() < deadline, "packets and messages arrive over a relay of datagrams");
        number += 1;
        for side in [&pair.offerer, &pair.answerer] {
            let mut packet = packet(number);
            packet.payload = Bytes::from_static(SECRET);
            side.send(packet);
            if let Some(channel) = side.channel("blink") {
                // Full: it was sent often enough.
                side.session.send_data(channel, Bytes::from_static(SECRET)).ok();
            }
        }
        // Both sides have each other's candidates already, and none is passed on.
        timeout(Duration::from_millis(20), pair.log_next()).await.ok();
    }
    let seen = wire.seen();
    assert!(seen.datagrams > 0, "nothing went over the candidates' addresses: this test cannot judge the transport");
    assert!(
        seen.readable == 0,
        "{} of {} datagrams contain a payload or message in plain text\n  expected: none\n  \
         contract: trait Transport, section Encryption: nothing of a payload or message is readable on the wire",
        seen.readable,
        seen.datagrams
    );
    pair.close().await;
    seen.datagrams
}

/// Whether both sides declare encryption. Those that do not must stay within one process.
fn must_encrypt(offerer: &dyn Transport, answerer: &dyn Transport) -> bool {
    for (side, capabilities) in [("offerer", offerer.capabilities()), ("answerer", answerer.capabilities())] {
        assert!(
            capabilities.encryption || !capabilities.network,
            "{side}: declares `network` without `encryption`\n  \
             contract: TransportCapabilities::encryption: a transport without it is for one process"
        );
    }
    offerer.capabilities().encryption && answerer.capabilities().encryption
}

/// The description with one digit of each fingerprint changed.
fn with_other_fingerprint(sdp: &str) -> String {
    let change = |line: &str| match line.strip_prefix("a=fingerprint:") {
        Some(value) => {
            let (rest, last) = value.split_at(value.len() - 1);
            format!("a=fingerprint:{rest}{}\r\n", if last == "0" { "1" } else { "0" })
        }
        None => format!("{line}\r\n"),
    };
    sdp.lines().map(change).collect()
}
