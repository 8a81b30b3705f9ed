//! Conversion of valid but unusual SDP for str0m, which rejects some of it.

/// RTP profiles and SCTP transports equivalent to the usual ones (RFC 8829 §5.1.2, RFC 8841 §5).
const RTP_PROFILES: &[&str] = &[
    "RTP/AVP",
    "RTP/AVPF",
    "RTP/SAVP",
    "RTP/SAVPF",
    "TCP/DTLS/RTP/SAVP",
    "TCP/DTLS/RTP/SAVPF",
    "UDP/TLS/RTP/SAVP",
    "UDP/TLS/RTP/SAVPF",
];
const SCTP_TRANSPORTS: &[&str] = &["DTLS/SCTP", "TCP/DTLS/SCTP", "UDP/DTLS/SCTP"];
const DIRECTIONS: &[&str] = &["a=sendrecv", "a=sendonly", "a=recvonly", "a=inactive"];

/// Rewrites a description with equal meaning for str0m's parser.
///
/// * Only `m=` lines and attributes matter here (RFC 8829 §5.8). The parser expects the other lines
///   in a fixed order and number, and no empty session name; they are replaced by the usual ones.
/// * A section without a direction gets that of the session, or `sendrecv` (RFC 8866 §6.7).
/// * Hash names are lower-cased, and if there are several fingerprints only those of SHA-256 stay
///   (RFC 8122 §5).
/// * `a=ssrc` attributes without a value are removed (RFC 5576 §4.1): the parser would continue
///   into the next line.
pub(crate) fn to_str0m(sdp: &str) -> String {
    let mut text = String::with_capacity(sdp.len());
    text.push_str("v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\n");
    let lines: Vec<&str> = sdp.lines().map(str::trim_end).collect();
    let sections: Vec<&[&str]> = lines.chunk_by(|_, next| !next.starts_with("m=")).collect();
    let is_direction = |line: &&&str| DIRECTIONS.contains(*line);
    let session_direction =
        sections.first().and_then(|session| session.iter().find(is_direction)).copied().unwrap_or("a=sendrecv");
    let has_sha256 = lines.iter().any(|line| is_sha256(line));
    for section in sections {
        let media = section.first().filter(|line| line.starts_with("m="));
        if let Some(media) = media {
            push_line(&mut text, &usual_transport(media));
        }
        if media.is_some_and(|media| !media.starts_with("m=application"))
            && !section.iter().any(|line| is_direction(&line))
        {
            push_line(&mut text, session_direction);
        }
        for line in section.iter().filter(|line| line.starts_with("a=")) {
            match line.strip_prefix("a=fingerprint:").and_then(|fingerprint| fingerprint.split_once(' ')) {
                Some(_) if has_sha256 && !is_sha256(line) => {}
                Some((hash, value)) => {
                    push_line(&mut text, &format!("a=fingerprint:{} {value}", hash.to_ascii_lowercase()));
                }
                None if line.strip_prefix("a=ssrc:").is_some_and(|source| !source.contains(':')) => {}
                None => push_line(&mut text, line),
            }
        }
    }
    text
}

fn push_line(text: &mut String, line: &str) {
    text.push_str(line);
    text.push_str("\r\n");
}

fn is_sha256(line: &str) -> bool {
    let hash = line.strip_prefix("a=fingerprint:").and_then(|fingerprint| fingerprint.split(' ').next());
    hash.is_some_and(|hash| hash.eq_ignore_ascii_case("sha-256"))
}

