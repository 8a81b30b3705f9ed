//! Received packets: from a path to the decoder or assembler of their track.

use blink_api::{CodecName, Error, ErrorKind, Result, RtpIn, StreamId, TrackKey, TrackKind, TrackSource};
use web_time::Instant;

use super::CallMedia;
use super::command::{AnnouncedSection, ReportedCapture, StreamSink};
use super::output::MediaOutput;
use super::path::{Receiver, Routed};
use super::path_id::PathId;
use super::taps::{PacketDirection, TappedFrame, TappedPacket, Taps};
use super::video_receiver::VideoReceiver;
use crate::call_clock::{CallClock, RtpStamp};
use crate::playout::ReceiveConfig;
use crate::video::{self, ReceivedFrame};

impl CallMedia {
    /// The path is verified: the microphones are sent and received, and what came early is played.
    pub(super) fn admit(&mut self, now: Instant, id: PathId) {
        let Some(path) = self.paths.get_mut(&id) else { return };
        let Some(held) = path.admit() else { return };
        let section = &path.microphone;
        let codec = section.codecs.first().cloned().unwrap_or_else(|| self.audio.preferred().name);
        let (remote, track, copies) = (path.remote, section.track.clone(), section.has_copies());
        path.sent_with = Some(codec.clone());
        path.set_decoded_with(TrackSource::Microphone, codec.clone());
        self.microphone.add_receiver(id, track, codec.clone(), copies);
        self.start_captures(now);
        self.decode_or_warn(id, TrackKey::microphone(remote), &codec);
        // No stream was requested on this path yet, so that none of these starts one.
        for packet in held {
            self.receive(now, id, packet);
        }
    }

    pub(super) fn handle_announced(&mut self, now: Instant, id: PathId, section: AnnouncedSection) {
        let Some(path) = self.paths.get_mut(&id) else { return };
        for packet in path.announce(section) {
            self.receive(now, id, packet);
        }
    }

    pub(super) fn start_receiving(&mut self, id: PathId, stream: StreamId, sink: StreamSink) {
        let Some(path) = self.paths.get_mut(&id) else { return };
        let receiver = match sink {
            StreamSink::Audio => {
                // Most likely the other side prefers the codec that it is sent; its first packet
                // decides.
                let codec = path.sent_with.clone().unwrap_or_else(|| self.audio.preferred().name);
                let track = TrackKey::stream(path.remote, stream);
                path.set_decoded_with(track.source, codec.clone());
                self.decode_or_warn(id, track, &codec);
                Receiver::Audio
            }
            StreamSink::Video { codec, frames } => match self.payload_formats.of(&codec) {
                Ok(format) => Receiver::Video(Box::new(VideoReceiver::new(format, frames))),
                Err(error) => return tracing::warn!(%error, "a video stream cannot be received"),
            },
        };
        if let Some(path) = self.paths.get_mut(&id) {
            path.receivers.insert(stream, receiver);
        }
    }

    pub(super) fn stop_receiving(&mut self, id: PathId, stream: StreamId) {
        let Some(path) = self.paths.get_mut(&id) else { return };
        let track = TrackKey::stream(path.remote, stream);
        if let Some(Receiver::Audio) = path.receivers.remove(&stream) {
            path.forget_decoded_with(track.source);
            self.speaker.remove_track(id, &track);
        }
        self.clock.remove_track(&track);
    }

    /// The other side reports when what it sends was captured.
    pub(super) fn handle_captures(&mut self, now: Instant, id: PathId, captures: &[ReportedCapture]) {
        let Some(path) = self.paths.get(&id) else { return };
        for ReportedCapture { source, stamp, captured_us } in captures {
            self.clock.handle_capture_report(TrackKey::new(path.remote, *source), *stamp, *captured_us, now);
        }
    }

    /// Hands a packet to its track.
    pub(super) fn receive(&mut self, now: Instant, id: PathId, packet: RtpIn) {
        let Some(path) = self.paths.get_mut(&id) else { return };
        let remote = path.remote;
        match path.route(packet) {
            None => {}
            Some(Routed::Audio(source, packet)) => {
                let track = TrackKey::new(remote, source);
                self.observe(TrackKind::Audio, &track, &packet);
                self.receive_audio(now, id, track, packet);
            }
            Some(Routed::Video(stream, packet)) => {
                let track = TrackKey::stream(remote, stream);
                self.observe(TrackKind::Video, &track, &packet);
                let path = self.paths.get_mut(&id);
                if let Some(Receiver::Video(receiver)) = path.and_then(|path| path.receivers.get_mut(&stream))
                    && receiver.push(packet, now, &mut frame_tap(&self.clock, &mut self.taps, track))
                {
                    self.outputs.push_back(MediaOutput::FirstFrame { path: id, stream });
                }
            }
        }
    }

    fn receive_audio(&mut self, now: Instant, id: PathId, track: TrackKey, packet: RtpIn) {
        // A packet without payload is in no codec, whatever its payload type.
        if !packet.payload.is_empty()
            && let codec = self.audio.codec_within(&packet.codec)
            && let Some(path) = self.paths.get_mut(&id)
            && path.changes_codec(track.source, codec, now)
        {
            let codec = codec.clone();
            self.decode_or_warn(id, track, &codec);
        }
        self.speaker.push(&track, packet);
    }

    /// Shows a packet to the clock and the taps.
    fn observe(&mut self, kind: TrackKind, track: &TrackKey, packet: &RtpIn) {
        let clock_rate = self.audio.clock_rate(&packet.codec).unwrap_or(video::CLOCK_RATE);
        let stamp = RtpStamp { timestamp: packet.timestamp, clock_rate };
        if !packet.payload.is_empty() {
            self.clock.handle_packet(*track, stamp, packet.arrival);
        }
        if !self.taps.is_empty() {
            let at = self.clock.call_time(track, stamp);
            let arrival = self.clock.call_time_at(packet.arrival);
            self.taps.on_packet(track, at.unwrap_or(arrival), &TappedPacket::received(kind, packet, arrival));
        }
    }

    fn decode_or_warn(&mut self, id: PathId, track: TrackKey, codec: &CodecName) {
        if let Err(error) = self.decode(id, track, codec) {
            tracing::warn!(%error, %track, "received audio cannot be decoded");
        }
    }

    /// Decodes a track with this codec from now on.
    fn decode(&mut self, id: PathId, track: TrackKey, codec: &CodecName) -> Result<()> {
        let Some((codec, decoder)) = self.audio.decoder(codec)? else {
            return Err(Error::new(ErrorKind::Incompatible, "this codec was not offered").with("codec", codec));
        };
        let config = ReceiveConfig::new(&codec).preferring(self.quality.prefer);
        self.speaker.add_track(id, track, config, decoder);
        Ok(())
    }
}

/// Shows the taps the whole frames of a received video stream.
pub(super) fn frame_tap<'a>(
    clock: &'a CallClock,
    taps: &'a mut Taps,
    track: TrackKey,
) -> impl FnMut(&CodecName, &ReceivedFrame) + 'a {
    move |codec, ReceivedFrame { frame, timestamp }| {
        if !taps.is_empty() {
            let stamp = RtpStamp { timestamp: *timestamp, clock_rate: video::CLOCK_RATE };
            let at = clock.call_time(&track, stamp).unwrap_or_else(|| clock.call_time_at(frame.at));
            let direction = PacketDirection::Received;
            taps.on_frame(&track, at, &TappedFrame { direction, codec, timestamp: *timestamp, frame });
        }
    }
}
