//! Callbacks of the stack, and tasks that read remote tracks.

use std::sync::Arc;

use blink_api::macros::async_trait;
use blink_api::{AudioLevel, Candidate, IceState, Mid, RtpIn, RtpTime, TrackKind};
use rtc::rtp_transceiver::rtp_sender::RtpCodecKind;
use webrtc::data_channel::DataChannel;
use webrtc::media_stream::track_remote::{TrackRemote, TrackRemoteEvent};
use webrtc::peer_connection::{
    PeerConnectionEventHandler, RTCIceConnectionState, RTCIceGatheringState, RTCPeerConnectionIceEvent,
    RTCPeerConnectionState,
};

use crate::channels;
use crate::shared::{Gathered, Shared};

/// Event handler. Called on the connection's own task, so every callback returns immediately.
pub(crate) struct Handler(pub(crate) Arc<Shared>);

#[async_trait]
impl PeerConnectionEventHandler for Handler {
    async fn on_ice_candidate(&self, event: RTCPeerConnectionIceEvent) {
        let Ok(candidate) = event.candidate.to_json() else { return };
        // The browser API signals the end of candidates by an empty one.
        if !candidate.candidate.is_empty() {
            let mid = candidate.sdp_mid.filter(|mid| !mid.is_empty()).map(|mid| Mid::new(&mid));
            let candidate = Candidate { attribute: candidate.candidate, mid };
            self.0.report_gathering(Gathered::Candidate(candidate));
        }
    }

    async fn on_ice_gathering_state_change(&self, state: RTCIceGatheringState) {
        if state == RTCIceGatheringState::Complete {
            self.0.report_gathering(Gathered::EndOfCandidates);
        }
    }

    async fn on_ice_connection_state_change(&self, state: RTCIceConnectionState) {
        self.0.set_ice_state(match state {
            RTCIceConnectionState::New => IceState::New,
            RTCIceConnectionState::Checking => IceState::Checking,
            RTCIceConnectionState::Connected | RTCIceConnectionState::Completed => IceState::Connected,
            RTCIceConnectionState::Disconnected => IceState::Disconnected,
            RTCIceConnectionState::Failed => IceState::Failed,
            _ => return,
        });
    }

    async fn on_connection_state_change(&self, state: RTCPeerConnectionState) {
        match state {
            RTCPeerConnectionState::Connected => self.0.set_connected(),
            RTCPeerConnectionState::Disconnected | RTCPeerConnectionState::Failed | RTCPeerConnectionState::Closed => {
                self.0.set_disconnected();
            }
            _ => {}
        }
    }

    async fn on_data_channel(&self, channel: Arc<dyn DataChannel>) {
        channels::run(&self.0, channel);
    }

    async fn on_track(&self, track: Arc<dyn TrackRemote>) {
        let shared = Arc::clone(&self.0);
        self.0.spawn(async move { read(shared, track).await });
    }
}

/// Reads a remote track until it ends.
async fn read(shared: Arc<Shared>, track: Arc<dyn TrackRemote>) {
    let Some(mid) = section_of(&shared, &track).await else {
        tracing::debug!("remote track without a section");
        return;
    };
    let kind = match track.kind().await {
        RtpCodecKind::Video => TrackKind::Video,
        _ => TrackKind::Audio,
    };
    shared.lock().incoming.insert(mid.clone(), Arc::clone(&track));
    while let Some(event) = track.poll().await {
        if let TrackRemoteEvent::OnRtpPacket(packet) = event {
            handle_packet(&shared, &mid, kind, packet);
        }
    }
}

/// Section of a track, found through its transceiver, since the sender chooses the track's ids.
async fn section_of(shared: &Shared, track: &Arc<dyn TrackRemote>) -> Option<Mid> {
    for transceiver in shared.connection()?.get_transceivers().await {
        if let Ok(Some(receiver)) = transceiver.receiver().await
            && Arc::ptr_eq(receiver.track(), track)
        {
            return transceiver.mid().await.ok().flatten().map(|mid| Mid::new(&mid));
        }
    }
    None
}

fn handle_packet(shared: &Shared, mid: &Mid, kind: TrackKind, packet: rtc::rtp::Packet) {
    let arrival = shared.clock.now();
    let header = packet.header;
    let mut state = shared.lock();
    // Packets of a section that is still being negotiated are dropped.
    let Some(section) = state.receiving.get(mid) else { return };
    let codec = section.codec(header.payload_type, shared.codecs(kind)).cloned();
    let level =
        section.level_extension.and_then(|id| header.get_extension(id)).and_then(|bytes| bytes.first().copied());
    state.traffic.received(header.ssrc, header.sequence_number, packet.payload.len());
    drop(state);
    let Some(codec) = codec else { return };
    shared.rtp.deliver(RtpIn {
        mid: mid.clone(),
        payload_type: header.payload_type,
        codec,
        sequence: header.sequence_number,
        timestamp: RtpTime(header.timestamp),
        marker: header.marker,
        level: level.map(AudioLevel::from_byte),
        payload: packet.payload,
        arrival,
    });
}
