//! Playout: from received packets to the samples of a sink.

mod sink_switch;

use std::collections::BTreeMap;
use std::fmt;
use web_time::{Duration, Instant};

use blink_api::{
    AudioDecoder, AudioFormat, AudioLevel, AudioSink, CodecName, Endpoint, Error, Preference, Result, RtpCodec, RtpIn,
    RtpTime,
};

use super::jitter::{DelayRange, JitterConfig};
use super::latency::believed;
use super::mix;
use super::receive_stream::ReceiveStream;
use super::statistics::AudioStatistics;
use super::tick_scheduler::{TICK, TickScheduler};
use sink_switch::SinkSwitch;

/// Queue of a sink from which on it gets nothing until it has played some: the queue is delay of
/// all participants.
const LONGEST_QUEUE: Duration = Duration::from_millis(80);

/// Greatest volume of a participant: four times as loud as sent (12 dB).
pub const MAX_VOLUME: f32 = 4.0;

/// Initial delay, the shortest: it grows with evidence. A good network needs no more, and on a bad
/// one the first word begins a little longer instead of later.
const FIRST_DELAY: Duration = Duration::from_millis(10);

/// The configuration of a received stream.
#[derive(Debug, Clone)]
pub struct ReceiveConfig {
    /// The codec; packets of another are dropped and counted as discarded, except for `red`
    /// ([`red`](super::red)), whose blocks are taken to be of this codec where they have the
    /// payload type of the packet's own.
    pub codec: CodecName,
    /// Its RTP clock, and the delay of playout.
    pub jitter: JitterConfig,
}

impl ReceiveConfig {
    /// For a codec, with a delay that follows the network.
    pub fn new(codec: &RtpCodec) -> Self {
        Self {
            codec: codec.name.clone(),
            jitter: JitterConfig {
                clock_rate: codec.clock_rate,
                delay: FIRST_DELAY,
                adapt: Some(DelayRange::default()),
                ..JitterConfig::default()
            },
        }
    }

    /// The same, with a delay for this.
    pub fn preferring(mut self, prefer: Preference) -> Self {
        self.jitter.prefer = prefer;
        self
    }
}

/// Events of one tick of a [`Playout`]. Empty most of the time, and nothing was allocated for it.
#[derive(Debug)]
#[must_use]
pub struct PlayoutReport<K> {
    /// Participants of which the first packet since they were added is played, or would be if it
    /// were audible.
    pub started: Vec<K>,
    /// Participants whose utterance began (`true`) or ended.
    pub speaking: Vec<(K, bool)>,
    /// Failure of the sink. Reported once; audio is dropped until
    /// [`Playout::set_sink`].
    pub sink_error: Option<Error>,
}

/// Decodes what participants send, mixes it and plays it, 10 ms at a time.
///
/// Only audible participants are decoded. Packets of the others (deafened, or at volume 0) are
/// buffered and pass in their time, so that they are audible at once when that changes.
pub struct Playout<K = Endpoint> {
    sink: Box<dyn AudioSink>,
    format: AudioFormat,
    failed: bool,
    switch: SinkSwitch,
    streams: BTreeMap<K, ReceiveStream>,
    deafened: bool,
    /// Gain of the mix at the end of the last tick: 0 deafened, 1 not.
    gain: f32,
    mix: Vec<f32>,
    played: Vec<f32>,
    /// Time from the last reading of the queue to when the first sample of the last tick leaves the
    /// loudspeaker; `None` where the sink did not take it.
    played_in: Option<Duration>,
    /// Samples in the sink's queue when it was read last, and those written since.
    queued: usize,
    /// 10 ms of one participant before its volume, for a tap.
    tapped: Vec<f32>,
    overruns: u64,
    follow_media_clock: bool,
}

impl<K> fmt::Debug for Playout<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Playout").finish_non_exhaustive()
    }
}

impl<K: Ord + Copy> Playout<K> {
    /// A playout without participants that plays silence. It works in the sink's format: decoders
    /// must give that.
    pub fn new(sink: Box<dyn AudioSink>) -> Self {
        let format = sink.format();
        let samples = format.samples_in(TICK);
        Self {
            sink,
            format,
            failed: false,
            switch: SinkSwitch::default(),
            streams: BTreeMap::new(),
            deafened: false,
            gain: 1.0,
            mix: vec![0.0; samples],
            played: vec![0.0; samples],
            played_in: None,
            queued: 0,
            tapped: vec![0.0; samples],
            overruns: 0,
            follow_media_clock: false,
        }
    }

    /// Sets whether the owner moves ticks by [`slew`](Playout::slew), as with a sink that has no
    /// hardware clock: then the delay need not be rounded up to the next tick.
    pub fn follow_media_clock(&mut self, follow: bool) {
        self.follow_media_clock = follow;
        self.streams.values_mut().for_each(|stream| stream.follow_media_clock(follow));
    }

    /// The format that decoders must give.
    pub fn format(&self) -> AudioFormat {
        self.format
    }

    /// Adds a participant at volume 1.0, in place of one of the same name.
    pub fn add(&mut self, participant: K, config: ReceiveConfig, decoder: Box<dyn AudioDecoder>) {
        self.streams.insert(participant, ReceiveStream::new(config, self.format, decoder, self.follow_media_clock));
    }

    /// Removes a participant; `false` where there is none. What is decoded and not yet played is
    /// dropped.
    pub fn remove(&mut self, participant: &K) -> bool {
        self.streams.remove(participant).is_some()
    }

