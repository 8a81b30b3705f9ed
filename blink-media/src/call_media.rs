//! All media of one call: a state machine that is driven by time, commands and packets.
//!
//! ```text
//!  handle(MediaCommand) ─┐                                         ┌─► MediaOutput::Send
//!  push(path, RtpIn) ────┤  tick(now): 1. speaker   2. microphone  ├─► MediaOutput::Announce, Report, …
//!  tick(now) ────────────┘             play, render    capture     └─► MediaOutput::Event
//! ```
//!
//! | part | module |
//! |---|---|
//! | microphone: where its source is opened and replaced | `microphone` |
//! | microphone and audio streams: source → processors → encoders → packets | `audio_sender` |
//! | speaker: jitter buffers → decoders → volumes → mix → sink | `speaker` |
//! | offered streams, and how much of them a path has room for | `sending` |
//! | received packets: to the decoder or assembler of their track | `receiving` |
//! | offered video: source → packets, beside this machine on a thread of its own | `video_sender` |
//! | received video: packets → frames | `video_receiver` |
//! | sessions: media sections, announcements, early packets, receive statistics | `path` |
//! | reports about paths, and the bitrates that follow from them | `path_feedback` |
//! | taps: where recorders and analyzers listen | `taps`, `tap_control` |
//!
//! It reads no clock, blocks on nothing, takes no lock, and allocates nothing in the steady state.
//! A tick does what is due of two schedules, playout first: the processors see a block of the far
//! end before the microphone can capture it. Without a hardware clock the speaker's ticks are
//! slewed to where its audio needs them (docs/decisions/0025). The microphone's are not: its
//! receiver slews to them, and two ends that follow each other would both drift.

mod audio_sender;
mod command;
mod config;
mod context;
mod levels;
mod microphone;
mod output;
mod path;
mod path_feedback;
mod path_id;
mod path_quality;
mod receiving;
mod retired_device;
mod section_report;
mod send_track;
mod sending;
mod speaker;
mod tap_control;
mod taps;
#[cfg(test)]
mod tests;
mod video_receiver;
mod video_sender;

use std::collections::{BTreeMap, VecDeque};
use web_time::{Duration, Instant};

use blink_api::{AudioSink, Endpoint, QualitySettings, RtpIn, StreamId, TrackId, TrackKey, TrackKind};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::call_audio::CallAudio;
use crate::call_clock::{CallClock, SyncRound};
use crate::device_manager::OpenId;
use crate::processors::Processors;
use crate::statistics::{AudioStatistics, PathStatistics};
use crate::tick_scheduler::{TICK, TickScheduler, last_on_grid, next_on_grid};
use crate::video::{self, PayloadFormats};
use audio_sender::AudioSender;
use context::Context;
use path::{Path, Receiver};
use speaker::Speaker;
use taps::Taps;

pub use command::{AnnouncedSection, MediaCommand, NegotiatedSection, ReportedCapture, StreamSink};
pub use config::CallMediaConfig;
pub use levels::ParticipantLevel;
pub use output::{MediaEvent, MediaOutput};
pub use path_feedback::{PathFeedback, REPORT_INTERVAL, SectionQuality};
pub use path_id::PathId;
pub use retired_device::RetiredDevice;
pub use section_report::SectionReport;
pub use send_track::SendTrack;
pub use sending::OfferedStreams;
pub use taps::{PacketDirection, Tap, TapId, TappedFrame, TappedPacket, TappedSamples};
pub use video_receiver::FrameSink;
pub use video_sender::{VideoCommand, VideoSender, VideoTap};

/// The media of one call. The documentation of its module lists its parts.
pub struct CallMedia {
    local: Endpoint,
    audio: CallAudio,
    quality: QualitySettings,
    tick_grid: Option<Instant>,
    random: ChaCha8Rng,
    clock: CallClock,
    payload_formats: PayloadFormats,
    taps: Taps,
    processors: Processors,
    /// Streams have no processors: these are for voices.
    no_processors: Processors,
    speaker: Speaker,
    microphone: AudioSender,
    audio_streams: BTreeMap<StreamId, AudioSender>,
    video_streams: Vec<StreamId>,
    paths: BTreeMap<PathId, Path>,
    /// Ticks of the microphone and the audio streams; `None` before the first has a receiver.
    captures: Option<TickScheduler>,
    /// Time of the next look at the paths while there are no ticks of the speaker.
    paths_at: Instant,
    outputs: VecDeque<MediaOutput>,
}

