//! The speaker: received audio tracks, their volumes, and the sink that plays them.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use web_time::{Duration, Instant};

use blink_api::{AudioDecoder, AudioFormat, AudioSink, Endpoint, Error, RtpIn, RtpTime, TrackKey, TrackSource};

use super::context::Context;
use super::levels::ParticipantLevel;
use super::output::{MediaEvent, MediaOutput};
use super::path_id::PathId;
use super::retired_device::RetiredDevice;
use super::taps::TappedSamples;
use crate::call_clock::RtpStamp;
use crate::device_manager::OpenId;
use crate::null_sink::NullSink;
use crate::playout::{Playout, PlayoutReport, ReceiveConfig};
use crate::processors::Processors;
use crate::statistics::AudioStatistics;
use crate::tick_scheduler::TickScheduler;

/// Plays what participants send, and shows the processors what is played.
pub(super) struct Speaker {
    playout: Playout<TrackKey>,
    /// `None` before there is a sink: what arrives waits in the jitter buffers.
    schedule: Option<TickScheduler>,
    hardware_clock: bool,
    /// The opening that the sink came from; `None` without a device.
    device: Option<OpenId>,
    /// The path that each track is received on, and the clock rate of its codec.
    tracks: BTreeMap<TrackKey, (PathId, u32)>,
    /// Tracks that were reported to have started: a sender that changes its codec does not start
    /// again.
    started: BTreeSet<TrackKey>,
    volumes: BTreeMap<Endpoint, f32>,
    /// Statistics of streams that were replaced or removed, so that counts never go back.
    earlier: BTreeMap<TrackKey, AudioStatistics>,
}

impl Speaker {
    pub(super) fn new(format: AudioFormat) -> Self {
        Self {
            playout: Playout::new(Box::new(NullSink::new(format))),
            schedule: None,
            hardware_clock: false,
            device: None,
            tracks: BTreeMap::new(),
            started: BTreeSet::new(),
            volumes: BTreeMap::new(),
            earlier: BTreeMap::new(),
        }
    }

    /// Plays to this device, or to none. The first call starts the ticks at `start`.
    ///
    /// # Errors
    /// [`Invalid`](blink_api::ErrorKind::Invalid) with the device for a sink of another format; the
    /// old one goes on.
    pub(super) fn set_device(
        &mut self,
        device: Option<(OpenId, Box<dyn AudioSink>)>,
        hardware_clock: bool,
        start: Instant,
    ) -> Result<(), (OpenId, Error)> {
        let format = self.playout.format();
        let (id, sink) = match device {
            Some((id, sink)) => (Some(id), sink),
            None => (None, Box::new(NullSink::new(format)) as Box<dyn AudioSink>),
        };
        match (self.playout.set_sink(sink), id) {
            (Err(error), Some(id)) => return Err((id, error)),
            // The null sink has the format of the playout.
            (Err(_), None) | (Ok(()), _) => {}
        }
        self.device = id;
        self.hardware_clock = hardware_clock;
        // Without a hardware clock, nothing but these ticks decides when audio is played: they
        // follow the audio.
        self.playout.follow_media_clock(!hardware_clock);
        self.schedule.get_or_insert_with(|| TickScheduler::new(start));
        Ok(())
    }

    /// Time of the next tick; `None` without a sink.
    pub(super) fn next(&self) -> Option<Instant> {
        self.schedule.as_ref().map(TickScheduler::next)
    }

    /// A tick that others can share the grid of; `None` where ticks follow the audio.
    pub(super) fn grid(&self) -> Option<Instant> {
        self.next().filter(|_| self.hardware_clock)
    }

    /// Receives a track on a path, in place of what was received of it before.
    pub(super) fn add_track(
        &mut self,
        path: PathId,
        track: TrackKey,
        config: ReceiveConfig,
        decoder: Box<dyn AudioDecoder>,
    ) {
        let clock_rate = config.jitter.clock_rate;
        if self.tracks.insert(track, (path, clock_rate)).is_none_or(|(before, _)| before != path) {
            self.started.remove(&track);
        }
        self.keep_statistics(&track);
        self.playout.add(track, config, decoder);
        self.playout.set_volume(&track, self.volumes.get(&track.endpoint).copied().unwrap_or(1.0));
    }

    /// Ends receiving a track, unless it is received on another path by now.
    pub(super) fn remove_track(&mut self, path: PathId, track: &TrackKey) {
        if self.tracks.get(track).is_some_and(|(received_on, _)| *received_on == path) {
            self.tracks.remove(track);
            self.started.remove(track);
            self.keep_statistics(track);
            self.playout.remove(track);
        }
    }

    pub(super) fn push(&mut self, track: &TrackKey, packet: RtpIn) {
        self.playout.push(track, packet);
    }

    /// Sets the volume of all tracks of a participant, also of those that come later.
    pub(super) fn set_volume(&mut self, participant: Endpoint, volume: f32) {
        self.volumes.insert(participant, volume);
        for track in self.tracks.keys().filter(|track| track.endpoint == participant) {
            self.playout.set_volume(track, volume);
        }
    }

    pub(super) fn set_deafened(&mut self, deafened: bool) {
        self.playout.set_deafened(deafened);
    }

