//! Retransmission of lost video packets (RFC 4588).

use std::collections::{BTreeMap, HashSet};
use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use blink_api::{Mid, RtpOut, SessionConfig, Transport};
use tokio::net::UdpSocket;

use super::call::{Call, KINDS, both_carry_video, h264, video_packets, vp8};
use super::pair::{DEADLINE, Side, candidate, without_candidates};

/// Packets that must arrive; more are sent until they have.
const COUNT: u16 = 200;
/// First transmissions of packets whose sequence number is a multiple of this are lost.
const LOSS: u16 = 7;
/// Interval between packets: about 5 Mbit/s.
const PACE: Duration = Duration::from_millis(2);

/// On a lossy path all video packets arrive, each with the codec it was sent with, and few of them
/// twice.
///
/// [`verify`](super::verify) does not call it, since retransmission is optional.
pub async fn lost_video_is_retransmitted(offerer: &dyn Transport, answerer: &dyn Transport) {
    let is_network = offerer.capabilities().network && answerer.capabilities().network;
    if !(is_network && both_carry_video(offerer, answerer).await) {
        return;
    }
    let config = |config: SessionConfig| {
        let mut config = config;
        config.video = vec![vp8(), h264()];
        config.ice.interfaces = vec![Ipv4Addr::LOCALHOST.to_string()];
        config
    };
    let mut call = Call::open_as((offerer, &KINDS), (answerer, &KINDS), config).await;
    let path = connect(&mut call).await;
    let sections = call.sections();
    let (vp8, h264) = (video_packets("VP8", 2, 65_500, 4 * COUNT), video_packets("H264", 2, 65_500, 4 * COUNT));
    // Change the codec every ten packets: a retransmission must name the payload type that it
    // repeats.
    let sent: Vec<RtpOut> = vp8
        .into_iter()
        .zip(h264)
        .enumerate()
        .map(|(n, (vp8, h264))| if n / 10 % 2 == 0 { vp8 } else { h264 })
        .collect();
    let (first, began) = (usize::from(COUNT), Instant::now());
    let mut next = sent.iter();
    let has_all = |side: &Side| missing(side, &sections[2], &sent[..first]).is_empty();
    while !(has_all(&call.pair.offerer) && has_all(&call.pair.answerer)) {
        if began.elapsed() > DEADLINE {
            let missing =
                [&call.pair.offerer, &call.pair.answerer].map(|side| missing(side, &sections[2], &sent[..first]));
            panic!("lost packets are not retransmitted; missing at the two sides: {missing:?}");
        }
        if let Some(packet) = next.next() {
            call.pair.offerer.send_on(call.offerers[2], packet.clone());
            call.pair.answerer.send_on(call.answerers[2], packet.clone());
        }
        let until = Instant::now() + PACE;
        while let Some(rest) = until.checked_duration_since(Instant::now()) {
            call.pair.pass_for(rest).await;
        }
    }
    for side in [&call.pair.offerer, &call.pair.answerer] {
        let mut times: BTreeMap<u16, usize> = BTreeMap::new();
        for packet in side.packets_on(&sections[2]) {
            let sent = sent.iter().find(|sent| sent.sequence == packet.sequence).expect("a packet that was sent");
            assert_eq!(packet.codec, sent.codec, "the codec of {}", packet.sequence);
            assert_eq!((packet.timestamp, packet.marker), (sent.timestamp, sent.marker));
            assert!(packet.payload == sent.payload, "the payload of {}", packet.sequence);
            *times.entry(packet.sequence).or_default() += 1;
        }
        let repeated = times.values().filter(|times| **times > 1).count();
        tracing::debug!(packets = times.len(), repeated, took = ?began.elapsed(), "on a lossy path");
        assert!(repeated * 20 <= times.len(), "{repeated} of {} packets came twice", times.len());
    }
    path.abort();
    call.close().await;
}

