//! Configuration of the stack for calls: exactly the configured codecs, and minimal delays.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use blink_api::{Error, ErrorKind, Result, RtpCodec, SessionConfig, TrackKind};
use blink_transport_kit::sdp::AUDIO_LEVEL;
use blink_transport_kit::servers::Server;
use rtc::ice::mdns::MulticastDnsMode;
use rtc::interceptor::{NackGeneratorBuilder, NackResponderBuilder, Slot};
use rtc::peer_connection::configuration::RTCIceTransportPolicy;
use rtc::peer_connection::configuration::interceptor_registry::{
    configure_rtcp_reports, configure_simulcast_extension_headers, configure_twcc_receiver_only,
};
use rtc::rtp_transceiver::rtp_sender::{
    RTCPFeedback, RTCRtpCodec, RTCRtpCodecParameters, RTCRtpHeaderExtensionCapability, RtpCodecKind,
};
use webrtc::peer_connection::{
    MediaEngine, PeerConnection, PeerConnectionBuilder, PeerConnectionEventHandler, RTCConfigurationBuilder,
    RTCIceServer, Registry, SettingEngine, SettingEngineBuilder,
};

use crate::config::WebRtcConfig;
use crate::handler::Handler;
use crate::rtx_interceptor::RtxInterceptor;
use crate::runtime::SettlingRuntime;
use crate::shared::Shared;
use crate::{channels, packet_filter};

/// Dynamic payload types (RFC 3551 §3).
const DYNAMIC: std::ops::RangeInclusive<u8> = 96..=127;
const OPUS: u8 = 111;
/// RTCP feedback for video: retransmission and key frame requests (RFC 4585 §6.2.1, §6.3.1; RFC
/// 5104 §4.3.1).
const VIDEO_FEEDBACK: [(&str, &str); 3] = [("nack", ""), ("nack", "pli"), ("ccm", "fir")];
/// Position of the RTX interceptor in the chain: closest to the network, so that recovered packets
/// count as received.
const RTX_SLOT: usize = 500;
/// Interval of NACKs for a packet, long enough for the retransmission to arrive.
const NACK_INTERVAL: Duration = Duration::from_millis(50);
/// Limit of NACKs per packet. A later retransmission is useless in a call.
const MAX_NACKS: u16 = 8;

/// Maximum interval between refreshes of an allocation. A refresh with a stale nonce only yields a
/// new nonce, so several must fit into the allocation's lifetime of 10 minutes (RFC 8656 §7.2).
const REFRESH_INTERVAL: Duration = Duration::from_secs(60);

/// Opens a connection on these addresses: binds sockets, but sends nothing.
pub(crate) async fn open(
    config: &WebRtcConfig,
    session: &SessionConfig,
    addresses: &[IpAddr],
    shared: &Arc<Shared>,
) -> Result<Arc<dyn PeerConnection>> {
    let mut media = media_engine(session).map_err(fault)?;
    let interceptors = interceptors(&mut media, shared).map_err(fault)?;
    let handler: Arc<dyn PeerConnectionEventHandler> = Arc::new(Handler(Arc::clone(shared)));
    let relay_only = session.ice.relay_only;
    let policy = if relay_only { RTCIceTransportPolicy::Relay } else { RTCIceTransportPolicy::All };
    let configuration = RTCConfigurationBuilder::new()
        .with_ice_servers(ice_servers(&shared.packet_filter.servers, relay_only))
        .with_ice_transport_policy(policy)
        .build();
    let connection = PeerConnectionBuilder::new()
        .with_configuration(configuration)
        .with_media_engine(media)
        .with_interceptor_registry(interceptors)
        .with_setting_engine(settings(config, shared.packet_filter.has_relays()))
        .with_handler(handler)
        .with_runtime(Arc::new(SettlingRuntime::new(Arc::clone(shared))))
        .with_data_channel_send_buffer_limit(channels::SEND_BUFFER)
        .with_udp_addrs(addresses.iter().map(|address| SocketAddr::new(*address, 0)).collect())
        .build()
        .await
        .map_err(|error| Error::new(ErrorKind::Io, "the connection cannot be created").source(error))?;
    Ok(Arc::new(connection))
}

/// Codecs of the stack for the configured ones, each with a payload type, video with RTX (RFC
/// 4588).
pub(crate) fn codecs(audio: &[RtpCodec], video: &[RtpCodec]) -> Vec<(TrackKind, RTCRtpCodecParameters)> {
    let mut free = DYNAMIC.filter(|number| *number != OPUS).peekable();
    let mut codecs = Vec::new();
    let audio = audio.iter().map(|codec| (TrackKind::Audio, codec));
    for (kind, configured) in audio.chain(video.iter().map(|codec| (TrackKind::Video, codec))) {
        let payload_type = match configured.name.as_str().to_ascii_lowercase().as_str() {
            "opus" => Some(OPUS),
            "pcmu" => Some(0),
            "pcma" => Some(8),
            "g722" => Some(9),
            _ => free.next(),
        };
        // With more codecs than payload types, the least preferred ones are omitted.
        let Some(payload_type) = payload_type else { break };
        let mut rtp_codec = codec(kind, configured);
        if configured.name.is_red() {
            // The primary and the redundant block are Opus (RFC 2198 §5).
            rtp_codec.sdp_fmtp_line = format!("{OPUS}/{OPUS}");
        }
        codecs.push((kind, RTCRtpCodecParameters { rtp_codec, payload_type }));
        if let Some(resend) = free.next_if(|_| kind == TrackKind::Video) {
            let rtp_codec = RTCRtpCodec {
                mime_type: "video/rtx".to_owned(),
                clock_rate: configured.clock_rate,
                sdp_fmtp_line: format!("apt={payload_type}"),
                ..RTCRtpCodec::default()
            };
            codecs.push((kind, RTCRtpCodecParameters { rtp_codec, payload_type: resend }));
        }
    }
    codecs
}

