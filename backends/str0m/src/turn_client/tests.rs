//! Client against a TURN server, both without sockets, in virtual time.

use turn_server_proto::api::{SocketAllocateError, TurnServerApi, TurnServerPollRet};
use turn_server_proto::server::TurnServer;
use turn_server_proto::stun::agent::Transmit;
use turn_server_proto::types::prelude::DelayedTransmitBuild as _;
use turn_server_proto::types::{Instant as ServerInstant, TransportType};

use super::*;

const PACE: Duration = Duration::from_millis(100);

struct Scene {
    turn_client: TurnClient,
    server: TurnServer,
    began: Instant,
    now: Instant,
    has_room: bool,
    /// Packets that the server sent to the peer.
    to_peer: Vec<Vec<u8>>,
    /// Packets received from the peer.
    from_peer: Vec<BytesMut>,
}

fn address(text: &str) -> SocketAddr {
    text.parse().expect("an address in a test")
}

fn client() -> SocketAddr {
    address("192.0.2.7:5000")
}

fn server() -> SocketAddr {
    address("203.0.113.1:3478")
}

fn relay() -> SocketAddr {
    address("203.0.113.1:49152")
}

fn peer() -> SocketAddr {
    address("198.51.100.9:6000")
}

impl Scene {
    fn new(password: &str) -> Self {
        let credentials = Credentials { username: "user".to_owned(), credential: password.to_owned() };
        let now = Instant::now();
        let mut protocol = TurnServer::new(TransportType::Udp, server(), "example.org".to_owned());
        protocol.add_user("user".to_owned(), "right".to_owned());
        let turn_client =
            TurnClient::begin(now, (client(), server(), 0), true, Some(&credentials)).expect("an inquiry");
        let (to_peer, from_peer) = (Vec::new(), Vec::new());
        Self { turn_client, server: protocol, began: now, now, has_room: true, to_peer, from_peer }
    }

    fn server_now(&self) -> ServerInstant {
        ServerInstant::from_nanos(i64::try_from((self.now - self.began).as_nanos()).expect("a short test"))
    }

    /// Exchanges datagrams until neither side has output.
    fn exchange(&mut self) {
        loop {
            let mut was_silent = true;
            while let Some(datagram) = self.turn_client.poll_request() {
                was_silent = false;
                self.serve(client(), server(), datagram.to_vec());
            }
            while let Some(output) = self.turn_client.poll_output() {
                if let Output::Data { relay: at, peer: from, data } = output {
                    assert_eq!((at, from), (relay(), peer()));
                    self.from_peer.push(data);
                }
            }
            let now = self.server_now();
            if let TurnServerPollRet::AllocateSocket {
                transport,
                listen_addr,
                client_addr,
                allocation_transport,
                family,
            } = self.server.poll(now)
            {
                was_silent = false;
                let socket = if self.has_room { Ok(relay()) } else { Err(SocketAllocateError::InsufficientCapacity) };
                self.server.allocated_socket(
                    transport,
                    listen_addr,
                    client_addr,
                    allocation_transport,
                    family,
                    socket,
                    now,
                );
            }
            while let Some(transmit) = self.server.poll_transmit(now) {
                was_silent = false;
                self.turn_client.handle_datagram(self.now, &transmit.data);
            }
            if was_silent {
                return;
            }
        }
    }

    fn serve(&mut self, from: SocketAddr, to: SocketAddr, datagram: Vec<u8>) {
        let now = self.server_now();
        let Some(answer) = self.server.recv(Transmit::new(datagram, TransportType::Udp, from, to), now) else { return };
        let to = answer.to;
        let data = answer.data.build();
        if to == peer() {
            self.to_peer.push(data);
        } else {
            self.turn_client.handle_datagram(self.now, &data);
        }
    }

    fn pass(&mut self, time: Duration) {
        self.now += time;
        self.turn_client.handle_timeout(self.now);
        self.exchange();
    }
}

