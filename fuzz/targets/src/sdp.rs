//! Session descriptions and candidates, as transports parse them before their stack.

use blink_api::{CodecName, RtpCodec, TrackKind};
use blink_transport_kit::candidate;
use blink_transport_kit::sdp::{Description, SectionMap, apply_rejections, mask_receiving};

/// Descriptions stay valid with sections rejected or restricted. Sections hidden from a stack are
/// restored at their index.
pub fn run(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    for line in text.lines() {
        // Only panics matter here.
        candidate::classify(line.trim_start_matches("a=")).ok();
    }
    if let Ok((shown, places)) = SectionMap::default().to_stack(text) {
        let (again, _) = SectionMap::default().to_stack(&shown).expect("it was readable before");
        assert_eq!(again, shown, "nothing is left to change");
        let (restored, after) = places.to_peer(&shown);
        assert_eq!(after, places, "every section is in its place");
        assert_eq!(sections(&restored), sections(text), "no section appears or goes");
        // A later description of this session finds the same places.
        let (_, after) = places.to_stack(&restored).expect("it was readable before");
        assert_eq!(after, places, "places stay");
        narrow(&shown);
    }
    narrow(text);
}

fn sections(text: &str) -> usize {
    text.lines().filter(|line| line.starts_with("m=")).count()
}

fn narrow(text: &str) {
    let Ok(mut description) = Description::parse(text) else { return };
    let opus = RtpCodec { name: CodecName::new("opus"), clock_rate: 48_000, channels: 2, fmtp: String::new() };
    let vp8 = RtpCodec { name: CodecName::new("VP8"), clock_rate: 90_000, channels: 0, fmtp: String::new() };
    // A common codec is not required.
    description.check_audio(std::slice::from_ref(&opus)).ok();
    for section in &description.sections {
        let codecs = [opus.clone(), vp8.clone()];
        if let Some(payload_type) = section.payload_type(&codecs[0].name) {
            section.codec(payload_type, &codecs);
        }
        section.rtx_payload_types().for_each(drop);
    }
    let media = |description: &Description| description.media(TrackKind::Video).count();
    let before = media(&description);
    description.reject_video(std::slice::from_ref(&vp8));
    assert!(media(&description) <= before);
    let narrowed = apply_rejections(text, &description);
    let again = Description::parse(&narrowed).expect("it was readable before");
    assert_eq!(again.sections.len(), description.sections.len(), "no section appears or goes");
    let deaf = mask_receiving(text, &description, |mid| mid.as_str().len().is_multiple_of(2));
    let again = Description::parse(&deaf).expect("it was readable before");
    assert_eq!(again.sections.len(), description.sections.len(), "no section appears or goes");
}
