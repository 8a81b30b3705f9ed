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
