//! From the network to the speaker.

use std::collections::BTreeMap;
use web_time::{Duration, Instant};

use blink_api::{
    AudioDecoder, AudioFormat, AudioSink, CodecName, Endpoint, Error, ErrorKind, Preference, Result, RtpCodec, RtpIn,
    RtpTime,
};

use super::stream::Stream;
use super::{AudioStatistics, DelayRange, JitterConfig, TICK, TickScheduler, mix};

/// A sink that is so far behind gets no more until it has played some: its queue is delay that
/// everybody hears.
const LONGEST_QUEUE: Duration = Duration::from_millis(80);

/// The loudest volume of a participant: four times as loud as sent (12 dB).
const MAX_VOLUME: f32 = 4.0;

/// The delay to begin with: on a good network it stays, and a later change of it in speech is worse
/// than a few late packets at the beginning.
const FIRST_DELAY: Duration = Duration::from_millis(20);

/// What a participant sends.
#[derive(Debug, Clone)]
pub struct ReceiveConfig {
    /// The codec; packets of another are dropped and counted as discarded, but for `red`
    /// ([`red`](super::red)), whose blocks are taken to be of this codec where they have the
    /// payload type of the packet's own.
    pub codec: CodecName,
    /// Its RTP clock, and the delay to play it with.
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

/// What one tick of a [`Playout`] has to tell. Empty, and nothing was allocated for it, most of the
/// time.
#[derive(Debug)]
#[must_use]
pub struct PlayoutReport<K> {
    /// Of these participants, for the first time since they were added, a packet is being played,
    /// or would be if it were to be heard.
    pub started: Vec<K>,
    /// The voices of these participants are heard from now on, or no more.
    pub speaking: Vec<(K, bool)>,
    /// The sink failed. Told once; what should be played is thrown away until
    /// [`Playout::set_sink`].
    pub sink_error: Option<Error>,
}

/// Decodes what participants send, mixes it and plays it, 10 ms at a time.
///
/// Only who is heard is decoded. Of others (deafened, or at volume 0) packets are taken in and let
/// pass in their time, so that they are heard at once when they may be.
pub struct Playout<K = Endpoint> {
    sink: Box<dyn AudioSink>,
    format: AudioFormat,
    failed: bool,
    streams: BTreeMap<K, Stream>,
    deafened: bool,
    /// Of all sound, at the end of the last tick: 0 deafened, 1 not.
    gain: f32,
    mix: Vec<f32>,
    played: Vec<f32>,
    overruns: u64,
    follows: bool,
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
            streams: BTreeMap::new(),
            deafened: false,
            gain: 1.0,
            mix: vec![0.0; samples],
            played: vec![0.0; samples],
            overruns: 0,
            follows: false,
        }
    }

    /// Whoever ticks has them moved by [`lean`](Playout::lean), as with a sink that has no clock of
    /// its own: then the sound's delay need not be rounded up to the next tick. For participants
    /// that are added from now on.
    pub fn follow_media_clock(&mut self, follows: bool) {
        self.follows = follows;
    }

    /// The format that decoders must give.
    pub fn format(&self) -> AudioFormat {
        self.format
    }

    /// Plays somewhere else from the next tick on.
    ///
    /// # Errors
    /// [`Invalid`](ErrorKind::Invalid) for a sink of another format; the old one goes on.
    pub fn set_sink(&mut self, sink: Box<dyn AudioSink>) -> Result<()> {
        if sink.format() != self.format {
            return Err(
                Error::new(ErrorKind::Invalid, "the sink has another format than the call").operation("set_sink")
            );
        }
        self.sink = sink;
        self.failed = false;
        Ok(())
    }

    /// Adds a participant at volume 1.0, in place of one of the same name.
    pub fn add(&mut self, participant: K, config: ReceiveConfig, decoder: Box<dyn AudioDecoder>) {
        self.streams.insert(participant, Stream::new(config, self.format, decoder, self.follows));
    }

    /// Removes a participant; `false` where there is none. What is decoded and not yet played is
    /// dropped.
    pub fn remove(&mut self, participant: &K) -> bool {
        self.streams.remove(participant).is_some()
    }

    /// Takes a packet of a participant. One of nobody that was added is dropped.
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

    /// Plays silence in place of everybody, or no longer; takes effect within the next tick.
    pub fn set_deafened(&mut self, deafened: bool) {
        self.deafened = deafened;
    }

    /// Plays the next 10 ms. `now` is the time the tick was due
    /// ([`TickScheduler::due`](super::TickScheduler::due)).
    pub fn tick(&mut self, now: Instant) -> PlayoutReport<K> {
        let (mut started, mut speaking) = (Vec::new(), Vec::new());
        self.mix.fill(0.0);
        let gain = if self.deafened { 0.0 } else { 1.0 };
        let audible = gain > 0.0 || self.gain > 0.0;
        for (participant, stream) in &mut self.streams {
            let played = stream.play(now, &mut self.mix, audible);
            started.extend(played.started.then_some(*participant));
            speaking.extend(played.speaking.map(|speaking| (*participant, speaking)));
        }
        mix::limit(&mut self.mix);
        self.played.fill(0.0);
        mix::add(&mut self.played, &self.mix, self.gain, gain);
        self.gain = gain;
        PlayoutReport { started, speaking, sink_error: self.write().err() }
    }

    /// What the last tick played, for the echo canceller: 10 ms in the sink's format.
    pub fn far_end(&self) -> &[f32] {
        &self.played
    }

    /// The timestamp of the sample of a participant's that is played next, such as to show pictures
    /// with it; `None` while none is.
    pub fn position(&self, participant: &K) -> Option<RtpTime> {
        self.streams.get(participant).and_then(Stream::position)
    }

    /// Moves ticks a little towards where the sound has the delay it should have. Where several
    /// participants are played, it is for the first of them. Does nothing unless
    /// [`follow_media_clock`](Playout::follow_media_clock) was told.
    pub fn lean(&mut self, pacer: &mut TickScheduler) {
        if let Some(late) = self.streams.values_mut().find_map(Stream::late) {
            *late -= pacer.lean(*late);
        }
    }

    /// What happened to a participant's sound; `None` where there is no such participant.
    pub fn statistics(&self, participant: &K) -> Option<AudioStatistics> {
        self.streams.get(participant).map(Stream::statistics)
    }

    /// Ticks whose sound, or a part of it, the sink had no room for.
    pub fn overruns(&self) -> u64 {
        self.overruns
    }

    /// Ends the output so that what was played is kept, such as a file.
    ///
    /// # Errors
    /// [`Io`](ErrorKind::Io), as the sink says.
    pub fn finish(&mut self) -> Result<()> {
        self.sink.finish()
    }

    fn write(&mut self) -> Result<()> {
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
                Ok(())
            }
            Err(error) => {
                self.failed = true;
                Err(error)
            }
        }
    }
}

#[cfg(test)]
mod tests;
