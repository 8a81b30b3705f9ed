//! Aliases, cuts, address changes and impairments of the network.

use super::*;

/// Two devices with a socket each, and their aliases.
struct Pair {
    network: Arc<ImpairedNetwork>,
    devices: [Device; 2],
    sockets: [UdpSocket; 2],
    aliases: [SocketAddr; 2],
}

impl Pair {
    async fn new(impairments: Impairments) -> Self {
        let network = ImpairedNetwork::new(impairments, 0);
        let devices = [network.add_device(), network.add_device()];
        let socket = async || UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a socket");
        let sockets = [socket().await, socket().await];
        let aliases = [0, 1].map(|n| {
            let own = sockets[n].local_addr().expect("a bound socket");
            network.local_alias(devices[n], own).expect("an alias")
        });
        Self { network, devices, sockets, aliases }
    }

    async fn send(&self, from: usize, text: &str) {
        self.sockets[from].send_to(text.as_bytes(), self.aliases[1 - from]).await.expect("it is sent");
    }

    /// Sends, and waits until the network has received it.
    async fn send_and_wait(&self, from: usize, text: &str) {
        let before = self.network.statistics().received;
        self.send(from, text).await;
        let deadline = Instant::now() + Duration::from_secs(5);
        while self.network.statistics().received == before {
            assert!(Instant::now() < deadline, "the network takes it");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    /// The next datagram with its source.
    async fn next(&self, at: usize) -> (String, SocketAddr) {
        let mut buffer = [0; 64];
        let came = tokio::time::timeout(Duration::from_secs(5), self.sockets[at].recv_from(&mut buffer)).await;
        let (length, from) = came.expect("something comes in time").expect("a datagram");
        (String::from_utf8_lossy(&buffer[..length]).into_owned(), from)
    }
}

#[tokio::test]
async fn packets_come_from_the_address_that_was_aliases() {
    let pair = Pair::new(Impairments::delayed(Duration::from_millis(1))).await;
    for (from, to) in [(0, 1), (1, 0)] {
        pair.send(from, "hello").await;
        assert_eq!(pair.next(to).await, ("hello".to_owned(), pair.aliases[from]));
    }
}

#[tokio::test]
async fn strangers_are_answered_through_the_network_too() {
    let pair = Pair::new(Impairments::NONE).await;
    let stranger = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a socket");
    stranger.send_to(b"who", pair.aliases[0]).await.expect("it is sent");
    let (text, from) = pair.next(0).await;
    assert_eq!(text, "who");
    assert_ne!(from, stranger.local_addr().expect("a bound socket"), "it has an address on the network");
    pair.sockets[0].send_to(b"me", from).await.expect("it is sent");
    let mut buffer = [0; 8];
    let (length, from) = stranger.recv_from(&mut buffer).await.expect("an answer");
    assert_eq!((&buffer[..length], from), (&b"me"[..], pair.aliases[0]));
}

#[tokio::test]
async fn cuts_stop_one_direction_or_both_until_they_are_healed() {
    let pair = Pair::new(Impairments::NONE).await;
    for (cut, passes) in [
        (Cut::Outgoing, [false, true]),
        (Cut::Incoming, [true, false]),
        (Cut::Both, [false, false]),
        (Cut::None, [true, true]),
    ] {
        for (from, to) in [(0, 1), (1, 0)] {
            pair.network.cut(pair.devices[0], cut);
            pair.send_and_wait(from, "while it is cut").await;
            if passes[from] {
                assert_eq!(pair.next(to).await.0, "while it is cut", "{cut:?}, from {from}");
            }
            pair.network.cut(pair.devices[0], Cut::None);
            pair.send(from, "afterwards").await;
            assert_eq!(pair.next(to).await.0, "afterwards", "{cut:?}, from {from}");
        }
    }
}

#[tokio::test]
async fn datagrams_on_their_way_over_a_link_that_is_cut_are_lost() {
    let pair = Pair::new(Impairments::delayed(Duration::from_millis(50))).await;
    pair.send_and_wait(0, "under way").await;
    pair.network.cut(pair.devices[1], Cut::Incoming);
    tokio::time::sleep(Duration::from_millis(100)).await;
    pair.network.cut(pair.devices[1], Cut::None);
    pair.send(0, "afterwards").await;
    assert_eq!(pair.next(1).await.0, "afterwards");
    assert_eq!(pair.network.statistics(), NetworkStatistics { received: 2, forwarded: 1 });
}

#[tokio::test]
async fn an_address_that_was_left_is_dead_until_it_is_signaled_again() {
    let mut pair = Pair::new(Impairments::NONE).await;
    pair.network.move_on(pair.devices[0]);
    pair.send_and_wait(0, "from the old address").await;
    // The alias is gone with its socket.
    pair.send(1, "to the old address").await;
    let own = pair.sockets[0].local_addr().expect("a bound socket");
    let aliases = pair.network.local_alias(pair.devices[0], own).expect("an address");
    assert_ne!(aliases, pair.aliases[0], "it has another address");
    pair.aliases[0] = aliases;
    for (from, to) in [(0, 1), (1, 0)] {
        pair.send(from, "anew").await;
        assert_eq!(pair.next(to).await, ("anew".to_owned(), pair.aliases[from]));
    }
}

#[tokio::test]
async fn an_impairment_holds_for_both_directions_and_can_change() {
    let pair = Pair::new(Impairments { loss: 1.0, ..Impairments::NONE }).await;
    for (from, to) in [(0, 1), (1, 0)] {
        pair.send_and_wait(from, "lost").await;
        pair.network.set_impairments(Impairments { duplicate: 1.0, ..Impairments::NONE });
        pair.send(from, "twice").await;
        assert_eq!((pair.next(to).await.0, pair.next(to).await.0), ("twice".to_owned(), "twice".to_owned()));
        pair.network.set_impairments(Impairments { loss: 1.0, ..Impairments::NONE });
    }
}
