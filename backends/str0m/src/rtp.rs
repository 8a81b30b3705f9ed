//! RTP packets and data-channel messages.

use blink_api::{AudioLevel, ChannelId, Mid, RtpIn, RtpOut, RtpTime, TrackId, TrackKind};
use bytes::Bytes;
use str0m::media::KeyframeRequestKind;
use str0m::rtp::{ExtensionValues, RtpPacket, RtpWrite};

use crate::codecs::tag;
use crate::peer::{Path, Peer};

/// Limit of cached SSRCs, which only a faulty peer exceeds; then the cache is rebuilt.
const MAX_SOURCES: usize = 64;

/// Outgoing data passed to the driver by other threads.
pub(crate) enum Outgoing {
    Packet(TrackId, RtpOut),
    Message(ChannelId, Bytes),
    KeyframeRequest(Mid),
}

impl Peer {
    pub(crate) fn handle_outgoing(&mut self, outgoing: Outgoing) {
        match outgoing {
            Outgoing::Packet(track, packet) => self.send_packet(track, &packet),
            Outgoing::Message(channel, message) => self.send_message(channel, message),
            Outgoing::KeyframeRequest(mid) => {
                let mut direct = self.rtc.direct_api();
                if let Some(stream) = direct.stream_rx_by_mid(mid.as_str().into(), None) {
                    stream.request_keyframe(KeyframeRequestKind::Pli);
                }
            }
        }
    }

    fn send_packet(&mut self, track: TrackId, packet: &RtpOut) {
        if self.path == Path::New {
            return;
        }
        let Some(track) = self.tracks.iter_mut().find(|known| known.id == track) else { return };
        let Some(mid) = track.section else { return };
        let Some(payload_type) = self.codecs.payload_type(&self.rtc, mid, &packet.codec) else { return };
        let Some(sequence) = track.sequence.advance(packet.sequence) else { return };
        let is_video = track.kind == TrackKind::Video;
        let now = self.stack_now();
        let mut direct = self.rtc.direct_api();
        let Some(stream) = direct.stream_tx_by_mid(mid, None) else { return };
        // str0m takes the level as negative dBov; the API and the extension have it positive.
        let extensions = ExtensionValues {
            audio_level: packet.level.map(|level| -level.minus_dbov().cast_signed()),
            voice_activity: packet.level.map(AudioLevel::is_voice),
            ..ExtensionValues::default()
        };
        stream.write_rtp(
            RtpWrite::new(payload_type, sequence.into(), packet.timestamp.0, now, &packet.payload[..])
                .marker(packet.marker)
                .ext_vals(extensions)
                .nackable(is_video),
        );
        self.shared.lock().traffic.sent(packet.payload.len());
    }

    pub(crate) fn handle_packet(&mut self, packet: RtpPacket) {
        let header = packet.header;
        let Some(mid) = self.section_of(header.ssrc) else { return };
        self.shared.lock().traffic.received(*header.ssrc, header.sequence_number, packet.payload.len());
        let Some(codec) = self.codecs.name(&self.rtc, header.payload_type) else { return };
        let extensions = &header.ext_vals;
        let level = extensions
            .audio_level
            .map(|level| AudioLevel::new(level.unsigned_abs(), extensions.voice_activity.unwrap_or(false)));
        let packet = RtpIn {
            mid,
            payload_type: *header.payload_type,
            codec,
            sequence: header.sequence_number,
            timestamp: RtpTime(header.timestamp),
            marker: header.marker,
            level,
            payload: Bytes::copy_from_slice(&packet.payload),
            arrival: self.arrival(packet.timestamp),
        };
        self.rtp.deliver(packet);
    }

    fn section_of(&mut self, ssrc: str0m::rtp::Ssrc) -> Option<Mid> {
        if let Some(mid) = self.sources.get(&*ssrc) {
            return Some(mid.clone());
        }
        let mid = tag(self.rtc.direct_api().stream_rx(&ssrc)?.mid());
        if self.sources.len() == MAX_SOURCES {
            self.sources.clear();
        }
        self.sources.insert(*ssrc, mid.clone());
        Some(mid)
    }
}
