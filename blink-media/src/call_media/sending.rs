//! Offered streams, the paths that they are sent on, and the bitrates that these have room for.

use blink_api::{AudioSource, CodecName, StreamId, TrackKey, TrackKind};
use std::fmt;
use web_time::{Duration, Instant};

use super::CallMedia;
use super::audio_sender::AudioSender;
use super::output::{MediaEvent, MediaOutput};
use super::path_feedback::SectionQuality;
use super::path_id::PathId;
use super::retired_device::RetiredDevice;
use super::section_report::SectionReport;
use super::video_sender::VideoCommand;
use crate::receiver_reports::PathQuality;

/// The streams that a call offers, with the sources of the audio streams.
#[derive(Default)]
pub struct OfferedStreams {
    audio: Vec<(StreamId, Box<dyn AudioSource>)>,
    video: Vec<StreamId>,
}

impl fmt::Debug for OfferedStreams {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OfferedStreams").finish_non_exhaustive()
    }
}

impl CallMedia {
    /// Takes the offered streams out, for the media of a call that continues in place of this one
    /// (glare). All paths end with that.
    pub fn take_streams(&mut self, now: Instant) -> OfferedStreams {
        let paths: Vec<_> = self.paths.keys().copied().collect();
        paths.into_iter().for_each(|path| self.remove_path(now, path));
        self.untap_videos();
        let audio = std::mem::take(&mut self.audio_streams).into_iter();
        OfferedStreams {
            audio: audio.filter_map(|(stream, sender)| Some((stream, self.take_source(sender)?))).collect(),
            video: std::mem::take(&mut self.video_streams),
        }
    }

    /// The source of a stream; former ones are retired.
    fn take_source(&mut self, sender: AudioSender) -> Option<Box<dyn AudioSource>> {
        let mut retired = Vec::new();
        let source = sender.into_source(&mut retired);
        self.outputs.extend(retired.into_iter().map(MediaOutput::Retired));
        source
    }

    /// Offers the streams of another call. A source that does not fit this one is lost
    /// ([`MediaEvent::SourceLost`]).
    pub fn offer_streams(&mut self, streams: OfferedStreams) {
        streams.audio.into_iter().for_each(|(stream, source)| self.offer_audio(stream, source));
        streams.video.into_iter().for_each(|stream| self.offer_video(stream));
    }

    pub(super) fn offer_audio(&mut self, stream: StreamId, source: Box<dyn AudioSource>) {
        let mut sender = AudioSender::new(TrackKey::stream(self.local, stream));
        match sender.set_source(&self.audio, (None, source), &mut self.random) {
            Ok(()) => {
                sender.set_recorded(self.taps.take_packets());
                self.audio_streams.insert(stream, sender);
            }
            Err(error) => self.outputs.push_back(MediaOutput::Event(MediaEvent::SourceLost(stream, error))),
        }
    }

    /// The sections that carry the stream stay taken until
    /// [`StopSending`](super::MediaCommand::StopSending).
    pub(super) fn revoke_stream(&mut self, stream: StreamId) {
        if let Some(source) = self.audio_streams.remove(&stream).and_then(|sender| self.take_source(sender)) {
            self.outputs.push_back(MediaOutput::Retired(RetiredDevice::Source(source)));
        }
        self.video_streams.retain(|known| *known != stream);
    }

    pub(super) fn start_sending(&mut self, now: Instant, id: PathId, stream: StreamId) {
        let is_audio = self.audio_streams.contains_key(&stream);
        let kind = match (is_audio, self.video_streams.contains(&stream)) {
            (true, _) => Some(TrackKind::Audio),
            (false, true) => Some(TrackKind::Video),
            // Its source was lost meanwhile.
            (false, false) => None,
        };
        let Some(path) = self.paths.get_mut(&id) else { return };
        let Some(section) = kind.and_then(|kind| path.free_section(kind)) else {
            return self.outputs.push_back(MediaOutput::Unsendable { path: id, stream });
        };
        let Some(mid) = section.mid.clone() else { return };
        section.sending = Some(stream);
        let (track, copies) = (section.track.clone(), section.has_copies());
        let first_sequence = track.next_sequence();
        self.outputs.push_back(MediaOutput::Announce { path: id, mid, stream: Some(stream), first_sequence });
        match self.audio_streams.get_mut(&stream) {
            Some(sender) => {
                if let Some(codec) = preferred(&section.codecs) {
                    sender.add_receiver(id, track, codec, copies);
                    self.start_captures(now);
                }
            }
            None => self.command_video(stream, VideoCommand::AddReceiver(id, track)),
        }
    }

    pub(super) fn stop_sending(&mut self, now: Instant, id: PathId, stream: StreamId) {
        let Some(section) = self.paths.get_mut(&id).and_then(|path| path.section_of(stream)) else { return };
        section.sending = None;
        let (mid, first_sequence) = (section.mid.clone(), section.track.next_sequence());
        self.remove_stream_receiver(now, id, stream);
        if let Some(mid) = mid {
            self.outputs.push_back(MediaOutput::Announce { path: id, mid, stream: None, first_sequence });
        }
    }

    /// Ends sending a stream on a path.
    pub(super) fn remove_stream_receiver(&mut self, now: Instant, id: PathId, stream: StreamId) {
        match self.audio_streams.get_mut(&stream) {
            Some(sender) => sender.remove_receiver(id, now),
            None => self.command_video(stream, VideoCommand::RemoveReceiver(id)),
        }
    }

    /// The other end of a path reports how what is sent arrives.
    pub(super) fn handle_report(&mut self, now: Instant, id: PathId, interval: Duration, sections: &[SectionReport]) {
        let Some(path) = self.paths.get_mut(&id) else { return };
        let demand = path.demand(self.audio.demand());
        let qualities = path.feedback.handle_report(interval, sections, demand);
        if !qualities.is_empty() {
            self.adapt(now, id, &qualities);
        }
    }

    /// Adapts all that is sent on a path to the room that it has, and to what was reported.
    pub(super) fn adapt(&mut self, now: Instant, id: PathId, reported: &[SectionQuality]) {
        let Some(path) = self.paths.get_mut(&id) else { return };
        let allocation = path.feedback.allocation(now, path.demand(self.audio.demand()));
        let voices = 1 + path.sending(TrackKind::Audio);
        let video_rate = allocation.video / path.sending(TrackKind::Video).max(1);
        let quality_of = |mid: &Option<blink_api::Mid>| {
            let reported = reported.iter().find(|reported| Some(&reported.mid) == mid.as_ref())?;
            Some(PathQuality { bitrate: Some(allocation.audio / voices), ..reported.quality })
        };
        for section in &path.outgoing {
            let Some(stream) = section.sending else { continue };
            if let Some(sender) = self.audio_streams.get_mut(&stream) {
                if let Some(quality) = quality_of(&section.mid) {
                    sender.on_report(id, now, quality);
                }
            } else if self.video_streams.contains(&stream) {
                let command = VideoCommand::SetRate(id, Some(video_rate));
                self.outputs.push_back(MediaOutput::Video { stream, command });
            }
        }
        if let Some(quality) = quality_of(&path.microphone.mid) {
            self.microphone.on_report(id, now, quality);
            path.feedback.set_microphone(quality);
        }
    }

    fn command_video(&mut self, stream: StreamId, command: VideoCommand) {
        if self.video_streams.contains(&stream) {
            self.outputs.push_back(MediaOutput::Video { stream, command });
        }
    }
}

fn preferred(codecs: &[CodecName]) -> Option<CodecName> {
    codecs.first().cloned()
}
