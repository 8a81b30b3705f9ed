//! Configurations, packets and descriptions of the tests.

use std::sync::Arc;

use blink_api::{AudioLevel, Candidate, CodecName, RtpCodec, RtpOut, RtpTime, SessionConfig, SystemClock, rtp_queue};
use bytes::Bytes;

/// Configuration of a session in a call.
pub(super) fn configuration(audio: Vec<RtpCodec>) -> SessionConfig {
    let clock = Arc::new(SystemClock);
    SessionConfig::new(clock, rtp_queue(1).0).with_audio(audio)
}

/// An RTP codec.
pub(super) fn codec(name: &str, clock_rate: u32, channels: u16, fmtp: &str) -> RtpCodec {
    RtpCodec { name: CodecName::new(name), clock_rate, channels, fmtp: fmtp.to_owned() }
}

/// A packet whose fields are derived from its sequence number; every fourth has no level, every
/// fifth a marker.
pub(super) fn packet(sequence: u16) -> RtpOut {
    let level =
        (!sequence.is_multiple_of(4)).then(|| AudioLevel::new((sequence % 128) as u8, sequence.is_multiple_of(2)));
    RtpOut {
        codec: CodecName::new("opus"),
        sequence,
        timestamp: RtpTime(u32::from(sequence).wrapping_mul(960)),
        marker: sequence.is_multiple_of(5),
        level,
        payload: Bytes::from(vec![sequence as u8; 20 + usize::from(sequence % 100)]),
    }
}

/// A candidate without a section.
pub(super) fn candidate(attribute: &str) -> Candidate {
    Candidate { attribute: attribute.to_owned(), mid: None }
}

/// Splits a description from its candidates.
pub(super) fn without_candidates(sdp: &str) -> (String, Vec<Candidate>) {
    let is_candidate = |line: &&str| line.starts_with("a=candidate:") || line.starts_with("a=end-of-candidates");
    let candidates =
        sdp.lines().filter_map(|line| line.strip_prefix("a=").filter(|text| text.starts_with("candidate:")));
    let candidates = candidates.map(candidate).collect();
    let rest: String = sdp.lines().filter(|line| !is_candidate(line)).flat_map(|line| [line, "\r\n"]).collect();
    (rest, candidates)
}

/// ICE username fragment of a description.
pub(super) fn ice_user(sdp: &str) -> String {
    let line = sdp.lines().find(|line| line.starts_with("a=ice-ufrag:")).expect("a description has ICE credentials");
    line.to_owned()
}
