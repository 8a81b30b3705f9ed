use blink_api::{CodecName, RtpCodec, SessionEvents, SystemClock, rtp_queue};

use super::*;
use crate::handshake_packets::{MAX_EARLY, MAX_EARLY_PER_SOURCE};

/// Creates a peer without a network, and its events.
pub(crate) fn peer() -> (Peer, SessionEvents) {
    let opus = RtpCodec { name: CodecName::new("opus"), clock_rate: 48_000, channels: 2, fmtp: String::new() };
    let session = SessionConfig::new(Arc::new(SystemClock), rtp_queue(1).0).with_audio(vec![opus]);
    let codecs = Codecs::new(&session).expect("known codecs");
    let (events, reader) = blink_transport_kit::events::channel();
    (Peer::new(&Str0mConfig::default(), &session, codecs, events, Arc::default(), StackTime::default()), reader)
}

#[test]
fn dtls_packets_from_unvalidated_addresses_are_kept_within_limits() {
    let (mut peer, _events) = peer();
    let local = SocketAddr::from(([127, 0, 0, 1], 50_000));
    let handshake = [22, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0];
    let media = [128, 111, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1, 7];
    for round in 0..10 {
        for source in 0..100 {
            let source = SocketAddr::from(([127, 0, 0, 1], 51_000 + source));
            peer.handle_datagram(source, local, &media);
            peer.handle_datagram(source, local, &handshake);
            if round == 0 {
                peer.handle_datagram(source, local, &handshake);
            }
        }
    }
    assert_eq!(peer.early.len(), MAX_EARLY);
    let of = |source: SocketAddr| peer.early.iter().filter(|packet| packet.source == source).count();
    assert!(peer.early.iter().all(|packet| of(packet.source) <= MAX_EARLY_PER_SOURCE));
    assert!(peer.early.iter().all(|packet| packet.data == handshake));
}

/// A path is relayed where its other end is a relay, also where that was in the description.
#[test]
fn relays_are_remembered_from_descriptions_and_from_single_candidates() {
    let (mut peer, _events) = peer();
    let candidate = |host: u8, kind: &str| format!("candidate:1 1 udp 1 192.0.2.{host} 5000 typ {kind}");
    let (relay, host) = (candidate(1, "relay raddr 0.0.0.0 rport 9"), candidate(2, "host"));
    let sdp = format!("v=0\r\na=mid:0\r\na={relay}\r\na={host}\r\na=candidate:bad\r\n");
    peer.note_relays(candidate::relays_in(&sdp));
    peer.add_candidate(&Candidate { attribute: candidate(3, "relay raddr 0.0.0.0 rport 9"), mid: None }).unwrap();
    peer.add_candidate(&Candidate { attribute: candidate(4, "host"), mid: None }).unwrap();
    let expected = [1, 3].map(|host| SocketAddr::from(([192, 0, 2, host], 5_000)));
    assert_eq!(peer.relays, expected.into_iter().collect());
}
