//! Parsing and restriction of descriptions.

use super::*;

const OFFER: &str = "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0 1\r\n\
    a=fingerprint:sha-256 00\r\na=ice-ufrag:abcd\r\na=ice-pwd:efgh\r\n\
    m=audio 9 UDP/TLS/RTP/SAVPF 111 0\r\na=mid:0\r\na=sendrecv\r\na=rtpmap:111 opus/48000/2\r\n\
    m=video 0 UDP/TLS/RTP/SAVPF 96\r\na=mid:1\r\na=recvonly\r\na=rtpmap:96 VP8/90000\r\n\
    m=video 0 UDP/TLS/RTP/SAVPF 96\r\na=mid:2\r\na=rtpmap:96 VP8/90000\r\n\
    m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\na=mid:3\r\n";

fn codec(name: &str, clock_rate: u32) -> RtpCodec {
    RtpCodec { name: CodecName::new(name), clock_rate, channels: 1, fmtp: String::new() }
}

#[test]
fn sections_have_kind_direction_and_rejection() {
    let description = Description::parse(OFFER).expect("an offer");
    let kinds: Vec<_> = description.sections.iter().map(|section| (section.kind, section.is_rejected)).collect();
    assert_eq!(
        kinds,
        [
            (Some(TrackKind::Audio), false),
            (Some(TrackKind::Video), false),
            (Some(TrackKind::Video), true),
            (None, false)
        ]
    );
    assert_eq!(description.sections[1].direction, Direction { sends: false, receives: true });
    assert_eq!(description.sections[2].direction, Direction { sends: true, receives: true }, "the default");
    assert!(description.has_data());
}

#[test]
fn audio_without_a_common_codec_is_incompatible() {
    let description = Description::parse(OFFER).expect("an offer");
    for codec in [codec("OPUS", 48_000), codec("pcmu", 8000)] {
        description.check_audio(&[codec]).expect("a shared codec");
    }
    for codecs in [vec![], vec![codec("opus", 16_000)], vec![codec("G722", 8000)]] {
        let error = description.check_audio(&codecs).expect_err("no shared codec");
        assert_eq!(error.kind(), ErrorKind::Incompatible);
    }
}

#[test]
fn payload_types_and_extensions_are_parsed() {
    let text = OFFER.replace("a=mid:0", &format!("a=mid:0\r\na=extmap:7/sendrecv {AUDIO_LEVEL} vad=on"));
    let description = Description::parse(&text).expect("an offer");
    let [audio, video, ..] = &description.sections[..] else { panic!("two sections") };
    assert_eq!((audio.level_extension, video.level_extension), (Some(7), None));
    assert_eq!(audio.payload_type(&CodecName::new("Opus")), Some(111));
    assert_eq!(audio.payload_type(&CodecName::new("PCMA")), None);
    let configured = [codec("opus", 48_000), codec("PCMU", 8000)];
    assert_eq!(audio.codec(0, &configured), Some(&configured[1].name));
    assert_eq!(audio.codec(1, &configured), None);
}

#[test]
fn rtx_formats_name_the_retransmitted_payload_type() {
    let text = OFFER.replace("a=mid:1", "a=mid:1\r\na=rtpmap:97 rtx/90000\r\na=fmtp:97 apt=96;rtx-time=3000");
    let description = Description::parse(&text).expect("an offer");
    assert_eq!(description.sections[1].rtx_payload_types().collect::<Vec<_>>(), [(97, 96)]);
    assert_eq!(description.sections[0].rtx_payload_types().count(), 0);
}

#[test]
fn only_video_without_a_common_codec_is_rejected() {
    let mut description = Description::parse(OFFER).expect("an offer");
    description.reject_video(&[codec("vp8", 90_000)]);
    assert_eq!(description.media(TrackKind::Video).count(), 1, "VP8 is shared");
    description.reject_video(&[codec("H264", 90_000)]);
    assert_eq!(description.media(TrackKind::Video).count(), 0);
    let text = apply_rejections(OFFER, &description);
    assert!(text.contains("a=group:BUNDLE 0\r\n"), "{text}");
    let ended = Description::parse(&text).expect("still an offer");
    let refused: Vec<_> = ended.sections.iter().map(|section| section.is_rejected).collect();
    assert_eq!(refused, [false, true, true, false]);
    let inactive = Direction { sends: false, receives: false };
    assert!(ended.sections[1..3].iter().all(|section| section.direction == inactive));
    assert_eq!(ended.sections[0], Description::parse(OFFER).expect("an offer").sections[0]);
}

#[test]
fn rejected_sections_are_rewritten_with_any_field_separator() {
    let offer = OFFER.replace("m=video ", "m= video\t");
    let mut description = Description::parse(&offer).expect("the parser takes any white space");
    description.reject_video(&[codec("H264", 90_000)]);
    let ended = Description::parse(&apply_rejections(&offer, &description)).expect("still an offer");
    assert_eq!(ended.media(TrackKind::Video).count(), 0);
    assert_eq!(ended.sections.len(), description.sections.len());
}

#[test]
fn descriptions_without_mandatory_lines_are_invalid() {
    for removed in ["v=0", "a=fingerprint", "a=ice-ufrag", "a=ice-pwd", "a=mid"] {
        let text: Vec<&str> = OFFER.lines().filter(|line| !line.starts_with(removed)).collect();
        let error = Description::parse(&text.join("\r\n")).expect_err(removed);
        assert_eq!(error.kind(), ErrorKind::Invalid);
    }
    assert!(Description::parse("").is_err());
    assert!(Description::parse(&OFFER[..OFFER.find("m=").expect("media")]).is_err());
}

