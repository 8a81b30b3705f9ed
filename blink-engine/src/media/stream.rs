//! One participant's sound, from packets to samples.

use std::time::{Duration, Instant};

use blink_api::{AudioFormat, Decoder, DecoderInput, RtpIn, RtpTime};

use super::jitter::{AudioPacket, Due, JitterBuffer};
use super::mix::power;
use super::playout::ReceiveConfig;
use super::speaking::SpeechDetector;
use super::transit::duration_of;
use super::{AudioStatistics, TICK, mix};

/// The longest frame there is (RFC 6716 §2.1.4).
const LONGEST_FRAME: Duration = Duration::from_millis(120);

/// Made-up sound begins to fade after so long, and is gone at the end of [`FADE_TO`].
const FADE_FROM: Duration = Duration::from_millis(60);
const FADE_TO: Duration = Duration::from_millis(120);

/// Below this mean square (−45 dBov) nobody hears a frame more or less.
const QUIET: f32 = 3.2e-5;

/// What one tick of a stream has to tell.
pub(super) struct Played {
    /// The first packet of all was decoded for it.
    pub(super) started: bool,
    /// A voice began or ended.
    pub(super) speaking: Option<bool>,
}

/// A participant's jitter buffer, decoder and volume, with room for one decoded frame.
pub(super) struct Stream {
    config: ReceiveConfig,
    format: AudioFormat,
    jitter: JitterBuffer,
    decoder: Box<dyn Decoder>,
    /// The frame that was decoded last; `played..filled` are still to be played.
    frame: Vec<f32>,
    played: usize,
    filled: usize,
    /// Samples made up since the last packet.
    made_up: usize,
    quiet: bool,
    volume: f32,
    /// The volume at the end of the last tick; the next one goes from there to `volume`.
    gain: f32,
    heard: bool,
    detector: SpeechDetector,
    decoded: u64,
    corrupt: u64,
    foreign: u64,
}

impl Stream {
    pub(super) fn new(config: ReceiveConfig, format: AudioFormat, decoder: Box<dyn Decoder>) -> Self {
        Self {
            jitter: JitterBuffer::new(config.jitter),
            config,
            format,
            decoder,
            frame: vec![0.0; format.samples_in(LONGEST_FRAME)],
            played: 0,
            filled: 0,
            made_up: 0,
            quiet: false,
            volume: 1.0,
            gain: 1.0,
            heard: false,
            detector: SpeechDetector::default(),
            decoded: 0,
            corrupt: 0,
            foreign: 0,
        }
    }

    pub(super) fn set_volume(&mut self, volume: f32) {
        self.volume = volume;
    }

    pub(super) fn push(&mut self, packet: RtpIn) {
        if packet.codec != self.config.codec {
            self.foreign += 1;
            return;
        }
        let ticks = self.decoder.duration(&packet.payload).map_or(0, |duration| {
            let nanos = duration.as_nanos() * u128::from(self.config.jitter.clock_rate);
            u32::try_from((nanos + 500_000_000) / 1_000_000_000).unwrap_or(0)
        });
        self.jitter.push(AudioPacket {
            sequence: packet.sequence,
            timestamp: packet.timestamp,
            ticks,
            marker: packet.marker,
            payload: packet.payload,
            arrival: packet.arrival,
        });
    }

    /// Adds the next 10 ms to `mix`.
    pub(super) fn play(&mut self, now: Instant, mix: &mut [f32]) -> Played {
        let heard_before = self.heard;
        let total = mix.len();
        let (from, to) = (self.gain, self.volume);
        self.gain = to;
        let gain_at = |n: usize| from + (to - from) * n as f32 / total.max(1) as f32;
        let mut at = 0;
        while at < total {
            if self.played == self.filled && !self.refill(now) {
                break;
            }
            let count = (self.filled - self.played).min(total - at);
            let sound = &self.frame[self.played..self.played + count];
            mix::add(&mut mix[at..at + count], sound, gain_at(at), gain_at(at + count));
            self.played += count;
            at += count;
        }
        Played { started: self.heard && !heard_before, speaking: self.detector.observe(!self.quiet, TICK) }
    }