impl std::fmt::Debug for CallMedia {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CallMedia").finish_non_exhaustive()
    }
}

impl CallMedia {
    /// The media of a call without devices and paths.
    pub fn new(config: CallMediaConfig, now: Instant) -> Self {
        let CallMediaConfig { local, audio, quality, processors, payload_formats, clock, tick_grid, seed } = config;
        Self {
            speaker: Speaker::new(audio.format()),
            microphone: AudioSender::new(TrackKey::microphone(local)),
            local,
            audio,
            quality,
            tick_grid,
            random: ChaCha8Rng::from_seed(seed),
            clock,
            payload_formats,
            taps: Taps::default(),
            processors,
            no_processors: Processors::default(),
            audio_streams: BTreeMap::new(),
            video_streams: Vec::new(),
            paths: BTreeMap::new(),
            captures: None,
            paths_at: now,
            outputs: VecDeque::new(),
        }
    }

    /// Carries out a command.
    pub fn handle(&mut self, now: Instant, command: MediaCommand) {
        match command {
            MediaCommand::SetProcessors(processors) => self.processors = processors,
            MediaCommand::SetMicrophone { source, hardware_clock, id } => {
                self.set_microphone(now, Some(id), (source, hardware_clock));
            }
            MediaCommand::RemoveMicrophone => self.remove_microphone(now),
            MediaCommand::SetSpeaker { sink, hardware_clock, id } => {
                self.set_speaker(now, Some((id, sink)), hardware_clock);
            }
            MediaCommand::RemoveSpeaker => self.set_speaker(now, None, false),
            MediaCommand::SetMuted(muted) => self.microphone.set_muted(muted),
            MediaCommand::SetDeafened(deafened) => self.speaker.set_deafened(deafened),
            MediaCommand::SetVolume(participant, volume) => self.speaker.set_volume(participant, volume),
            MediaCommand::OfferAudio(stream, source) => self.offer_audio(stream, source),
            MediaCommand::OfferVideo(stream) => self.offer_video(stream),
            MediaCommand::RevokeStream(stream) => self.revoke_stream(stream),
            MediaCommand::AddTap(id, tap) => self.add_tap(id, tap),
            MediaCommand::RemoveTap(id) => self.remove_tap(id),
            MediaCommand::AddPath(path, remote, tracks) => self.add_path(now, path, remote, &tracks),
            MediaCommand::Negotiated(path, sections) => {
                if let Some(path) = self.paths.get_mut(&path) {
                    path.set_negotiated(sections);
                }
            }
            MediaCommand::Admit(path) => self.admit(now, path),
            MediaCommand::Announced(path, section) => self.handle_announced(now, path, section),
            MediaCommand::Reported(path, interval, sections) => self.handle_report(now, path, interval, &sections),
            MediaCommand::CapturesReported(path, captures) => self.handle_captures(now, path, &captures),
            MediaCommand::BandwidthEstimate(path, bits_per_second) => {
                if let Some(known) = self.paths.get_mut(&path) {
                    known.feedback.handle_estimate(now, bits_per_second);
                    self.adapt(now, path, &[]);
                }
            }
            MediaCommand::KeyframeRequested(path, mid) => {
                let stream = self.paths.get(&path).and_then(|path| path.sent_on(&mid));
                if let Some(stream) = stream.filter(|stream| self.video_streams.contains(stream)) {
                    self.outputs.push_back(MediaOutput::Video { stream, command: VideoCommand::RequestKeyframe });
                }
            }
            MediaCommand::RemovePath(path) => self.remove_path(now, path),
            MediaCommand::StartSending(path, stream) => self.start_sending(now, path, stream),
            MediaCommand::StopSending(path, stream) => self.stop_sending(now, path, stream),
            MediaCommand::StartReceiving(path, stream, sink) => self.start_receiving(path, stream, sink),
            MediaCommand::StopReceiving(path, stream) => self.stop_receiving(path, stream),
            MediaCommand::ClockSynced(endpoint, round) => self.handle_sync(endpoint, round),
        }
    }

    /// Takes a packet that arrived on a path.
    pub fn push(&mut self, now: Instant, id: PathId, packet: RtpIn) {
        let Some(path) = self.paths.get_mut(&id) else { return };
        let Some(packet) = path.hold(packet) else { return };
        let clock_rate = self.audio.clock_rate(&packet.codec).unwrap_or(video::CLOCK_RATE);
        path.feedback.on_packet(&packet, clock_rate);
        self.receive(now, id, packet);
    }

