//! Conformance tests for transports, against any other transport.
//!
//! Each function verifies one property between an offering and an answering transport, which may be
//! the same. It panics with a sentence that names the property, and waits for events, five seconds
//! at most, instead of sleeping. The author of a transport calls them from tests of their own
//! crate; [`verify`] calls them all:
//!
//! ```no_run
//! # async fn test(mine: &dyn blink_api::Transport, theirs: &dyn blink_api::Transport) {
//! blink_conformance::transport::verify(mine, mine).await;
//! blink_conformance::transport::verify(mine, theirs).await;
//! blink_conformance::transport::verify(theirs, mine).await;
//! # }
//! ```

mod amplification;
mod backpressure;
mod call;
mod encryption;
mod fixtures;
mod host_candidates;
mod invalid_input;
mod padding;
mod pair;
mod redundant_audio;
pub(crate) mod relays;
mod retransmission;
mod run;
mod setup_times;
mod sockets;
mod unusual_sdp;
mod video;

pub(crate) use call::vp8;
pub use encryption::{nothing_is_readable_on_the_wire, other_fingerprints_are_refused};
pub use host_candidates::{host_candidates_may_be_mdns_names, host_candidates_may_be_omitted};
pub use invalid_input::{
    malformed_input_is_invalid_and_harmless, no_common_codec_is_incompatible, nothing_happens_before_negotiation,
};
pub use padding::packets_without_payload_arrive;
pub use redundant_audio::redundant_audio_is_negotiated_if_both_support_it;
pub use retransmission::lost_video_is_retransmitted;
pub use run::{Case, run_case};
pub use setup_times::SetupTimes;

pub use amplification::checks_to_third_parties_are_bounded;
pub use backpressure::{messages_for_a_peer_that_is_gone_are_bounded, messages_for_a_slow_reader_are_bounded};
pub use relays::{
    failing_servers_are_reported, first_messages_arrive_through_relays, one_side_may_be_relay_only,
    relay_only_sends_nothing_past_the_relay, relayed_candidates_connect, unusable_servers_do_not_end_the_session,
};
pub use sockets::{
    a_closed_peer_is_reported_as_disconnected, a_dropped_session_is_reported_as_disconnected,
    sockets_are_released_after_close_and_drop, stun_servers_give_reflexive_candidates,
    unusable_configurations_are_refused,
};
pub use unusual_sdp::{rejected_sections_need_no_mid, unusual_lines_are_accepted, unusual_sections_are_rejected};
pub use video::{
    an_ice_restart_keeps_all_sections, audio_continues_during_video_bursts, key_frame_requests_reach_the_sender,
    sections_carry_their_own_tracks, sides_may_have_different_numbers_of_tracks, video_is_carried_in_either_codec,
    video_without_a_shared_codec_is_refused,
};

use std::time::Duration;

use blink_api::{CodecName, ErrorKind, MediaPath, RtpOut, SessionEvent, SessionStats, TrackKind, Transport};
use bytes::Bytes;
use pair::{Pair, Side, codec, packet, without_candidates};

