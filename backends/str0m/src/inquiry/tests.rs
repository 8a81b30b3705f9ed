//! An inquiry against a TURN server, both without sockets, in virtual time.

use turn_server_proto::api::{SocketAllocateError, TurnServerApi, TurnServerPollRet};
use turn_server_proto::server::TurnServer;
use turn_server_proto::stun::agent::Transmit;
use turn_server_proto::types::prelude::DelayedTransmitBuild as _;
use turn_server_proto::types::{Instant as ServerInstant, TransportType};

use super::*;

const PACE: Duration = Duration::from_millis(100);

struct Scene {
    inquiry: Inquiry,
    server: TurnServer,
    began: Instant,
    now: Instant,
    has_room: bool,
    /// What the server sent to the peer.
    to_peer: Vec<Vec<u8>>,
    /// What came from the peer.
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
        let account = Account { username: "user".to_owned(), credential: password.to_owned() };
        let now = Instant::now();
        let mut protocol = TurnServer::new(TransportType::Udp, server(), "example.org".to_owned());
        protocol.add_user("user".to_owned(), "right".to_owned());
        let inquiry = Inquiry::begin(now, (client(), server(), 0), true, Some(&account)).expect("an inquiry");
        let (to_peer, from_peer) = (Vec::new(), Vec::new());
        Self { inquiry, server: protocol, began: now, now, has_room: true, to_peer, from_peer }
    }

    fn server_now(&self) -> ServerInstant {
        ServerInstant::from_nanos(i64::try_from((self.now - self.began).as_nanos()).expect("a short test"))
    }

    /// Carries everything both have to say, until they are silent.
    fn exchange(&mut self) {
        loop {
            let mut was_silent = true;
            while let Some(datagram) = self.inquiry.poll_request() {
                was_silent = false;
                self.serve(client(), server(), datagram.to_vec());
            }
            while let Some(output) = self.inquiry.poll_output() {
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
                self.inquiry.handle_datagram(self.now, &transmit.data);
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
            self.inquiry.handle_datagram(self.now, &data);
        }
    }

    fn pass(&mut self, time: Duration) {
        self.now += time;
        self.inquiry.handle_timeout(self.now);
        self.exchange();
    }
}

/// For 25 minutes, in which nonces become stale around the times at which relays, permissions and
/// channels are renewed, every packet arrives.
#[test]
fn nothing_is_lost_when_nonces_become_stale() {
    let mut has_met_a_stale_channel = false;
    for seconds in [240, 275, 299, 300, 301, 330, 500] {
        let mut scene = Scene::new("right");
        scene.server.set_nonce_expiry_duration(Duration::from_secs(seconds));
        scene.exchange();
        assert_eq!(scene.inquiry.relayed(), Some(relay()));
        for number in 0..15_000u32 {
            scene.inquiry.send(scene.now, peer(), &number.to_be_bytes());
            scene.exchange();
            scene.serve(peer(), relay(), number.to_be_bytes().to_vec());
            scene.exchange();
            assert_eq!(scene.to_peer.pop().as_deref(), Some(&number.to_be_bytes()[..]), "{number} out, {seconds} s");
            assert_eq!(scene.from_peer.pop().as_deref(), Some(&number.to_be_bytes()[..]), "{number} in, {seconds} s");
            scene.pass(PACE);
        }
        has_met_a_stale_channel |= scene.inquiry.avoids_channels;
    }
    assert!(has_met_a_stale_channel, "no channel was renewed with a stale nonce");
}

#[test]
fn a_relay_is_given_back_and_packets_through_it_end() {
    let mut scene = Scene::new("right");
    scene.exchange();
    scene.inquiry.send(scene.now, peer(), b"hello");
    scene.exchange();
    assert_eq!(scene.to_peer.pop().as_deref(), Some(&b"hello"[..]), "it waited for its permission");
    scene.inquiry.close(scene.now);
    scene.exchange();
    scene.serve(peer(), relay(), b"too late".to_vec());
    scene.exchange();
    assert!(scene.from_peer.is_empty());
}

#[test]
fn refusals_say_why_and_leave_the_reflexive_candidate() {
    for (password, has_room, code) in [("wrong", true, 401), ("right", false, 508)] {
        let mut scene = Scene::new(password);
        scene.has_room = has_room;
        scene.exchange();
        assert_eq!(scene.inquiry.failure(), Some(Failure::Refused(code)));
        assert_eq!((scene.inquiry.is_open(), scene.inquiry.binding), (false, Binding::Done));
        scene.inquiry.send(scene.now, peer(), b"nowhere");
        assert!(scene.inquiry.poll_request().is_none(), "there is no relay to send through");
    }
}

#[test]
fn a_server_that_stays_silent_is_given_up_and_a_late_relay_is_given_back() {
    let mut scene = Scene::new("right");
    scene.inquiry.give_up();
    assert_eq!(scene.inquiry.failure(), Some(Failure::Silent));
    scene.exchange();
    assert_eq!(scene.inquiry.relayed(), None, "what comes late is not told any more");
    scene.serve(peer(), relay(), b"too late".to_vec());
    scene.exchange();
    assert!(scene.from_peer.is_empty(), "the server has taken it back");
}

/// Whatever a server, or somebody with its address, sends: nothing panics, and the relay goes on.
#[test]
fn datagrams_cut_and_changed_do_no_harm() {
    let mut scene = Scene::new("right");
    scene.exchange();
    scene.inquiry.send(scene.now, peer(), b"hello");
    scene.exchange();
    let datagrams: [&[u8]; 4] = [
        &[0x40, 0x00, 0xff, 0xff, 1],
        &[0x01, 0x14, 0, 0, 0x21, 0x12, 0xa4, 0x42, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
        &[0x01, 0x13, 0, 8, 0x21, 0x12, 0xa4, 0x42, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9, 0xff, 0xff, 0, 0, 4, 86],
        &[0x00, 0x17, 0, 4, 0x21, 0x12, 0xa4, 0x42, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x12, 0, 0],
    ];
    for datagram in datagrams {
        for length in 0..=datagram.len() {
            scene.inquiry.handle_datagram(scene.now, &datagram[..length]);
        }
    }
    scene.exchange();
    scene.to_peer.clear();
    scene.inquiry.send(scene.now, peer(), b"still there");
    scene.exchange();
    assert_eq!(scene.to_peer.pop().as_deref(), Some(&b"still there"[..]));
}