/// Sequence numbers of packets that have not arrived.
fn missing(side: &Side, section: &Mid, sent: &[RtpOut]) -> Vec<u16> {
    let has_come = |sequence: u16| side.packets_on(section).any(|packet| packet.sequence == sequence);
    sent.iter().map(|sent| sent.sequence).filter(|sequence| !has_come(*sequence)).collect()
}

/// Connects the two sides through a relay that loses packets.
async fn connect(call: &mut Call) -> tokio::task::JoinHandle<()> {
    let pair = &mut call.pair;
    let (offer, mut ours) = without_candidates(&pair.offerer.session.create_offer(false).await.expect("an offer"));
    let (answer, mut theirs) =
        without_candidates(&pair.answerer.session.accept_offer(&offer).await.expect("an answer"));
    pair.offerer.session.accept_answer(&answer).await.expect("the answer fits");
    pair.hold_candidates(&mut ours, &mut theirs).await;
    let address = |candidates: &[blink_api::Candidate]| -> SocketAddr {
        let attribute = candidates.first().expect("a candidate").attribute.clone();
        let fields: Vec<&str> = attribute.split_whitespace().collect();
        SocketAddr::new(fields[4].parse().expect("an address"), fields[5].parse().expect("a port"))
    };
    let (offerer, answerer) = (address(&ours), address(&theirs));
    let socket = async || UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a socket");
    let (to_offerer, to_answerer) = (socket().await, socket().await);
    for (side, relay) in [(&pair.offerer, &to_offerer), (&pair.answerer, &to_answerer)] {
        let port = relay.local_addr().expect("a bound socket").port();
        side.add_candidates(&[candidate(&format!("candidate:1 1 udp 2130706431 127.0.0.1 {port} typ host"))]).await;
    }
    let resends = retransmissions(&answer);
    let path = tokio::spawn(async move {
        let mut lost = HashSet::new();
        let (mut here, mut there) = ([0; 2048], [0; 2048]);
        loop {
            let sent = tokio::select! {
                came = to_offerer.recv_from(&mut here) => {
                    let Ok((length, from)) = came else { return };
                    let passes = from == offerer && !is_lost(&here[..length], &resends, &mut lost);
                    pass(&here[..length], passes, &to_answerer, answerer).await
                }
                came = to_answerer.recv_from(&mut there) => {
                    let Ok((length, from)) = came else { return };
                    let passes = from == answerer && !is_lost(&there[..length], &resends, &mut lost);
                    pass(&there[..length], passes, &to_offerer, offerer).await
                }
            };
            if sent.is_err() {
                return;
            }
        }
    });
    pair.until_connected().await;
    path
}

async fn pass(datagram: &[u8], passes: bool, by: &UdpSocket, to: SocketAddr) -> std::io::Result<()> {
    if passes {
        by.send_to(datagram, to).await?;
    }
    Ok(())
}

/// Whether a datagram is lost: a media packet with a selected sequence number, the first time. Its
/// header is not encrypted (RFC 3711 §3.1).
fn is_lost(datagram: &[u8], resends: &[u8], lost: &mut HashSet<(u32, u16)>) -> bool {
    // RTP and RTCP share the first byte and are distinguished by the second (RFC 7983 §7, RFC 5761
    // §4).
    let [128..=191, kind, high, low, _, _, _, _, source @ ..] = datagram else { return false };
    let (Some(source), false) = (source.first_chunk(), (192..=223).contains(kind)) else { return false };
    let sequence = u16::from_be_bytes([*high, *low]);
    let is_chosen = sequence.is_multiple_of(LOSS) && !resends.contains(&(kind & 0x7f));
    is_chosen && lost.insert((u32::from_be_bytes(*source), sequence))
}

/// Payload types of retransmissions (RFC 4588 §8.1).
fn retransmissions(sdp: &str) -> Vec<u8> {
    let mapped = sdp.lines().filter_map(|line| line.strip_prefix("a=rtpmap:")?.split_once(' '));
    let resends = mapped.filter(|(_, name)| name.trim_end() == "rtx/90000");
    resends.filter_map(|(payload_type, _)| payload_type.parse().ok()).collect()
}