/// Runs all tests of this module except [`lost_video_is_retransmitted`], since retransmission is
/// optional.
pub async fn verify(offerer: &dyn Transport, answerer: &dyn Transport) {
    negotiates_and_carries(offerer, answerer).await;
    candidates_may_trickle_and_repeat(offerer, answerer).await;
    candidates_may_precede_the_description(offerer, answerer).await;
    packets_are_delivered_unchanged(offerer, answerer).await;
    packets_without_payload_arrive(offerer, answerer).await;
    messages_are_delivered_both_ways(offerer, answerer).await;
    messages_for_a_slow_reader_are_bounded(offerer, answerer).await;
    messages_for_a_peer_that_is_gone_are_bounded(offerer, answerer).await;
    a_receive_only_side_can_add_a_track_later(offerer, answerer).await;
    a_removed_track_ends_and_the_other_direction_continues(offerer, answerer).await;
    ice_restart_keeps_media(offerer, answerer).await;
    stats_count_what_was_sent(offerer, answerer).await;
    sections_carry_their_own_tracks(offerer, answerer).await;
    sides_may_have_different_numbers_of_tracks(offerer, answerer).await;
    video_is_carried_in_either_codec(offerer, answerer).await;
    video_without_a_shared_codec_is_refused(offerer, answerer).await;
    key_frame_requests_reach_the_sender(offerer, answerer).await;
    an_ice_restart_keeps_all_sections(offerer, answerer).await;
    audio_continues_during_video_bursts(offerer, answerer).await;
    no_common_codec_is_incompatible(offerer, answerer).await;
    redundant_audio_is_negotiated_if_both_support_it(offerer, answerer).await;
    malformed_input_is_invalid_and_harmless(offerer, answerer).await;
    unusual_lines_are_accepted(offerer, answerer).await;
    unusual_sections_are_rejected(offerer, answerer).await;
    rejected_sections_need_no_mid(offerer, answerer).await;
    checks_to_third_parties_are_bounded(offerer, answerer).await;
    everything_fails_after_close(offerer, answerer).await;
    a_closed_peer_is_reported_as_disconnected(offerer, answerer).await;
    a_dropped_session_is_reported_as_disconnected(offerer, answerer).await;
    other_fingerprints_are_refused(offerer, answerer).await;
    nothing_is_readable_on_the_wire(offerer, answerer).await;
    sockets_are_released_after_close_and_drop(offerer, answerer).await;
    relayed_candidates_connect(offerer, answerer).await;
    first_messages_arrive_through_relays(offerer, answerer).await;
    one_side_may_be_relay_only(offerer, answerer).await;
    host_candidates_may_be_omitted(offerer, answerer).await;
    host_candidates_may_be_mdns_names(offerer, answerer).await;
    for transport in [offerer, answerer] {
        nothing_happens_before_negotiation(transport).await;
        stun_servers_give_reflexive_candidates(transport).await;
        unusable_configurations_are_refused(transport).await;
        relay_only_sends_nothing_past_the_relay(transport).await;
        failing_servers_are_reported(transport).await;
        unusable_servers_do_not_end_the_session(transport).await;
    }
}

/// Sets up a call's connection, with one audio section for both directions and a data channel, and
/// returns how long it took.
pub async fn negotiates_and_carries(offerer: &dyn Transport, answerer: &dyn Transport) -> SetupTimes {
    let mut pair = Pair::open(offerer, answerer).await;
    pair.offerer.session.open_channel("blink").await.expect("a channel can be requested");
    let setup_times = pair.measure_setup().await;
    let sections = [&pair.offerer, &pair.answerer].map(|side| side.started().expect("a track is received"));
    assert_eq!(sections[0], sections[1], "both directions share one section");
    pair.exchange_packets(10).await;
    pair.until("the channel is open on both sides", |a, b| {
        a.channel("blink").is_some() && b.channel("blink").is_some()
    })
    .await;
    pair.close().await;
    setup_times
}

/// Candidates that arrive after the description, each twice, connect.
pub async fn candidates_may_trickle_and_repeat(offerer: &dyn Transport, answerer: &dyn Transport) {
    let mut pair = Pair::open(offerer, answerer).await;
    let (offer, mut ours) = without_candidates(&pair.offerer.session.create_offer(false).await.expect("an offer"));
    let (answer, mut theirs) =
        without_candidates(&pair.answerer.session.accept_offer(&offer).await.expect("an answer"));
    pair.offerer.session.accept_answer(&answer).await.expect("the answer is accepted");
    pair.hold_candidates(&mut ours, &mut theirs).await;
    for _ in 0..2 {
        pair.answerer.add_candidates(&ours).await;
        pair.offerer.add_candidates(&theirs).await;
    }
    pair.until_connected().await;
    pair.close().await;
}

/// Candidates that arrive before the description are kept for it.
pub async fn candidates_may_precede_the_description(offerer: &dyn Transport, answerer: &dyn Transport) {
    let mut pair = Pair::open(offerer, answerer).await;
    let (offer, mut ours) = without_candidates(&pair.offerer.session.create_offer(false).await.expect("an offer"));
    pair.offerer.gather(&mut ours).await;
    pair.answerer.add_candidates(&ours).await;
    let (answer, mut theirs) =
        without_candidates(&pair.answerer.session.accept_offer(&offer).await.expect("an answer"));
    pair.answerer.gather(&mut theirs).await;
    pair.offerer.add_candidates(&theirs).await;
    pair.offerer.session.accept_answer(&answer).await.expect("the answer is accepted");
    pair.until_connected().await;
    pair.exchange_packets(1).await;
    pair.close().await;
}