    /// The timestamp of the sample that is played next; `None` where nothing is played.
    pub(super) fn position(&self) -> Option<RtpTime> {
        let left = ((self.filled - self.played) / usize::from(self.format.channels.max(1))) as u64;
        let ticks = left * u64::from(self.config.jitter.clock_rate) / u64::from(self.format.sample_rate.max(1));
        self.jitter.position().map(|next| RtpTime(next.0.wrapping_sub(ticks as u32)))
    }

    pub(super) fn statistics(&self) -> AudioStatistics {
        let jitter = self.jitter.statistics();
        AudioStatistics {
            received: jitter.received + self.foreign,
            decoded: self.decoded,
            corrupt: jitter.corrupt + self.corrupt,
            discarded: jitter.discarded + self.foreign,
            ..jitter
        }
    }

    /// Fills the frame with what is due. `false` where nothing is.
    fn refill(&mut self, now: Instant) -> bool {
        loop {
            let due = self.jitter.next(now, self.quiet);
            let packet = matches!(due, Due::Packet { .. });
            if !self.fill(due) {
                return false;
            }
            if !(packet && self.quiet && self.jitter.skip(now)) {
                return true;
            }
        }
    }

    fn fill(&mut self, due: Due) -> bool {
        self.played = 0;
        self.filled = 0;
        match due {
            Due::Wait => {
                self.quiet = true;
                return false;
            }
            Due::Silence { ticks } => self.fill_silence(ticks),
            Due::Lost { ticks } => self.make_up(DecoderInput::Lost, ticks),
            Due::Restore { later, distance, ticks } => {
                let distance = duration_of(distance.into(), self.config.jitter.clock_rate);
                if self.decoder.redundancy(&later).reach >= distance {
                    // As good as received: it does not fade.
                    self.made_up = 0;
                    self.make_up(DecoderInput::Restore { later: &later, distance }, ticks);
                    self.made_up = 0;
                } else {
                    self.make_up(DecoderInput::Lost, ticks);
                }
            }
            Due::Recover { next, ticks } => {
                self.made_up = 0;
                self.make_up(DecoderInput::Recover(&next), ticks);
                self.made_up = 0;
            }
            Due::Packet { payload, ticks } => self.decode(&payload, ticks),
        }
        let sound = &mut self.frame[..self.filled];
        if sound.iter().any(|sample| !sample.is_finite()) {
            sound.fill(0.0);
        }
        self.quiet = power(sound) < QUIET;
        self.filled > 0
    }

    fn decode(&mut self, payload: &[u8], ticks: u32) {
        match self.decoder.decode(DecoderInput::Packet(payload), &mut self.frame) {
            Ok(samples @ 1..) if samples <= self.frame.len() => {
                self.filled = samples;
                self.made_up = 0;
                self.decoded += 1;
                self.heard = true;
            }
            Ok(_) | Err(_) => {
                self.corrupt += 1;
                self.make_up(DecoderInput::Lost, ticks);
            }
        }
    }

    fn make_up(&mut self, input: DecoderInput<'_>, ticks: u32) {
        let samples = self.samples_of(ticks);
        let sound = &mut self.frame[..samples];
        if samples == 0 || self.decoder.decode(input, sound).is_err() {
            sound.fill(0.0);
        }
        self.filled = samples;
        let (from, to) = (self.format.samples_in(FADE_FROM), self.format.samples_in(FADE_TO));
        for (n, sample) in sound.iter_mut().enumerate() {
            let age = self.made_up + n;
            if age > from {
                *sample *= to.saturating_sub(age) as f32 / (to - from).max(1) as f32;
            }
        }
        self.made_up += samples;
    }

    fn fill_silence(&mut self, ticks: u32) {
        let samples = self.samples_of(ticks);
        self.frame[..samples].fill(0.0);
        self.filled = samples;
    }

    /// At least one frame of all channels, at most what the buffer holds.
    fn samples_of(&self, ticks: u32) -> usize {
        let frames =
            u64::from(ticks) * u64::from(self.format.sample_rate) / u64::from(self.config.jitter.clock_rate.max(1));
        let channels = usize::from(self.format.channels.max(1));
        (usize::try_from(frames.max(1)).unwrap_or(usize::MAX).saturating_mul(channels)).min(self.frame.len())
    }
}
