//! DHT, relay and key of a node.

use blink_node::{Node, NodeConfig};
use libp2p::kad::{self, QueryResult, RecordKey};
use libp2p::multiaddr::Protocol;
use libp2p::swarm::SwarmEvent;
use libp2p::swarm::dial_opts::{DialOpts, PeerCondition};
use libp2p::{Multiaddr, relay};

use crate::client::{Client, ClientBehaviourEvent};

fn config(state: &std::path::Path) -> NodeConfig {
    let mut config = NodeConfig::new(state.to_owned());
    config.listen =
        ["/ip4/127.0.0.1/tcp/0", "/ip4/127.0.0.1/udp/0/quic-v1", "/ip4/127.0.0.1/tcp/0/ws"].map(str::to_owned).to_vec();
    config.allow_private = true;
    config.turn = None;
    config
}

/// An address that the client of these tests dials: it has no websockets.
async fn dialable(node: &Node) -> String {
    let addresses = node.addresses().await.unwrap();
    addresses.into_iter().find(|address| !address.contains("/ws")).expect("the node listens")
}

/// A restart keeps the peer id, so that addresses that users have copied stay valid.
#[tokio::test]
async fn a_restart_keeps_the_peer_id() {
    let state = tempfile::tempdir().unwrap();
    let node = Node::start(config(state.path())).await.unwrap();
    let peer = node.peer();
    let addresses = node.addresses().await.unwrap();
    assert_eq!(addresses.len(), 3, "{addresses:?}");
    assert!(addresses.iter().all(|address| address.ends_with(&format!("/p2p/{peer}"))), "{addresses:?}");
    node.shutdown().await;
    let mut again = config(state.path());
    again.listen = vec![addresses[0].split("/p2p/").next().unwrap().to_owned()];
    let node = Node::start(again).await.expect("the ports are free after a shutdown");
    assert_eq!(node.peer(), peer);
    node.shutdown().await;
}

/// A participant who knows only the node and a key finds the one who provides the key, and reaches
/// it through the relay.
#[tokio::test]
async fn participants_find_and_reach_each_other_through_the_node() {
    let state = tempfile::tempdir().unwrap();
    let node = Node::start(config(state.path())).await.unwrap();
    for address in node.addresses().await.unwrap().iter().filter(|address| !address.contains("/ws")) {
        let key = RecordKey::new(&[7; 32]);
        let mut callee = Client::connected(address).await;
        let circuit = address.parse::<Multiaddr>().unwrap().with(Protocol::P2pCircuit);
        callee.0.listen_on(circuit).unwrap();
        let accepted = |event: &_| {
            let SwarmEvent::Behaviour(ClientBehaviourEvent::Relay(event)) = event else { return None };
            let relay::client::Event::ReservationReqAccepted { limit, .. } = event else { return None };
            Some(*limit)
        };
        let limit = callee.wait(accepted).await.expect("the relay states its limits");
        assert!(limit.duration().unwrap().as_secs() >= 3600 && limit.data_in_bytes().unwrap() >= 1 << 20, "{limit:?}");
        if callee.0.external_addresses().next().is_none() {
            callee.wait(|event| matches!(event, SwarmEvent::ExternalAddrConfirmed { .. }).then_some(())).await;
        }
        callee.0.behaviour_mut().kad.start_providing(key.clone()).unwrap();
        let provided = |event: &_| {
            let SwarmEvent::Behaviour(ClientBehaviourEvent::Kad(event)) = event else { return None };
            let kad::Event::OutboundQueryProgressed { result: QueryResult::StartProviding(result), .. } = event else {
                return None;
            };
            Some(result.is_ok())
        };
        assert!(callee.wait(provided).await);
        let wanted = callee.peer();
        let running = callee.run();

        let mut caller = Client::connected(address).await;
        // ADD_PROVIDER has no answer: the record may arrive after the first query.
        while !caller.finds(&key, wanted).await {}
        let opts = DialOpts::peer_id(wanted).condition(PeerCondition::DisconnectedAndNotDialing).build();
        caller.0.dial(opts).unwrap();
        let relayed = |event: &_| match event {
            SwarmEvent::ConnectionEstablished { peer_id, endpoint, .. } if *peer_id == wanted => {
                Some(endpoint.is_relayed())
            }
            _ => None,
        };
        assert!(caller.wait(relayed).await);
        running.abort();
    }
    node.shutdown().await;
}

/// Nodes of the same group share the DHT: what is stored on one is found from the other.
#[tokio::test]
async fn two_nodes_share_their_records() {
    let states = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let first = Node::start(config(states[0].path())).await.unwrap();
    let mut linked = config(states[1].path());
    linked.bootstrap = first.addresses().await.unwrap();
    let second = Node::start(linked).await.unwrap();
    for (near, far, key) in [(&first, &second, 1), (&second, &first, 2)] {
        let key = RecordKey::new(&[key; 32]);
        let mut provider = Client::connected(&dialable(near).await).await;
        let address: Multiaddr = "/ip4/127.0.0.1/tcp/1".parse().unwrap();
        provider.0.add_external_address(address);
        provider.0.behaviour_mut().kad.start_providing(key.clone()).unwrap();
        let wanted = provider.peer();
        let running = provider.run();
        let mut seeker = Client::connected(&dialable(far).await).await;
        let deadline = std::time::Instant::now() + crate::client::DEADLINE;
        // The nodes and the record need a moment to find each other.
        while !seeker.finds(&key, wanted).await {
            assert!(std::time::Instant::now() < deadline, "the record of the other node is not found");
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        running.abort();
    }
    first.shutdown().await;
    second.shutdown().await;
}

/// A circuit to a node without a reservation is denied, and the caller learns it at once.
#[tokio::test]
async fn circuits_without_a_reservation_are_denied() {
    let state = tempfile::tempdir().unwrap();
    let node = Node::start(config(state.path())).await.unwrap();
    let address = &dialable(&node).await;
    let callee = Client::connected(address).await;
    let wanted = callee.peer();
    let running = callee.run();
    let mut caller = Client::connected(address).await;
    let circuit = address.parse::<Multiaddr>().unwrap().with(Protocol::P2pCircuit).with(Protocol::P2p(wanted));
    caller.0.dial(circuit).unwrap();
    let failed = |event: &_| match event {
        SwarmEvent::OutgoingConnectionError { error, .. } => Some(format!("{error:?}")),
        SwarmEvent::ConnectionEstablished { endpoint, .. } if endpoint.is_relayed() => Some(String::new()),
        _ => None,
    };
    let error = caller.wait(failed).await;
    assert!(error.contains("NoReservation"), "{error}");
    running.abort();
    node.shutdown().await;
}
