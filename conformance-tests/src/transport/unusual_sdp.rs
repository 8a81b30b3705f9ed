//! Valid but unusual session descriptions, as RFC 8866, RFC 8839 and RFC 9429 allow.

use blink_api::{TrackKind, Transport};

use super::call::vp8;
use super::pair::{Pair, Side, configuration};
use super::{codec, opus};

/// Candidates that cannot be checked: each is ignored, while usable ones beside them are used (RFC
/// 8839 §5.1).
const CANDIDATES: &str = "a=candidate:1 1 udp 1 fe80::1%eth0 5000 typ host\r\n\
    a=candidate:2 1 udp 1 [2001:db8::1] 5000 typ host\r\n\
    a=candidate:3 1 udp 1 host.example 5000 typ host\r\n\
    a=candidate:4 1 udp 1 8a1c0e1e-aaaa-bbbb-cccc-1234567890ab.local 5000 typ host\r\n\
    a=candidate:5 1 dccp 1 192.0.2.1 5000 typ host\r\n\
    a=candidate:6 1 tcp 1 192.0.2.1 9 typ host tcptype active\r\n\
    a=candidate:7 2 udp 1 192.0.2.1 5000 typ host\r\n\
    a=candidate:8 1 udp 1 192.0.2.1 5000 typ tunnel\r\n\
    a=candidate:9 1 udp 1 192.0.2.1 5000\r\n\
    a=candidate:10 1 ud\r\n\
    a=candidate:\r\n";
/// A section of real-time text (RFC 8865, RFC 4103).
const TEXT: &str =
    "m=text 9 UDP/TLS/RTP/SAVPF 98\r\nc=IN IP4 0.0.0.0\r\na=mid:text\r\na=rtpmap:98 t140/1000\r\na=sendrecv\r\n";
/// A section of floor control (RFC 8856), which is not a data channel.
const FLOOR: &str = "m=application 9 TCP/DTLS/BFCP *\r\nc=IN IP4 0.0.0.0\r\na=mid:floor\r\na=setup:actpass\r\n";
/// A stopped section, reduced to its `m=` line (RFC 9429 §5.3.1).
const ENDED: &str = "m=video 0 UDP/TLS/RTP/SAVPF 120\r\n";

type Change = fn(&str) -> String;

/// Unusual lines of a description.
const LINES: [(&str, Change); 6] = [
    ("candidates that cannot be used", |sdp| after_each(sdp, "a=mid:", |_| CANDIDATES.to_owned())),
    ("a fingerprint with its hash in capitals and its digits in small letters", |sdp| {
        each(sdp, |line| match line.strip_prefix("a=fingerprint:sha-256 ") {
            Some(digits) => format!("a=fingerprint:SHA-256 {}", digits.to_ascii_lowercase()),
            None => line.to_owned(),
        })
    }),
    ("several fingerprints", |sdp| {
        let long = vec!["AB"; 64].join(":");
        let many = |line: &str| format!("{line}\r\n{line}\r\na=fingerprint:sha-512 {long}");
        each(sdp, |line| if line.starts_with("a=fingerprint:") { many(line) } else { line.to_owned() })
    }),
    ("a blank name, a title, contacts and bandwidths", |sdp| {
        let title = "s= \r\ni=a title\r\nu=http://example.org/\r\ne=a@example.org\r\np=+1 617 555-6011\r\nb=CT:1000\r\nb=AS:1000";
        each(sdp, |line| match line {
            _ if line.starts_with("s=") => title.to_owned(),
            _ if line.starts_with("c=") => format!("{line}\r\nb=AS:1000\r\nb=TIAS:1000000"),
            _ => line.to_owned(),
        })
    }),
    ("times", |sdp| {
        each(sdp, |line| if line.starts_with("t=") { "t=3034423619 3042462419".to_owned() } else { line.to_owned() })
    }),
    ("lines that end in a line feed", |sdp| sdp.replace("\r\n", "\n")),
];

/// Sections that no transport accepts, and whether they precede all others.
const SECTIONS: [(&str, &str, bool); 4] = [
    ("text", TEXT, false),
    ("text before everything else", TEXT, true),
    ("floor control", FLOOR, false),
    ("an ended section without mid", ENDED, false),
];

/// Descriptions with valid but unusual lines connect, as offers and as answers.
pub async fn unusual_lines_are_accepted(offerer: &dyn Transport, answerer: &dyn Transport) {
    for (name, change) in LINES {
        let mut pair = Pair::open(offerer, answerer).await;
        let offer = pair.offerer.session.create_offer(false).await.expect("an offer");
        let answer = pair.answerer.session.accept_offer(&change(&offer)).await;
        let answer = answer.unwrap_or_else(|error| panic!("an offer with {name} is rejected: {error:?}"));
        let applied = pair.offerer.session.accept_answer(&change(&answer)).await;
        applied.unwrap_or_else(|error| panic!("an answer with {name} is rejected: {error:?}"));
        pair.until_connected().await;
        pair.speak(1).await;
        pair.close().await;
    }
}