    /// Plays what is due, then captures what is due, then looks after the paths.
    pub fn tick(&mut self, now: Instant) {
        if self.taps.remove_closed() {
            self.update_recorded();
        }
        let Self { audio, clock, taps, outputs, .. } = self;
        let mut context = Context { audio, clock, taps, outputs };
        self.speaker.tick(now, &mut self.processors, &mut context);
        if let Some(captures) = &mut self.captures {
            self.microphone.adapt(now);
            self.audio_streams.values_mut().for_each(|stream| stream.adapt(now));
            for due in captures.due(now) {
                self.microphone.tick(due, &mut self.processors, &mut context);
                for stream in self.audio_streams.values_mut() {
                    stream.tick(due, &mut self.no_processors, &mut context);
                }
            }
        }
        self.tick_paths(now);
    }

    /// Time of the next [`tick`](Self::tick); `None` while nothing is to be done.
    pub fn deadline(&self) -> Option<Instant> {
        let captures = self.captures.as_ref().map(TickScheduler::next);
        let paths = (!self.paths.is_empty() && self.speaker.next().is_none()).then_some(self.paths_at);
        [self.speaker.next(), captures, paths].into_iter().flatten().min()
    }

    /// The next output. After each input, poll until there is none.
    pub fn poll(&mut self) -> Option<MediaOutput> {
        self.outputs.pop_front()
    }

    /// The clock of the call.
    pub fn clock(&mut self) -> &mut CallClock {
        &mut self.clock
    }

    /// Statistics of an audio track since it was first received; `None` where it never was.
    pub fn audio_statistics(&self, track: &TrackKey) -> Option<AudioStatistics> {
        self.speaker.total_statistics(track)
    }

    /// Replaces the content of `levels` by the levels since the last call: this device's own first,
    /// then those of the participants whose microphones are received. Allocates nothing where
    /// `levels` has room.
    pub fn take_levels(&mut self, levels: &mut Vec<ParticipantLevel>) {
        levels.clear();
        levels.push(ParticipantLevel { participant: self.local, level: self.microphone.take_level() });
        self.speaker.take_levels(levels);
    }

    /// Statistics of a path; `None` for an unknown one.
    pub fn path_statistics(&self, now: Instant, path: PathId) -> Option<PathStatistics> {
        let path = self.paths.get(&path)?;
        Some(PathStatistics {
            codec: path.sent_with.clone(),
            microphone: path.feedback.microphone(),
            bitrate: path.feedback.bitrate(now),
            frames_dropped: path.frames_dropped(),
            jitter: path.microphone_jitter(),
            video: path.received_video(),
        })
    }

    /// Ends changes of devices that are under way, without fading. Returns the devices that are no
    /// longer in use, to be closed where that may block.
    #[must_use = "the devices stay open until they are closed"]
    pub fn finish_switches(&mut self) -> Vec<RetiredDevice> {
        let sinks = self.speaker.finish_switch().into_iter().map(RetiredDevice::Sink);
        let sources = self.microphone.finish_switch().into_iter().map(RetiredDevice::Source);
        sinks.chain(sources).collect()
    }

    /// Ends the media. Returns all its devices, to be closed where that may block.
    #[must_use = "the devices stay open until they are closed"]
    pub fn finish(self) -> Vec<RetiredDevice> {
        let mut devices: Vec<_> = self.speaker.into_sinks().into_iter().map(RetiredDevice::Sink).collect();
        for sender in std::iter::once(self.microphone).chain(self.audio_streams.into_values()) {
            let source = sender.into_source(&mut devices);
            devices.extend(source.map(RetiredDevice::Source));
        }
        devices.extend(self.outputs.into_iter().filter_map(|output| match output {
            MediaOutput::Retired(device) => Some(device),
            _ => None,
        }));
        devices
    }

    /// Plays to a device from now on; to none for `None`.
    fn set_speaker(&mut self, now: Instant, device: Option<(OpenId, Box<dyn AudioSink>)>, hardware_clock: bool) {
        // What processors learned about the speaker before is wrong now.
        self.processors.reset();
        let start = self.tick_grid.map_or(now, |grid| next_on_grid(grid, now));
        if let Err((id, error)) = self.speaker.set_device(device, hardware_clock, start) {
            self.outputs.push_back(MediaOutput::Event(MediaEvent::DeviceLost(id, error)));
        }
        self.speaker.retire(&mut self.outputs);
    }

