//! The stack, set up for calls: exactly the configured codecs, and no waiting that a call can do without.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use blink_api::{Error, ErrorKind, IceServer, Result, RtpCodec, SessionConfig, TrackKind};
use blink_transport_kit::sdp::AUDIO_LEVEL;
use rtc::ice::mdns::MulticastDnsMode;
use rtc::rtp_transceiver::rtp_sender::{
    RTCRtpCodec, RTCRtpCodecParameters, RTCRtpHeaderExtensionCapability, RtpCodecKind,
};
use webrtc::peer_connection::{
    MediaEngine, PeerConnection, PeerConnectionBuilder, PeerConnectionEventHandler, RTCConfigurationBuilder,
    RTCIceServer, Registry, SettingEngine, SettingEngineBuilder, register_default_interceptors,
};

use crate::config::WebRtcConfig;
use crate::rtcp_tap::RtcpTap;
use crate::runtime::SettlingRuntime;

/// Dynamic payload types (RFC 3551 §3), the usual one of Opus left out.
const DYNAMIC: std::ops::RangeInclusive<u8> = 96..=127;
const OPUS: u8 = 111;
/// Where the tap sits in the chain: nearer to the application than everything that reads RTCP.
const TAP_SLOT: usize = 14_000;

/// Opens a connection on these addresses. It binds its sockets and sends nothing.
pub(crate) async fn open(
    config: &WebRtcConfig,
    session: &SessionConfig,
    addresses: &[IpAddr],
    handler: Arc<dyn PeerConnectionEventHandler>,
) -> Result<Arc<dyn PeerConnection>> {
    let mut media = media_engine(session).map_err(fault)?;
    let interceptors = register_default_interceptors(Registry::new(), &mut media).map_err(fault)?;
    let interceptors = interceptors.with(TAP_SLOT.into(), RtcpTap::default());
    let configuration = RTCConfigurationBuilder::new().with_ice_servers(ice_servers(&session.ice.servers)).build();
    let connection = PeerConnectionBuilder::new()
        .with_configuration(configuration)
        .with_media_engine(media)
        .with_interceptor_registry(interceptors)
        .with_setting_engine(settings(config))
        .with_handler(handler)
        .with_runtime(Arc::new(SettlingRuntime::new()))
        .with_udp_addrs(addresses.iter().map(|address| SocketAddr::new(*address, 0)).collect())
        .build()
        .await
        .map_err(|error| Error::new(ErrorKind::Io, "the connection cannot be opened").source(error))?;
    Ok(Arc::new(connection))
}

/// The stack's codec for one of the contract's.
pub(crate) fn codec(kind: TrackKind, codec: &RtpCodec) -> RTCRtpCodec {
    let family = match kind {
        TrackKind::Audio => "audio",
        TrackKind::Video => "video",
    };
    RTCRtpCodec {
        mime_type: format!("{family}/{}", codec.name),
        clock_rate: codec.clock_rate,
        channels: codec.channels,
        sdp_fmtp_line: codec.fmtp.clone(),
        rtcp_feedback: Vec::new(),
    }
}

pub(crate) fn codec_kind(kind: TrackKind) -> RtpCodecKind {
    match kind {
        TrackKind::Audio => RtpCodecKind::Audio,
        TrackKind::Video => RtpCodecKind::Video,
    }
}

/// A fault in the stack that fits nothing else.
pub(crate) fn fault(error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::new(ErrorKind::Unexpected, "webrtc-rs failed").source(error)
}

fn media_engine(session: &SessionConfig) -> Result<MediaEngine, webrtc::error::Error> {
    let mut media = MediaEngine::default();
    let mut free = DYNAMIC.filter(|number| *number != OPUS);
    for (kind, codecs) in [(TrackKind::Audio, &session.audio), (TrackKind::Video, &session.video)] {
        for configured in codecs {
            let payload_type = match configured.name.as_str().to_ascii_lowercase().as_str() {
                "opus" => Some(OPUS),
                "pcmu" => Some(0),
                "pcma" => Some(8),
                "g722" => Some(9),
                _ => free.next(),
            };
            // Who configures more codecs than there are payload types loses the least preferred ones.
            let Some(payload_type) = payload_type else { continue };
            let parameters = RTCRtpCodecParameters { rtp_codec: codec(kind, configured), payload_type };
            media.register_codec(parameters, codec_kind(kind))?;
        }
    }
    let level = RTCRtpHeaderExtensionCapability { uri: AUDIO_LEVEL.to_owned() };
    media.register_header_extension(level, RtpCodecKind::Audio, None)?;
    Ok(media)
}

fn settings(config: &WebRtcConfig) -> SettingEngine {
    let at_once = Some(Duration::ZERO);
    SettingEngineBuilder::new()
        // Queries would open port 5353 for each connection.
        .with_multicast_dns_mode(MulticastDnsMode::Disabled)
        .with_host_acceptance_min_wait(at_once)
        .with_srflx_acceptance_min_wait(at_once)
        .with_prflx_acceptance_min_wait(at_once)
        .with_relay_acceptance_min_wait(at_once)
        .with_ice_connection_attempts(Some(config.check_interval), Some(config.check_requests()))
        // Zero: a path is never given up for good, because that is the engine's to decide.
        .with_ice_timeouts(Some(config.disconnected_after), Some(Duration::ZERO), Some(config.keepalive))
        .build()
}

/// A TURN server answers STUN too, so it is asked as one.
fn ice_servers(servers: &[IceServer]) -> Vec<RTCIceServer> {
    if servers.iter().any(|server| server.url.starts_with("turn:")) {
        tracing::warn!("this transport does not relay: TURN servers are only asked for the own address");
    }
    let stun = |url: &str| {
        let host = url.strip_prefix("turn:").or_else(|| url.strip_prefix("stun:")).unwrap_or(url);
        format!("stun:{}", host.split('?').next().unwrap_or(host))
    };
    servers.iter().map(|server| RTCIceServer { urls: vec![stun(&server.url)], ..RTCIceServer::default() }).collect()
}