/// Unsupported sections are rejected in place, in the first answer and in later ones, and the call
/// continues without them (RFC 9429 §5.3.1).
pub async fn unusual_sections_are_rejected(offerer: &dyn Transport, answerer: &dyn Transport) {
    let renegotiation = offerer.capabilities().renegotiation && answerer.capabilities().renegotiation;
    for (name, section, comes_first) in SECTIONS {
        let mut pair = Pair::open(offerer, answerer).await;
        let mut place = None;
        for round in 0..if renegotiation { 2 } else { 1 } {
            if round > 0 {
                pair.offerer.session.add_track(TrackKind::Audio).await.expect("a further track to offer");
            }
            let offer = pair.offerer.session.create_offer(false).await.expect("an offer");
            let place = *place.get_or_insert(if comes_first { 0 } else { begins(&offer).len() });
            let answer = pair.answerer.session.accept_offer(&with_section(&offer, section, place)).await;
            let answer = answer.unwrap_or_else(|error| panic!("an offer with {name} is rejected: {error:?}"));
            let answer = without_rejected(&answer, section, place);
            pair.offerer.session.accept_answer(&answer).await.expect("the rest of the answer fits");
            pair.until_connected().await;
            pair.speak(1).await;
        }
        pair.close().await;
    }
}

/// An answer may reduce a rejected section to its `m=` line.
pub async fn rejected_sections_need_no_mid(offerer: &dyn Transport, answerer: &dyn Transport) {
    if !(offerer.capabilities().video && answerer.capabilities().video) {
        return;
    }
    let mut config = configuration(vec![opus()]);
    config.video = vec![vp8()];
    let mut ours = Side::open_with(offerer, config).await;
    let mut config = configuration(vec![opus()]);
    config.video = vec![codec("VP9", 90_000, 0, "")];
    let mut theirs = Side::open_with(answerer, config).await;
    for side in [&mut ours, &mut theirs] {
        side.track = side.session.add_track(TrackKind::Audio).await.expect("a track");
    }
    ours.session.add_track(TrackKind::Video).await.expect("a track");
    let mut pair = Pair::of(ours, theirs);
    let offer = pair.offerer.session.create_offer(false).await.expect("an offer");
    let answer = pair.answerer.session.accept_offer(&offer).await.expect("the audio is shared");
    let video = answer.find("m=video 0").expect("the video is rejected");
    let (before, rejected) = answer.split_at(video);
    let end = rejected[1..].find("m=").map_or(rejected.len(), |end| end + 1);
    let line = rejected.lines().next().expect("its line");
    let answer = format!("{before}{line}\r\n{}", &rejected[end..]);
    pair.offerer.session.accept_answer(&answer).await.expect("a rejected section needs no mid");
    pair.until_connected().await;
    pair.speak(1).await;
    pair.close().await;
}

/// Replaces each line of a description by one or more lines.
fn each(sdp: &str, change: impl Fn(&str) -> String) -> String {
    sdp.lines().flat_map(|line| [change(line), "\r\n".to_owned()]).collect()
}

fn after_each(sdp: &str, prefix: &str, more: impl Fn(&str) -> String) -> String {
    let with = |line: &str| if line.starts_with(prefix) { more(line) } else { String::new() };
    sdp.lines().flat_map(|line| [format!("{line}\r\n"), with(line)]).collect()
}

/// Offsets of the media sections.
fn begins(sdp: &str) -> Vec<usize> {
    sdp.match_indices("\nm=").map(|(at, _)| at + 1).collect()
}

/// Inserts a section at this index, bundled if it has a mid.
fn with_section(sdp: &str, section: &str, place: usize) -> String {
    let mid = section.lines().find_map(|line| line.strip_prefix("a=mid:"));
    let bundled = each(sdp, |line| match mid {
        Some(mid) if line.starts_with("a=group:BUNDLE") => format!("{line} {mid}"),
        _ => line.to_owned(),
    });
    let at = begins(&bundled).get(place).copied().unwrap_or(bundled.len());
    format!("{}{section}{}", &bundled[..at], &bundled[at..])
}

/// Removes the section, which must be rejected at its index.
fn without_rejected(sdp: &str, section: &str, place: usize) -> String {
    let begins = begins(sdp);
    let begin = *begins.get(place).unwrap_or_else(|| panic!("the section has a place: {sdp}"));
    let end = begins.get(place + 1).copied().unwrap_or(sdp.len());
    let media = section.split_whitespace().next().expect("a section has a line");
    let line = sdp[begin..end].lines().next().unwrap_or_default();
    assert!(line.starts_with(&format!("{media} 0 ")), "the section is rejected in its place: {sdp}");
    format!("{}{}", &sdp[..begin], &sdp[end..])
}
