//! Video, and several media sections in one session.

use std::time::{Duration, Instant};

use blink_api::{CodecName, ErrorKind, Mid, RtpOut, SessionEvent, TrackId, TrackKind, Transport};

use super::call::{Call, KINDS, assert_same, both_carry_video, h264, started, video_packets, vp8};
use super::pair::{DEADLINE, Side, packet};

/// Two audio and two video sections each carry the packets of their own two tracks unchanged, in
/// both directions at once; every track is announced before its first packet, and both sides use
/// the same mid for a section.
pub async fn sections_carry_their_own_tracks(offerer: &dyn Transport, answerer: &dyn Transport) {
    if !both_carry_video(offerer, answerer).await {
        return;
    }
    let mut call = Call::open(offerer, answerer).await;
    for (side, tracks) in [(&call.pair.offerer, &call.offerers), (&call.pair.answerer, &call.answerers)] {
        assert!(tracks.iter().all(|track| side.session.mid(*track).is_none()), "no section before the negotiation");
        assert_eq!(side.session.mid(TrackId(u32::MAX)), None, "no section of no track");
    }
    call.connect().await;
    let sections = call.sections();
    let sent: [Vec<RtpOut>; 4] = [
        (0..40).map(|n| packet(65_520u16.wrapping_add(n))).collect(),
        (0..40).map(|n| packet(30_000 + n)).collect(),
        video_packets("VP8", 2, 65_500, 40),
        video_packets("H264", 3, 65_500, 40),
    ];
    for n in 0..40 {
        for (track, packets) in sent.iter().enumerate() {
            call.pair.offerer.send_on(call.offerers[track], packets[n].clone());
            call.pair.answerer.send_on(call.answerers[track], packets[n].clone());
        }
        let all = |side: &Side| side.packets().count() == 4 * (n + 1);
        call.pair.until("a packet of each track arrives", |a, b| all(a) && all(b)).await;
    }
    for side in [&call.pair.offerer, &call.pair.answerer] {
        for (section, sent) in sections.iter().zip(&sent) {
            assert_same(&side.packets_on(section).collect::<Vec<_>>(), sent);
        }
        let mut announced = started(side);
        announced.sort();
        let mut expected: Vec<_> = sections.iter().cloned().zip(KINDS).collect();
        expected.sort();
        assert_eq!(announced, expected, "each track is announced once, with its kind");
        assert_announced_first(side);
    }
    call.close().await;
}

/// A video section carries every codec that both sides support, whatever their preferences, and
/// reports the codec of each packet.
pub async fn video_is_carried_in_either_codec(offerer: &dyn Transport, answerer: &dyn Transport) {
    if !both_carry_video(offerer, answerer).await {
        return;
    }
    let both = [vp8(), h264()];
    let other_way_round = [h264(), vp8()];
    for answerers in [&both, &other_way_round] {
        let mut call = Call::open_with((offerer, both.to_vec(), &KINDS), (answerer, answerers.to_vec(), &KINDS)).await;
        call.connect().await;
        let sections = call.sections();
        for (turn, codec) in ["VP8", "H264", "vp8"].into_iter().enumerate() {
            let packets = video_packets(codec, 3, 100 * (turn as u16 + 1), 12);
            call.exchange(3, &sections[3], &packets).await;
        }
        let payload_types: Vec<u8> =
            call.pair.answerer.packets_on(&sections[3]).map(|packet| packet.payload_type).collect();
        assert_ne!(payload_types[0], payload_types[12], "each codec has a payload type");
        assert_eq!(payload_types[0], payload_types[24], "each codec has one payload type");
        call.close().await;
    }
    let mut call = Call::open_with((offerer, both.to_vec(), &KINDS), (answerer, vec![h264()], &KINDS)).await;
    call.connect().await;
    let sections = call.sections();
    call.exchange(2, &sections[2], &video_packets("H264", 2, 1, 12)).await;
    for (side, tracks) in [(&call.pair.offerer, &call.offerers), (&call.pair.answerer, &call.answerers)] {
        for (track, codec) in [(tracks[2], "VP8"), (tracks[2], "opus"), (tracks[0], "H264")] {
            let foreign = RtpOut { codec: CodecName::new(codec), ..packet(1) };
            let refused = side.session.send_rtp(track, foreign).expect_err("the codec was not negotiated");
            assert_eq!(refused.kind(), ErrorKind::Incompatible, "{codec}");
        }
    }
    call.close().await;
}