#[test]
fn receiving_is_removed_from_sections_that_are_not_sent_on() {
    let description = Description::parse(OFFER).expect("an offer");
    let text = mask_receiving(OFFER, &description, |mid| mid.as_str() == "0");
    let narrowed = Description::parse(&text).expect("still an offer");
    let directions: Vec<_> = narrowed.sections.iter().map(|section| section.direction.line()).collect();
    assert_eq!(directions, ["a=sendrecv", "a=inactive", "a=sendonly", "a=sendrecv"]);
    assert_eq!(text.lines().filter(|line| line.starts_with("a=recvonly")).count(), 0);
}

fn show(sdp: &str) -> (String, SectionMap) {
    SectionMap::default().to_stack(sdp).expect("few sections")
}

#[test]
fn unsupported_sections_are_hidden_and_rejected_at_their_index() {
    let text = "m=text 9 UDP/TLS/RTP/SAVPF 98\r\na=mid:t\r\na=rtpmap:98 t140/1000\r\n";
    let ended = "m=audio 0 UDP/TLS/RTP/SAVPF 0\r\n";
    let offer = OFFER.replace("BUNDLE 0 1", "BUNDLE t 0 1").replacen("m=video", &format!("{text}m=video"), 1) + ended;
    let (shown, section_map) = show(&offer);
    assert_eq!(shown, show(OFFER).0, "as if they did not exist");
    let answer = "v=0\r\nm=audio 9 a\r\na=mid:0\r\nm=video 0 b\r\na=mid:1\r\nm=video 0 c\r\na=mid:2\r\nm=application 9 d\r\na=mid:3\r\n";
    let (answer, section_map) = section_map.to_peer(answer);
    let lines: Vec<&str> = answer.lines().filter(|line| line.starts_with("m=") || line.starts_with("a=mid")).collect();
    assert_eq!(
        lines,
        [
            "m=audio 9 a",
            "a=mid:0",
            "m=text 0 UDP/TLS/RTP/SAVPF 98",
            "a=mid:t",
            "m=video 0 b",
            "a=mid:1",
            "m=video 0 c",
            "a=mid:2",
            "m=application 9 d",
            "a=mid:3",
            "m=audio 0 UDP/TLS/RTP/SAVPF 0",
        ]
    );
    let own = "v=0\r\nm=audio 9 a\r\na=mid:t\r\n";
    let (own, _) = section_map.to_peer(own);
    assert_eq!(own.matches("a=mid:t\r\n").count(), 1, "the stack assigned that mid to a section of its own: {own}");
    assert_eq!(own.matches("m=text 0 ").count(), 1);
    let reused = offer.replace("m=text 9 UDP/TLS/RTP/SAVPF 98", "m=video 9 UDP/TLS/RTP/SAVPF 98");
    assert_eq!(section_map.to_stack(&reused).expect("an offer").0, shown, "a hidden section stays hidden");
}

#[test]
fn rejected_sections_get_the_mid_of_their_index() {
    let (_, section_map) = SectionMap::default().to_peer(OFFER);
    let rejected = "m=video 0 UDP/TLS/RTP/SAVPF 96\r\na=mid:2\r\na=rtpmap:96 VP8/90000\r\n";
    let answer = OFFER.replace(rejected, "m=video 0 UDP/TLS/RTP/SAVPF 96\r\n");
    assert!(Description::parse(&answer).is_err());
    let (shown, after) = section_map.to_stack(&answer).expect("an answer");
    assert_eq!(after, section_map);
    let description = Description::parse(&shown).expect("readable");
    assert_eq!((description.sections[2].mid.as_str(), description.sections[2].is_rejected), ("2", true));
    assert_eq!(show(&answer).0.matches("m=").count(), 3, "hidden if the index is new");
}

#[test]
fn one_fingerprint_stays_and_irrelevant_lines_are_removed() {
    let digits = ["ab"; 32].join(":");
    let sdp = OFFER
        .replace("a=fingerprint:sha-256 00", &format!("a=fingerprint:sha-512 00\r\na=fingerprint:SHA-256 {digits}"))
        .replace("s=-\r\nt=0 0", "s= \r\ni=a title\r\nb=AS:1\r\nb=CT:1\r\nt=1 2")
        .replace(
            "a=mid:0",
            "a=mid:0\r\na=fingerprint:sha-1 00\r\nb=AS:1\r\na=candidate:1 1 udp 1 host.example 5 typ host",
        );
    let fingerprint = format!("a=fingerprint:sha-256 {}", digits.to_uppercase());
    let (shown, _) = show(&sdp);
    let (usual, _) = show(&OFFER.replace("a=fingerprint:sha-256 00", &fingerprint));
    assert_eq!(shown, usual);
    assert_eq!(show(&usual).0, usual, "normalisation is idempotent");
}

#[test]
fn too_many_sections_are_invalid() {
    let sdp = OFFER.to_owned() + &"m=audio 0 RTP/SAVPF 0\r\n".repeat(61);
    assert_eq!(SectionMap::default().to_stack(&sdp).expect_err("65 sections").kind(), ErrorKind::Invalid);
}
