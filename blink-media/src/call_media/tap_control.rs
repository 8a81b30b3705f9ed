//! Taps that come and go while the call goes on, also those of offered video streams.

use blink_api::{StreamId, TrackKey};

use super::CallMedia;
use super::output::MediaOutput;
use super::taps::{Tap, TapId};
use super::video_sender::{VideoCommand, VideoTap};

impl CallMedia {
    pub(super) fn add_tap(&mut self, id: TapId, tap: Box<dyn Tap>) {
        self.taps.add(id, tap);
        for stream in self.video_streams.clone() {
            self.tap_video(stream, |known| known == id);
        }
        self.update_recorded();
    }

    pub(super) fn remove_tap(&mut self, id: TapId) {
        self.taps.remove(id);
        for stream in &self.video_streams {
            let command = VideoCommand::RemoveTap(id);
            self.outputs.push_back(MediaOutput::Video { stream: *stream, command });
        }
        self.update_recorded();
    }

    /// Offers a video stream, which the taps see too.
    pub(super) fn offer_video(&mut self, stream: StreamId) {
        self.video_streams.push(stream);
        self.tap_video(stream, |_| true);
    }

    /// The taps of this call no longer see the offered video streams, which go on in another call.
    pub(super) fn untap_videos(&mut self) {
        for stream in &self.video_streams {
            for id in self.taps.ids() {
                let command = VideoCommand::RemoveTap(id);
                self.outputs.push_back(MediaOutput::Video { stream: *stream, command });
            }
        }
    }

    /// Hands the sender of a video stream its own ends of taps.
    fn tap_video(&mut self, stream: StreamId, mut is_wanted: impl FnMut(TapId) -> bool) {
        let (track, start) = (TrackKey::stream(self.local, stream), self.clock.start());
        for (id, tap) in self.taps.for_sent_video().filter(|(id, _)| is_wanted(*id)) {
            let command = VideoCommand::AddTap(id, VideoTap::new(tap, track, start));
            self.outputs.push_back(MediaOutput::Video { stream, command });
        }
    }

    /// Audio that is captured is encoded for taps too.
    pub(super) fn update_recorded(&mut self) {
        let recorded = self.taps.take_packets();
        self.microphone.set_recorded(recorded);
        self.audio_streams.values_mut().for_each(|stream| stream.set_recorded(recorded));
    }
}
