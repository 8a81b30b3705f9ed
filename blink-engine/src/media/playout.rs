//! From the network to the speaker.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use blink_api::{AudioFormat, CodecName, Decoder, Endpoint, Error, ErrorKind, MediaSink, Result, RtpIn};

use super::stream::Stream;
use super::{AudioStatistics, JitterConfig, Pacer, mix};

/// A sink that is so far behind gets no more until it has played some: its queue is delay that everybody hears.
const LONGEST_QUEUE: Duration = Duration::from_millis(80);

/// The loudest volume of a participant: four times as loud as sent (12 dB).
const MAX_VOLUME: f32 = 4.0;

/// What a participant sends.
#[derive(Debug, Clone)]
pub struct StreamConfig {
    /// The codec; packets of another are dropped and counted as discarded.
    pub codec: CodecName,
    /// Its RTP clock, and the delay to play it with.
    pub jitter: JitterConfig,
}

/// What a [`Playout`] has to tell.
#[derive(Debug)]
pub enum PlayoutEvent {
    /// A packet of this participant was decoded and is being played, for the first time since it was added.
    FirstFrame(Endpoint),
    /// The sink failed. Told once; what should be played is thrown away until [`Playout::set_sink`].
    SinkFailed(Error),
}

/// Decodes what participants send, mixes it and plays it, 10 ms at a time.
///
/// All participants are decoded all the time, deafened or not, so that they are heard at once when they may be.
pub struct Playout {
    sink: Box<dyn MediaSink>,
    format: AudioFormat,
    failed: bool,
    streams: BTreeMap<Endpoint, Stream>,
    deafened: bool,
    /// Of all sound, at the end of the last tick: 0 deafened, 1 not.
    gain: f32,
    mix: Vec<f32>,
    played: Vec<f32>,
    overruns: u64,
}

impl Playout {
    /// A playout without participants that plays silence. It works in the sink's format: decoders must give that.
    pub fn new(sink: Box<dyn MediaSink>) -> Self {
        let format = sink.format();
        let samples = format.samples_in(Pacer::PERIOD);
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
        }
    }

    /// The format that decoders must give.
    pub fn format(&self) -> AudioFormat {
        self.format
    }

    /// Plays somewhere else from the next tick on.
    ///
    /// # Errors
    /// [`Invalid`](ErrorKind::Invalid) for a sink of another format; the old one goes on.
    pub fn set_sink(&mut self, sink: Box<dyn MediaSink>) -> Result<()> {
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
    pub fn add(&mut self, participant: Endpoint, config: StreamConfig, decoder: Box<dyn Decoder>) {
        self.streams.insert(participant, Stream::new(config, self.format, decoder));
    }

    /// Removes a participant; `false` where there is none. What is decoded and not yet played is dropped.
    pub fn remove(&mut self, participant: &Endpoint) -> bool {
        self.streams.remove(participant).is_some()
    }

    /// Takes a packet of a participant; `false` where there is none of this name.
    pub fn push(&mut self, participant: &Endpoint, packet: RtpIn) -> bool {
        let stream = self.streams.get_mut(participant);
        stream.map(|stream| stream.push(packet)).is_some()
    }

    /// Sets a participant's volume, 0.0 (nothing) to 4.0 with 1.0 for as sent; values outside are brought inside. `false` where there is no such
    /// participant or the volume is not a number.
    pub fn set_volume(&mut self, participant: &Endpoint, volume: f32) -> bool {
        let stream = self.streams.get_mut(participant).filter(|_| !volume.is_nan());
        stream.map(|stream| stream.set_volume(volume.clamp(0.0, MAX_VOLUME))).is_some()
    }

    /// Plays silence in place of everybody, or no longer; takes effect within the next tick.
    pub fn set_deafened(&mut self, deafened: bool) {
        self.deafened = deafened;
    }

    /// Plays the next 10 ms. `now` is the time the tick was due ([`Pacer::due`]).
    pub fn tick(&mut self, now: Instant, report: &mut dyn FnMut(PlayoutEvent)) {
        self.mix.fill(0.0);
        for (participant, stream) in &mut self.streams {
            if stream.play(now, &mut self.mix) {
                report(PlayoutEvent::FirstFrame(*participant));
            }
        }
        mix::limit(&mut self.mix);
        let gain = if self.deafened { 0.0 } else { 1.0 };
        self.played.fill(0.0);
        mix::add(&mut self.played, &self.mix, self.gain, gain);
        self.gain = gain;
        self.write(report);
    }

    /// What the last tick played, for the echo canceller: 10 ms in the sink's format.
    pub fn far_end(&self) -> &[f32] {
        &self.played
    }

    /// What happened to a participant's sound; `None` where there is no such participant.
    pub fn statistics(&self, participant: &Endpoint) -> Option<AudioStatistics> {
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

    fn write(&mut self, report: &mut dyn FnMut(PlayoutEvent)) {
        if self.failed {
            return;
        }
        if self.sink.queued() > self.format.samples_in(LONGEST_QUEUE) {
            self.overruns += 1;
            return;
        }
        match self.sink.write(&self.played) {
            Ok(taken) => self.overruns += u64::from(taken < self.played.len()),
            Err(error) => {
                self.failed = true;
                report(PlayoutEvent::SinkFailed(error));
            }
        }
    }
}