/// A key frame request reaches the side that sends the track, with the track's section.
pub async fn key_frame_requests_reach_the_sender(offerer: &dyn Transport, answerer: &dyn Transport) {
    if !both_carry_video(offerer, answerer).await {
        return;
    }
    let mut call = Call::open(offerer, answerer).await;
    let refused = call.pair.offerer.session.request_keyframe(&Mid::new("0")).expect_err("nothing is negotiated");
    assert_eq!(refused.kind(), ErrorKind::NotFound);
    call.connect().await;
    let sections = call.sections();
    for n in [2, 3] {
        call.exchange(n, &sections[n], &video_packets("VP8", n as u8, 1, 4)).await;
    }
    let refused = call.pair.offerer.session.request_keyframe(&Mid::new("nowhere")).expect_err("no such section");
    assert_eq!(refused.kind(), ErrorKind::NotFound);
    let mut expected: [Vec<Mid>; 2] = Default::default();
    for (is_offerers, section) in [(false, 3), (true, 2), (true, 3), (false, 2)] {
        let asks = if is_offerers { &call.pair.offerer } else { &call.pair.answerer };
        asks.session.request_keyframe(&sections[section]).expect("a track comes in there");
        expected[usize::from(is_offerers)].push(sections[section].clone());
        call.pair.until("the request arrives", |a, b| requests(a) == expected[0] && requests(b) == expected[1]).await;
    }
    call.close().await;
}

/// Video without a shared codec is refused on both sides, and audio works without it.
pub async fn video_without_a_shared_codec_is_refused(offerer: &dyn Transport, answerer: &dyn Transport) {
    if !both_carry_video(offerer, answerer).await {
        return;
    }
    let (audio, all) = (&KINDS[..2], &KINDS[..]);
    for (offerers, answerers) in [
        ((vec![vp8()], all), (vec![], audio)),
        ((vec![], audio), (vec![vp8()], all)),
        ((vec![vp8()], all), (vec![h264()], audio)),
        ((vec![vp8()], all), (vec![h264()], all)),
    ] {
        let mut call = Call::open_with((offerer, offerers.0, offerers.1), (answerer, answerers.0, answerers.1)).await;
        call.connect().await;
        let mut sections = Vec::new();
        for n in 0..2 {
            sections.extend(call.pair.offerer.session.mid(call.offerers[n]));
            assert_eq!(call.pair.answerer.session.mid(call.answerers[n]), sections.get(n).cloned());
        }
        for (side, tracks) in [(&call.pair.offerer, &call.offerers), (&call.pair.answerer, &call.answerers)] {
            for track in &tracks[2..] {
                assert_eq!(side.session.mid(*track), None, "no section for a track that was refused");
                side.send_on(*track, video_packets("VP8", 2, 1, 1).remove(0));
            }
        }
        for (n, section) in sections.iter().enumerate() {
            call.exchange(n, section, &(0..10).map(packet).collect::<Vec<_>>()).await;
        }
        for side in [&call.pair.offerer, &call.pair.answerer] {
            assert!(started(side).iter().all(|(_, kind)| *kind == TrackKind::Audio), "no video track is announced");
            let sections: Vec<_> = started(side).into_iter().map(|(mid, _)| mid).collect();
            assert_eq!(side.packets().filter(|packet| !sections.contains(&packet.mid)).count(), 0);
        }
        call.close().await;
    }
}

/// A side with fewer tracks than sections receives on all of them; additional tracks of the
/// answering side are negotiated with an offer of its own.
pub async fn sides_may_have_different_numbers_of_tracks(offerer: &dyn Transport, answerer: &dyn Transport) {
    if !both_carry_video(offerer, answerer).await {
        return;
    }
    let codecs = || vec![vp8(), h264()];
    let one = [TrackKind::Audio];
    let mut call = Call::open_with((offerer, codecs(), &KINDS), (answerer, codecs(), &one)).await;
    call.connect().await;
    let mids: Vec<Option<Mid>> = call.offerers.iter().map(|track| call.pair.offerer.session.mid(*track)).collect();
    let sections: Vec<Mid> = mids.into_iter().map(|mid| mid.expect("the section is usable")).collect();
    let sent = [vec![packet(1)], vec![packet(2)], video_packets("H264", 2, 3, 4), video_packets("VP8", 3, 9, 4)];
    for (track, packets) in call.offerers.iter().zip(&sent) {
        packets.iter().for_each(|packet| call.pair.offerer.send_on(*track, packet.clone()));
    }
    call.pair.answerer.send_on(call.answerers[0], packet(1));
    call.pair.until("all packets arrive", |a, b| a.packets().count() == 1 && b.packets().count() == 10).await;
    for (section, sent) in sections.iter().zip(&sent) {
        assert_same(&call.pair.answerer.packets_on(section).collect::<Vec<_>>(), sent);
    }
    assert_eq!(started(&call.pair.offerer), [(sections[0].clone(), TrackKind::Audio)], "one track comes back");
    call.close().await;

    let two = [TrackKind::Audio, TrackKind::Video];
    let mut call = Call::open_with((offerer, codecs(), &two), (answerer, codecs(), &KINDS)).await;
    call.connect().await;
    let mid = |side: &Side, track: TrackId| side.session.mid(track);
    let answerers = call.answerers.clone();
    assert_eq!(mid(&call.pair.answerer, answerers[0]), mid(&call.pair.offerer, call.offerers[0]));
    assert_eq!(mid(&call.pair.answerer, answerers[2]), mid(&call.pair.offerer, call.offerers[1]));
    assert_eq!([1, 3].map(|n| mid(&call.pair.answerer, answerers[n])), [None, None], "there is no section for them");
    if offerer.capabilities().renegotiation && answerer.capabilities().renegotiation {
        call.pair
            .until("the other tracks ask for a negotiation", |_, b| {
                b.saw(|event| matches!(event, SessionEvent::NegotiationNeeded))
            })
            .await;
        call.pair.negotiate_backwards().await;
        for (n, packets) in [(1, vec![packet(1)]), (3, video_packets("VP8", 3, 1, 4))] {
            let section = mid(&call.pair.answerer, answerers[n]).expect("the track is negotiated");
            packets.iter().for_each(|packet| call.pair.answerer.send_on(answerers[n], packet.clone()));
            call.pair
                .until("packets of the other tracks arrive", |a, _| a.packets_on(&section).count() == packets.len())
                .await;
            assert_same(&call.pair.offerer.packets_on(&section).collect::<Vec<_>>(), &packets);
        }
    }
    call.close().await;
}