/// Sequence number, timestamp, marker, level, codec and payload are delivered unchanged, also
/// around the wrap of the sequence number.
pub async fn packets_are_delivered_unchanged(offerer: &dyn Transport, answerer: &dyn Transport) {
    const COUNT: u16 = 30;
    let mut pair = Pair::open(offerer, answerer).await;
    pair.connect().await;
    let began = std::time::Instant::now();
    let sent: Vec<_> = (0..COUNT).map(|n| packet(65_520u16.wrapping_add(n))).collect();
    for packet in &sent {
        pair.offerer.send(packet.clone());
        pair.answerer.send(packet.clone());
    }
    let all = |side: &Side| side.packets().count() >= usize::from(COUNT);
    pair.until("all packets arrive", |a, b| all(a) && all(b)).await;
    for side in [&pair.offerer, &pair.answerer] {
        let section = side.started().expect("a track is received");
        let different: std::collections::HashSet<u16> = side.packets().map(|packet| packet.sequence).collect();
        assert_eq!(different.len(), side.packets().count(), "each packet is delivered once (left: different ones)");
        for (packet, sent) in side.packets().zip(&sent) {
            assert_eq!(packet.sequence, sent.sequence, "packets keep their order on one machine");
            assert_eq!(packet.timestamp, sent.timestamp);
            assert_eq!(packet.marker, sent.marker, "the marker of {}", packet.sequence);
            assert_eq!(packet.level, sent.level, "the level of {}", packet.sequence);
            let [got, expected] = [&packet.payload, &sent.payload].map(|payload| crate::explain::bytes(payload));
            assert_eq!(got, expected, "the payload (left: received, right: sent) of {}", packet.sequence);
            assert_eq!(packet.codec, CodecName::new("OPUS"), "the codec is resolved from the payload type");
            assert_eq!(packet.mid, section, "packets name the section of their track");
            assert!(packet.arrival >= began && packet.arrival.elapsed() < Duration::from_secs(5), "arrival is stamped");
        }
    }
    let mut foreign = packet(100);
    foreign.codec = CodecName::new("PCMA");
    let refused = pair.offerer.session.send_rtp(pair.offerer.track, foreign).expect_err("the codec was not negotiated");
    assert_eq!(refused.kind(), ErrorKind::Incompatible);
    let mut long = packet(101);
    long.payload = Bytes::from(vec![0; RtpOut::MAX_PAYLOAD + 1]);
    let refused = pair.offerer.session.send_rtp(pair.offerer.track, long).expect_err("the payload is too long");
    assert_eq!(refused.kind(), ErrorKind::TooLarge);
    let unknown = blink_api::TrackId(pair.offerer.track.0 + 1000);
    let refused = pair.offerer.session.send_rtp(unknown, packet(1)).expect_err("the track is unknown");
    assert_eq!(refused.kind(), ErrorKind::NotFound);
    pair.close().await;
}

/// A channel opened by the offerer carries messages in both directions, large ones in order.
pub async fn messages_are_delivered_both_ways(offerer: &dyn Transport, answerer: &dyn Transport) {
    let mut pair = Pair::open(offerer, answerer).await;
    if !offerer.capabilities().data_channels {
        let refused = pair.offerer.session.open_channel("blink").await.expect_err("no data channels");
        assert_eq!(refused.kind(), ErrorKind::Unsupported);
        return pair.close().await;
    }
    pair.offerer.session.open_channel("blink").await.expect("a channel can be requested");
    pair.connect().await;
    pair.until("the channel is open on both sides", |a, b| {
        a.channel("blink").is_some() && b.channel("blink").is_some()
    })
    .await;
    let messages = [Bytes::from_static(b"first"), Bytes::from(vec![7; 16 * 1024]), Bytes::from_static(&[0, 255])];
    for side in [&pair.offerer, &pair.answerer] {
        let channel = side.channel("blink").expect("the channel is open");
        for message in &messages {
            side.session.send_data(channel, message.clone()).expect("the message is accepted");
        }
        let unknown = blink_api::ChannelId(channel.0 + 1000);
        let refused = side.session.send_data(unknown, Bytes::new()).expect_err("the channel is unknown");
        assert_eq!(refused.kind(), ErrorKind::NotFound);
    }
    pair.until("all messages arrive in order", |a, b| a.messages() == messages && b.messages() == messages).await;
    pair.close().await;
}

