//! Data channels of a peer that exceeds the limit.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use blink_api::macros::async_trait;
use blink_api::{ChannelId, IceConfig, SessionConfig, SessionEvent, SystemClock, Transport, rtp_queue};
use blink_transport_webrtc_rs::{WebRtcConfig, WebRtcTransport};
use bytes::BytesMut;
use tokio::sync::mpsc;
use tokio::time::timeout;
use webrtc::data_channel::{DataChannel, DataChannelEvent};
use webrtc::peer_connection::{
    PeerConnection, PeerConnectionBuilder, PeerConnectionEventHandler, RTCIceCandidateInit, RTCIceGatheringState,
    RTCSessionDescription,
};

/// Number of channels the peer opens, and of those that are served.
const OPENED: usize = 100;
const SERVED: usize = 64;
const DEADLINE: Duration = Duration::from_secs(20);

struct Handler(mpsc::UnboundedSender<()>);

#[async_trait]
impl PeerConnectionEventHandler for Handler {
    async fn on_ice_gathering_state_change(&self, state: RTCIceGatheringState) {
        if state == RTCIceGatheringState::Complete {
            self.0.send(()).expect("the test waits for it");
        }
    }
}

/// Sends messages once the channel is open, and reports when it is closed.
async fn use_channel(channel: Arc<dyn DataChannel>, closed: mpsc::UnboundedSender<()>) {
    while let Some(event) = channel.poll().await {
        match event {
            DataChannelEvent::OnOpen => {
                for _ in 0..4 {
                    // Writing fails if the channel is closed meanwhile.
                    channel.send(BytesMut::from(&[7; 1024][..])).await.ok();
                }
            }
            DataChannelEvent::OnClose => {
                // The test may have ended.
                closed.send(()).ok();
                return;
            }
            _ => {}
        }
    }
}

/// Of 100 channels 64 are served. The others are closed, instead of keeping their messages unread
/// forever.
#[tokio::test]
async fn channels_beyond_the_limit_are_closed() {
    let (gathered, mut is_gathered) = mpsc::unbounded_channel();
    let (closed, mut is_closed) = mpsc::unbounded_channel();
    let peer = PeerConnectionBuilder::new()
        .with_handler(Arc::new(Handler(gathered)))
        .with_udp_addrs(vec![SocketAddr::from((Ipv4Addr::LOCALHOST, 0))])
        .build()
        .await
        .expect("a connection");
    for number in 0..OPENED {
        let channel = peer.create_data_channel(&number.to_string(), None).await.expect("a channel");
        tokio::spawn(use_channel(channel, closed.clone()));
    }
    let offer = peer.create_offer(None).await.expect("an offer");
    peer.set_local_description(offer).await.expect("its own offer");
    timeout(DEADLINE, is_gathered.recv()).await.expect("candidates in time");
    let offer = peer.local_description().await.expect("an offer").sdp;

    let transport = WebRtcTransport::new(WebRtcConfig::default()).expect("the defaults are valid");
    let ice = IceConfig { interfaces: vec![Ipv4Addr::LOCALHOST.to_string()], ..IceConfig::default() };
    let config = SessionConfig::new(Arc::new(SystemClock), rtp_queue(1).0).with_ice(ice);
    let (session, mut events) = transport.open(config).await.expect("a session");
    let answer = session.accept_offer(&offer).await.expect("an answer");
    peer.set_remote_description(RTCSessionDescription::answer(answer).expect("an answer")).await.expect("it fits");

    let (mut open, mut refused) = (Vec::<ChannelId>::new(), 0);
    let all = async {
        while open.len() < SERVED || refused < OPENED - SERVED {
            tokio::select! {
                event = events.recv() => match event.expect("the session is open") {
                    SessionEvent::ChannelOpen { channel, .. } => open.push(channel),
                    SessionEvent::LocalCandidate(candidate) => {
                        let candidate = RTCIceCandidateInit { candidate: candidate.attribute, ..Default::default() };
                        peer.add_ice_candidate(candidate).await.expect("a candidate");
                    }
                    _ => {}
                },
                _ = is_closed.recv() => refused += 1,
            }
        }
    };
    let all_in_time = timeout(DEADLINE, all).await;
    assert!(all_in_time.is_ok(), "{} channels open, {refused} closed", open.len());
    assert_eq!((open.len(), refused), (SERVED, OPENED - SERVED));
    for channel in open {
        session.send_data(channel, vec![1].into()).expect("those that are open are of use");
    }
    session.close().await;
    peer.close().await.expect("it was open");
}
