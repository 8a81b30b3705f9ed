//! Amplification: limits on the traffic that a peer can make a session send to third parties.

use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::time::Duration;

use blink_api::{TrackKind, Transport};
use tokio::net::UdpSocket;

use super::opus;
use super::pair::{Side, candidate, configuration, without_candidates};

/// Candidates of one peer with one host: half of them in the description, half trickled.
const CANDIDATES: u16 = 48;
/// Generations of them, each with an ICE restart.
const GENERATIONS: u16 = 3;
/// Time for which each generation is checked.
const TIME: Duration = Duration::from_secs(1);
/// Maximum datagrams to that host: 16 candidates per generation, at most eight checks of each in a
/// second.
const MAX_DATAGRAMS: usize = 16 * 8 * GENERATIONS as usize;

/// A peer names a third host in its candidates and restarts ICE repeatedly. That host receives few
/// datagrams: the candidates per generation and the unanswered checks are bounded, and checks are
/// retransmitted with increasing intervals (RFC 8445 §14, §19.5.1).
///
/// Returns the number of datagrams.
pub async fn checks_to_third_parties_are_bounded(offerer: &dyn Transport, answerer: &dyn Transport) -> usize {
    if !(offerer.capabilities().network && answerer.capabilities().network && offerer.capabilities().ice_restart) {
        return 0;
    }
    let config = || {
        let mut config = configuration(vec![opus()]);
        config.ice.interfaces = vec![Ipv4Addr::LOCALHOST.to_string()];
        config
    };
    let (peer, session) = (Side::open_with(offerer, config()).await, Side::open_with(answerer, config()).await);
    for side in [&peer, &session] {
        side.session.add_track(TrackKind::Audio).await.expect("a track");
    }
    let mut sockets = Vec::new();
    for _ in 0..CANDIDATES {
        sockets.push(UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a socket"));
    }
    let ports: Vec<u16> = sockets.iter().map(|socket| socket.local_addr().expect("a bound socket").port()).collect();
    let attribute = |port: &u16| format!("candidate:{port} 1 udp 2130706431 127.0.0.1 {port} typ host");
    let (told, trickled) = ports.split_at(usize::from(CANDIDATES) / 2);
    for generation in 0..GENERATIONS {
        let offer = peer.session.create_offer(generation > 0).await.expect("an offer");
        let (offer, _) = without_candidates(&offer);
        let lines: String = told.iter().map(|port| format!("a={}\r\n", attribute(port))).collect();
        let section = offer.find("a=mid:").expect("a section");
        let offer = format!("{}{lines}{}", &offer[..section], &offer[section..]);
        let answer = session.session.accept_offer(&offer).await.expect("an answer");
        for port in trickled {
            session.session.add_candidate(&candidate(&attribute(port))).await.expect("a candidate");
        }
        peer.session.accept_answer(&without_candidates(&answer).0).await.expect("the answer fits");
        tokio::time::sleep(TIME).await;
    }
    session.session.close().await;
    peer.session.close().await;
    let mut counts: HashMap<u16, usize> = HashMap::new();
    let mut buffer = [0; 2048];
    for (socket, port) in sockets.iter().zip(&ports) {
        while socket.try_recv_from(&mut buffer).is_ok() {
            *counts.entry(*port).or_default() += 1;
        }
    }
    let sum: usize = counts.values().sum();
    assert!(sum > 0, "candidates are checked");
    assert!(sum <= MAX_DATAGRAMS, "{sum} datagrams were sent to a host that a peer has named: {counts:?}");
    sum
}