    /// Takes a packet of a participant. One of an unknown participant is dropped.
    pub fn push(&mut self, participant: &K, packet: RtpIn) {
        if let Some(stream) = self.streams.get_mut(participant) {
            stream.push(packet);
        }
    }

    /// Sets a participant's volume, 0.0 (nothing) to 4.0 with 1.0 for as sent; values outside are
    /// brought inside. `false` where there is no such participant or the volume is not a number.
    pub fn set_volume(&mut self, participant: &K, volume: f32) -> bool {
        let stream = self.streams.get_mut(participant).filter(|_| !volume.is_nan());
        stream.map(|stream| stream.set_volume(volume.clamp(0.0, MAX_VOLUME))).is_some()
    }

    /// Plays silence in place of all participants, or ends that; takes effect within the next tick.
    pub fn set_deafened(&mut self, deafened: bool) {
        self.deafened = deafened;
    }

    /// Plays the next 10 ms. `now` is the time the tick was due
    /// ([`TickScheduler::due`](super::TickScheduler::due)).
    pub fn tick(&mut self, now: Instant) -> PlayoutReport<K> {
        self.tick_tapped(now, None)
    }

    /// Plays the next 10 ms and shows the tap those of each participant that is playing, decoded,
    /// before its volume, with the timestamp of the first sample. Participants whom the user does
    /// not hear are decoded for a tap only.
    pub fn tick_tapped(&mut self, now: Instant, mut tap: Option<SampleTap<'_, K>>) -> PlayoutReport<K> {
        let (mut started, mut speaking) = (Vec::new(), Vec::new());
        self.mix.fill(0.0);
        let gain = if self.deafened { 0.0 } else { 1.0 };
        let audible = gain > 0.0 || self.gain > 0.0;
        for (participant, stream) in &mut self.streams {
            let tapped = tap.is_some().then_some(&mut self.tapped[..]);
            let played = stream.play(now, &mut self.mix, audible, tapped);
            started.extend(played.started.then_some(*participant));
            speaking.extend(played.speaking.map(|speaking| (*participant, speaking)));
            if let (Some(tap), Some(first)) = (&mut tap, played.first) {
                tap(participant, first, &self.tapped);
            }
        }
        mix::limit(&mut self.mix);
        self.played.fill(0.0);
        mix::add(&mut self.played, &self.mix, self.gain, gain);
        self.gain = gain;
        self.switch.apply(&mut self.played);
        PlayoutReport { started, speaking, sink_error: self.write().err() }
    }

    /// Reads the length of the sink's queue, which [`played_in`](Playout::played_in) counts from
    /// until the next call.
    pub fn read_queue(&mut self) {
        self.queued = self.sink.queued();
    }

    /// 10 ms that the last tick played, in the sink's format.
    pub fn far_end(&self) -> &[f32] {
        &self.played
    }

    /// Time from the last [`read_queue`](Playout::read_queue) to when the first sample of
    /// [`far_end`](Playout::far_end) leaves the loudspeaker; `None` where the sink did not take it.
    pub fn played_in(&self) -> Option<Duration> {
        self.played_in
    }

    /// The timestamp of the participant's sample that is played next, such as for lip-sync; `None`
    /// while none is.
    pub fn position(&self, participant: &K) -> Option<RtpTime> {
        self.streams.get(participant).and_then(ReceiveStream::position)
    }

    /// Moves ticks a little towards the times at which the audio has its target delay. With several
    /// participants, the first that is playing decides. No effect without
    /// [`follow_media_clock`](Playout::follow_media_clock).
    pub fn slew(&mut self, scheduler: &mut TickScheduler) {
        if let Some(lateness) = self.streams.values_mut().find_map(ReceiveStream::tick_lateness_ns) {
            *lateness -= scheduler.slew(*lateness);
        }
    }

    /// Statistics of a participant; `None` where there is no such participant.
    pub fn statistics(&self, participant: &K) -> Option<AudioStatistics> {
        self.streams.get(participant).map(ReceiveStream::statistics)
    }

    /// The loudest level of a participant since the last call, as it was sent; `None` where there
    /// is no such participant.
    pub fn take_level(&mut self, participant: &K) -> Option<AudioLevel> {
        self.streams.get_mut(participant).map(ReceiveStream::take_level)
    }

    /// Ticks for whose audio, or a part of it, the sink had no room.
    pub fn overruns(&self) -> u64 {
        self.overruns
    }

    fn write(&mut self) -> Result<()> {
        self.played_in = None;
        if self.failed {
            return Ok(());
        }
        if self.sink.queued() > self.format.samples_in(LONGEST_QUEUE) {
            self.overruns += 1;
            return Ok(());
        }
        match self.sink.write(&self.played) {
            Ok(taken) => {
                self.overruns += u64::from(taken < self.played.len());
                // What was not taken is not played.
                self.played[taken.min(self.format.samples_in(TICK))..].fill(0.0);
                if taken > 0 {
                    self.played_in = Some(self.format.duration_of(self.queued) + believed(self.sink.latency()));
                    self.queued += taken;
                }
                Ok(())
            }
            Err(error) => {
                self.failed = true;
                Err(error)
            }
        }
    }
}

/// Function that a tick shows a participant's decoded samples to: its name, the timestamp of the
/// first sample, 10 ms.
pub type SampleTap<'a, K> = &'a mut dyn FnMut(&K, RtpTime, &[f32]);

#[cfg(test)]
mod sink_switch_tests;
#[cfg(test)]
mod tests;
