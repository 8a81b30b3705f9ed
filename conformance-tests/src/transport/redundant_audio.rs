//! Redundant audio (RFC 2198).

use std::collections::HashSet;

use blink_api::{CodecName, ErrorKind, RtpCodec, RtpOut, TrackKind, Transport};

use super::opus;
use super::pair::{Pair, Side, codec, packet};

/// Redundant audio is negotiated if both sides support it, along with the primary codec, and its
/// packets are delivered as such; otherwise the primary codec is negotiated alone.
pub async fn redundant_audio_is_negotiated_if_both_support_it(offerer: &dyn Transport, answerer: &dyn Transport) {
    let with_copies = || vec![opus(), codec("red", 48_000, 2, "")];
    for (ours, theirs) in [(with_copies(), with_copies()), (with_copies(), vec![opus()]), (vec![opus()], with_copies())]
    {
        let both = ours.len() == 2 && theirs.len() == 2;
        let mut pair = open((offerer, ours), (answerer, theirs)).await;
        pair.connect().await;
        let expected = if both { vec![CodecName::new("opus"), CodecName::red()] } else { vec![CodecName::new("opus")] };
        for side in [&pair.offerer, &pair.answerer] {
            assert_eq!(side.session.codecs(side.track), expected);
        }
        if both {
            copies_arrive(&mut pair).await;
        } else {
            for side in [&pair.offerer, &pair.answerer] {
                let refused = side.session.send_rtp(side.track, RtpOut { codec: CodecName::red(), ..packet(1) });
                let refused = refused.expect_err("it was not negotiated");
                assert_eq!(refused.kind(), ErrorKind::Incompatible);
            }
        }
        pair.speak(5).await;
        pair.close().await;
    }
}

async fn open(ours: (&dyn Transport, Vec<RtpCodec>), theirs: (&dyn Transport, Vec<RtpCodec>)) -> Pair {
    let mut offerer = Side::open(ours.0, ours.1).await;
    let mut answerer = Side::open(theirs.0, theirs.1).await;
    for side in [&mut offerer, &mut answerer] {
        side.track = side.session.add_track(TrackKind::Audio).await.expect("a track");
    }
    Pair::of(offerer, answerer)
}

/// Both sides alternately send packets with and without redundancy.
async fn copies_arrive(pair: &mut Pair) {
    let name = |number: u16| if number.is_multiple_of(2) { CodecName::red() } else { CodecName::new("opus") };
    let numbers = 100..120;
    for number in numbers.clone() {
        for side in [&pair.offerer, &pair.answerer] {
            side.send(RtpOut { codec: name(number), ..packet(number) });
        }
    }
    let heard = |side: &Side| {
        let packets = side.packets().filter(|packet| numbers.contains(&packet.sequence));
        packets.map(|packet| packet.sequence).collect::<HashSet<_>>().len() == numbers.len()
    };
    pair.until("packets with and without redundancy arrive", |a, b| heard(a) && heard(b)).await;
    for side in [&pair.offerer, &pair.answerer] {
        for packet in side.packets().filter(|packet| numbers.contains(&packet.sequence)) {
            assert_eq!(packet.codec, name(packet.sequence), "packet {}", packet.sequence);
        }
    }
}
