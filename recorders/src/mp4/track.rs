//! One track of the file: Opus packets or video frames.

use std::time::Duration;

use blink_api::{CallTime, RecordedTrack, Result, RtpSample, RtpTime, Sample, TrackKey, TrackSource, TrackSummary};

use super::media::{Kind, Media, sample};
use super::{Output, Slot};
use crate::opus_packet::{self, RATE, SHORTEST};
use crate::timeline::{FRAME_RATE, Frame, FrameTimeline, Item, Layout, Piece, Timeline, Totals, duration_of, ticks_in};

/// Time that a packet waits for an earlier one.
const HOLD: Duration = Duration::from_millis(300);
/// Level in −dBov from which on audio is a pause.
const QUIET_LEVEL: u8 = 60;
/// Letters of a participant's name that a track's name keeps.
const LONGEST_NAME: usize = 60;

/// A track of the recording.
pub(super) struct Track {
    pub(super) key: TrackKey,
    name: String,
    media: TrackMedia,
}

enum TrackMedia {
    Audio(Box<AudioTrack>),
    Video(Box<VideoTrack>),
}

struct AudioTrack {
    timeline: Timeline<Vec<u8>>,
    slot: Slot,
    channels: u8,
    /// Table of contents of the last packet.
    toc: Option<u8>,
    written: u64,
}

struct VideoTrack {
    kind: Kind,
    timeline: FrameTimeline<Vec<u8>>,
    /// `None` until the first key frame, which describes the stream.
    slot: Option<Slot>,
    written: u64,
}

impl Track {
    pub(super) fn new(
        number: usize,
        track: &RecordedTrack,
        kind: Kind,
        begin: Option<CallTime>,
        now: CallTime,
        output: &mut Output,
    ) -> Result<Self> {
        let begin = begin.unwrap_or_default();
        let name = shown_name(number, track);
        let media = if let Kind::Opus { channels } = kind {
            let layout = Layout { rate: RATE, granularity: SHORTEST, hold: HOLD };
            let mut timeline = Timeline::new(layout, begin);
            timeline.tick(now);
            let slot = output.add_track(&Media::Opus { channels }, &name, 0)?;
            TrackMedia::Audio(Box::new(AudioTrack { timeline, slot, channels, toc: None, written: 0 }))
        } else {
            let mut timeline = FrameTimeline::new(begin);
            timeline.tick(now);
            TrackMedia::Video(Box::new(VideoTrack { kind, timeline, slot: None, written: 0 }))
        };
        Ok(Self { key: track.key, name, media })
    }

    pub(super) fn set_begin(&mut self, begin: CallTime) {
        match &mut self.media {
            TrackMedia::Audio(track) => track.timeline.set_begin(begin),
            TrackMedia::Video(track) => track.timeline.set_begin(begin),
        }
    }

    /// Takes a sample. One of the wrong kind or codec is counted and dropped: a peer may send it.
    pub(super) fn push(&mut self, at: CallTime, sample: Sample<'_>, output: &mut Output) -> Result<()> {
        match (&mut self.media, sample) {
            (TrackMedia::Audio(track), Sample::Rtp(packet)) => {
                track.push(at, &packet);
                track.write(output);
                Ok(())
            }
            (TrackMedia::Video(track), Sample::Video { timestamp, frame }) => {
                track.push(at, timestamp, frame.key, &frame.data, &self.name, output)
            }
            (TrackMedia::Audio(track), _) => {
                track.timeline.count_dropped();
                Ok(())
            }
            (TrackMedia::Video(track), _) => {
                track.timeline.count_dropped();
                Ok(())
            }
        }
    }

    pub(super) fn tick(&mut self, now: CallTime, output: &mut Output) {
        match &mut self.media {
            TrackMedia::Audio(track) => {
                track.timeline.tick(now);
                track.write(output);
            }
            TrackMedia::Video(track) => track.timeline.tick(now),
        }
    }

    /// Gives out what waits for earlier packets.
    pub(super) fn drain(&mut self, output: &mut Output) {
        if let TrackMedia::Audio(track) = &mut self.media {
            track.timeline.drain();
            track.write(output);
        }
    }

    /// Lets the track last until `end`.
    pub(super) fn fill_to(&mut self, end: Duration, output: &mut Output) {
        match &mut self.media {
            TrackMedia::Audio(track) => {
                track.timeline.fill_to(ticks_in(end, RATE));
                track.write(output);
            }
            TrackMedia::Video(track) => {
                let last = track.timeline.finish(ticks_in(end, FRAME_RATE));
                if let (Some(frame), Some(slot)) = (last, track.slot) {
                    track.write(&frame, slot, output);
                }
            }
        }
    }

    pub(super) fn duration(&self) -> Duration {
        match &self.media {
            TrackMedia::Audio(track) => track.timeline.duration(),
            TrackMedia::Video(track) => duration_of(track.timeline.end(), FRAME_RATE),
        }
    }