/// For 25 minutes, in which nonces expire around the renewals of relays, permissions and channels,
/// every packet arrives.
#[test]
fn stale_nonces_lose_no_packets() {
    let mut has_met_a_stale_channel = false;
    for seconds in [240, 275, 299, 300, 301, 330, 500] {
        let mut scene = Scene::new("right");
        scene.server.set_nonce_expiry_duration(Duration::from_secs(seconds));
        scene.exchange();
        assert_eq!(scene.turn_client.relayed(), Some(relay()));
        for number in 0..15_000u32 {
            scene.turn_client.send(scene.now, peer(), &number.to_be_bytes());
            scene.exchange();
            scene.serve(peer(), relay(), number.to_be_bytes().to_vec());
            scene.exchange();
            assert_eq!(scene.to_peer.pop().as_deref(), Some(&number.to_be_bytes()[..]), "{number} out, {seconds} s");
            assert_eq!(scene.from_peer.pop().as_deref(), Some(&number.to_be_bytes()[..]), "{number} in, {seconds} s");
            scene.pass(PACE);
        }
        has_met_a_stale_channel |= scene.turn_client.avoids_channels;
    }
    assert!(has_met_a_stale_channel, "no channel was renewed with a stale nonce");
}

#[test]
fn a_closed_relay_is_released_and_passes_no_packets() {
    let mut scene = Scene::new("right");
    scene.exchange();
    scene.turn_client.send(scene.now, peer(), b"hello");
    scene.exchange();
    assert_eq!(scene.to_peer.pop().as_deref(), Some(&b"hello"[..]), "queued until the permission");
    scene.turn_client.close(scene.now);
    scene.exchange();
    scene.serve(peer(), relay(), b"too late".to_vec());
    scene.exchange();
    assert!(scene.from_peer.is_empty());
}

#[test]
fn error_responses_are_reported_and_keep_the_reflexive_candidate() {
    for (password, has_room, code) in [("wrong", true, 401), ("right", false, 508)] {
        let mut scene = Scene::new(password);
        scene.has_room = has_room;
        scene.exchange();
        assert_eq!(scene.turn_client.failure(), Some(ServerFailure::Rejected(code)));
        assert_eq!((scene.turn_client.is_pending(), scene.turn_client.binding), (false, Binding::Done));
        scene.turn_client.send(scene.now, peer(), b"nowhere");
        assert!(scene.turn_client.poll_request().is_none(), "there is no relay to send through");
    }
}

#[test]
fn a_silent_server_times_out_and_a_late_relay_is_released() {
    let mut scene = Scene::new("right");
    scene.turn_client.give_up();
    assert_eq!(scene.turn_client.failure(), Some(ServerFailure::NoResponse));
    scene.exchange();
    assert_eq!(scene.turn_client.relayed(), None, "a late relay is not reported");
    scene.serve(peer(), relay(), b"too late".to_vec());
    scene.exchange();
    assert!(scene.from_peer.is_empty(), "the server has released it");
}

/// Truncated and modified datagrams from a server's address neither panic nor affect the relay.
#[test]
fn truncated_and_modified_datagrams_are_harmless() {
    let mut scene = Scene::new("right");
    scene.exchange();
    scene.turn_client.send(scene.now, peer(), b"hello");
    scene.exchange();
    let datagrams: [&[u8]; 4] = [
        &[0x40, 0x00, 0xff, 0xff, 1],
        &[0x01, 0x14, 0, 0, 0x21, 0x12, 0xa4, 0x42, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
        &[0x01, 0x13, 0, 8, 0x21, 0x12, 0xa4, 0x42, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9, 0xff, 0xff, 0, 0, 4, 86],
        &[0x00, 0x17, 0, 4, 0x21, 0x12, 0xa4, 0x42, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x12, 0, 0],
    ];
    for datagram in datagrams {
        for length in 0..=datagram.len() {
            scene.turn_client.handle_datagram(scene.now, &datagram[..length]);
        }
    }
    scene.exchange();
    scene.to_peer.clear();
    scene.turn_client.send(scene.now, peer(), b"still there");
    scene.exchange();
    assert_eq!(scene.to_peer.pop().as_deref(), Some(&b"still there"[..]));
}
