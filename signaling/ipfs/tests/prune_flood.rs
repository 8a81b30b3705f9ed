//! Flood of PRUNEs for topics that were never joined (GHSA-vrx6-jcp8-vm7m).
#![cfg(target_os = "linux")]

#[path = "../../kit/tests/network/nodes.rs"]
mod nodes;
mod own;

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use blink_api::Signaling;
use futures::{AsyncWriteExt, StreamExt};
use libp2p::core::transport::PortUse;
use libp2p::core::upgrade::{ReadyUpgrade, UpgradeInfo};
use libp2p::core::{Endpoint, OutboundUpgrade};
use libp2p::identity::Keypair;
use libp2p::swarm::{
    self, ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour, OneShotHandler, OneShotHandlerConfig, Stream,
    SubstreamProtocol, Swarm, THandler, THandlerInEvent, THandlerOutEvent, ToSwarm,
};
use libp2p::{Multiaddr, PeerId, Transport, quic};
use libp2p_of_ipfs as libp2p;
use nodes::{TOPIC, address, node, until_subscribed, within};

const PROTOCOL: &str = "/meshsub/1.1.0";
const FRAMES: u32 = 70;
const PRUNES_A_FRAME: u32 = 4_000;
/// Limit of memory growth: unfiltered, 4.2 MB of PRUNEs cost 256 MB.
const MAX_GROWTH_KB: u64 = 64 * 1024;

/// Sends 280,000 PRUNEs, each for a different topic with a backoff of an hour, then a subscription
/// that shows when they were processed.
#[derive(Debug)]
struct Flood;

impl UpgradeInfo for Flood {
    type Info = &'static str;
    type InfoIter = std::iter::Once<&'static str>;

    fn protocol_info(&self) -> Self::InfoIter {
        std::iter::once(PROTOCOL)
    }
}

impl OutboundUpgrade<Stream> for Flood {
    type Output = OpenStream;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<OpenStream>> + Send>>;

    fn upgrade_outbound(self, mut stream: Stream, _: &'static str) -> Self::Future {
        Box::pin(async move {
            for frame in 0..FRAMES {
                let prunes = (0..PRUNES_A_FRAME).flat_map(|prune| {
                    let topic = (frame * PRUNES_A_FRAME + prune).to_string().into_bytes();
                    field(4, [field(1, topic), vec![3 << 3, 0x90, 0x1C]].concat())
                });
                stream.write_all(&framed(field(3, prunes.collect()))).await?;
            }
            let subscription = [vec![1 << 3, 1], field(2, TOPIC.to_string().into_bytes())].concat();
            stream.write_all(&framed(field(1, subscription))).await?;
            stream.flush().await?;
            Ok(OpenStream(Some(stream)))
        })
    }
}

/// Encodes a length-delimited protobuf field.
fn field(number: u8, content: Vec<u8>) -> Vec<u8> {
    [vec![number << 3 | 2], framed(content)].concat()
}

fn framed(content: Vec<u8>) -> Vec<u8> {
    let (mut length, mut bytes) = (content.len(), Vec::new());
    while length > 127 {
        bytes.push(length as u8 | 0x80);
        length >>= 7;
    }
    bytes.push(length as u8);
    bytes.extend(content);
    bytes
}

/// Stream that is kept open.
#[derive(Debug)]
struct OpenStream(#[allow(dead_code, reason = "held open")] Option<Stream>);

impl From<Stream> for OpenStream {
    fn from(stream: Stream) -> Self {
        Self(Some(stream))
    }
}

#[derive(Default)]
struct Flooder(Vec<THandlerOutEvent<Self>>);

fn handler() -> OneShotHandler<ReadyUpgrade<&'static str>, Flood, OpenStream> {
    let config = OneShotHandlerConfig { outbound_substream_timeout: Duration::from_secs(60), ..Default::default() };
    OneShotHandler::new(SubstreamProtocol::new(ReadyUpgrade::new(PROTOCOL), ()), config)
}

impl NetworkBehaviour for Flooder {
    type ConnectionHandler = OneShotHandler<ReadyUpgrade<&'static str>, Flood, OpenStream>;
    type ToSwarm = Infallible;

    fn handle_established_inbound_connection(
        &mut self,
        _: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        _: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(handler())
    }

    fn handle_established_outbound_connection(
        &mut self,
        _: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        let mut handler = handler();
        handler.send_request(Flood);
        Ok(handler)
    }

    fn on_swarm_event(&mut self, _: FromSwarm<'_>) {}

    fn on_connection_handler_event(&mut self, _: PeerId, _: ConnectionId, event: THandlerOutEvent<Self>) {
        self.0.push(event);
    }

    fn poll(&mut self, _: &mut Context<'_>) -> Poll<ToSwarm<Infallible, THandlerInEvent<Self>>> {
        Poll::Pending
    }
}

/// Resident memory of this process in kB.
fn resident_kb() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches("kB").trim().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn prunes_for_unsubscribed_topics_use_no_memory() {
    let node = node("/ip4/127.0.0.1/udp/0/quic-v1").await;
    let _reading = node.subscribe(&TOPIC).await.unwrap();
    let there: Multiaddr = address(&node).await.parse().unwrap();

    let key = Keypair::generate_ed25519();
    let transport = quic::tokio::Transport::new(quic::Config::new(&key))
        .map(|(peer, connection), _| (peer, libp2p::core::muxing::StreamMuxerBox::new(connection)))
        .boxed();
    let config = swarm::Config::with_tokio_executor().with_idle_connection_timeout(Duration::from_secs(600));
    let mut flooder = Swarm::new(transport, Flooder::default(), key.public().to_peer_id(), config);

    let before = resident_kb();
    flooder.dial(there).unwrap();
    let flooding = tokio::spawn(async move { while flooder.next().await.is_some() {} });
    within("the end of the flood", until_subscribed(&node, &TOPIC, 1)).await;
    let growth = resident_kb().saturating_sub(before);
    flooding.abort();
    assert!(growth < MAX_GROWTH_KB, "{growth} kB");
}