/// A side that sends nothing has no track at the remote side; a track that it adds later uses the
/// same section.
pub async fn a_receive_only_side_can_add_a_track_later(offerer: &dyn Transport, answerer: &dyn Transport) {
    let mut pair = Pair::open_with_listener(offerer, answerer).await;
    pair.connect().await;
    pair.offerer.send(packet(1));
    pair.until("the listener receives audio", |_, b| b.packets().count() == 1).await;
    assert_eq!(pair.offerer.started(), None, "a listener has no track");
    if !(offerer.capabilities().renegotiation && answerer.capabilities().renegotiation) {
        return pair.close().await;
    }
    pair.answerer.track = pair.answerer.session.add_track(TrackKind::Audio).await.expect("a track");
    pair.until("the added track asks for a negotiation", |_, b| {
        b.saw(|e| matches!(e, SessionEvent::NegotiationNeeded))
    })
    .await;
    pair.negotiate_from_answerer().await;
    pair.until("the added track is announced", |a, _| a.started().is_some()).await;
    assert_eq!(pair.offerer.started(), pair.answerer.started(), "it shares the section");
    pair.exchange_packets(2).await;
    pair.close().await;
}

/// A removed track ends at the remote side after a renegotiation, while the remote side's own track
/// in the same section continues.
pub async fn a_removed_track_ends_and_the_other_direction_continues(offerer: &dyn Transport, answerer: &dyn Transport) {
    let mut pair = Pair::open(offerer, answerer).await;
    pair.connect().await;
    pair.exchange_packets(1).await;
    if !(offerer.capabilities().renegotiation && answerer.capabilities().renegotiation) {
        return pair.close().await;
    }
    let removed = pair.offerer.track;
    pair.offerer.session.remove_track(removed).await.expect("the track exists");
    let gone = pair.offerer.session.remove_track(removed).await.expect_err("it was removed");
    assert_eq!(gone.kind(), ErrorKind::NotFound);
    pair.negotiate(false).await;
    pair.until("the track ends", |_, b| b.saw(|e| matches!(e, SessionEvent::TrackEnded { .. }))).await;
    let heard = pair.offerer.packets().count();
    let next = pair.next_packet();
    pair.answerer.send(next);
    pair.until("the other direction continues", |a, _| a.packets().count() > heard).await;
    pair.offerer.track = pair.offerer.session.add_track(TrackKind::Audio).await.expect("another track");
    pair.negotiate(false).await;
    pair.exchange_packets(3).await;
    pair.close().await;
}

/// An ICE restart uses new credentials. Packets sent before its answer arrive; afterwards the new
/// path may lose some while it is checked. Returns the time until both sides receive packets again.
pub async fn ice_restart_keeps_media(offerer: &dyn Transport, answerer: &dyn Transport) -> Duration {
    let mut pair = Pair::open(offerer, answerer).await;
    pair.connect().await;
    pair.exchange_packets(1).await;
    if !(offerer.capabilities().ice_restart && answerer.capabilities().ice_restart) {
        pair.close().await;
        return Duration::ZERO;
    }
    let before = pair.ufrags.clone();
    let offer = pair.offerer.session.create_offer(true).await.expect("a restart");
    pair.exchange_packets(1).await;
    pair.negotiate_with(offer).await;
    assert_ne!(before.0, pair.ufrags.0, "the offerer's credentials are new");
    assert_ne!(before.1, pair.ufrags.1, "the answerer's credentials are new");
    let gap = pair.exchange_until_received().await;
    pair.exchange_packets(20).await;
    let ended = |side: &Side| side.saw(|event| matches!(event, SessionEvent::Closed | SessionEvent::TrackEnded { .. }));
    assert!(!ended(&pair.offerer) && !ended(&pair.answerer), "the session and its tracks continue");
    pair.close().await;
    gap
}