    fn add_path(&mut self, now: Instant, id: PathId, remote: Endpoint, tracks: &[(TrackId, TrackKind)]) {
        let random = &mut self.random;
        match Path::new(remote, tracks, || random.next_u32() as u16, self.quality, now) {
            Some(path) => drop(self.paths.insert(id, path)),
            None => tracing::error!("a session without a track of audio carries no media"),
        }
        self.paths_at = now;
    }

    fn remove_path(&mut self, now: Instant, id: PathId) {
        let Some(mut path) = self.paths.remove(&id) else { return };
        self.microphone.remove_receiver(id, now);
        if path.quality.is_degraded() {
            self.outputs.push_back(MediaOutput::Event(MediaEvent::QualityRecovered(path.remote)));
        }
        self.speaker.remove_track(id, &TrackKey::microphone(path.remote));
        for stream in path.outgoing.iter_mut().filter_map(|section| section.sending.take()) {
            self.remove_stream_receiver(now, id, stream);
        }
        for (stream, receiver) in path.receivers {
            if matches!(receiver, Receiver::Audio) {
                self.speaker.remove_track(id, &TrackKey::stream(path.remote, stream));
            }
        }
        if self.paths.values().all(|other| other.remote != path.remote) {
            self.clock.remove_endpoint(&path.remote);
        }
    }

    /// A round of the time sync with an endpoint is complete.
    fn handle_sync(&mut self, endpoint: Endpoint, round: SyncRound) {
        self.clock.handle_sync(endpoint, round);
        for path in self.paths.values_mut().filter(|path| path.remote == endpoint) {
            path.quality.handle_round_trip(round.round_trip());
        }
    }

    /// Does what time demands of the paths: reports, and video that waits for lost packets.
    fn tick_paths(&mut self, now: Instant) {
        self.paths_at = now + TICK;
        for (id, path) in &mut self.paths {
            let captures = |path: &Path| -> Vec<_> {
                self.clock.capture_points().filter(|point| path.sends(point.track.source)).collect()
            };
            if path.is_admitted() && !path.captures_told {
                // At once: what is recorded from the first word on is placed by it.
                let (interval, sections, captures) = (Duration::ZERO, Vec::new(), captures(path));
                path.captures_told = !captures.is_empty();
                if path.captures_told {
                    self.outputs.push_back(MediaOutput::Report { path: *id, interval, sections, captures });
                }
            }
            if path.is_admitted() && now >= path.feedback.due() {
                let (interval, sections) = path.feedback.report(now);
                let audio = self.speaker.statistics(&TrackKey::microphone(path.remote)).unwrap_or_default();
                path.observe_quality(now, interval, &sections, audio, &mut self.outputs);
                let captures = captures(path);
                if !(sections.is_empty() && captures.is_empty()) {
                    self.outputs.push_back(MediaOutput::Report { path: *id, interval, sections, captures });
                }
            }
            let remote = path.remote;
            for (mid, stream, receiver) in path.video_receivers() {
                let mut show = receiving::frame_tap(&self.clock, &mut self.taps, TrackKey::stream(remote, stream));
                let (started, wants_keyframe) = receiver.tick(now, &mut show);
                if started {
                    self.outputs.push_back(MediaOutput::FirstFrame { path: *id, stream });
                }
                if wants_keyframe {
                    self.outputs.push_back(MediaOutput::RequestKeyframe { path: *id, mid: mid.clone() });
                }
            }
        }
    }

    /// Starts the ticks of the microphone and the audio streams, at once: the first frame of a
    /// source that is read on demand is whole with its first tick, and leaves with the path.
    fn start_captures(&mut self, now: Instant) {
        let is_active = self.microphone.is_active() || self.audio_streams.values().any(AudioSender::is_active);
        if self.captures.is_none() && is_active {
            // Two hardware clocks share wake-ups.
            let grid = self.tick_grid.or_else(|| self.speaker.grid());
            let last = grid.map_or(now, |grid| last_on_grid(grid, now));
            let earlier = if self.microphone.is_read_ahead() { Duration::ZERO } else { self.audio.frame() };
            let start = last.checked_sub(earlier.saturating_sub(TICK)).unwrap_or(last);
            self.captures = Some(TickScheduler::new(start));
        }
        let Self { audio, clock, taps, outputs, .. } = self;
        let mut context = Context { audio, clock, taps, outputs };
        self.microphone.begin(now, &mut context);
        self.audio_streams.values_mut().for_each(|stream| stream.begin(now, &mut context));
    }
}
