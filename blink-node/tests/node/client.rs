//! libp2p client with DHT and relay, as a participant's signaling has them.

use std::time::Duration;

use futures::StreamExt;
use libp2p::kad::store::MemoryStore;
use libp2p::kad::{self, GetProvidersOk, Mode, QueryResult, RecordKey};
use libp2p::swarm::{NetworkBehaviour, SwarmEvent};
use libp2p::{Multiaddr, PeerId, StreamProtocol, Swarm, SwarmBuilder, identify, noise, ping, relay, yamux};

/// Deadline of each wait; everything here takes milliseconds on an idle machine.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);

#[derive(NetworkBehaviour)]
pub(crate) struct ClientBehaviour {
    pub(crate) kad: kad::Behaviour<MemoryStore>,
    pub(crate) relay: relay::client::Behaviour,
    identify: identify::Behaviour,
    ping: ping::Behaviour,
}

pub(crate) type ClientEvent = SwarmEvent<ClientBehaviourEvent>;

pub(crate) struct Client(pub(crate) Swarm<ClientBehaviour>);

impl Client {
    /// Creates a client that dials a node and has identified it.
    pub(crate) async fn connected(node: &str) -> Self {
        let swarm = SwarmBuilder::with_new_identity()
            .with_tokio()
            .with_tcp(libp2p::tcp::Config::default(), noise::Config::new, yamux::Config::default)
            .unwrap()
            .with_quic()
            .with_relay_client(noise::Config::new, yamux::Config::default)
            .unwrap()
            .with_behaviour(|key, relay| {
                let node = key.public().to_peer_id();
                let config = kad::Config::new(StreamProtocol::new(blink_node::DHT_PROTOCOL));
                let mut kad = kad::Behaviour::with_config(node, MemoryStore::new(node), config);
                kad.set_mode(Some(Mode::Client));
                ClientBehaviour {
                    kad,
                    relay,
                    identify: identify::Behaviour::new(
                        identify::Config::new("/blink/1".to_owned(), key.public()).with_hide_listen_addrs(true),
                    ),
                    ping: ping::Behaviour::default(),
                }
            })
            .unwrap()
            .with_swarm_config(|config| config.with_idle_connection_timeout(DEADLINE))
            .build();
        let mut client = Self(swarm);
        let address: Multiaddr = node.parse().unwrap();
        let peer = peer_of(&address);
        client.0.behaviour_mut().kad.add_address(&peer, address.clone());
        client.0.dial(address).unwrap();
        client
            .wait(|event| {
                matches!(event, SwarmEvent::Behaviour(ClientBehaviourEvent::Identify(
                    identify::Event::Received { peer_id, .. }
                )) if *peer_id == peer)
                .then_some(())
            })
            .await;
        client
    }

    pub(crate) fn peer(&self) -> PeerId {
        *self.0.local_peer_id()
    }

    /// Runs the swarm until an event answers.
    pub(crate) async fn wait<T>(&mut self, mut answer: impl FnMut(&ClientEvent) -> Option<T>) -> T {
        let waiting = async {
            loop {
                let event = self.0.select_next_some().await;
                if let Some(answer) = answer(&event) {
                    return answer;
                }
            }
        };
        tokio::time::timeout(DEADLINE, waiting).await.expect("the event comes in time")
    }

    /// Looks a key up, and returns whether a provider is found.
    pub(crate) async fn finds(&mut self, key: &RecordKey, wanted: PeerId) -> bool {
        let query = self.0.behaviour_mut().kad.get_providers(key.clone());
        self.wait(|event| {
            let SwarmEvent::Behaviour(ClientBehaviourEvent::Kad(kad::Event::OutboundQueryProgressed {
                id,
                result: QueryResult::GetProviders(result),
                step,
                ..
            })) = event
            else {
                return None;
            };
            match result {
                _ if *id != query => None,
                Ok(GetProvidersOk::FoundProviders { providers, .. }) if providers.contains(&wanted) => Some(true),
                _ => step.last.then_some(false),
            }
        })
        .await
    }

    /// Runs the swarm in the background.
    pub(crate) fn run(mut self) -> tokio::task::JoinHandle<()> {
        tokio::spawn(async move {
            loop {
                self.0.select_next_some().await;
            }
        })
    }
}

pub(crate) fn peer_of(address: &Multiaddr) -> PeerId {
    address
        .iter()
        .find_map(|part| if let libp2p::multiaddr::Protocol::P2p(peer) = part { Some(peer) } else { None })
        .unwrap()
}