/// An ICE restart keeps every section with its tracks, and all of them carry packets afterwards.
pub async fn an_ice_restart_keeps_all_sections(offerer: &dyn Transport, answerer: &dyn Transport) {
    let can_restart = offerer.capabilities().ice_restart && answerer.capabilities().ice_restart;
    if !(both_carry_video(offerer, answerer).await && can_restart) {
        return;
    }
    let mut call = Call::open(offerer, answerer).await;
    call.connect().await;
    let sections = call.sections();
    let packets = |n: usize, first: u16| match KINDS[n] {
        TrackKind::Audio => vec![packet(first)],
        TrackKind::Video => video_packets("H264", n as u8, first, 1),
    };
    for (n, section) in sections.iter().enumerate() {
        call.exchange(n, section, &packets(n, 1)).await;
    }
    call.pair.negotiate(true).await;
    assert_eq!(call.sections(), sections, "the sections are the same");
    let heard = |side: &Side| sections.iter().all(|section| side.packets_on(section).count() > 1);
    let (began, mut next) = (Instant::now(), 2);
    while !(heard(&call.pair.offerer) && heard(&call.pair.answerer)) {
        assert!(began.elapsed() < DEADLINE, "all sections carry packets again");
        for n in 0..KINDS.len() {
            let packet = packets(n, next).remove(0);
            call.pair.offerer.send_on(call.offerers[n], packet.clone());
            call.pair.answerer.send_on(call.answerers[n], packet);
        }
        next += 1;
        call.pair.pass_for(Duration::from_millis(5)).await;
    }
    for side in [&call.pair.offerer, &call.pair.answerer] {
        assert_eq!(started(side).len(), KINDS.len(), "no track is announced again");
        assert!(!side.saw(|event| matches!(event, SessionEvent::TrackEnded { .. })), "no track ends");
    }
    call.close().await;
}

/// Bursts of video neither delay nor drop audio packets.
pub async fn audio_continues_during_video_bursts(offerer: &dyn Transport, answerer: &dyn Transport) {
    if !both_carry_video(offerer, answerer).await {
        return;
    }
    let mut call = Call::open(offerer, answerer).await;
    call.connect().await;
    let sections = call.sections();
    for round in 0..20 {
        for n in [2, 3] {
            for packet in video_packets("VP8", n as u8, 24 * round, 24) {
                call.pair.offerer.send_on(call.offerers[n], packet.clone());
                call.pair.answerer.send_on(call.answerers[n], packet);
            }
        }
        call.exchange(0, &sections[0], &[packet(round)]).await;
    }
    for side in [&call.pair.offerer, &call.pair.answerer] {
        let heard: Vec<u16> = side.packets_on(&sections[0]).map(|packet| packet.sequence).collect();
        assert_eq!(heard, (0..20).collect::<Vec<_>>(), "audio comes whole and in order");
    }
    let all = |side: &Side| [2, 3].iter().all(|n| side.packets_on(&sections[*n]).count() == 480);
    call.pair.until("all video arrives", |a, b| all(a) && all(b)).await;
    call.close().await;
}

fn requests(side: &Side) -> Vec<Mid> {
    let request = |event: &SessionEvent| match event {
        SessionEvent::KeyframeRequested { mid } => Some(mid.clone()),
        _ => None,
    };
    side.log.iter().filter_map(request).collect()
}

fn assert_announced_first(side: &Side) {
    for super::pair::Received { packet, events_before } in &side.packets {
        let is_announced = side.log[..*events_before]
            .iter()
            .any(|event| matches!(event, SessionEvent::TrackStarted { mid, .. } if *mid == packet.mid));
        assert!(is_announced, "a packet of a track that was not announced");
    }
}
