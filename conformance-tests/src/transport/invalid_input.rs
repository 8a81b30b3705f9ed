//! Invalid input, which a session must reject without harm.

use blink_api::{ErrorKind, TrackKind, Transport};

use super::opus;
use super::pair::{Pair, Side, candidate, codec};

/// A session reports no event, and has therefore gathered and sent nothing, before it negotiates.
pub async fn nothing_happens_before_negotiation(transport: &dyn Transport) {
    let mut side = Side::open(transport, vec![opus()]).await;
    let nothing = side.session.create_offer(false).await.expect_err("there is nothing to offer");
    assert_eq!(nothing.kind(), ErrorKind::State);
    side.session.add_track(TrackKind::Audio).await.expect("a track");
    if transport.capabilities().data_channels {
        side.session.open_channel("blink").await.expect("a channel can be wanted");
    }
    side.expect_silence().await;
    let refused = side.session.add_track(TrackKind::Video).await.expect_err("no video codec was configured");
    assert_eq!(refused.kind(), ErrorKind::Unsupported);
    side.session.close().await;
}

/// An offer without a shared audio codec fails with `Incompatible`, after which the session can
/// answer another one.
pub async fn no_common_codec_is_incompatible(offerer: &dyn Transport, answerer: &dyn Transport) {
    let pcmu = || codec("PCMU", 8000, 1, "");
    let mut pair = Pair::open(offerer, answerer).await;
    let foreign = Side::open(offerer, vec![pcmu()]).await;
    foreign.session.add_track(TrackKind::Audio).await.expect("a track");
    let offer = foreign.session.create_offer(false).await.expect("an offer");
    let refused = pair.answerer.session.accept_offer(&offer).await.expect_err("no shared codec");
    assert_eq!(refused.kind(), ErrorKind::Incompatible);
    foreign.session.close().await;
    pair.connect().await;
    pair.speak(1).await;
    pair.close().await;
}

/// Malformed descriptions and candidates fail with `Invalid`, and the session connects afterwards.
pub async fn malformed_input_is_invalid_and_harmless(offerer: &dyn Transport, answerer: &dyn Transport) {
    let mut pair = Pair::open(offerer, answerer).await;
    let offer = pair.offerer.session.create_offer(false).await.expect("an offer");
    let early = pair.answerer.session.accept_answer(&offer).await.expect_err("no offer is open");
    assert_eq!(early.kind(), ErrorKind::State);
    let garbage = ["", "garbage", "v=0", "v=0\r\ns=-\r\n", "{\"sdp\":\"\"}", "\u{0}\u{1}\r\n\u{fffd}"];
    for text in garbage {
        let refused = pair.answerer.session.accept_offer(text).await.expect_err("no offer");
        assert_eq!(refused.kind(), ErrorKind::Invalid, "the offer {text:?}");
        let refused = pair.offerer.session.accept_answer(text).await.expect_err("no answer");
        assert_eq!(refused.kind(), ErrorKind::Invalid, "the answer {text:?}");
    }
    for text in
        ["", "garbage", "candidate:", "candidate:1 1 udp x 192.0.2.1 9 typ host", "1 1 udp 1 192.0.2.1 9 typ host"]
    {
        for side in [&pair.offerer, &pair.answerer] {
            let refused = side.session.add_candidate(&candidate(text)).await.expect_err("no candidate");
            assert_eq!(refused.kind(), ErrorKind::Invalid, "the candidate {text:?}");
        }
    }
    for text in [
        "candidate:1 1 tcp 1 192.0.2.1 9 typ host tcptype active",
        "candidate:1 1 udp 1 8a1c0e1e-aaaa-bbbb-cccc-1234567890ab.local 9 typ host",
    ] {
        for side in [&pair.offerer, &pair.answerer] {
            side.session.add_candidate(&candidate(text)).await.expect("a candidate to ignore");
        }
    }
    pair.negotiate_with(offer).await;
    pair.until_connected().await;
    pair.speak(1).await;
    pair.close().await;
}