/// Rewrites `m=audio 9 RTP/SAVPF 111` as `m=audio 9 UDP/TLS/RTP/SAVPF 111`.
fn usual_transport(media: &str) -> String {
    let mut fields: Vec<&str> = media.split_whitespace().collect();
    if let Some(transport) = fields.get_mut(2) {
        if RTP_PROFILES.contains(transport) {
            *transport = "UDP/TLS/RTP/SAVPF";
        } else if SCTP_TRANSPORTS.contains(transport) {
            *transport = "UDP/DTLS/SCTP";
        }
    }
    fields.join(" ")
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use str0m::Rtc;
    use str0m::change::SdpOffer;
    use str0m::media::{Direction, MediaKind};

    use super::*;

    fn rtc() -> Rtc {
        Rtc::builder().set_crypto_provider(crate::dtls::crypto()).build(Instant::now())
    }

    /// Creates an offer of audio and data with str0m.
    fn offer() -> String {
        let mut rtc = rtc();
        let mut changes = rtc.sdp_api();
        changes.add_media(MediaKind::Audio, Direction::SendRecv, None, None, None);
        changes.add_channel("blink/1".to_owned());
        changes.apply().expect("something to offer").0.to_sdp_string()
    }

    /// Answers an offer with str0m.
    fn answer(offer: &str) -> String {
        let offer = SdpOffer::from_sdp_string(&to_str0m(offer)).unwrap_or_else(|error| panic!("{error}\n{offer}"));
        rtc().sdp_api().accept_offer(offer).expect("an offer that fits").to_sdp_string()
    }

    #[test]
    fn valid_but_unusual_descriptions_are_accepted() {
        let usual = offer();
        let audio = "m=audio 9 UDP/TLS/RTP/SAVPF";
        assert!(
            usual.contains("a=sendrecv\r\n") && usual.contains(audio) && usual.contains("\r\nt=0 0\r\n"),
            "{usual}"
        );
        let fingerprint = usual.lines().find(|line| line.starts_with("a=fingerprint:")).expect("a fingerprint");
        let bundle = usual.lines().find(|line| line.starts_with("a=group:")).expect("a bundle");
        let name = usual.lines().find(|line| line.starts_with("s=")).expect("a session name");
        let sha1 = format!("a=fingerprint:sha-1 {}", ["4A"; 20].join(":"));
        for (what, found, unusual) in [
            ("a blank name", name, "s= ".to_owned()),
            ("no name", name, "s=".to_owned()),
            ("two bandwidths", "t=0 0", "b=CT:1000\r\nb=AS:1000\r\nt=0 0".to_owned()),
            ("other times", "t=0 0", "t=3034423619 3042462419\r\nr=604800 3600 0 90000\r\nt=0 0".to_owned()),
            ("a zone and a key", "t=0 0", "t=0 0\r\nz=2882844526 -1h\r\nk=prompt".to_owned()),
            ("lines of a section", "a=rtcp-mux", "i=sound\r\nb=AS:40\r\nb=TIAS:40000\r\na=rtcp-mux".to_owned()),
            ("no direction", "a=sendrecv\r\n", String::new()),
            ("another profile", audio, "m=audio 9 RTP/SAVPF".to_owned()),
            ("another transport", "UDP/DTLS/SCTP", "TCP/DTLS/SCTP".to_owned()),
            ("capitals", "a=fingerprint:sha-256", "a=fingerprint:SHA-256".to_owned()),
            ("two fingerprints", fingerprint, format!("{sha1}\r\n{fingerprint}")),
            ("a source without a value", "a=rtcp-mux", "a=ssrc:1 cname\r\na=rtcp-mux".to_owned()),
            ("unknown attributes", bundle, format!("{bundle}\r\na=identity:abc\r\na=x:1")),
            ("blank lines at the end", "m=audio", "m=audio".to_owned()),
        ] {
            assert!(usual.contains(found), "{what}: {found} is in\n{usual}");
            let unusual = usual.replacen(found, &unusual, 1) + "\r\n";
            let answer = answer(&unusual);
            assert!(answer.contains(audio) && answer.contains("UDP/DTLS/SCTP"), "{what}:\n{answer}");
            assert!(answer.contains("a=sendrecv"), "{what}:\n{answer}");
        }
    }

    #[test]
    fn a_session_direction_applies_to_sections_without_one() {
        let one_way = offer().replacen("a=sendrecv\r\n", "", 1).replacen("t=0 0\r\n", "t=0 0\r\na=sendonly\r\n", 1);
        assert!(answer(&one_way).contains("a=recvonly"));
    }

    #[test]
    fn usual_descriptions_are_unchanged() {
        let usual = offer();
        let attributes = |sdp: &str| -> Vec<String> {
            sdp.lines().filter(|line| line.starts_with("a=") || line.starts_with("m=")).map(str::to_owned).collect()
        };
        assert_eq!(attributes(&to_str0m(&usual)), attributes(&usual));
        assert_eq!(to_str0m(&to_str0m(&usual)), to_str0m(&usual));
    }
}