    /// Statistics of a track since its present stream was added.
    pub(super) fn statistics(&self, track: &TrackKey) -> Option<AudioStatistics> {
        self.playout.statistics(track)
    }

    /// Statistics of a track since it was first received.
    pub(super) fn total_statistics(&self, track: &TrackKey) -> Option<AudioStatistics> {
        match (self.playout.statistics(track), self.earlier.get(track)) {
            (Some(now), Some(earlier)) if now.sample_rate > 0 => Some(now.after(earlier)),
            // Before the first packet there is no rate to count samples with.
            (Some(_), Some(earlier)) | (None, Some(earlier)) => Some(*earlier),
            (now, None) => now,
        }
    }

    /// Keeps the statistics of a stream that is replaced or removed.
    fn keep_statistics(&mut self, track: &TrackKey) {
        if self.playout.statistics(track).is_some()
            && let Some(total) = self.total_statistics(track)
        {
            let still = AudioStatistics {
                buffered: Duration::ZERO,
                jitter_buffer_delay: Duration::ZERO,
                jitter_buffer_target_delay: Duration::ZERO,
                ..total
            };
            self.earlier.insert(*track, still);
        }
    }

    /// Plays all blocks that are due.
    pub(super) fn tick(&mut self, now: Instant, processors: &mut Processors, context: &mut Context<'_>) {
        let Self { playout, schedule: Some(schedule), tracks, device, .. } = self else { return };
        // Decoding takes time, in which a device plays on: its queue is read when the tick begins.
        playout.read_queue();
        for due in schedule.due(now) {
            let report = if context.taps.is_empty() {
                playout.tick(due)
            } else {
                let format = playout.format();
                playout.tick_tapped(
                    due,
                    Some(&mut |track, first, samples| {
                        let clock_rate = tracks.get(track).map_or(0, |(_, clock_rate)| *clock_rate);
                        show_samples(context, track, (first, clock_rate), due, (format, samples));
                    }),
                )
            };
            publish(&mut self.started, report, *device, context);
            retire(playout, context.outputs);
            // Without a hardware clock a block is played when it is due; with one, the device goes
            // on from its queue, however late this tick is.
            let tick_at = if self.hardware_clock { now } else { due };
            let is_rendered = device.is_some() && !processors.is_empty();
            if let Some(delay) = playout.played_in().filter(|_| is_rendered)
                && let Err(error) = processors.render(playout.far_end(), tick_at + delay)
            {
                tracing::error!(%error, "a processor failed and was removed");
            }
        }
        playout.slew(schedule);
    }

    /// Hands over the sinks that are no longer played to.
    pub(super) fn retire(&mut self, outputs: &mut VecDeque<MediaOutput>) {
        retire(&mut self.playout, outputs);
    }

    /// Adds the levels of all received microphones.
    pub(super) fn take_levels(&mut self, levels: &mut Vec<ParticipantLevel>) {
        for track in self.tracks.keys().filter(|track| track.source == TrackSource::Microphone) {
            if let Some(level) = self.playout.take_level(track) {
                levels.push(ParticipantLevel { participant: track.endpoint, level });
            }
        }
    }

    /// Ends a change of the sink that is under way. Returns the sinks that are no longer played to.
    pub(super) fn finish_switch(&mut self) -> Vec<Box<dyn AudioSink>> {
        self.playout.finish_switch()
    }

    /// All its sinks.
    pub(super) fn into_sinks(self) -> Vec<Box<dyn AudioSink>> {
        self.playout.into_sinks()
    }
}

fn retire(playout: &mut Playout<TrackKey>, outputs: &mut VecDeque<MediaOutput>) {
    while let Some(sink) = playout.take_retired() {
        outputs.push_back(MediaOutput::Retired(RetiredDevice::Sink(sink)));
    }
}

/// Shows taps the samples of a track that are due.
fn show_samples(
    context: &mut Context<'_>,
    track: &TrackKey,
    (timestamp, clock_rate): (RtpTime, u32),
    due: Instant,
    (format, samples): (AudioFormat, &[f32]),
) {
    let at = context.clock.call_time(track, RtpStamp { timestamp, clock_rate });
    let at = at.unwrap_or_else(|| context.clock.call_time_at(due));
    context.taps.on_samples(track, at, &TappedSamples { format, timestamp, samples });
}

fn publish(
    started: &mut BTreeSet<TrackKey>,
    report: PlayoutReport<TrackKey>,
    device: Option<OpenId>,
    context: &mut Context<'_>,
) {
    let PlayoutReport { started: new, speaking, sink_error } = report;
    for track in new {
        if started.insert(track) {
            context.outputs.push_back(MediaOutput::Event(MediaEvent::Started(track)));
        }
    }
    // An audio stream is not the participant's voice.
    for (track, speaking) in speaking.into_iter().filter(|(track, _)| track.source == TrackSource::Microphone) {
        context.outputs.push_back(MediaOutput::Event(MediaEvent::Speaking(track, speaking)));
    }
    if let Some(error) = sink_error {
        tracing::error!(%error, "the speaker is lost");
        context.outputs.extend(device.map(|id| MediaOutput::Event(MediaEvent::DeviceLost(id, error))));
    }
}