    pub(super) fn summary(&self) -> TrackSummary {
        let (totals, written, rate): (Totals, u64, u32) = match &self.media {
            TrackMedia::Audio(track) => (track.timeline.totals(), track.written, RATE),
            TrackMedia::Video(track) => (track.timeline.totals(), track.written, FRAME_RATE),
        };
        let mut summary = TrackSummary::new(self.key);
        summary.duration = duration_of(written, rate);
        summary.concealed = duration_of(totals.concealed, rate);
        summary.silence = duration_of(totals.silence, rate);
        (summary.samples, summary.dropped) = (totals.samples, totals.dropped);
        summary
    }
}

impl AudioTrack {
    fn push(&mut self, at: CallTime, packet: &RtpSample<'_>) {
        if packet.codec.is_red() {
            return self.push_redundant(at, packet);
        }
        if !packet.codec.as_str().eq_ignore_ascii_case("opus") {
            return self.timeline.count_dropped();
        }
        // A packet of padding alone is no media.
        if !packet.payload.is_empty() {
            self.push_packet(at, packet, packet.timestamp, packet.sequence, packet.payload);
        }
    }

    /// Takes the copies of earlier packets, too: they fill losses.
    fn push_redundant(&mut self, at: CallTime, packet: &RtpSample<'_>) {
        let blocks = opus_packet::red_blocks(packet.payload);
        let last = blocks.len().saturating_sub(1);
        for (index, block) in blocks.iter().enumerate().filter(|(_, block)| !block.payload.is_empty()) {
            let earlier = duration_of(u64::from(block.earlier), RATE);
            let Some(at) = at.0.checked_sub(earlier) else { continue };
            let timestamp = RtpTime(packet.timestamp.0.wrapping_sub(block.earlier));
            let sequence = packet.sequence.wrapping_sub((last - index) as u16);
            self.push_packet(CallTime(at), packet, timestamp, sequence, block.payload);
        }
    }

    fn push_packet(&mut self, at: CallTime, packet: &RtpSample<'_>, timestamp: RtpTime, sequence: u16, payload: &[u8]) {
        let Some(ticks) = opus_packet::ticks(payload) else { return self.timeline.count_dropped() };
        let quiet =
            opus_packet::is_quiet(payload) || packet.level.is_some_and(|level| level.minus_dbov() >= QUIET_LEVEL);
        let sequence = Some(sequence);
        self.timeline.push(Item { at, timestamp, sequence, ticks, quiet, media: payload.to_vec() });
    }

    fn write(&mut self, output: &mut Output) {
        while let Some(piece) = self.timeline.poll() {
            match piece {
                Piece::Media { ticks, media } => {
                    self.toc = media.first().copied();
                    self.append(ticks, &media, output);
                }
                Piece::Silence { ticks } => {
                    for (ticks, packet) in opus_packet::silence(ticks, self.channels) {
                        self.append(ticks, &packet, output);
                    }
                }
                Piece::Concealed { ticks } => {
                    for (ticks, packet) in opus_packet::concealed(ticks, self.toc, self.channels) {
                        self.append(ticks, &packet, output);
                    }
                }
            }
        }
    }

    fn append(&mut self, ticks: u32, packet: &[u8], output: &mut Output) {
        output.push(self.slot, self.written, ticks, true, packet);
        self.written += u64::from(ticks);
    }
}

impl VideoTrack {
    fn push(
        &mut self,
        at: CallTime,
        timestamp: RtpTime,
        key: bool,
        data: &[u8],
        name: &str,
        output: &mut Output,
    ) -> Result<()> {
        let media = sample(self.kind, data);
        let described = if self.slot.is_none() && key { Media::of_key_frame(self.kind, data) } else { None };
        if media.is_empty() || self.slot.is_none() && described.is_none() {
            self.timeline.count_dropped();
            return Ok(());
        }
        if let Some(frame) = self.timeline.push(at, timestamp, key, media)
            && let Some(slot) = self.slot
        {
            self.write(&frame, slot, output);
        }
        if let (Some(described), Some(first)) = (described, self.timeline.pending()) {
            self.slot = Some(output.add_track(&described, name, first)?);
        }
        Ok(())
    }

    fn write(&mut self, frame: &Frame<Vec<u8>>, slot: Slot, output: &mut Output) {
        output.push(slot, frame.position, frame.ticks, frame.key, &frame.media);
        self.written = frame.position + u64::from(frame.ticks);
    }
}

/// The name that players show: the participant's, or its device, and the source.
fn shown_name(number: usize, track: &RecordedTrack) -> String {
    let name: String = track.name.iter().flat_map(|name| name.chars()).filter(|letter| !letter.is_control()).collect();
    let name: String = name.chars().take(LONGEST_NAME).collect();
    let name = if name.is_empty() { track.key.endpoint.device.to_string() } else { name };
    let source = if track.key.source == TrackSource::Microphone { "microphone" } else { "stream" };
    format!("{number} {name}, {source}")
}