fn codec(kind: TrackKind, codec: &RtpCodec) -> RTCRtpCodec {
    let (family, feedback) = match kind {
        TrackKind::Audio => ("audio", &[][..]),
        TrackKind::Video => ("video", &VIDEO_FEEDBACK[..]),
    };
    let feedback = feedback
        .iter()
        .map(|(kind, parameter)| RTCPFeedback { typ: (*kind).to_owned(), parameter: (*parameter).to_owned() });
    RTCRtpCodec {
        mime_type: format!("{family}/{}", codec.name),
        clock_rate: codec.clock_rate,
        channels: codec.channels,
        sdp_fmtp_line: codec.fmtp.clone(),
        rtcp_feedback: feedback.collect(),
    }
}

pub(crate) fn codec_kind(kind: TrackKind) -> RtpCodecKind {
    match kind {
        TrackKind::Audio => RtpCodecKind::Audio,
        TrackKind::Video => RtpCodecKind::Video,
    }
}

/// Unexpected error of the stack.
pub(crate) fn fault(error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::new(ErrorKind::Unexpected, "webrtc-rs failed").source(error)
}

fn media_engine(session: &SessionConfig) -> Result<MediaEngine, webrtc::error::Error> {
    let mut media = MediaEngine::default();
    for (kind, parameters) in codecs(&session.audio, &session.video) {
        media.register_codec(parameters, codec_kind(kind))?;
    }
    let level = RTCRtpHeaderExtensionCapability { uri: AUDIO_LEVEL.to_owned() };
    media.register_header_extension(level, RtpCodecKind::Audio, None)?;
    Ok(media)
}

/// The stack's default chain with more frequent NACKs and the RTX interceptor.
fn interceptors(media: &mut MediaEngine, shared: &Arc<Shared>) -> Result<Registry, webrtc::error::Error> {
    let nacks = NackGeneratorBuilder::new().with_interval(NACK_INTERVAL).with_max_nacks_per_packet(MAX_NACKS).build();
    configure_simulcast_extension_headers(media)?;
    let registry = configure_twcc_receiver_only(Registry::new(), media)?;
    Ok(configure_rtcp_reports(registry)
        .with(Slot::NackResponder, NackResponderBuilder::new().build())
        .with(Slot::NackGenerator, nacks)
        .with(RTX_SLOT.into(), RtxInterceptor::new(Arc::clone(shared))))
}

fn settings(config: &WebRtcConfig, has_relays: bool) -> SettingEngine {
    let at_once = Some(Duration::ZERO);
    SettingEngineBuilder::new()
        // Within the same sockets, the stack announces its TURN allocations again instead of asking
        // for new ones. A server that was restarted has none.
        .with_discard_local_candidates_during_ice_restart(has_relays)
        // The stack's mDNS would open port 5353 for each connection.
        .with_multicast_dns_mode(MulticastDnsMode::Disabled)
        .with_host_acceptance_min_wait(at_once)
        .with_srflx_acceptance_min_wait(at_once)
        .with_prflx_acceptance_min_wait(at_once)
        .with_relay_acceptance_min_wait(at_once)
        .with_ice_connection_attempts(Some(config.check_interval), Some(config.check_requests()))
        // Zero: a path never fails for good, because the engine decides that.
        .with_turn_allocation_refresh_interval_cap(REFRESH_INTERVAL)
        .with_ice_timeouts(Some(config.disconnected_after), Some(Duration::ZERO), Some(config.keepalive))
        .build()
}

/// Servers for the stack. TURN servers also answer STUN, so they are used for both, unless only
/// relays count.
fn ice_servers(servers: &[Server], relay_only: bool) -> Vec<RTCIceServer> {
    let asked = servers.iter().map(|server| {
        let place = packet_filter::place(&server.host, server.port);
        let stun = (!relay_only).then(|| format!("stun:{place}"));
        let turn = server.credentials.as_ref().map(|_| format!("turn:{place}?transport=udp"));
        let (username, credential) = match &server.credentials {
            Some(credentials) => (credentials.username.clone(), credentials.credential.clone()),
            None => Default::default(),
        };
        RTCIceServer { urls: stun.into_iter().chain(turn).collect(), username, credential }
    });
    asked.collect()
}