/// Both sides count packets and payload bytes; loss is derived from gaps in the sequence numbers;
/// networks have a round-trip time.
pub async fn stats_count_what_was_sent(offerer: &dyn Transport, answerer: &dyn Transport) {
    let mut pair = Pair::open(offerer, answerer).await;
    let fresh = pair.offerer.session.stats().await.expect("statistics");
    assert_eq!(fresh, SessionStats::default(), "nothing has been sent");
    pair.connect().await;
    let sequences = (0..50u16).filter(|n| ![10, 11, 30].contains(n));
    let packets: Vec<_> = sequences.map(packet).collect();
    let bytes: u64 = packets.iter().map(|packet| packet.payload.len() as u64).sum();
    packets.iter().for_each(|packet| pair.offerer.send(packet.clone()));
    let count = packets.len() as u64;
    pair.until("all packets arrive", |_, b| b.packets().count() as u64 == count).await;
    let sent = pair.offerer.session.stats().await.expect("statistics");
    assert_eq!((sent.packets_sent, sent.bytes_sent, sent.packets_received), (count, bytes, 0));
    let received = pair.answerer.session.stats().await.expect("statistics");
    assert_eq!((received.packets_received, received.bytes_received, received.packets_lost), (count, bytes, 3));
    assert_eq!(received.packets_sent, 0);
    for side in [&pair.offerer, &pair.answerer] {
        let measured = side.transport_is_network;
        let deadline = tokio::time::Instant::now() + Duration::from_secs(5);
        let is_incomplete = |stats: SessionStats| stats.round_trip.is_none() || stats.path.is_none();
        while measured && is_incomplete(side.session.stats().await.expect("statistics")) {
            assert!(tokio::time::Instant::now() < deadline, "a round trip time is measured within five seconds");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    for side in [&pair.offerer, &pair.answerer].into_iter().filter(|side| side.transport_is_network) {
        assert_eq!(side.session.stats().await.expect("statistics").path, Some(MediaPath::Direct));
    }
    pair.close().await;
}

/// After `close` every method fails with `Closed`, the events end after `Closed`, and closing again
/// has no effect.
pub async fn everything_fails_after_close(offerer: &dyn Transport, answerer: &dyn Transport) {
    let mut pair = Pair::open(offerer, answerer).await;
    pair.connect().await;
    let section = pair.offerer.started().expect("a track is received");
    let offer = pair.answerer.session.create_offer(true).await.expect("an offer");
    let side = &mut pair.offerer;
    side.session.close().await;
    side.session.close().await;
    let session = &side.session;
    let candidate = pair::candidate("candidate:1 1 udp 1 192.0.2.1 9 typ host");
    let results = [
        ("create_offer", session.create_offer(false).await.map(drop)),
        ("accept_offer", session.accept_offer(&offer).await.map(drop)),
        ("accept_answer", session.accept_answer(&offer).await),
        ("add_candidate", session.add_candidate(&candidate).await),
        ("add_track", session.add_track(TrackKind::Audio).await.map(drop)),
        ("remove_track", session.remove_track(side.track).await),
        ("send_rtp", session.send_rtp(side.track, packet(1))),
        ("request_keyframe", session.request_keyframe(&section)),
        ("open_channel", session.open_channel("late").await),
        ("send_data", session.send_data(blink_api::ChannelId(1), Bytes::new())),
        ("stats", session.stats().await.map(drop)),
    ];
    for (method, result) in results {
        assert_eq!(result.expect_err(method).kind(), ErrorKind::Closed, "{method} after close");
    }
    side.until_ended().await;
    assert!(matches!(side.log.last(), Some(SessionEvent::Closed)), "the last event is Closed");
    pair.answerer.session.close().await;
}

/// Audio codec of the suite.
pub(crate) fn opus() -> blink_api::RtpCodec {
    codec("opus", 48_000, 2, "minptime=10;useinbandfec=1")
}
