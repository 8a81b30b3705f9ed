//! The stack, set up for calls: exactly the configured codecs, and no waiting that a call can do
//! without.

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
use crate::runtime::SettlingRuntime;
use crate::shared::Shared;
use crate::tap::Tap;
use crate::{channels, guard};

/// Dynamic payload types (RFC 3551 §3), the usual one of Opus left out.
const DYNAMIC: std::ops::RangeInclusive<u8> = 96..=127;
const OPUS: u8 = 111;
/// What video may be asked to do: repeat packets, and send a key frame (RFC 4585 §6.2.1, §6.3.1;
/// RFC 5104 §4.3.1).
const VIDEO_FEEDBACK: [(&str, &str); 3] = [("nack", ""), ("nack", "pli"), ("ccm", "fir")];
/// Where the tap sits in the chain: next to the wire, so that what it restores counts as received.
const TAP_SLOT: usize = 500;
/// How often missing packets are asked for: what is on its way again should have come before the
/// next time.
const NACK_INTERVAL: Duration = Duration::from_millis(50);
/// How often one packet is asked for. What comes later than this takes is of no use to a call.
const MOST_NACKS: u16 = 8;

/// How often a relay is refreshed at least. A refresh with a nonce that has become stale only
/// brings a new one, so several must fit into the relay's life, which is 10 minutes (RFC 8656
/// §7.2).
const REFRESH_INTERVAL: Duration = Duration::from_secs(60);

/// Opens a connection on these addresses. It binds its sockets and sends nothing.
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
        .with_ice_servers(ice_servers(&shared.guard.servers, relay_only))
        .with_ice_transport_policy(policy)
        .build();
    let connection = PeerConnectionBuilder::new()
        .with_configuration(configuration)
        .with_media_engine(media)
        .with_interceptor_registry(interceptors)
        .with_setting_engine(settings(config))
        .with_handler(handler)
        .with_runtime(Arc::new(SettlingRuntime::new(Arc::clone(&shared.guard))))
        .with_data_channel_send_buffer_limit(channels::SEND_BUFFER)
        .with_udp_addrs(addresses.iter().map(|address| SocketAddr::new(*address, 0)).collect())
        .build()
        .await
        .map_err(|error| Error::new(ErrorKind::Io, "the connection cannot be opened").source(error))?;
    Ok(Arc::new(connection))
}

/// The stack's codecs for the configured ones, each with a payload type, video with retransmissions
/// too (RFC 4588).
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
        // Who configures more codecs than there are payload types loses the least preferred ones.
        let Some(payload_type) = payload_type else { break };
        let mut rtp_codec = codec(kind, configured);
        if configured.name.is_red() {
            // Its own block and the copy are Opus (RFC 2198 §5).
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

/// A fault in the stack that fits nothing else.
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

/// The stack's usual chain with a brisker way of asking for lost packets, and the tap.
fn interceptors(media: &mut MediaEngine, shared: &Arc<Shared>) -> Result<Registry, webrtc::error::Error> {
    let nacks = NackGeneratorBuilder::new().with_interval(NACK_INTERVAL).with_max_nacks_per_packet(MOST_NACKS).build();
    configure_simulcast_extension_headers(media)?;
    let registry = configure_twcc_receiver_only(Registry::new(), media)?;
    Ok(configure_rtcp_reports(registry)
        .with(Slot::NackResponder, NackResponderBuilder::new().build())
        .with(Slot::NackGenerator, nacks)
        .with(TAP_SLOT.into(), Tap::new(Arc::clone(shared))))
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
        .with_turn_allocation_refresh_interval_cap(REFRESH_INTERVAL)
        .with_ice_timeouts(Some(config.disconnected_after), Some(Duration::ZERO), Some(config.keepalive))
        .build()
}

/// A TURN server answers STUN too, so it is asked for the own address as well, unless only relays
/// count.
fn ice_servers(servers: &[Server], relay_only: bool) -> Vec<RTCIceServer> {
    let asked = servers.iter().map(|server| {
        let place = guard::place(&server.host, server.port);
        let stun = (!relay_only).then(|| format!("stun:{place}"));
        let turn = server.account.as_ref().map(|_| format!("turn:{place}?transport=udp"));
        let (username, credential) = match &server.account {
            Some(account) => (account.username.clone(), account.credential.clone()),
            None => Default::default(),
        };
        RTCIceServer { urls: stun.into_iter().chain(turn).collect(), username, credential }
    });
    asked.collect()
}
